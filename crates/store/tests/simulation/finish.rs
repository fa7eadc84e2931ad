//! The end of a run: nothing goes wrong any more, all Clients connect, and everything arrives. Then
//! what was promised is compared with what has arrived.

use crate::client::Client;
use crate::ledger::{Fate, Kind, Sent};
use crate::log::Concerned;
use crate::plan::{ClientPlan, Pace};
use crate::world::{Cut, World};

impl World {
    pub(crate) fn finish(&mut self) {
        self.note(|| "--- the end begins ---".into());
        self.plan.cuts_while_opening = false;
        self.plan.pace = Pace::default();
        self.storage.hasten();
        self.storage.disk.set_capacity(u64::MAX);
        let was_troubled = self.storage.ends_after != u64::MAX;
        if was_troubled || self.random.one_in(2) {
            self.restart(if self.plan.is_kill_only { Cut::Kill } else { Cut::Power });
        }
        for client in 0..self.clients.len() {
            if self.random.one_in(2) {
                self.break_link(client);
            }
        }
        self.pass_time(6_000);
        self.drain();
        self.pass_time(20_000);
        self.drain();
        self.probe();
        self.check_counters();
        for client in &mut self.clients {
            client.expect_due_will(&mut self.ledger);
        }
        self.check_messages();
        self.check_wishes();
        self.check_store();
    }

    /// Lets everything continue until nothing is under way any more.
    fn drain(&mut self) {
        for _ in 0..5000 {
            self.set_now(self.now + 1);
            for client in 0..self.clients.len() {
                self.finish_client(client);
            }
            for worker in 0..self.plan.workers {
                self.run_turn(worker, 20);
            }
            self.store_step(true);
            if self.is_at_rest() {
                return;
            }
        }
        let restless: Vec<_> =
            self.clients.iter().filter(|it| !it.is_at_rest()).map(|it| it.index).collect();
        let works: Vec<_> =
            (0..self.plan.workers).map(|it| self.node.has_work(it, &self.links)).collect();
        let text = format!(
            "nothing comes to rest: clients {restless:?}, workers {works:?}, store {}",
            self.storage.is_at_rest()
        );
        match restless.first() {
            Some(&client) => self.ledger.fail(Concerned::client(client), &text),
            None => self.fail(&text),
        }
    }

    fn finish_client(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else {
            return self.connect(client);
        };
        let Self { clients, links, ledger, random, now, .. } = self;
        let (client, link) = (&mut clients[client], &mut links[link]);
        client.read(link, ledger, usize::MAX, *now);
        if link.is_closed {
            return client.lose(false, ledger, *now);
        }
        client.acknowledge(usize::MAX, link, ledger);
        if client.only_cleans() {
            client.disconnect(link, ledger, random);
            client.lose(true, ledger, *now);
        }
    }

    fn is_at_rest(&self) -> bool {
        self.clients.iter().all(Client::is_at_rest)
            && self.links.iter().all(|link| link.from_broker.is_empty() || link.is_closed)
            && (0..self.plan.workers).all(|worker| !self.node.has_work(worker, &self.links))
            && self.node.orders.is_empty()
            && self.storage.is_at_rest()
    }

    /// Lets new Clients find the last retained messages.
    fn probe(&mut self) {
        let first = self.clients.len();
        for number in 0..2 {
            self.clients.push(Client::new(first + number, ClientPlan::probe(number)));
        }
        self.drain();
        for probe in first..self.clients.len() {
            let Self { clients, links, ledger, .. } = self;
            if let Some(link) = clients[probe].link {
                clients[probe].subscribe("r/#".into(), &mut links[link], ledger);
            }
        }
        self.drain();
        for probe in first..self.clients.len() {
            self.check_probe(probe);
        }
    }

