//! Admission on a clock of the test's own, also checked against a model that remembers everything.

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn admission(change: impl FnOnce(&mut ListenerLimits)) -> Arc<Admission> {
    let mut limits = ListenerLimits { handshakes_max: 0, ..ListenerLimits::default() };
    change(&mut limits);
    Arc::new(Admission::new(limits))
}

fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn refused(figures: &ListenerFigures, refusal: Refusal) -> u64 {
    figures.refused.iter().find(|(by, _)| *by == refusal).unwrap().1
}

#[test]
fn connections_are_counted_until_they_end() {
    let (admission, now) = (admission(|limits| limits.connections_max = 2), Instant::now());
    let first = admission.admit(None, now).unwrap();
    let _second = admission.admit(Some(address(1)), now).unwrap();
    assert_eq!(admission.admit(None, now).unwrap_err(), Refusal::Connections);
    drop(first);
    let _third = admission.admit(None, now).unwrap();
    let figures = admission.figures();
    assert_eq!((figures.accepted, figures.open), (3, 2));
    assert_eq!(refused(&figures, Refusal::Connections), 1);
}

#[test]
fn other_limits_count_those_who_are_there() {
    let (admission, now) = (admission(|limits| limits.connection_rate_max = 2), Instant::now());
    let first = admission.admit(None, now).unwrap();
    let mut second = admission.admit(None, now).unwrap();
    assert_eq!(admission.admit(None, now).unwrap_err(), Refusal::Rate);
    let limits = ListenerLimits {
        connections_max: 2,
        handshakes_max: 1,
        connection_rate_max: 2,
        ..ListenerLimits::default()
    };
    admission.set_limits(&limits);
    assert_eq!(admission.admit(None, now).unwrap_err(), Refusal::Connections);
    second.begin_handshake().unwrap();
    drop(first);
    assert_eq!(admission.admit(None, now).unwrap_err(), Refusal::Rate, "the bucket stays");
    admission.set_limits(&ListenerLimits { connection_rate_max: 3, ..limits });
    let mut third = admission.admit(None, now).unwrap();
    assert_eq!(third.begin_handshake().unwrap_err(), Refusal::Handshakes);
}

#[test]
fn handshakes_are_counted_until_they_are_done_or_fail() {
    let (admission, now) = (admission(|limits| limits.handshakes_max = 1), Instant::now());
    let mut slow = admission.admit(None, now).unwrap();
    let mut next = admission.admit(None, now).unwrap();
    assert_eq!(admission.figures().handshaking, 0, "nothing has come yet");
    slow.begin_handshake().unwrap();
    assert_eq!(next.begin_handshake().unwrap_err(), Refusal::Handshakes);
    slow.handshake_done();
    slow.handshake_done();
    assert_eq!(admission.figures().handshaking, 0);
    next.begin_handshake().unwrap();
    drop((next, slow));
    let figures = admission.figures();
    assert_eq!((figures.open, figures.handshaking, figures.failed_handshakes), (0, 0, 1));
    assert_eq!(refused(&figures, Refusal::Handshakes), 1);
}

#[test]
fn a_handshake_that_has_failed_gives_its_place_up_before_the_connection_is_gone() {
    let (admission, now) = (admission(|limits| limits.handshakes_max = 1), Instant::now());
    let mut failed = admission.admit(None, now).unwrap();
    let mut next = admission.admit(None, now).unwrap();
    failed.begin_handshake().unwrap();
    failed.handshake_failed();
    failed.handshake_failed();
    let figures = admission.figures();
    assert_eq!((figures.open, figures.handshaking, figures.failed_handshakes), (2, 0, 1));
    next.begin_handshake().unwrap();
    // What still comes on the failed connection begins nothing.
    failed.begin_handshake().unwrap();
    next.handshake_done();
    next.handshake_failed();
    drop((failed, next));
    let figures = admission.figures();
    assert_eq!((figures.open, figures.handshaking, figures.failed_handshakes), (0, 0, 1));
}

#[test]
fn an_address_that_is_told_later_counts_once() {
    let (admission, now) =
        (admission(|limits| limits.connection_rate_per_address_max = 1), Instant::now());
    let told = address(1);
    let mut behind_a_proxy = admission.admit(None, now).unwrap();
    behind_a_proxy.name_address(told, now).unwrap();
    behind_a_proxy.name_address(told, now).unwrap();
    let mut second = admission.admit(None, now).unwrap();
    assert_eq!(second.name_address(told, now).unwrap_err(), Refusal::RatePerAddress);
    assert_eq!(admission.admit(Some(told), now).unwrap_err(), Refusal::RatePerAddress);
    admission.admit(Some(address(2)), now).unwrap().name_address(told, now).unwrap();
}

#[test]
fn a_second_brings_as_many_as_the_rate_says() {
    let (admission, start) = (admission(|limits| limits.connection_rate_max = 4), Instant::now());
    let admitted = |millis| {
        let now = start + Duration::from_millis(millis);
        (0..10).filter(|_| admission.admit(None, now).is_ok()).count()
    };
    assert_eq!([0, 249, 250, 1000, 1000, 90_000].map(admitted), [4, 0, 1, 3, 0, 4]);
    assert_eq!(refused(&admission.figures(), Refusal::Rate), 60 - 12);
}

