//! What a round promises, and when it is confirmed.

use std::sync::Arc;

use midge_codec::QoS::{AtLeastOnce, ExactlyOnce};

use super::{Postponed, Round, Rounds};
use crate::base::delivery::Delivery;
use crate::base::durability::Durability;
use crate::base::identifiers::Identifiers;
use crate::base::identity::{Identity, WorkerId};
use crate::base::message::{Attributes, Publication};
use crate::base::time::Timestamp;
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
        assert!(rounds.next_released(0, &mut turn).is_some());
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
