//! What a round promises, and when it is confirmed.

use std::sync::Arc;

use midge_codec::QoS::{AtLeastOnce, ExactlyOnce};

use super::{Held, Postponed, Round, Rounds};
use crate::base::delivery::Delivery;
use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{Identity, WorkerId};
use crate::base::message::{Attributes, Publication};
use crate::base::time::Timestamp;
use crate::boundary::peer_messages::{Assurance, Peer, PeerMessage};
use crate::boundary::store_records::{Owner, Receipt};
use crate::boundary::turn::Turn;

fn delivery(qos: midge_codec::QoS, durability: Durability) -> Delivery {
    let attributes =
        Attributes { qos, retain: false, expires_at: None, publisher_session: None, durability };
    let publisher = Arc::new(Identity::new("p".into(), None));
    let message = Publication::new("t", &[], b"", attributes, &publisher).share();
    Delivery { message, qos, retain: false, identifiers: Identifiers::None, group: None }
}

/// The store answers only commits that somebody waits for. A message of QoS 2 waits itself,
/// before it goes on to another member of a group.
#[test]
fn what_counts_only_with_its_round_waits_for_the_store_though_nobody_was_promised_anything() {
    for durability in [Durability::Interval, Durability::Fsync] {
        let worker = WorkerId::new(0);
        let mut rounds = Rounds::new(worker, 1, true);
        let mut turn = Turn::new(Timestamp::default(), 1);
        rounds.keep_message(Owner::Group(1), 1, &delivery(ExactlyOnce, durability));
        rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
        assert_eq!(turn.fx.commits[0].durability, durability);
        let round = Round { worker, number: 1 };
        assert!(!rounds.is_confirmed(round));
        rounds.note_receipt(Receipt { written: 1, synced: 1 });
        assert!(rounds.next_released(&mut turn).is_some());
        assert!(rounds.is_confirmed(round));
    }
}

#[test]
fn a_message_that_counts_by_itself_waits_for_nothing() {
    let mut rounds = Rounds::new(WorkerId::new(0), 1, true);
    let mut turn = Turn::new(Timestamp::default(), 1);
    rounds.keep_message(Owner::Group(1), 1, &delivery(AtLeastOnce, Durability::Fsync));
    rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
    assert_eq!(turn.fx.commits[0].durability, Durability::Memory);
}

fn worker(index: usize) -> WorkerId {
    WorkerId::new(index)
}

/// What the turn sends to a worker.
fn sent(turn: &mut Turn, to: usize) -> Vec<Peer> {
    turn.fx.to_workers[to].drain(..).map(|PeerMessage(message)| message).collect()
}

fn answers(turn: &mut Turn, to: usize) -> Vec<Assurance> {
    let answer = |message| match message {
        Peer::Answer { assurance, .. } => Some(assurance),
        _ => None,
    };
    sent(turn, to).into_iter().filter_map(answer).collect()
}

/// Worker 1, as worker 0 has given it something to keep.
fn given() -> (Rounds, Round, Turn) {
    let mut rounds = Rounds::new(worker(1), 3, true);
    let round = Round { worker: worker(0), number: 1 };
    rounds.hear(worker(0), round);
    (rounds, round, Turn::new(Timestamp::default(), 3))
}

#[test]
fn what_was_passed_on_to_a_worker_that_is_gone_is_incomplete_whenever_that_was() {
    for gone_at in 0..4 {
        let (mut rounds, round, mut turn) = given();
        let end_at = |rounds: &mut Rounds, moment| {
            if moment == gone_at {
                assert!(rounds.forget_worker(worker(2)).is_some());
                assert!(rounds.forget_worker(worker(2)).is_none());
            }
        };
        end_at(&mut rounds, 0);
        rounds.begin_origin(worker(0));
        rounds.note_sent(worker(2), AtLeastOnce, Durability::Fsync, &mut turn);
        rounds.end_origin();
        end_at(&mut rounds, 1);
        rounds.handle_ask(worker(0), round, 7, Postponed::NONE, &mut turn);
        end_at(&mut rounds, 2);
        rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
        end_at(&mut rounds, 3);
        rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
        assert_eq!(answers(&mut turn, 0), [Assurance::Incomplete], "gone at {gone_at}");
        assert!(!rounds.is_gathering());
    }
}