#[test]
fn whoever_knocks_too_often_does_not_shut_the_door_for_others() {
    let admission = admission(|limits| {
        limits.connection_rate_max = 3;
        limits.connection_rate_per_address_max = 1;
    });
    let now = Instant::now();
    admission.admit(Some(address(1)), now).unwrap();
    for _ in 0..100 {
        let refusal = admission.admit(Some(address(1)), now).unwrap_err();
        assert_eq!(refusal, Refusal::RatePerAddress);
    }
    admission.admit(Some(address(2)), now).unwrap();
    admission.admit(Some(address(3)), now).unwrap();
    assert_eq!(admission.admit(Some(address(4)), now).unwrap_err(), Refusal::Rate);
}

#[test]
fn threads_never_get_more_than_there_is() {
    let admission = admission(|limits| limits.connections_max = 5);
    let now = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let slots: Vec<_> = (0..4).map(|_| admission.admit(None, now)).collect();
                    assert!(admission.figures().open <= 5);
                    drop(slots);
                }
            });
        }
    });
    let figures = admission.figures();
    assert_eq!((figures.open, figures.handshaking), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Connect(Option<u8>),
    HandshakeDone(usize),
    Close(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..700_000_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Wait(250_000_000)),
        9 => proptest::option::weighted(0.9, 0..4_u8).prop_map(Step::Connect),
        2 => any::<usize>().prop_map(Step::HandshakeDone),
        2 => any::<usize>().prop_map(Step::Close),
    ];
    proptest::collection::vec(step, 0..200)
}

/// Computes each level anew from everything that was ever taken, in fractions of a token.
#[derive(Default)]
struct Model {
    taken: Vec<(u64, Option<u8>)>,
    slots: Vec<bool>,
}

impl Model {
    /// Returns whether a bucket with this rate has a token, after everything that passes `filter`
    /// was taken.
    fn has_token(&self, rate: u32, now: u64, filter: impl Fn(Option<u8>) -> bool) -> bool {
        if rate == 0 {
            return true;
        }
        let full = u128::from(rate) * 1_000_000_000;
        let (mut level, mut last) = (full, 0);
        for (at, _) in self.taken.iter().filter(|(_, address)| filter(*address)) {
            level = full.min(level + u128::from(at - last) * u128::from(rate)) - 1_000_000_000;
            last = *at;
        }
        full.min(level + u128::from(now - last) * u128::from(rate)) >= 1_000_000_000
    }

    fn refusal(&self, limits: &ListenerLimits, from: Option<u8>, now: u64) -> Option<Refusal> {
        if is_reached(limits.connections_max, self.slots.len()) {
            return Some(Refusal::Connections);
        }
        let of_address = limits.connection_rate_per_address_max;
        if from.is_some() && !self.has_token(of_address, now, |address| address == from) {
            return Some(Refusal::RatePerAddress);
        }
        let of_all = limits.connection_rate_max;
        (!self.has_token(of_all, now, |_| true)).then_some(Refusal::Rate)
    }
}

fn is_reached(max: u32, count: usize) -> bool {
    max > 0 && count >= max as usize
}

proptest! {
    #[test]
    fn does_what_the_model_does(
        connections_max in 0..8_u32,
        handshakes_max in 0..6_u32,
        connection_rate_max in 0..7_u32,
        connection_rate_per_address_max in 0..4_u32,
        steps in steps(),
    ) {
        let limits = ListenerLimits {
            connections_max,
            handshakes_max,
            connection_rate_max,
            connection_rate_per_address_max,
            ..ListenerLimits::default()
        };
        let admission = admission(|it| it.clone_from(&limits));
        let (start, mut nanos, mut model) = (Instant::now(), 0, Model::default());
        let mut slots: Vec<Slot> = Vec::new();
        for step in steps {
            let now = start + Duration::from_nanos(nanos);
            match step {
                Step::Wait(passed) => nanos += passed,
                Step::Connect(from) => {
                    let result = admission.admit(from.map(address), now);
                    let expected = model.refusal(&limits, from, nanos);
                    prop_assert_eq!(result.as_ref().err().copied(), expected);
                    if let Ok(mut slot) = result {
                        let handshaking = model.slots.iter().filter(|it| **it).count();
                        let has_begun = slot.begin_handshake().is_ok();
                        let may_begin = !is_reached(limits.handshakes_max, handshaking);
                        prop_assert_eq!(has_begun, may_begin);
                        slots.push(slot);
                        model.slots.push(has_begun);
                        model.taken.push((nanos, from));
                    }
                }
                Step::HandshakeDone(number) if !slots.is_empty() => {
                    let number = number % slots.len();
                    slots[number].handshake_done();
                    model.slots[number] = false;
                }
                Step::Close(number) if !slots.is_empty() => {
                    let number = number % slots.len();
                    slots.swap_remove(number);
                    model.slots.swap_remove(number);
                }
                Step::HandshakeDone(_) | Step::Close(_) => {}
            }
            let figures = admission.figures();
            prop_assert_eq!(figures.open as usize, model.slots.len());
            let handshaking = model.slots.iter().filter(|is_handshaking| **is_handshaking).count();
            prop_assert_eq!(figures.handshaking as usize, handshaking);
            prop_assert_eq!(figures.accepted as usize, model.taken.len());
        }
    }
}
