//! What a Client does of its own accord, from the beginning of a run to its end.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use midge_codec::ReasonCode;

use crate::common::random::Random;
use crate::common::wire::Gone;
use crate::device::{Device, Draft};
use crate::habits::{Leaving, PublishPlan};
use crate::history::What;
use crate::scene::Phase;

/// A Client that acts on its own.
pub(crate) struct Actor {
    device: Device,
    /// When the next burst of each of its plans is due.
    bursts: Vec<Instant>,
    /// When it next stops reading.
    next_rest: Instant,
}

fn millis(random: &mut Random, (min, max): (u64, u64)) -> Duration {
    random.micros(min * 1000, max * 1000)
}

impl Actor {
    pub(crate) fn new(device: Device) -> Self {
        let now = Instant::now();
        let bursts = vec![now; device.habits.publishes.len()];
        Self { device, bursts, next_rest: now + Duration::from_secs(2) }
    }

    pub(crate) fn live(mut self) {
        self.set_up();
        while self.device.scene.phase() == Phase::Chaos {
            self.appear();
        }
        self.settle();
        self.device.disconnect(ReasonCode::Success);
    }

    /// Connects and subscribes, and waits for the others.
    fn set_up(&mut self) {
        while self.device.scene.phase() == Phase::SetUp {
            let mut done = self.be_connected();
            while done.is_ok() && self.device.scene.phase() == Phase::SetUp {
                self.subscribe_missing();
                let is_busy = self.device.link.as_ref().is_some_and(|it| it.request.is_some());
                self.tell_busy(is_busy);
                done = self.device.step(Instant::now() + Duration::from_millis(50)).map(|_| ());
            }
            self.conclude(done);
        }
    }

    /// Lives through one Network Connection, from its beginning to its end, and the time after it.
    fn appear(&mut self) {
        let connected = self.be_connected();
        let stays = millis(&mut self.device.random, self.device.habits.stays_ms);
        let end = Instant::now() + stays;
        let done = connected.and_then(|()| self.work(end));
        let was_ended = done.is_err();
        self.conclude(done);
        if self.device.scene.phase() != Phase::Chaos {
            return;
        }
        if was_ended {
            // Half of the Clients come back at once.
            if self.device.random.once_in(2) {
                self.stay_away();
            }
            return;
        }
        self.leave();
    }

    fn be_connected(&mut self) -> Result<(), Gone> {
        if self.device.link.is_some() { Ok(()) } else { self.device.connect() }
    }

    fn leave(&mut self) {
        let leaves = self.device.habits.leaves;
        match leaves[self.device.random.below(leaves.len() as u64) as usize] {
            Leaving::Goodbye => self.device.disconnect(ReasonCode::Success),
            Leaving::WithWill if self.device.habits.is_v5() => {
                self.device.disconnect(ReasonCode::DisconnectWithWillMessage);
            }
            Leaving::WithWill | Leaving::Cut => self.device.cut(false),
            Leaving::CutInside => self.device.cut(true),
            Leaving::ForGood => self.device.leave_for_good(),
            Leaving::Takeover => {
                let taken = self.device.connect();
                return self.conclude(taken);
            }
        }
        self.stay_away();
    }

    fn stay_away(&mut self) {
        let end = Instant::now() + millis(&mut self.device.random, self.device.habits.away_ms);
        while Instant::now() < end && self.device.scene.phase() == Phase::Chaos {
            thread::sleep(Duration::from_millis(5).min(end - Instant::now().min(end)));
        }
    }

