//! What becomes of rounds when a worker is gone, so that nothing waits for it for ever and nothing
//! is told as kept that only it was given.
//!
//! A round of which the worker that is gone had something, and for which it cannot answer any more,
//! is *broken*. What was held in it is released as [`Held::Withheld`]: nobody is told that it is
//! kept. Its QoS 2 messages are *void*, here and wherever else they are kept, as if the power had
//! failed then; so are those of all rounds of the worker that is gone that were not confirmed.

use midge_codec::PacketIdentifier;

use super::{Held, PassedOn, RoundEnd, Rounds};
use crate::base::identity::{Identity, SessionId, WorkerId};
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::Peer;
use crate::boundary::store_records::{Owner, Round, SessionRecord, StoreOp};
use crate::boundary::turn::Turn;

/// What the void of a round of this worker means for its Sessions.
#[derive(Debug, Default)]
pub(crate) struct Voided {
    /// Those that hold back messages of the round.
    pub(crate) sessions: Vec<SessionId>,
    /// Packet Identifiers of received messages that are not to be remembered, by the numbers of
    /// their Sessions in the store: what comes again under them is new.
    pub(crate) unremembered: Vec<(u64, PacketIdentifier)>,
}

impl Rounds {
    /// The workers that are there, this one among them.
    #[inline]
    pub(crate) fn members(&self) -> WorkerSet {
        self.members
    }

    /// Whether some worker is gone.
    #[inline]
    pub(crate) fn misses_some(&self) -> bool {
        self.is_short
    }

    /// Whether some of these workers are gone and had Sessions in the store: nobody else keeps
    /// messages for those.
    pub(crate) fn misses_any(&self, workers: WorkerSet) -> bool {
        workers.into_iter().any(|it| self.storing.contains(it) && !self.members.contains(it))
    }

    /// Whether what this round has kept will never count.
    pub(crate) fn is_void(&self, round: Round) -> bool {
        self.void.contains(&round)
            || !self.members.contains(round.worker)
                && round.number > self.confirmed[round.worker.index()]
    }

    /// Takes a worker that is gone out of everything that waits for it. Returns the Sessions that
    /// hold back messages of its rounds; `None` if it was gone before.
    pub(crate) fn forget_worker(&mut self, gone: WorkerId) -> Option<Vec<SessionId>> {
        debug_assert!(gone != self.worker, "a worker that is gone handles nothing");
        if !self.members.remove(gone) {
            return None;
        }
        self.is_short = true;
        self.open.end.is_broken |= self.open.asked.remove(gone);
        for round in &mut self.gathering {
            round.end.is_broken |= round.awaited.remove(gone);
        }
        self.to_answer.retain(|asked| asked.by != gone);
        for asked in &mut self.to_answer {
            asked.is_broken |= asked.awaited.remove(gone);
        }
        self.passed_on.retain(|round, _| round.worker != gone);
        for PassedOn { to, is_broken } in self.passed_on.values_mut() {
            *is_broken |= to.remove(gone);
        }
        for commit in &mut self.committing {
            commit.answers.retain(|answer| answer.to != gone);
        }
        let index = gone.index();
        (self.told[index], self.heard[index]) = (None, None);
        let waiting = std::mem::take(&mut self.unconfirmed[index]);
        Some(waiting.into_values().flatten().collect())
    }

    /// Notes that messages that the store keeps for an owner go to others in this round, though no
    /// record says so of each of them.
    pub(crate) fn note_passed_on(&mut self, of: Owner) {
        self.open.end.passed_on_of.push(of);
    }

    /// Handles that a round of another worker is void. Returns the Sessions that hold back messages
    /// of it.
    pub(crate) fn handle_void(&mut self, round: Round) -> Vec<SessionId> {
        self.void.insert(round);
        self.unconfirmed[round.worker.index()].remove(&round.number).unwrap_or_default()
    }

    /// Takes what has become of rounds of this worker that are void.
    pub(crate) fn take_voided(&mut self) -> Vec<Voided> {
        std::mem::take(&mut self.voided)
    }

    /// Makes a broken round of this worker void, and withholds whatever would say that everything
    /// in it is kept.
    pub(super) fn void_own(&mut self, end: &mut RoundEnd, turn: &mut Turn) {
        let mut voided = Voided::default();
        if end.confirms || end.is_provisional {
            let round = Round { worker: self.worker, number: end.number };
            self.void.insert(round);
            voided.sessions = self.handle_void(round);
            if end.confirms {
                self.tell_others(&Peer::Void(round), turn);
            }
        }
        for op in &end.deferred {
            match *op {
                StoreOp::AwaitRelease { session, packet_id } => {
                    voided.unremembered.push((session, packet_id));
                }
                StoreOp::Finished { owner, .. } | StoreOp::Ended(owner) => {
                    self.unfinished.insert(owner);
                }
                _ => (),
            }
        }
        self.unfinished.extend(end.passed_on_of.drain(..));
        self.keep_unfinished(end);
        end.deferred.retain(|op| !relies_on_others(op));
        let held = std::mem::take(&mut end.held).into_iter();
        end.held = held
            .map(|held| match held {
                held if tells_that_all_is_kept(&held) => Held::Withheld(Box::new(held)),
                held => held,
            })
            .collect();
        let sent_on = end.held.iter().filter_map(|held| match held {
            Held::Send(session) => Some(*session),
            _ => None,
        });
        voided.sessions.extend(sent_on);
        self.voided.push(voided);
    }
}

impl Rounds {
    /// Lets the store keep whatever is left of those of whom something was not passed on as it
    /// seemed. A Session among them that has ended becomes one that lasts no longer than its
    /// Network Connection: after a restart it ends again, and what is left of it is passed on
    /// again.
    pub(super) fn keep_unfinished(&self, end: &mut RoundEnd) {
        let RoundEnd { deferred, held, .. } = end;
        let clients: Vec<_> = held
            .iter()
            .filter_map(|held| match held {
                Held::Ended(client, number) => Some((client, *number)),
                _ => None,
            })
            .collect();
        let ops = std::mem::take(deferred).into_iter().filter_map(|op| match op {
            StoreOp::Ended(owner) if self.unfinished.contains(&owner) => {
                let client = clients.iter().find(|(_, it)| Owner::Session(*it) == owner);
                client.map(|(client, number)| over(client, *number))
            }
            op => Some(op),
        });
        *deferred = ops.collect();
    }
}

/// The record of a Session that has ended with its Network Connection.
fn over(client: &Identity, number: u64) -> StoreOp {
    StoreOp::Session(Box::new(SessionRecord {
        number,
        client_id: client.client_id.clone(),
        user_name: client.user_name.clone(),
        facts: None,
        expiry_seconds: 0,
        window: None,
        will: None,
    }))
}

/// Whether a record at the end of a round must not be written unless everything that the round has
/// kept, at other workers, too, is in the store before it: it would be missing there and here.
fn relies_on_others(op: &StoreOp) -> bool {
    matches!(
        op,
        StoreOp::AwaitRelease { .. }
            | StoreOp::WillGone { .. }
            | StoreOp::Unkeep { .. }
            | StoreOp::Finished { .. }
            | StoreOp::Ended(_)
    )
}

fn tells_that_all_is_kept(held: &Held) -> bool {
    match held {
        Held::Acknowledge(held) => held.is_of_publisher(),
        Held::Asked(_, held) => tells_that_all_is_kept(held),
        Held::Published(..) => true,
        Held::Connected(_)
        | Held::Ended(..)
        | Held::Subscribed(_)
        | Held::Send(_)
        | Held::Ahead(..)
        | Held::Withheld(_) => false,
    }
}
