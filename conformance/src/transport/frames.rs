//! How a Client's packets are split into WebSocket frames, which must not matter to the Server.

use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// How bytes that are sent at once are split into frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// One binary message.
    #[default]
    Whole,
    /// One binary message for each byte.
    Bytes,
    /// Messages of odd sizes, some in several fragments, with an empty message and a ping between.
    Uneven,
}

impl Framing {
    /// Returns the framing of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "whole" => Some(Self::Whole),
            "bytes" => Some(Self::Bytes),
            "uneven" => Some(Self::Uneven),
            _ => None,
        }
    }

    /// Returns the frames that carry `bytes`.
    pub fn frames(self, bytes: &[u8]) -> Vec<Message> {
        match self {
            Self::Whole => vec![Message::binary(bytes.to_vec())],
            Self::Bytes => bytes.iter().map(|byte| Message::binary(vec![*byte])).collect(),
            Self::Uneven => uneven(bytes),
        }
    }
}

fn uneven(bytes: &[u8]) -> Vec<Message> {
    const SIZES: [usize; 6] = [1, 3, 7, 2, 250, 70_000];
    let (mut frames, mut rest) = (Vec::new(), bytes);
    for (turn, size) in SIZES.iter().cycle().enumerate() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(rest.len().min(*size));
        rest = behind;
        match turn % 3 {
            0 => frames.push(Message::binary(piece.to_vec())),
            1 => {
                let (first, second) = piece.split_at(piece.len() / 2);
                frames.push(fragment(first, Data::Binary, false));
                frames.push(Message::Ping(b"between".as_slice().into()));
                frames.push(fragment(&[], Data::Continue, false));
                frames.push(fragment(second, Data::Continue, true));
            }
            _ => {
                frames.push(Message::binary(Vec::new()));
                frames.push(Message::binary(piece.to_vec()));
            }
        }
    }
    frames
}

/// Returns one frame of a message that has several.
pub fn fragment(bytes: &[u8], data: Data, is_last: bool) -> Message {
    Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(data), is_last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_all_bytes_in_order() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        for framing in [Framing::Whole, Framing::Bytes, Framing::Uneven] {
            let mut carried = Vec::new();
            for frame in framing.frames(&bytes) {
                match frame {
                    Message::Binary(piece) => carried.extend_from_slice(&piece),
                    Message::Frame(frame) => carried.extend_from_slice(frame.payload()),
                    _ => {}
                }
            }
            assert!(carried == bytes, "{framing:?}");
        }
    }
}
