//! WebSocket streams made of any bytes: pieces must give the same result as the whole, and nothing
//! may grow.

use std::io::IoSlice;
use std::sync::Arc;

use crate::listen::WebSocketOptions;
use crate::websocket::{Role, WebSocketError, WebSocketSession};

/// More than any answer to a handshake.
const RESPONSE_BYTES_MAX: usize = 1024;
/// More than a close frame.
const CLOSE_BYTES_MAX: usize = 128;

/// Everything that came out of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    payload: Vec<u8>,
    out: Vec<u8>,
    has_ended: bool,
    is_handshaking: bool,
}

/// Checks one input. `data` is a byte whose two lowest bits choose what the session is (a server, a
/// server or a client after its handshake, a server that has closed) and whose other bits say how
/// long pieces are; then come the bytes that a peer sends.
///
/// # Panics
///
/// If something does not hold.
pub fn check_websocket(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let whole = receive(choice, bytes, bytes.len().max(1));
    let pieces = receive(choice, bytes, usize::from(choice >> 2) + 1);
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert!(whole.payload.len() <= bytes.len());
            // A client's masks differ from session to session.
            if choice & 3 == 2 {
                assert_eq!(whole.out.len(), pieces.out.len());
                assert_eq!(whole.payload, pieces.payload);
            } else {
                assert_eq!(whole, pieces);
            }
        }
        (whole, pieces) => assert_eq!(whole.unwrap_err(), pieces.unwrap_err()),
    }
}

fn receive(choice: u8, bytes: &[u8], piece_length: usize) -> Result<Outcome, WebSocketError> {
    let mut out = Vec::new();
    let mut session = match choice & 3 {
        0 => WebSocketSession::server(Arc::new(WebSocketOptions::default())),
        2 => WebSocketSession::opened(Role::Client),
        _ => WebSocketSession::opened(Role::Server),
    };
    if choice & 3 == 3 {
        session.close(&mut out);
    }
    let (mut payload, mut has_ended) = (Vec::new(), false);
    for piece in bytes.chunks(piece_length) {
        let mut piece = piece.to_vec();
        let result = session.receive(&mut piece, &mut out);
        // A client's pong is four bytes longer than the server's ping.
        let answers_bytes_max = bytes.len() * 3 + RESPONSE_BYTES_MAX + CLOSE_BYTES_MAX;
        assert!(out.len() <= answers_bytes_max, "answers are not longer than what they answer");
        let progress = result?;
        assert!(!has_ended || progress.has_ended, "an end is for good");
        has_ended = progress.has_ended;
        payload.extend_from_slice(&piece[..progress.count]);
    }
    Ok(Outcome { payload, out, has_ended, is_handshaking: session.is_handshaking() })
}

/// A session for benchmarks.
#[derive(Debug)]
pub struct Session(WebSocketSession);

impl Session {
    /// Returns a server whose handshake is over.
    pub fn server() -> Self {
        Self(WebSocketSession::opened(Role::Server))
    }

    /// Returns a client whose handshake is over.
    pub fn client() -> Self {
        Self(WebSocketSession::opened(Role::Client))
    }

    /// Takes what arrived. Returns how many bytes of payload there are, which are then at the
    /// front.
    ///
    /// # Panics
    ///
    /// If the frames are wrong.
    pub fn receive(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> usize {
        self.0.receive(bytes, out).expect("the frames are right").count
    }

    /// Appends a frame.
    pub fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        self.0.seal(&[IoSlice::new(payload)], payload.len(), out);
    }
}
