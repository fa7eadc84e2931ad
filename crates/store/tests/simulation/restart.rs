//! The end of a process and the beginning of the next one.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use midge_core::{Core, Recovered, WorkerId};

use crate::moved;
use crate::node::{Node, SEED};
use crate::opening;
use crate::storage::Storage;
use crate::world::{Cut, World};

impl World {
    /// Within so many turns workers that are told to end have nothing left to do.
    const TURNS_TO_END_MAX: usize = 20_000;

    /// Forgets everything in memory. What the broker had written to Clients may still reach them.
    pub(crate) fn restart(&mut self, cut: Cut) {
        self.check_counters();
        self.note(|| format!("--- {cut:?} ---"));
        self.part_from_clients();
        self.ledger.note_end(cut);
        let off_ms = self.random.below(3000) as u64;
        self.set_now(self.now + off_ms);
        if cut == Cut::Power {
            self.clocks.boot(self.now);
        }
        let mut disk = opening::after(cut, &self.storage.disk);
        if self.now.as_millis().is_multiple_of(64) {
            moved::check(&disk, self.now, &self.plan, &self.ledger.log);
        }
        loop {
            let Self { plan, random, ledger, now, clocks, .. } = self;
            let (opened_disk, opened, ends_after) =
                opening::open(disk, plan, random, &ledger.log, clocks.reading(*now));
            assert_eq!(opened.now, *now, "the store does not know what time it is");
            self.ledger.moves += self.node.moves.1;
            self.node = Node::new(&self.plan);
            let found = Arc::clone(&opened_disk);
            self.storage = Storage::new(found, opened.engine, &self.plan, ends_after);
            self.restore(opened.recovered);
            self.confirm_takeover();
            if !self.storage.is_cut() {
                break;
            }
            self.note(|| "the power fails while Sessions are taken over".into());
            let again = if self.plan.is_kill_only { Cut::Kill } else { Cut::Power };
            disk = opening::after(again, &opened_disk);
        }
        for client in &self.clients {
            if let Some(will) = &client.lost_will {
                self.links[will.link].heard_at = Some(self.now);
            }
        }
    }

    /// Ends the process as the driver does: the workers are told to come to an end, then to stop,
    /// and the store keeps all that they have decided. They stop one after the other, and have
    /// turns until then.
    pub(crate) fn end_in_order(&mut self) {
        self.note(|| "the broker ends in order".into());
        let workers = self.plan.workers;
        for worker in 0..workers {
            self.node.begin_drain(worker, &mut self.links, self.now);
        }
        self.part_from_clients();
        let mut quiet = 0;
        for _ in 0..Self::TURNS_TO_END_MAX {
            self.run_some_turns(0..workers);
            self.store_step(false);
            let is_drained = (0..workers).all(|it| self.node.is_drained(it, &self.links));
            quiet = if is_drained { quiet + 1 } else { 0 };
            if quiet == 2 {
                break;
            }
        }
        if quiet < 2 {
            self.fail("the workers do not come to an end");
        }
        for worker in 0..workers {
            if self.random.one_in(2) {
                let millis = self.random.below(3_000) as u64;
                self.set_now(self.now + millis);
                self.run_some_turns(worker..workers);
            }
            self.node.stop(worker);
        }
        self.storage.hasten();
        self.store_step(true);
        self.store_step(true);
        self.restart(Cut::Order);
    }

    fn run_some_turns(&mut self, workers: Range<usize>) {
        for worker in workers {
            let millis = self.random.below(3) as u64;
            self.set_now(self.now + millis);
            let inputs = self.random.below(4);
            self.run_turn(worker, inputs);
        }
    }

    fn part_from_clients(&mut self) {
        self.clients.iter().for_each(|client| client.let_will_come(&mut self.ledger));
        for client in &mut self.clients {
            let Some(number) = client.link else {
                client.note_cut();
                continue;
            };
            let packets = match self.random.below(4) {
                0 | 1 => usize::MAX,
                2 => self.random.below(5),
                _ => 0,
            };
            client.read(&mut self.links[number], &mut self.ledger, packets, self.now);
            client.lose(false, &mut self.ledger, self.now);
            client.note_cut();
        }
        for link in &mut self.links {
            link.is_closed = true;
        }
    }

    /// Gives each core its part, and carries out what the cores have to tell each other about it.
    fn restore(&mut self, recovered: Recovered) {
        let (workers, now) = (self.plan.workers, self.now);
        let sessions = recovered.sessions.iter().map(|it| it.record.client_id.clone());
        let sessions: Vec<_> = sessions.collect();
        self.ledger.log.note(crate::log::Concerned::default(), || format!("found {sessions:?}"));
        let (cores, turns) = self.node.parts(now);
        for (worker, part) in recovered.divide(workers, SEED).into_iter().enumerate() {
            for session in &part.sessions {
                self.directory.insert(session.record.client_id.to_string(), worker);
            }
            cores[worker].restore(part, &mut turns[worker]);
        }
        while self.exchange() {}
        let (cores, turns) = self.node.parts(now);
        for (core, turn) in cores.iter_mut().zip(turns) {
            core.end_restore(turn);
        }
        while self.exchange() {}
    }

    /// Makes the outcome of the previous run durable before a Client is let in.
    fn confirm_takeover(&mut self) {
        let (now, reading) = (self.now, self.clocks.reading(self.now));
        if let Err(error) = self.storage.engine.finish_start(now, reading)
            && !self.storage.is_cut()
        {
            self.fail(&format!("what was found cannot be taken over: {error}"));
        }
    }

    /// Lets cores and store answer each other at once; returns true if there may be more to say.
    fn exchange(&mut self) -> bool {
        let (workers, now) = (self.plan.workers, self.now);
        let (storage, mut is_busy) = (&mut self.storage, false);
        let (cores, turns) = self.node.parts(now);
        for index in 0..workers {
            let worker = WorkerId::new(index);
            cores[index].end_turn(&mut turns[index]);
            for commit in mem::take(&mut turns[index].fx.commits) {
                storage.apply(worker, commit);
            }
            for fetch in mem::take(&mut turns[index].fx.fetches) {
                is_busy = true;
                let fetched = storage.engine.fetch(&fetch);
                cores[index].handle_fetched(fetched, &mut turns[index]);
            }
            for other in 0..workers {
                let messages = mem::take(&mut turns[index].fx.to_workers[other]);
                if !messages.is_empty() {
                    is_busy = true;
                    cores[other].handle_batch(worker, messages, &mut turns[other]);
                }
            }
        }
        is_busy || cores.iter().any(Core::has_work)
    }

    /// Checks that messages were dropped only for the reasons expected in a run, and that no Client
    /// was found to misbehave.
    pub(crate) fn check_counters(&self) {
        let drops = self.node.unexpected_drops();
        if !drops.is_empty() && !self.storage.is_cut() {
            self.fail(&format!("messages were dropped: {drops:?}"));
        }
        let violations = self.node.counters().protocol_violations;
        if violations > 0 {
            self.fail(&format!("{violations} protocol violations by correct Clients"));
        }
    }
}
