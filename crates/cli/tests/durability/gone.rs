//! What a Client was told to be gone is gone, even if the broker is killed at that very moment and
//! its disk is slow: a Session, a subscription, or a retained message.
//!
//! An old Session that comes back brings its unreleased QoS 2 Packet Identifiers with it: a new
//! message under one of them would be acknowledged and lost.

use std::time::Duration;

use midge_codec::{Acknowledgement, Packet, QoS};

use crate::common::broker::{Broker, Home, Keeping};
use crate::common::random::Random;
use crate::common::slow_sync::Pace;
use crate::common::wire::Incoming;
use crate::guest::{Guest, UNRELEASED, id};

/// So slow that an answer that does not wait, and the kill after it, come before the sync ends.
const SLOW: Pace = Pace::each(150);

/// How a Session ends; afterwards the Client comes back and is told so.
#[derive(Clone, Copy, Debug)]
enum End {
    /// By Clean Start; the new Session lasts this many seconds without its Client.
    CleanStart(u32),
    /// By Clean Start while the old connection is still there.
    TakeOver,
    /// By the Client's DISCONNECT.
    Disconnect,
    /// By expiry.
    Expiry,
}

/// Each test has its own seed, and thus its own port.
fn home(workers: usize, seed: u64) -> Home {
    let seed = u64::from(std::process::id()) * 100 + seed;
    let home = Home::new(Keeping::Data, workers, &[], &mut Random::new(seed));
    home.disk.set(Pace::NORMAL);
    home
}

/// Makes syncs slow from now on; one is under way. The connection returned keeps it so.
fn slow_down(home: &Home) -> Guest {
    let (mut busy, _) = Guest::connect(home, "busy", true, 0);
    home.disk.set(SLOW);
    busy.put("busy", "x", QoS::AtLeastOnce, true);
    home.disk.wait_until_busy();
    busy
}

fn kill_and_start(home: &Home, broker: Broker) -> Broker {
    broker.kill();
    home.disk.set(Pace::NORMAL);
    home.start()
}

/// Ends the Session of "a" and waits until the Client is told that it has ended.
fn end_session(home: &Home, old: Guest, end: End) {
    let (_busy, session_present) = match end {
        End::CleanStart(expiry) => {
            drop(old);
            (slow_down(home), Guest::connect(home, "a", true, expiry).1)
        }
        End::TakeOver => (slow_down(home), Guest::connect(home, "a", true, 0).1),
        End::Disconnect => {
            let busy = slow_down(home);
            old.disconnect(Some(0));
            (busy, Guest::connect(home, "a", false, 0).1)
        }
        End::Expiry => {
            old.disconnect(Some(1));
            std::thread::sleep(Duration::from_millis(800));
            let busy = slow_down(home);
            // The Session can be resumed until its time is over.
            let mut answer = Guest::connect(home, "a", false, 1);
            while answer.1 {
                answer.0.disconnect(Some(1));
                std::thread::sleep(Duration::from_millis(1010));
                answer = Guest::connect(home, "a", false, 1);
            }
            (busy, false)
        }
    };
    assert!(!session_present, "{end:?}");
}

fn a_session_that_ends(end: End, workers: usize) {
    let home = home(workers, 0);
    let broker = home.start();
    let (mut old, _) = Guest::connect(&home, "a", false, 3600);
    old.subscribe("t");
    old.publish("elsewhere", "old", QoS::ExactlyOnce, false);
    end_session(&home, old, end);
    let _broker = kill_and_start(&home, broker);

    let (mut again, session_present) = Guest::connect(&home, "a", false, 3600);
    let may_be_new = matches!(end, End::CleanStart(1..) | End::Expiry);
    assert!(!session_present || may_be_new, "{end:?}");
    let (mut other, _) = Guest::connect(&home, "other", true, 0);
    other.subscribe("news");
    again.publish("news", "not lost", QoS::ExactlyOnce, false);
    assert_eq!(other.message(), "not lost", "{end:?}");
    again.0.put(&Packet::PubRel(Acknowledgement::success(id(UNRELEASED))));
    assert!(matches!(again.next(), Incoming::PubComp(UNRELEASED)));
    again.subscribe("end");
    other.publish("t", "of an old subscription", QoS::AtLeastOnce, false);
    other.publish("end", "the end", QoS::AtLeastOnce, false);
    assert_eq!(again.message(), "the end", "{end:?}");
}

#[test]
fn r1_a_session_that_a_connack_says_is_gone_does_not_come_back() {
    for workers in [1, 2] {
        let ends = [End::CleanStart(0), End::CleanStart(3600), End::TakeOver, End::Disconnect];
        for end in ends.into_iter().chain([End::Expiry]) {
            a_session_that_ends(end, workers);
        }
    }
}

#[test]
fn r1_a_subscription_that_an_unsuback_says_is_gone_does_not_come_back() {
    let home = home(1, 1);
    let broker = home.start();
    let (mut client, _) = Guest::connect(&home, "a", false, 3600);
    client.subscribe("t");
    client.subscribe("end");
    let _busy = slow_down(&home);
    client.unsubscribe("t");
    let _broker = kill_and_start(&home, broker);

    let (mut client, session_present) = Guest::connect(&home, "a", false, 3600);
    assert!(session_present);
    let (mut other, _) = Guest::connect(&home, "other", true, 0);
    other.publish("t", "of an old subscription", QoS::AtLeastOnce, false);
    other.publish("end", "the end", QoS::AtLeastOnce, false);
    assert_eq!(client.message(), "the end");
}

#[test]
fn r1_a_retained_message_that_was_removed_does_not_come_back() {
    let home = home(1, 2);
    let broker = home.start();
    let (mut client, _) = Guest::connect(&home, "a", true, 0);
    client.publish("r/1", "removed", QoS::AtLeastOnce, true);
    let _busy = slow_down(&home);
    client.publish("r/1", "", QoS::AtLeastOnce, true);
    let _broker = kill_and_start(&home, broker);

    let (mut client, _) = Guest::connect(&home, "a", true, 0);
    client.subscribe("r/#");
    client.put("r/2", "the end", QoS::AtMostOnce, false);
    assert_eq!(client.message(), "the end");
}
