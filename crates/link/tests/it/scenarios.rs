//! What two ends do in particular situations, frame by frame.

use midge_link::{Epoch, Event, FrameError, Link, Refused, Settings};
use proptest::prelude::*;

const SETTINGS: Settings = Settings {
    window_payloads: 3,
    window_bytes: 100,
    payload_bytes_max: 120,
    resend_ms_min: 10,
    resend_ms_max: 80,
};

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).expect("not 0")
}

/// Ends with the epochs 1 and 2 that know each other.
fn pair() -> (Link, Link) {
    let mut ends = (Link::new(epoch(1), SETTINGS, 0), Link::new(epoch(2), SETTINGS, 0));
    exchange(&mut ends.0, &mut ends.1, 0);
    assert_eq!(events(&mut ends.0), [Event::Began(epoch(2))]);
    assert_eq!(events(&mut ends.1), [Event::Began(epoch(1))]);
    ends
}

fn frames(link: &mut Link, now_ms: u64) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| link.poll_transmit(now_ms)).collect()
}

fn give(link: &mut Link, frames: &[Vec<u8>], now_ms: u64) {
    frames.iter().for_each(|frame| link.handle_frame(frame, now_ms).expect("a frame"));
}

/// Carries frames both ways until there are no more.
fn exchange(one: &mut Link, two: &mut Link, now_ms: u64) {
    loop {
        let (of_one, of_two) = (frames(one, now_ms), frames(two, now_ms));
        if of_one.is_empty() && of_two.is_empty() {
            return;
        }
        give(two, &of_one, now_ms);
        give(one, &of_two, now_ms);
    }
}

fn events(link: &mut Link) -> Vec<Event> {
    std::iter::from_fn(|| link.poll_event()).collect()
}

fn received(from: u64, number: u64, payload: &[u8]) -> Event {
    Event::Received { epoch: epoch(from), number, payload: payload.to_vec() }
}

#[test]
fn a_payload_is_acknowledged_when_it_is_kept() {
    let (mut one, mut two) = pair();
    assert_eq!(one.send(b"a".to_vec()), Ok(1));
    assert_eq!(one.send(b"b".to_vec()), Ok(2));
    exchange(&mut one, &mut two, 1);
    assert_eq!(events(&mut two), [received(1, 1, b"a"), received(1, 2, b"b")]);
    assert_eq!((events(&mut one), two.held()), (vec![], (2, 2)));
    two.acknowledge(epoch(1), 1);
    exchange(&mut one, &mut two, 2);
    assert_eq!((events(&mut one), two.held()), (vec![Event::Acknowledged(1)], (1, 1)));
    two.acknowledge(epoch(9), 2);
    two.acknowledge(epoch(1), 77);
    exchange(&mut one, &mut two, 3);
    assert_eq!(events(&mut one), [Event::Acknowledged(2)]);
    assert_eq!((one.unacknowledged(), one.next_deadline_ms()), ((0, 0), None));
}

#[test]
fn what_is_lost_is_sent_again_and_less_and_less_often() {
    let (mut one, mut two) = pair();
    one.send(b"a".to_vec()).unwrap();
    let mut sent_at = Vec::new();
    for now_ms in 1..400 {
        sent_at.extend(frames(&mut one, now_ms).iter().map(|_| now_ms));
    }
    assert_eq!(sent_at, [1, 11, 31, 71, 151, 231, 311, 391]);
    exchange(&mut one, &mut two, 400);
    assert_eq!(one.next_deadline_ms(), Some(471));
    exchange(&mut one, &mut two, 471);
    assert_eq!(events(&mut two), [received(1, 1, b"a")]);
    // It was taken and is not kept: now it is only asked about.
    let asked = frames(&mut one, 481);
    assert_eq!((asked.len(), asked[0].len()), (1, 42), "a frame without a payload");
    two.acknowledge(epoch(1), 1);
    assert_eq!(frames(&mut two, 482).len(), 1, "which is lost");
    give(&mut two, &asked, 483);
    exchange(&mut one, &mut two, 484);
    assert_eq!(events(&mut one), [Event::Acknowledged(1)]);
}

#[test]
fn payloads_that_come_early_or_twice_are_taken_once_and_in_order() {
    let (mut one, mut two) = pair();
    for payload in [b"a", b"b", b"c"] {
        one.send(payload.to_vec()).unwrap();
    }
    let mut all = frames(&mut one, 1);
    all.reverse();
    give(&mut two, &all[..2], 2);
    assert_eq!((events(&mut two), two.held()), (vec![], (2, 2)));
    give(&mut two, &all, 3);
    give(&mut two, &all, 4);
    let expected = [received(1, 1, b"a"), received(1, 2, b"b"), received(1, 3, b"c")];
    assert_eq!(events(&mut two), expected);
}

#[test]
fn the_window_is_bounded_in_payloads_and_bytes() {
    let (mut one, mut two) = pair();
    for number in 1..=3 {
        assert_eq!(one.send(vec![0; 10]), Ok(number));
    }
    assert_eq!(one.send(vec![0]), Err(Refused::NoRoom(vec![0])));
    exchange(&mut one, &mut two, 1);
    two.acknowledge(epoch(1), 2);
    exchange(&mut one, &mut two, 2);
    assert_eq!(one.send(vec![0; 91]), Err(Refused::NoRoom(vec![0; 91])));
    two.acknowledge(epoch(1), 3);
    exchange(&mut one, &mut two, 3);
    assert_eq!(one.send(vec![0; 120]), Ok(4), "it goes alone");
    assert_eq!(one.send(vec![]), Err(Refused::NoRoom(vec![])));
    assert_eq!(one.send(vec![0; 121]), Err(Refused::TooLarge(vec![0; 121])));
    exchange(&mut one, &mut two, 4);
    assert_eq!(two.held(), (1, 120));
}

