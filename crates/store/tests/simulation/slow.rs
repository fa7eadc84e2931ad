//! A disk that is slow and has no other trouble: everything still goes on.

use midge_core::{Durability, Limits};
use midge_store::testing::Random;

use crate::client::Client;
use crate::log::Log;
use crate::plan::{ClientPlan, Pace, Plan, TopicKind, TopicPlan};
use crate::world::World;

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;
/// How many messages wait when the subscriber comes back.
const WAITING: usize = 600;
/// How many messages a publisher sends at once.
const PER_MILLISECOND: usize = 4;
/// How many messages the publisher keeps under way.
const UNDER_WAY: usize = 90;

fn client(id: &str) -> ClientPlan {
    let plan = ClientPlan::probe(0);
    ClientPlan { id: id.into(), expiry_seconds: u32::MAX, filters: Vec::new(), qos: 2, ..plan }
}

/// Returns a world of two workers with, as far as names decide it, one Client each, and no trouble.
fn world(sync_ms: u64) -> World {
    let mut random = Random::new(sync_ms);
    let topics = vec![TopicPlan {
        topic: "t/2/0".into(),
        qos: 2,
        kind: TopicKind::Plain,
        expiry_seconds: None,
    }];
    let publisher = ClientPlan { topics, window: WAITING, payload_max: 20, ..client("publisher") };
    let subscriber = ClientPlan { filters: vec!["t/#".into()], ..client("subscriber") };
    let plan = Plan {
        workers: 2,
        clients: vec![publisher, subscriber],
        durability: Durability::Fsync,
        is_kill_only: false,
        cuts_while_opening: false,
        disk_fills: false,
        syncs_fail: false,
        has_half_open: false,
        turn_ms_max: 0,
        moves_one_in: 0,
        pace: Pace { sync_ms, stall_one_in: 0 },
        ..Plan::new(&mut random)
    };
    let limits = Limits { receive_maximum: 1000, ..Plan::roomy_limits() };
    let plan = Plan { limits, ..plan };
    let mut world = World::with_plan(plan, random, Log::default());
    for (index, id) in ["publisher", "subscriber"].into_iter().enumerate() {
        world.directory.insert(id.into(), index);
    }
    world
}

impl World {
    /// Lets a millisecond pass, in which everybody does what there is to do.
    fn tick(&mut self) {
        self.set_now(self.now + 1);
        for index in [PUBLISHER, SUBSCRIBER] {
            let Self { clients, links, ledger, now, .. } = self;
            if let Some(link) = clients[index].link {
                clients[index].read(&mut links[link], ledger, usize::MAX, *now);
                clients[index].acknowledge(usize::MAX, &mut links[link], ledger);
            }
        }
        for worker in 0..self.plan.workers {
            self.run_turn(worker, 20);
        }
        self.store_step(true);
    }

    fn tick_until(&mut self, millis_max: u64, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = self.now + millis_max;
        while !is_so(self) {
            assert!(self.now < deadline, "{what}, not within {millis_max} ms");
            self.tick();
        }
    }

    fn publish(&mut self, count: usize) {
        let Self { clients, links, ledger, random, .. } = self;
        let client = &mut clients[PUBLISHER];
        let link = client.link.expect("it is connected");
        for _ in 0..count {
            client.publish(&mut links[link], ledger, random);
        }
    }

    fn under_way(&self) -> usize {
        self.clients[PUBLISHER].session.as_ref().map_or(0, |session| session.outgoing.len())
    }

    fn received(&self) -> usize {
        self.ledger.incarnations.iter().map(|incarnation| incarnation.seen.len()).sum()
    }
}

/// While a publisher on another worker goes on, some message is always not durable: the durable
/// ones must be delivered nevertheless.
#[test]
fn a_queue_of_qos_2_is_sent_while_more_is_published() {
    for sync_ms in [1, 8, 50] {
        let mut world = world(sync_ms);
        for client in [PUBLISHER, SUBSCRIBER] {
            world.connect(client);
        }
        world.tick_until(2_000, "both connect", |it| it.clients.iter().all(Client::is_connected));
        let link = world.clients[SUBSCRIBER].link.expect("it is connected");
        let World { clients, links, ledger, .. } = &mut world;
        clients[SUBSCRIBER].subscribe("t/#".into(), &mut links[link], ledger);
        world.tick_until(2_000, "it subscribes", |it| {
            it.clients[SUBSCRIBER].connection.request.is_none()
        });
        world.break_link(SUBSCRIBER);
        world.publish(WAITING);
        world.tick_until(10_000, "all is acknowledged", |it| it.under_way() == 0);

        world.connect(SUBSCRIBER);
        let mut published = WAITING;
        let began = world.now;
        while world.received() < WAITING {
            // Not all at once: otherwise there would be moments when everything is durable.
            let missing = UNDER_WAY.saturating_sub(world.under_way()).min(PER_MILLISECOND);
            world.publish(missing);
            published += missing;
            world.tick();
            let limit = began + sync_ms * 400 + 1_000;
            let received = world.received();
            assert!(world.now < limit, "{received} of {WAITING} came, {published} were published");
        }
    }
}
