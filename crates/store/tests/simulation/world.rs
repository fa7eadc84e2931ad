//! One run: Clients, broker and store, and what happens next. All choices come from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use midge_core::Timestamp;
use midge_store::testing::{FaultyDisk, Random};

use crate::client::Client;
use crate::clocks::Clocks;
use crate::ledger::Ledger;
use crate::link::Link;
use crate::log::{Concerned, Log};
use crate::node::Node;
use crate::opening;
use crate::plan::{ClientPlan, Plan};
use crate::storage::{End, Storage};

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) ledger: Ledger,
    pub(crate) clients: Vec<Client>,
    pub(crate) links: Vec<Link>,
    pub(crate) node: Node,
    pub(crate) storage: Storage,
    /// The worker of each Client Identifier.
    pub(crate) directory: BTreeMap<String, usize>,
    pub(crate) now: Timestamp,
    pub(crate) clocks: Clocks,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What was not synced is lost, in part and in any order.
    Power,
    /// What was written stays.
    Kill,
    /// Everything that was decided is written.
    Order,
}

impl World {
    pub(crate) fn new(seed: u64, log: Log) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9).wrapping_add(1));
        let plan = Plan::new(&mut random);
        Self::with_plan(plan, random, log)
    }

    /// Makes a world with this plan instead of a random one.
    pub(crate) fn with_plan(plan: Plan, mut random: Random, log: Log) -> Self {
        log.note(Concerned::default(), || format!("{plan:#?}"));
        let now = Timestamp::from_millis(1_000_000);
        let clocks = Clocks::new(now);
        let disk = Arc::new(FaultyDisk::new(random.next()));
        let (disk, opened, ends_after) =
            opening::open(disk, &plan, &mut random, &log, clocks.reading(now));
        let storage = Storage::new(disk, opened.engine, &plan, ends_after);
        let clients = plan.clients.iter().cloned().enumerate();
        let clients: Vec<_> = clients.map(|(index, plan)| Client::new(index, plan)).collect();
        let mut ledger = Ledger::new(log);
        ledger.now = now;
        // Before MQTT 5 neither a refused message nor anything after it is answered.
        let is_refused = |client: &&Client| plan.disk_fills && client.plan.is_v5();
        ledger.may_reorder = clients.iter().filter(is_refused).map(|it| it.index).collect();
        Self {
            clients,
            ledger,
            links: Vec::new(),
            node: Node::new(&plan),
            storage,
            directory: BTreeMap::new(),
            now,
            clocks,
            random,
            plan,
        }
    }

    /// Runs the world from the beginning to the checks at the end.
    pub(crate) fn run(&mut self) {
        for step in 1..=self.plan.steps {
            self.ledger.step = step;
            self.ledger.log.set_step(step);
            let millis = self.random.below(3) as u64;
            self.set_now(self.now + millis);
            self.step();
        }
        self.finish();
        self.ledger.moves += self.node.moves.1;
    }

    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        self.ledger.log.note(Concerned::default(), text);
    }

    pub(crate) fn fail(&self, text: &str) -> ! {
        self.ledger.fail(Concerned::default(), text)
    }

    fn step(&mut self) {
        if self.random.one_in(self.plan.cut_one_in) {
            return self.cut();
        }
        if self.plan.moves_one_in > 0 && self.random.one_in(self.plan.moves_one_in) {
            return self.begin_move();
        }
        let choice = self.random.below(100);
        let store = self.plan.store_share;
        if choice < store {
            self.store_step(false);
        } else if choice < store + 35 {
            let worker = self.random.below(self.plan.workers);
            self.turn(worker);
        } else if choice < store + 39 {
            let millis = 1 + self.random.below(2500) as u64;
            self.pass_time(millis);
        } else if choice < store + 41 {
            self.trouble_disk();
            self.set_clock();
        } else {
            let client = self.random.below(self.clients.len());
            self.client_turn(client);
        }
    }

    /// Cuts now, or in the middle of what the store does next.
    fn cut(&mut self) {
        if self.storage.ends_after == u64::MAX && self.random.one_in(2) {
            let operations = 1 + self.random.below(12) as u64;
            self.note(|| format!("a cut comes after {operations} operations of the disk"));
            self.storage.disk.cut_after(operations);
            self.storage.ends_after = self.storage.disk.operations() + operations;
            return;
        }
        let is_troubled = self.plan.disk_fills || self.plan.syncs_fail;
        if !is_troubled && self.storage.ends_after == u64::MAX && self.random.one_in(4) {
            return self.end_in_order();
        }
        let kill = self.plan.is_kill_only || self.random.one_in(4);
        self.restart(if kill { Cut::Kill } else { Cut::Power });
    }

    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
        self.ledger.now = now;
    }

    /// Lets time pass and handles what becomes due.
    pub(crate) fn pass_time(&mut self, millis: u64) {
        self.set_now(self.now + millis);
        self.note(|| format!("{millis} ms pass"));
        for worker in 0..self.plan.workers {
            self.run_turn(worker, 0);
        }
    }

    fn turn(&mut self, worker: usize) {
        let inputs = 1 + self.random.below(4);
        self.run_turn(worker, inputs);
    }

    /// Lets a worker handle up to `inputs_max` of what waits for it.
    pub(crate) fn run_turn(&mut self, worker: usize, inputs_max: usize) {
        let Self { node, links, random, now, .. } = self;
        let end = node.turn(worker, inputs_max, links, random, *now);
        self.set_now(end);
    }

    pub(crate) fn store_step(&mut self, is_thorough: bool) {
        self.clocks.mark(&mut self.storage.engine, self.now);
        let Self { storage, node, random, now, .. } = self;
        let end = storage.step(node, is_thorough, random, *now);
        match end {
            Ok(()) => (),
            Err(End::PowerCut) if self.plan.is_kill_only => self.restart(Cut::Kill),
            Err(End::PowerCut) => self.restart(Cut::Power),
            Err(End::Fatal(error)) => {
                self.note(|| format!("the store has failed: {error}"));
                if !self.plan.syncs_fail {
                    self.fail(&format!("the store has failed: {error}"));
                }
                self.restart(Cut::Power);
            }
        }
    }

    /// Fills the device, gives it room again, or makes a sync fail.
    fn trouble_disk(&mut self) {
        if self.plan.disk_fills {
            let used = self.storage.disk.used();
            let room = self.random.below(4) as u64 * self.plan.options.segment_bytes;
            let capacity = if self.random.one_in(2) { u64::MAX } else { used + room };
            self.note(|| format!("the disk holds {capacity} bytes, {used} are used"));
            self.storage.disk.set_capacity(capacity);
        }
        if self.plan.syncs_fail && !self.plan.is_kill_only && self.random.one_in(3) {
            self.note(|| "the next sync fails".into());
            self.storage.disk.fail_next_sync();
        }
    }

    /// Sets the machine's clock and lets the store learn of it. If the power were cut before it
    /// does, nobody could tell that from a long time without power.
    fn set_clock(&mut self) {
        let may_fail = self.plan.disk_fills || self.plan.syncs_fail;
        if may_fail || self.storage.ends_after < u64::MAX {
            return;
        }
        // A sync under way ends first, and none takes long.
        self.storage.hasten();
        self.store_step(true);
        self.clocks.set(&mut self.random);
        self.note(|| "the clock is set".into());
        self.store_step(true);
        self.storage.pace = self.plan.pace;
    }

    /// Begins to move the Session of some Client to another worker, unless a CONNECT of that Client
    /// is on its way.
    fn begin_move(&mut self) {
        let client = self.random.below(self.clients.len());
        let to = self.random.below(self.plan.workers);
        let Self { node, links, clients, ledger, .. } = self;
        let id = &clients[client].plan.id;
        let is_open = |link: &&Link| link.client == client && !link.is_closed;
        let is_connected = |link: &Link| {
            let protocol = node.cores[link.worker].protocol(link.id);
            !link.is_moving && protocol.is_some_and(|(_, is_connected)| is_connected)
        };
        let is_settled = links.iter().filter(is_open).all(is_connected);
        let Some(from) = node.owner_of(id).filter(|_| is_settled) else {
            return;
        };
        if node.begin_move(id, from, to) {
            clients[client].note(ledger, || format!("is to move from worker {from} to {to}"));
        }
    }

    fn client_turn(&mut self, number: usize) {
        let ClientPlan { presence, break_one_in, .. } = self.clients[number].plan;
        let Some(link) = self.clients[number].link else {
            if self.random.below(100) < presence {
                self.connect(number);
            }
            return;
        };
        if self.random.one_in(break_one_in) {
            return self.break_link(number);
        }
        let Self { clients, links, ledger, random, now, .. } = self;
        let (client, link) = (&mut clients[number], &mut links[link]);
        let packets = if random.one_in(2) { usize::MAX } else { random.below(5) };
        client.read(link, ledger, packets, *now);
        if link.is_closed {
            client.read(link, ledger, usize::MAX, *now);
            return client.lose(false, ledger, *now);
        }
        if !client.is_connected() {
            return;
        }
        let takes_over = client.plan.takes_over_one_in;
        if takes_over > 0 && random.one_in(takes_over) && !client.only_cleans() {
            return self.take_over(number);
        }
        let most = if random.one_in(3) { usize::MAX } else { random.below(4) };
        let most = if client.connection.withholds { 0 } else { most };
        client.acknowledge(most, link, ledger);
        if !client.only_cleans() {
            client.act(link, ledger, random);
        }
        if client.only_cleans() || random.one_in(40) {
            client.disconnect(link, ledger, random);
            client.lose(true, ledger, *now);
        }
    }

    pub(crate) fn connect(&mut self, client: usize) {
        let Self { clients, links, ledger, random, node, now, .. } = self;
        let client = &mut clients[client];
        let id = &client.plan.id.clone();
        if node.is_on_its_way(id) {
            return; // A driver lets its CONNECT wait.
        }
        client.settle_will(links, ledger, *now);
        let workers = self.plan.workers;
        let of_client = |link: &&Link| link.client == client.index && !link.is_closed;
        // A Client that no core owns, and that has no CONNECT anywhere, goes to any worker.
        let with_connect = || links.iter().find(of_client).map(|link| link.worker);
        let placed = self.directory.get(id).copied().filter(|&it| node.cores[it].owns(id));
        let owner = node.owner_of(id).or_else(with_connect).or(placed);
        let worker = owner.unwrap_or_else(|| random.below(workers));
        self.directory.insert(id.clone(), worker);
        let number = node.open(worker, client, links, *now);
        client.connect(number, links, ledger, random, *now);
    }

    /// Reconnects the Client while it is connected. What it had sent may arrive first, and it no
    /// longer reads what was sent to it on the old connection.
    fn take_over(&mut self, client: usize) {
        if self.node.is_on_its_way(&self.clients[client].plan.id) {
            return;
        }
        let Self { clients, links, ledger, now, .. } = self;
        let own = &mut clients[client];
        own.note(ledger, || "takes its Session over".into());
        if let Some(number) = own.link {
            links[number].lose_from_broker();
        }
        own.lose(false, ledger, *now);
        self.connect(client);
    }

    /// Breaks a Network Connection. What was on its way to the broker may still arrive.
    pub(crate) fn break_link(&mut self, client: usize) {
        let Self { clients, links, ledger, random, node, now, .. } = self;
        let client = &mut clients[client];
        let Some(number) = client.link else {
            return;
        };
        client.note(ledger, || "the Network Connection breaks".into());
        let link = &mut links[number];
        if random.one_in(2) {
            let packets = random.below(5);
            client.read(link, ledger, packets, *now);
        }
        let is_connecting = !client.is_connected();
        client.lose(false, ledger, *now);
        link.lose_from_broker();
        if link.is_closed {
            return;
        }
        if self.plan.has_half_open {
            // A CONNECT that arrived late would take over the next connection's Session.
            if is_connecting || random.one_in(2) {
                link.to_broker.clear();
            }
            return node.closed.push_back(number);
        }
        if link.is_moving {
            return node.closed.push_back(number);
        }
        let worker = link.worker;
        node.notice_end(link, *now);
        node.turn(worker, 0, links, random, *now);
    }
}