#[test]
fn nothing_is_sent_to_nobody() {
    let mut alone = Link::new(epoch(1), SETTINGS, 5);
    assert_eq!(alone.send(vec![1]), Err(Refused::NobodyThere(vec![1])));
    assert_eq!(alone.next_deadline_ms(), Some(5));
    assert_eq!(frames(&mut alone, 5).len(), 1, "it looks for the other one");
    assert_eq!(alone.next_deadline_ms(), Some(15));
}

#[test]
fn a_restart_is_noticed_and_what_was_not_acknowledged_is_reported() {
    let (mut one, mut two) = pair();
    for payload in [b"a", b"b", b"c"] {
        one.send(payload.to_vec()).unwrap();
    }
    let late = frames(&mut one, 1);
    give(&mut two, &late, 1);
    two.acknowledge(epoch(1), 1);
    exchange(&mut one, &mut two, 2);
    let mut two = Link::new(epoch(3), SETTINGS, 3);
    // What was sent to its predecessor is not for it; but it shows that there is somebody.
    give(&mut two, &late, 3);
    assert_eq!(events(&mut two), [Event::Began(epoch(1))]);
    exchange(&mut one, &mut two, 4);
    let undelivered = vec![(2, b"b".to_vec()), (3, b"c".to_vec())];
    let ended = Event::Ended { epoch: epoch(2), undelivered };
    assert_eq!(events(&mut one), [Event::Acknowledged(1), ended, Event::Began(epoch(3))]);
    assert_eq!(one.send(b"new".to_vec()), Ok(1), "everything begins anew");
    exchange(&mut one, &mut two, 5);
    assert_eq!(events(&mut two), [received(1, 1, b"new")]);
}

#[test]
fn an_earlier_incarnation_is_not_listened_to() {
    let (mut one, mut two) = pair();
    two.send(b"old".to_vec()).unwrap();
    let late = frames(&mut two, 1);
    let mut two = Link::new(epoch(3), SETTINGS, 2);
    exchange(&mut one, &mut two, 2);
    events(&mut one);
    give(&mut one, &late, 3);
    assert_eq!((events(&mut one), one.peer()), (vec![], Some(epoch(3))));
    assert_eq!(frames(&mut one, 3).len(), 1, "those that are gone are told so");
}

#[test]
fn who_was_given_up_hears_of_it_and_meets_again_in_another_life_only() {
    let (mut one, mut two) = pair();
    one.send(b"a".to_vec()).unwrap();
    two.send(b"b".to_vec()).unwrap();
    one.end(1);
    let undelivered = vec![(1, b"a".to_vec())];
    assert_eq!(events(&mut one), [Event::Ended { epoch: epoch(2), undelivered }]);
    assert_eq!(one.peer(), None);
    frames(&mut one, 1); // which are lost
    // Whatever it says, it is told again.
    exchange(&mut one, &mut two, 2);
    let undelivered = vec![(1, b"b".to_vec())];
    assert_eq!(events(&mut two), [Event::Ended { epoch: epoch(1), undelivered }]);
    for now_ms in 3..500 {
        exchange(&mut one, &mut two, now_ms);
    }
    assert_eq!((events(&mut one), events(&mut two)), (vec![], vec![]));
    let mut one = Link::new(epoch(5), SETTINGS, 500);
    exchange(&mut one, &mut two, 500);
    assert_eq!(events(&mut one), [Event::Began(epoch(2))]);
    assert_eq!(events(&mut two), [Event::Began(epoch(5))]);
}

#[test]
fn what_is_no_frame_changes_nothing() {
    let (mut one, mut two) = pair();
    assert_eq!(one.handle_frame(&[], 1), Err(FrameError::Truncated));
    assert_eq!(one.handle_frame(&[9], 1), Err(FrameError::UnknownVersion(9)));
    one.send(vec![7; 120]).unwrap();
    let mut large = frames(&mut one, 1).remove(0);
    large.push(7);
    assert!(matches!(two.handle_frame(&large, 1), Err(FrameError::Invalid(_))));
    assert_eq!((events(&mut two), frames(&mut two, 1)), (vec![], vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever another process claims, the own payloads are not acknowledged before they were
    /// sent, and no more is held than the windows allow.
    #[test]
    fn nobody_can_make_an_end_do_harm(
        claims in prop::collection::vec(
            (1..6_u8, prop::array::uniform5(0..6_u64), prop::collection::vec(0..9_u8, 0..130)),
            1..60,
        ),
    ) {
        let mut link = Link::new(epoch(2), SETTINGS, 0);
        let mut now_ms = 0;
        for (kind, numbers, payload) in claims {
            let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
            let frame: Vec<u8> = [1, kind].into_iter().chain(numbers).chain(payload).collect();
            let _ = link.handle_frame(&frame, now_ms);
            let _ = link.send(vec![1; 30]);
            let (payloads, bytes) = link.held();
            prop_assert!(payloads <= 3 && (bytes <= 100 || payloads == 1));
            prop_assert!(frames(&mut link, now_ms).len() < 50);
            let mut last = 0;
            for event in events(&mut link) {
                match event {
                    Event::Acknowledged(number) => {
                        prop_assert!(number > last);
                        last = number;
                    }
                    Event::Received { payload, .. } => prop_assert!(payload.len() <= 120),
                    _ => last = 0,
                }
            }
            now_ms += 7;
        }
    }
}
