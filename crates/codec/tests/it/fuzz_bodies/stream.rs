//! A stream of packets that arrives in pieces: the same packets and the same error as in one.

use midge_codec::{DecodeError, Decoded, Packet, ProtocolVersion, decode};

/// How many bytes of the input say how the rest is cut.
pub(crate) const HEAD_BYTES: usize = 8;

/// The packets of a stream, how many bytes they took, and the error behind them.
#[derive(Debug, Default, PartialEq)]
struct Outcome<'a> {
    packets: Vec<Packet<'a>>,
    consumed: usize,
    error: Option<DecodeError>,
}

/// What is fixed for the whole stream; the version is that until a CONNECT names another.
#[derive(Clone, Copy)]
struct Setting {
    version: ProtocolVersion,
    packet_bytes_max: u32,
}

/// The first byte of `data` is the version, the second the longest packet in units of 8 bytes (0:
/// no limit), six more are the lengths of the pieces, in turns; the rest is the stream.
///
/// Panics if the pieces give something else than the whole.
pub(crate) fn check(data: &[u8]) {
    let Some((head, stream)) = data.split_first_chunk::<HEAD_BYTES>() else { return };
    let version = match head[0] % 3 {
        0 => ProtocolVersion::V3_1,
        1 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5,
    };
    let packet_bytes_max = match head[1] {
        0 => u32::MAX,
        eights => u32::from(eights) * 8,
    };
    let setting = Setting { version, packet_bytes_max };
    let whole = receive(stream, setting, &[usize::MAX]);
    let lengths: Vec<_> = head[2..].iter().map(|&length| usize::from(length).max(1)).collect();
    assert_eq!(receive(stream, setting, &lengths), whole);
    assert_eq!(receive(stream, setting, &[1]), whole);
}

/// Decodes as a driver does: a packet is looked at again when as many bytes as it needs are there.
fn receive<'a>(stream: &'a [u8], setting: Setting, lengths: &[usize]) -> Outcome<'a> {
    let Setting { mut version, packet_bytes_max } = setting;
    let mut outcome = Outcome::default();
    let mut received = 0_usize;
    let mut awaited = 1;
    for &length in lengths.iter().cycle() {
        received = stream.len().min(received.saturating_add(length));
        while received - outcome.consumed >= awaited {
            let bytes = &stream[outcome.consumed..received];
            match decode(bytes, version, packet_bytes_max) {
                Ok(Decoded::Packet { packet, length }) => {
                    assert!(awaited <= length && length <= bytes.len());
                    if let Packet::Connect(connect) = &packet {
                        version = connect.version;
                    }
                    outcome.packets.push(packet);
                    outcome.consumed += length;
                    awaited = 1;
                }
                Ok(Decoded::Incomplete { needed }) => {
                    assert!(needed > bytes.len() && needed <= packet_bytes_max as usize);
                    awaited = needed;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
        if received == stream.len() {
            return outcome;
        }
    }
    outcome
}