    /// Checks that each retained message is the last acknowledged one, or a later one of which
    /// nobody knows.
    fn check_probe(&self, probe: usize) {
        let session = self.clients[probe].session.as_ref().expect("it is connected");
        let seen = &self.ledger.incarnations[session.incarnation].seen;
        for (topic, history) in &self.ledger.retained {
            if !self.ledger.is_ordered(history) {
                continue;
            }
            let possible = &history.messages[history.acknowledged.saturating_sub(1)..];
            let is_clear = |id: &usize| self.ledger.messages[*id].payload.is_empty();
            let has_come = possible.iter().any(|id| seen.contains_key(id));
            let may_be_none = history.acknowledged == 0 || possible.iter().any(is_clear);
            let others: Vec<_> =
                history.messages.iter().filter(|id| seen.contains_key(id)).collect();
            if !has_come && (!may_be_none || !others.is_empty()) {
                let text = format!("{topic}: one of {possible:?} is retained, {others:?} came");
                self.ledger.fail(Concerned::message(possible[0]), &text);
            }
        }
    }

    fn check_messages(&self) {
        for (id, message) in self.ledger.messages.iter().enumerate() {
            if message.fate == Fate::Open && message.kind != Kind::Will {
                self.ledger.fail(Concerned::message(id), "it was never acknowledged");
            }
            if message.fate == Fate::Acknowledged && !message.payload.is_empty() {
                self.check_receivers(id, message);
            }
        }
    }

    /// Checks that every Session that was subscribed all the time has received the message; for a
    /// shared subscription, that one member has.
    fn check_receivers(&self, id: usize, message: &Sent) {
        for &life in &message.expected {
            let life = &self.ledger.lives[life];
            if life.is_over {
                continue;
            }
            let receiver = &self.ledger.incarnations[life.incarnation];
            if message.may_have_expired(self.now) {
                continue;
            }
            if !life.filter.starts_with("$share/") {
                if !receiver.seen.contains_key(&id) {
                    let about = Concerned::both(receiver.client, id);
                    let text = format!("an acknowledged message is lost for {}", life.filter);
                    self.ledger.fail(about, &text);
                }
                continue;
            }
            let seen = self.ledger.incarnations.iter().any(|it| it.seen.contains_key(&id));
            // A QoS 2 message is lost with the Session of the member to which it was sent.
            let mut askers = self.ledger.askers.iter();
            let may_be_lost = message.qos == 2
                && askers.any(|(filter, incarnation)| {
                    *filter == life.filter && self.ledger.incarnations[*incarnation].is_over
                });
            if !seen && !may_be_lost {
                let about = Concerned::both(receiver.client, id);
                let text = format!("an acknowledged message is lost for {}", life.filter);
                self.ledger.fail(about, &text);
            }
        }
    }

    /// Checks that retained messages were sent to new subscriptions.
    fn check_wishes(&self) {
        for wish in &self.ledger.wishes {
            let life = &self.ledger.lives[wish.life];
            let history = &self.ledger.retained[&wish.topic];
            let is_clear = |id: &usize| self.ledger.messages[*id].payload.is_empty();
            if wish.is_fulfilled
                || life.is_over
                || history.messages[wish.floor..].iter().any(is_clear)
            {
                continue;
            }
            let client = self.ledger.incarnations[life.incarnation].client;
            let message = history.messages[wish.floor];
            let text = format!("{} brought nothing retained of {}", life.filter, wish.topic);
            self.ledger.fail(Concerned::both(client, message), &text);
        }
    }

    /// Checks that nothing is left over in the store.
    fn check_store(&mut self) {
        let usage = self.storage.engine.usage();
        if usage.queued_messages > 0 {
            self.fail(&format!("messages are left in the store: {usage:?}"));
        }
        let retained = self.node.cores.iter().map(|core| core.usage().retained_messages);
        let retained: u64 = retained.sum();
        if usage.kept_messages != retained {
            self.fail(&format!("{retained} messages are retained, but the store has {usage:?}"));
        }
        let sessions = self.clients.iter().filter(|it| it.plan.is_persistent()).count();
        let groups = self.ledger.lives.iter().filter(|life| !life.is_over);
        let groups = groups.filter_map(|life| life.filter.strip_prefix("$share/"));
        let groups: std::collections::BTreeSet<_> = groups.collect();
        if usage.owners > (sessions + groups.len() + 2) as u64 {
            self.fail(&format!(
                "{sessions} Sessions and {} groups are known, but the store has {usage:?}",
                groups.len()
            ));
        }
    }
}