/// Worker 0, which has given something to worker 1 to keep and holds something back for that.
fn waiting() -> (Rounds, Round, Turn) {
    let mut rounds = Rounds::new(worker(0), 3, true);
    let mut turn = Turn::new(Timestamp::default(), 3);
    rounds.note_sent(worker(1), AtLeastOnce, Durability::Fsync, &mut turn);
    rounds.hold(Held::Published(1, Ok(1)), Durability::Fsync);
    let round = rounds.open_round();
    rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
    (rounds, round, turn)
}

/// Returns whether what was held back is told, once the store has everything.
fn is_told(mut rounds: Rounds, mut turn: Turn) -> bool {
    rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
    rounds.note_receipt(Receipt { written: 9, synced: 9 });
    let released: Vec<_> =
        std::iter::from_fn(|| rounds.next_released(&mut turn)).flatten().collect();
    assert_eq!(released.len(), 1, "{released:?}");
    matches!(released[0], Held::Published(..))
}

#[test]
fn an_answer_counts_if_it_says_that_everything_is_kept() {
    let kept = [
        (Assurance::InSharedJournal, false, true),
        (Assurance::Durable, false, true),
        (Assurance::Incomplete, false, false),
        // Which of its commits come first in a journal of its own says nothing about this one.
        (Assurance::InSharedJournal, true, false),
        (Assurance::Durable, true, true),
    ];
    for (assurance, has_own_journal, expected) in kept {
        let (mut rounds, round, turn) = waiting();
        if has_own_journal {
            rounds.note_own_journal(worker(1));
        }
        rounds.handle_answer(worker(1), round, 0, assurance);
        assert_eq!(is_told(rounds, turn), expected, "{assurance:?}");
    }
}

#[test]
fn an_answer_counts_once_and_only_from_whoever_was_asked() {
    let (mut rounds, round, mut turn) = waiting();
    rounds.note_sent(worker(2), AtLeastOnce, Durability::Fsync, &mut turn);
    rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
    rounds.handle_answer(worker(2), round, 0, Assurance::Durable);
    assert!(!rounds.has_work(Postponed::NONE), "it was not asked about this round");
    rounds.handle_answer(worker(1), round, 0, Assurance::Durable);
    rounds.handle_answer(worker(1), round, 0, Assurance::Incomplete);
    let next = Round { number: round.number + 1, ..round };
    rounds.handle_answer(worker(1), next, 0, Assurance::Incomplete);
    rounds.handle_answer(worker(2), next, 0, Assurance::Durable);
    assert!(is_told(rounds, turn));
}

#[test]
fn an_answer_to_a_worker_with_another_journal_waits_for_the_own_one() {
    let (mut rounds, round, mut turn) = given();
    rounds.note_own_journal(worker(0));
    rounds.begin_origin(worker(0));
    rounds.keep_message(Owner::Session(1), 1, &delivery(AtLeastOnce, Durability::Fsync));
    rounds.end_origin();
    rounds.handle_ask(worker(0), round, 7, Postponed::NONE, &mut turn);
    rounds.close_turn(Postponed::NONE, Postponed::NONE, &mut turn);
    assert_eq!(turn.fx.commits.len(), 1);
    assert_eq!(turn.fx.commits[0].durability, Durability::Fsync);
    assert_eq!((answers(&mut turn, 0), rounds.is_gathering()), (vec![], true));
    rounds.note_receipt(Receipt { written: 1, synced: 0 });
    assert!(rounds.next_released(&mut turn).is_none());
    rounds.note_receipt(Receipt { written: 1, synced: 1 });
    assert!(rounds.next_released(&mut turn).is_some());
    assert_eq!(answers(&mut turn, 0), [Assurance::Durable]);
    assert!(!rounds.is_gathering());
}