    /// Handles the end of a Network Connection that the Client did not end itself.
    fn conclude(&mut self, done: Result<(), Gone>) {
        match done {
            Ok(()) => (),
            Err(Gone::Ended) => thread::sleep(Duration::from_millis(2)),
            Err(Gone::Broken(text)) => {
                self.device.find("the broker misbehaves", format!("the broker {text}"), &[]);
                self.device.cut(false);
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn work(&mut self, end: Instant) -> Result<(), Gone> {
        while self.device.scene.phase() == Phase::Chaos && Instant::now() < end {
            self.change_subscriptions();
            self.publish_what_is_due();
            self.rest();
            let soon = Instant::now() + Duration::from_millis(10);
            let next = self.bursts.iter().min().copied().unwrap_or(end).min(end).min(soon);
            // Always wait for a moment: otherwise nobody would read.
            self.device.step(next.max(Instant::now() + Duration::from_micros(200)))?;
        }
        Ok(())
    }

    fn subscribe_missing(&mut self) {
        let (Some(link), Some(session)) = (&self.device.link, &self.device.session) else {
            return;
        };
        if link.request.is_some() {
            return;
        }
        let tables = self.device.scene.history.lock();
        let is_granted = |filter: &str| {
            let place = session.subscriptions.get(filter);
            place.map(|place| &tables.subscriptions[*place]).is_some_and(|subscription| {
                subscription.granted.is_some() && subscription.leaving.is_none()
            })
        };
        let mut filters = self.device.habits.filters.iter();
        let missing = filters.find(|(filter, _)| !is_granted(filter)).copied();
        drop(tables);
        if let Some((filter, options)) = missing {
            self.device.subscribe(filter, options);
        }
    }

    fn change_subscriptions(&mut self) {
        let churns = self.device.habits.churns_one_in;
        if churns == 0 {
            return self.subscribe_missing();
        }
        // For some turns it goes without a subscription.
        if self.device.random.once_in(churns) {
            self.subscribe_missing();
        } else if self.device.random.once_in(2 * churns) {
            let filters = self.device.habits.filters.len() as u64;
            let (filter, _) =
                self.device.habits.filters[self.device.random.below(filters) as usize];
            let is_there = self
                .device
                .session
                .as_ref()
                .is_some_and(|session| session.subscriptions.contains_key(filter));
            let is_free = self.device.link.as_ref().is_some_and(|it| it.request.is_none());
            if is_there && is_free {
                self.device.unsubscribe(filter);
            }
        }
    }

    fn publish_what_is_due(&mut self) {
        for place in 0..self.bursts.len() {
            let plan = self.device.habits.publishes[place];
            if Instant::now() < self.bursts[place] {
                continue;
            }
            let burst = 1 + self.device.random.below(plan.burst);
            for _ in 0..burst {
                self.publish(&plan);
            }
            let pause = millis(&mut self.device.random, plan.pause_ms);
            self.bursts[place] = Instant::now() + pause;
        }
    }

    fn publish(&mut self, plan: &PublishPlan) {
        let under_way = self.device.session.as_ref().map_or(0, |it| it.outgoing.len());
        if under_way >= plan.window {
            return;
        }
        let random = &mut self.device.random;
        let (min, max) = plan.bytes;
        let clears = plan.retain && random.once_in(6);
        let topic = random.below(plan.topics);
        // A message sent again at QoS 1 may arrive after a later one at QoS 2. So a retained topic
        // keeps to one QoS, which makes its last message known.
        let qos = if plan.retain { topic } else { random.below(u64::MAX) };
        let qos = plan.qos[(qos % plan.qos.len() as u64) as usize];
        let expiry = plan.expiries[random.below(plan.expiries.len() as u64) as usize];
        let draft = Draft {
            qos,
            retain: plan.retain,
            payload_bytes: if clears { 0 } else { (min + random.below(max - min + 1)) as usize },
            expiry_seconds: expiry,
            delay_seconds: match plan.delay_seconds_max {
                0 => 0,
                most => 1 + random.below(most) as u32,
            },
            uses_alias: plan.uses_alias && random.once_in(2),
            topic: format!("{}/{}/{topic}", plan.kind, self.device.client),
        };
        self.device.publish(&draft);
    }

    /// Stops reading for a while.
    fn rest(&mut self) {
        if !self.device.habits.is_lazy || Instant::now() < self.next_rest {
            return;
        }
        self.device.note(None, 0, What::StopsReading);
        thread::sleep(self.device.random.micros(300_000, 2_500_000));
        self.next_rest = Instant::now() + self.device.random.micros(500_000, 4_000_000);
    }

    /// Completes what is under way and receives what is due to it, until all is over.
    fn settle(&mut self) {
        let stays_away = self.device.habits.may_stay_away
            && self.device.link.is_none()
            && self.device.random.once_in(2);
        if stays_away {
            self.tell_busy(false);
        }
        while self.device.scene.phase() == Phase::Settling {
            if stays_away {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            let done = self.be_connected().and_then(|()| self.take_all());
            self.conclude(done);
        }
    }

    fn take_all(&mut self) -> Result<(), Gone> {
        if let Some(link) = &mut self.device.link {
            link.hold_until = 0;
        }
        self.device.ping();
        while self.device.scene.phase() == Phase::Settling {
            self.device.step(Instant::now() + Duration::from_millis(20))?;
            let is_idle =
                self.device.link.as_ref().is_some_and(|link| {
                    link.owed.is_empty() && link.request.is_none() && link.pings == 0
                }) && self.device.session.as_ref().is_none_or(|it| it.outgoing.is_empty());
            self.tell_busy(!is_idle);
        }
        Ok(())
    }

    fn tell_busy(&self, is_busy: bool) {
        self.device.scene.is_busy[self.device.client].store(is_busy, Ordering::SeqCst);
    }
}
