//! A worker stops while Sessions are on their way to it, from it, or past it, at each moment of the
//! way. Nobody waits for it any longer, and whatever was acknowledged has come or is to come.

use std::collections::BTreeSet;

use midge_codec::{Packet, ReasonCode};
use midge_core::{MoveRefusal, WorkerId};

use crate::node::{Conn, Node, TellOnPanic};
use crate::packets::{persistent, publish};
use crate::peer_gone::{GONE, setup};
use crate::received::Received;

/// How many turns of workers a move takes at most, one after the other.
const TURNS_MAX: usize = 24;

/// A Session on its way from one worker to another, and a publisher on worker 1.
struct Way {
    node: Node,
    s: Conn,
    p: Conn,
}

impl Way {
    /// Begins to move `s` and lets the workers take so many turns.
    fn after(turns: usize, from: usize, to: usize) -> Self {
        let mut node = Node::new(&setup(None));
        node.homes.insert("s".into(), from);
        node.homes.insert("p".into(), 1);
        let (s, _) = node.connect_with(&persistent("s"));
        let p = node.connect("p");
        node.subscribe(s, "t", 1);
        node.subscribe(s, "$share/g/shared", 1);
        node.publish(p, "t", "before", 1);
        assert_eq!(node.texts(s), ["before"]);
        let _ = node.take(p);
        assert!(node.begin_move(from, "s", to));
        for turn in 0..turns {
            node.turn(turn % 3);
        }
        Self { node, s, p }
    }

    /// Publishes while one worker has stopped, and then has the others told that it is gone.
    /// Returns whether the message was acknowledged.
    fn lose_worker(&mut self) -> bool {
        let Self { node, p, .. } = self;
        node.freeze(GONE);
        node.send_publish(*p, publish("t", "meanwhile", 1, 7));
        node.end_worker(GONE);
        for worker in 0..GONE {
            let is_waiting = node.cores[worker].has_unfinished();
            assert!(!is_waiting && !node.cores[worker].is_moving("s"), "worker {worker} waits");
        }
        let answers = node.take(*p);
        let is_kept = |it: &Received| matches!(it, Received::PubAck(7, ReasonCode::Success));
        assert!(node.is_closed(*p) || !answers.is_empty(), "{answers:?}");
        answers.iter().any(is_kept)
    }

    /// The worker that has the Session, if one that is there has it.
    fn owner(&self) -> Option<usize> {
        (0..GONE).find(|&worker| self.node.cores[worker].has_session("s"))
    }

    /// Expects the Session to go on, with each message once.
    fn expect_to_go_on(&mut self, was_kept: bool) {
        let Self { node, s, .. } = self;
        assert!(node.sockets[s.0].is_read, "nobody reads it");
        let texts = node.texts(*s);
        assert!(texts.len() <= 1 && (!was_kept || texts == ["meanwhile"]), "{texts:?}");
        node.homes.insert("q".into(), 0);
        let q = node.connect("q");
        node.publish(q, "shared", "shared", 0);
        node.publish(q, "t", "after", 0);
        let mut texts = node.texts(*s);
        texts.sort_unstable();
        assert_eq!(texts, ["after", "shared"]);
        node.send(*s, &Packet::PingReq);
        assert!(node.take(*s).contains(&Received::PingResp), "it is not heard");
    }
}

/// Runs a way that ends after each number of turns; returns which outcomes there were.
fn at_each_moment<T: Ord>(run: impl Fn(usize) -> T) -> BTreeSet<T> {
    let outcome = |turns| {
        let told = TellOnPanic(format!("after {turns} turns"));
        let outcome = run(turns);
        told.well();
        outcome
    };
    (0..TURNS_MAX).map(outcome).collect()
}

#[test]
fn a_session_that_was_to_go_to_it_stays() {
    let outcomes = at_each_moment(|turns| {
        let mut way = Way::after(turns, 0, GONE);
        let was_there = way.node.cores[0].has_session("s");
        let was_kept = way.lose_worker();
        let is_there = way.owner() == Some(0);
        assert!(was_there || !is_there, "it does not come back");
        if is_there {
            way.expect_to_go_on(was_kept);
            let evict = |core: &mut midge_core::Core, turn: &mut _| {
                core.evict_session("s", WorkerId::new(GONE), turn)
            };
            assert_eq!(way.node.call(0, evict), Err(MoveRefusal::Unready));
        } else {
            assert!(!was_kept, "nobody has it");
        }
        (is_there, was_kept)
    });
    let expected = [(false, false), (true, false), (true, true)];
    assert!(expected.iter().all(|it| outcomes.contains(it)), "{outcomes:?}");
}

#[test]
fn a_session_that_was_to_come_from_it_is_lost_with_it_unless_it_has_left() {
    let outcomes = at_each_moment(|turns| {
        let mut way = Way::after(turns, GONE, 0);
        let was_kept = way.lose_worker();
        let has_come = way.owner() == Some(0);
        assert!(has_come || !was_kept, "nobody has it");
        if has_come {
            way.expect_to_go_on(was_kept);
        }
        (has_come, was_kept)
    });
    assert!(outcomes.contains(&(false, false)) && outcomes.contains(&(true, true)), "{outcomes:?}");
}

#[test]
fn a_session_that_goes_elsewhere_does_not_wait_for_its_switch() {
    let outcomes = at_each_moment(|turns| {
        let mut way = Way::after(turns, 0, 1);
        let was_kept = way.lose_worker();
        way.expect_to_go_on(was_kept);
        way.owner()
    });
    assert!(outcomes.contains(&Some(1)) && !outcomes.contains(&None), "{outcomes:?}");
}

#[test]
fn what_was_to_end_there_ends_where_the_session_stays() {
    let outcomes = at_each_moment(|turns| {
        let mut way = Way::after(turns, 0, GONE);
        let code = ReasonCode::AdministrativeAction;
        let disconnect =
            |core: &mut midge_core::Core, turn: &mut _| core.disconnect_client("s", code, turn);
        way.node.freeze(GONE);
        let was_there = way.node.call(0, disconnect);
        way.lose_worker();
        let is_there = way.owner() == Some(0);
        assert!(was_there || !is_there);
        if is_there {
            assert_eq!(way.node.end_code(way.s), Some(code));
            let (_, present) = way.node.resume(&persistent("s"));
            assert!(present, "it is a stored Session");
        }
        is_there
    });
    assert_eq!(outcomes.len(), 2);
}
