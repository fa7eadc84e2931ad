//! A session is checked against rules, against RFC 6455's own examples, and against tungstenite's
//! WebSocket.

mod closing;
mod frames;
mod other_side;
mod request;
mod response;

use std::sync::Arc;

use super::error::{Violation, WebSocketError};
use super::frames::Role;
use super::mask::apply_mask;
use super::{WebSocketProgress, WebSocketSession};
use crate::listen::WebSocketOptions;

const BINARY: u8 = 2;
const TEXT: u8 = 1;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FINAL: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Returns a frame as RFC 6455 draws it, made independently of any other code.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(masked | length as u8),
        length @ 126..0x1_0000 => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[start..], mask.unwrap_or_default());
    bytes
}

/// Returns a client's frame that is not fragmented.
fn from_client(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FINAL | opcode, Some(MASK), payload)
}

/// Returns a server's frame that is not fragmented.
fn from_server(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FINAL | opcode, None, payload)
}

/// A session with everything that it has sent and received.
struct Side {
    session: WebSocketSession,
    payload: Vec<u8>,
    out: Vec<u8>,
    has_ended: bool,
}

impl Side {
    fn new(session: WebSocketSession) -> Self {
        Self { session, payload: Vec::new(), out: Vec::new(), has_ended: false }
    }

    fn opened(role: Role) -> Self {
        Self::new(WebSocketSession::opened(role))
    }

    fn server() -> Self {
        Self::new(WebSocketSession::server(Arc::new(WebSocketOptions::default())))
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), WebSocketError> {
        let mut bytes = bytes.to_vec();
        let WebSocketProgress { count, has_ended } =
            self.session.receive(&mut bytes, &mut self.out)?;
        self.payload.extend_from_slice(&bytes[..count]);
        self.has_ended |= has_ended;
        Ok(())
    }

    fn receive_in_pieces(
        &mut self,
        bytes: &[u8],
        piece_length: usize,
    ) -> Result<(), WebSocketError> {
        bytes.chunks(piece_length).try_for_each(|piece| self.receive(piece))
    }

    fn out_text(&self) -> &str {
        str::from_utf8(&self.out).unwrap()
    }
}

/// Returns the code and the reason of a server's close frame, which must be all there is.
fn close_of(out: &[u8]) -> (u16, &str) {
    assert_eq!(out[0], FINAL | CLOSE, "a close frame");
    assert_eq!(usize::from(out[1]), out.len() - 2, "a close frame and nothing else");
    let code = u16::from_be_bytes([out[2], out[3]]);
    (code, str::from_utf8(&out[4..]).unwrap())
}
