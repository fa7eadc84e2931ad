//! Frames: RFC 6455's examples, any division into frames and pieces, and broken rules.

use std::io::IoSlice;

use proptest::prelude::*;

use super::{
    BINARY, CLOSE, CONTINUATION, FINAL, MASK, PING, PONG, Role, Side, TEXT, Violation,
    WebSocketError, close_of, frame, from_client, from_server,
};
use crate::websocket::{ANSWERS_BYTES_MAX, FRAME_BYTES_MAX};

#[test]
fn the_examples_of_the_rfc_are_read() {
    // 5.7, with a binary message where it has a text.
    let mut server = Side::opened(Role::Server);
    server.receive(&[0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).unwrap();
    assert_eq!(server.payload, b"Hello");
    server.receive(&[0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).unwrap();
    assert_eq!(server.out, [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    let mut client = Side::opened(Role::Client);
    client.receive(&[0x02, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]).unwrap();
    assert_eq!(client.payload, b"Hello");
    for (header, length) in
        [(&[0x82, 0x7e, 0x01, 0x00][..], 256), (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65536)]
    {
        let mut client = Side::opened(Role::Client);
        client.receive(&[header, &vec![7; length]].concat()).unwrap();
        assert_eq!(client.payload, vec![7; length]);
    }
}

#[test]
fn what_is_sealed_is_one_binary_frame() {
    for length in [1, 2, 125, 126, 127, 65535, 65536, 100_000] {
        let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let (front, back) = payload.split_at(length / 3);
        let slices = [IoSlice::new(front), IoSlice::new(&[]), IoSlice::new(back)];
        let mut server = Side::opened(Role::Server);
        server.session.seal(&slices, length, &mut server.out);
        assert!(server.out == from_server(BINARY, &payload), "{length}");
        let mut client = Side::opened(Role::Client);
        client.session.seal(&slices, length, &mut client.out);
        let mask = client.out[client.out.len() - length - 4..].first_chunk().copied();
        assert!(client.out == frame(FINAL | BINARY, mask, &payload), "{length}");
        client.out.clear();
        client.session.seal(&slices, length.min(3), &mut client.out);
        assert_eq!(client.out.len(), 6 + length.min(3), "no more than was asked for");
    }
}

#[test]
fn nothing_is_sealed_as_nothing() {
    let mut side = Side::opened(Role::Server);
    side.session.seal(&[IoSlice::new(b"abc")], 0, &mut side.out);
    assert_eq!(side.out, b"");
}

/// One part of a stream: a frame of a message, or one between frames.
#[derive(Clone, Debug)]
enum Part {
    Data { payload: Vec<u8>, ends_message: bool },
    Control { opcode: u8, payload: Vec<u8> },
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let length = prop_oneof![4 => 0..40usize, 1 => 120..130usize, 1 => 65530..65540usize];
    let payload = length.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    let data = (payload, any::<bool>())
        .prop_map(|(payload, ends_message)| Part::Data { payload, ends_message });
    let payload = prop::collection::vec(any::<u8>(), 0..=125);
    let control = (prop_oneof![Just(PING), Just(PONG)], payload)
        .prop_map(|(opcode, payload)| Part::Control { opcode, payload });
    prop::collection::vec(prop_oneof![3 => data, 1 => control], 0..12)
}

/// Returns the stream, the content of its messages, and the payloads of its pings.
fn stream_of(parts: &[Part], mask: Option<[u8; 4]>) -> (Vec<u8>, Vec<u8>, Vec<Vec<u8>>) {
    let (mut stream, mut plain, mut pings) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_in_message = false;
    for part in parts {
        match part {
            Part::Data { payload, ends_message } => {
                let opcode = if is_in_message { CONTINUATION } else { BINARY };
                let first = if *ends_message { FINAL | opcode } else { opcode };
                stream.extend(frame(first, mask, payload));
                plain.extend_from_slice(payload);
                is_in_message = !ends_message;
            }
            Part::Control { opcode, payload } => {
                stream.extend(frame(FINAL | opcode, mask, payload));
                if *opcode == PING {
                    pings.push(payload.clone());
                }
            }
        }
    }
    (stream, plain, pings)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_may_be_divided_and_arrive_in_any_way(
        parts in parts(),
        mask in any::<[u8; 4]>(),
        piece_lengths in prop::collection::vec(prop_oneof![1..20usize, 1..70_000usize], 1..20),
    ) {
        for (role, mask) in [(Role::Server, Some(mask)), (Role::Client, None)] {
            let (stream, plain, pings) = stream_of(&parts, mask);
            let mut side = Side::opened(role);
            let mut rest = &stream[..];
            for piece_length in piece_lengths.iter().cycle() {
                let (piece, behind) = rest.split_at(rest.len().min(*piece_length));
                side.receive(piece).unwrap();
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(side.payload == plain);
            if role == Role::Server {
                let pongs = pings.iter().flat_map(|payload| from_server(PONG, payload));
                prop_assert!(side.out == pongs.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn any_bytes_give_the_same_in_any_pieces(
        stream in prop::collection::vec(
            prop_oneof![
                prop::sample::select(&[0x82u8, 0x80, 0x02, 0x00, 0x89, 0x8a, 0x88, 0x85, 0xfe][..]),
                any::<u8>(),
            ],
            0..100,
        ),
        piece_length in 1..20usize,
    ) {
        for role in [Role::Server, Role::Client] {
            let (mut whole, mut pieces) = (Side::opened(role), Side::opened(role));
            let result = whole.receive(&stream);
            prop_assert_eq!(&result, &pieces.receive_in_pieces(&stream, piece_length));
            prop_assert_eq!(whole.out.len(), pieces.out.len());
            prop_assert_eq!(whole.has_ended, pieces.has_ended);
            if result.is_ok() {
                prop_assert_eq!(whole.payload, pieces.payload);
            }
        }
    }
}

/// Returns a client's streams, each with the rule that it breaks.
fn violations() -> Vec<(&'static str, Vec<u8>, Violation, u16)> {
    let masked = |first: u8, payload: &[u8]| frame(first, Some(MASK), payload);
    let header = |first: u8, length: &[u8]| [&[first], length, &MASK].concat();
    let too_long = (FRAME_BYTES_MAX + 1).to_be_bytes();
    let long = [&[0xff], &too_long[..]].concat();
    let longest = [&[0xff, 0x80], &[0; 7][..]].concat();
    let begun = masked(BINARY, b"begun");
    let then = |first: u8| [begun.clone(), masked(first, b"x")].concat();
    let close = |payload: &[u8]| masked(FINAL | CLOSE, payload);
    let mut rows = vec![
        ("bit 1", masked(0xc2, b""), Violation::ReservedBits, 1002),
        ("bit 2", masked(0xa2, b""), Violation::ReservedBits, 1002),
        ("bit 3", masked(0x92, b""), Violation::ReservedBits, 1002),
        ("not masked", from_server(BINARY, b"x"), Violation::NotMasked, 1002),
        ("ping not masked", from_server(PING, b""), Violation::NotMasked, 1002),
        ("16 bits for 125", header(0x82, &[0xfe, 0, 125]), Violation::LengthNotShortest, 1002),
        (
            "64 bits for 65535",
            header(0x82, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            Violation::LengthNotShortest,
            1002,
        ),
        ("more than 256 MiB", header(0x82, &long), Violation::FrameTooLong, 1009),
        ("2^63", header(0x82, &longest), Violation::FrameTooLong, 1009),
        ("2^63 of a part", header(0x02, &longest), Violation::FrameTooLong, 1009),
        ("fragmented ping", masked(PING, b""), Violation::ControlFragmented, 1002),
        ("fragmented close", masked(CLOSE, b""), Violation::ControlFragmented, 1002),
        ("long ping", masked(FINAL | PING, &[0; 126]), Violation::ControlTooLong, 1002),
        ("long close", close(&[3; 126]), Violation::ControlTooLong, 1002),
        ("ping of 2^63", header(0x89, &longest), Violation::ControlTooLong, 1002),
        ("message in message", then(FINAL | BINARY), Violation::MessageInMessage, 1002),
        ("text in message", then(FINAL | TEXT), Violation::MessageInMessage, 1002),
        ("part in message", then(BINARY), Violation::MessageInMessage, 1002),
        ("nothing begun", masked(FINAL, b"x"), Violation::NothingToContinue, 1002),
        ("no part begun", masked(0, b"x"), Violation::NothingToContinue, 1002),
        ("text", masked(FINAL | TEXT, b"x"), Violation::Text, 1003),
        ("part of a text", masked(TEXT, b"x"), Violation::Text, 1003),
        ("half a code", close(&[3]), Violation::CloseWithHalfACode, 1002),
        ("reason", close(&[3, 0xe8, 0xff]), Violation::CloseReason, 1007),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push(("opcode", masked(FINAL | opcode, b""), Violation::UnknownOpcode, 1002));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        let bytes = close(&u16::to_be_bytes(code));
        rows.push(("code", bytes, Violation::CloseCode(code), 1002));
    }
    rows
}

#[test]
fn broken_rules_are_answered_with_their_code_and_a_reason() {
    for (name, stream, violation, code) in violations() {
        for piece_length in [1, 3, stream.len()] {
            let mut side = Side::opened(Role::Server);
            let result = side.receive_in_pieces(&stream, piece_length);
            assert_eq!(result, Err(WebSocketError::Frame(violation)), "{name}");
            let (told, reason) = close_of(&side.out);
            assert_eq!((told, reason.to_string()), (code, violation.to_string()), "{name}");
            assert!(reason.len() <= 123, "{name}");
        }
    }
}

#[test]
fn a_server_must_not_mask() {
    let mut side = Side::opened(Role::Client);
    let result = side.receive(&from_client(BINARY, b"x"));
    assert_eq!(result, Err(WebSocketError::Frame(Violation::Masked)));
}

#[test]
fn the_longest_frame_is_taken_and_costs_nothing_before_it_comes() {
    let mut side = Side::opened(Role::Server);
    let header = [&[0x82, 0xff], &FRAME_BYTES_MAX.to_be_bytes()[..], &[0; 4]].concat();
    side.receive(&header).unwrap();
    let mut piece = vec![7; 1 << 20];
    let mut count = 0;
    for _ in 0..256 {
        count += side.session.receive(&mut piece, &mut side.out).unwrap().count;
    }
    assert_eq!(count, 256 << 20);
    piece.truncate(1024);
    piece.extend(from_client(BINARY, b"next"));
    assert_eq!(side.session.receive(&mut piece, &mut side.out).unwrap().count, 1024 + 4);
    assert_eq!(&piece[1024..1028], b"next");
}

#[test]
fn lengths_inside_and_outside_of_frames_need_not_agree() {
    // Two packets of 5 bytes, divided at unusual places, with empty frames in between.
    let packets = b"\x30\x03\0\x01a\x30\x03\0\x01b";
    for cut in 0..packets.len() {
        let (front, back) = packets.split_at(cut);
        let stream = [
            from_client(BINARY, b""),
            frame(BINARY, Some(MASK), front),
            frame(CONTINUATION, Some(MASK), b""),
            from_client(PING, b"?"),
            frame(FINAL | CONTINUATION, Some(MASK), back),
        ];
        let mut side = Side::opened(Role::Server);
        side.receive(&stream.concat()).unwrap();
        assert_eq!(side.payload, packets);
    }
    // A frame that claims more than it has takes the bytes after it as its payload.
    let mut lying = from_client(BINARY, b"abc");
    lying[1] = 0x80 | 100;
    let mut side = Side::opened(Role::Server);
    side.receive(&[lying, from_client(BINARY, b"def")].concat()).unwrap();
    assert_eq!(side.payload.len(), 3 + 6 + 3);
    // A frame that claims less than it has leaves bytes that are no frame.
    let mut lying = from_client(BINARY, b"abc");
    lying[1] = 0x80 | 1;
    let mut side = Side::opened(Role::Server);
    assert!(side.receive(&[lying, vec![0xff; 14]].concat()).is_err());
}

#[test]
fn pings_do_not_grow_what_is_to_be_sent_and_the_newest_is_answered_later() {
    let mut side = Side::opened(Role::Server);
    side.out = vec![0; ANSWERS_BYTES_MAX + 1];
    let pings: Vec<u8> =
        (0..100_000u32).flat_map(|n| from_client(PING, &n.to_be_bytes())).collect();
    side.receive(&pings).unwrap();
    assert_eq!(side.out.len(), ANSWERS_BYTES_MAX + 1);
    side.out.clear();
    side.session.seal(&[IoSlice::new(b"x")], 1, &mut side.out);
    let newest = from_server(PONG, &99_999u32.to_be_bytes());
    assert_eq!(side.out, [newest, from_server(BINARY, b"x")].concat());
    side.out.clear();
    side.receive(&from_client(PONG, b"")).unwrap();
    assert_eq!(side.out, b"", "once is enough");
    side.receive(&pings).unwrap();
    assert!(side.out.len() <= ANSWERS_BYTES_MAX + 127, "also of many that come at once");
}
