//! One connection's WebSocket, on either side: opening, frames, closing.

use std::io::IoSlice;
use std::mem;
use std::sync::Arc;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::ANSWERS_BYTES_MAX;
use super::client_handshake::ClientHandshake;
use super::error::{Violation, WebSocketError};
use super::frames::{Frame, Headers, Kind, Role};
use super::mask::{Masks, advance_mask, apply_mask};
use super::server_handshake::ServerHandshake;
use crate::listen::WebSocketOptions;

/// One connection's WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocketSession {
    state: State,
    headers: Headers,
    /// The frame whose payload is coming.
    frame: Option<Frame>,
    /// The payload of a control frame as far as it has come, if it did not come at once.
    control: Vec<u8>,
    /// The payload of the newest ping that was not answered because too much was to be sent.
    unanswered: Option<Box<[u8]>>,
    /// The masks of a client's frames.
    masks: Option<Box<Masks>>,
}

#[derive(Debug)]
enum State {
    AwaitsRequest(Box<ServerHandshake>),
    AwaitsResponse(Box<ClientHandshake>),
    Open,
    /// We have sent a close frame and the peer has not.
    Closing,
    /// Nothing more is accepted.
    Ended,
}

/// What `receive` has made of the bytes given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WebSocketProgress {
    /// How many bytes of payload are at the front.
    pub(crate) count: usize,
    /// Whether the peer has closed: nothing more will come.
    pub(crate) has_ended: bool,
}

impl WebSocketSession {
    /// Returns a server's session, which waits for a request.
    pub(crate) fn server(options: Arc<WebSocketOptions>) -> Self {
        let handshake = Box::new(ServerHandshake::new(options));
        Self::new(State::AwaitsRequest(handshake), Role::Server)
    }

    /// Returns a client's session, and appends to `out` its request for `path` (with a query
    /// string, if any) of `host` (with the port, if it is not the usual one).
    pub(crate) fn client(host: &str, path: &str, out: &mut Vec<u8>) -> Self {
        let handshake = Box::new(ClientHandshake::new(host, path, out));
        Self::new(State::AwaitsResponse(handshake), Role::Client)
    }

    /// Returns a session whose handshake is over.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn opened(role: Role) -> Self {
        Self::new(State::Open, role)
    }

    fn new(state: State, role: Role) -> Self {
        let masks = (role == Role::Client).then(|| Box::new(Masks::new()));
        let headers = Headers::new(role);
        Self { state, headers, frame: None, control: Vec::new(), unanswered: None, masks }
    }

    /// Takes what arrived. Payload of binary messages is unmasked and moved to the front of
    /// `bytes`; answers are appended to `out`.
    ///
    /// # Errors
    ///
    /// The handshake failed or the peer broke a rule: `out` has the last words, if there are any.
    /// Payload that came before the failure in `bytes` is lost.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<WebSocketProgress, WebSocketError> {
        let Some(taken) = self.receive_head(bytes, out).inspect_err(|_| self.end())? else {
            return Ok(WebSocketProgress { count: 0, has_ended: false });
        };
        self.answer_late(out);
        match self.receive_frames(bytes, taken, out) {
            Ok(count) => Ok(WebSocketProgress { count, has_ended: self.has_ended() }),
            Err(violation) => self.fail(violation, out),
        }
    }

    /// Appends one binary frame with the first `length` bytes of `slices` to `out`; none, if
    /// `length` is 0. Not to be called during the handshake, and without effect after the end.
    pub(crate) fn seal(&mut self, slices: &[IoSlice<'_>], length: usize, out: &mut Vec<u8>) {
        debug_assert!(!self.is_handshaking(), "frames follow the handshake");
        debug_assert!(length <= slices.iter().map(|slice| slice.len()).sum());
        if length == 0 || !matches!(self.state, State::Open) {
            return;
        }
        self.answer_late(out);
        let mask = self.append_header(OpCode::Data(Data::Binary), length, out);
        let start = out.len();
        let mut missing = length;
        for slice in slices {
            let part = &slice[..slice.len().min(missing)];
            out.extend_from_slice(part);
            missing -= part.len();
        }
        if let Some(mask) = mask {
            apply_mask(&mut out[start..], mask);
        }
    }

    /// Appends a close frame, once. What the peer sends from then on is ignored until it closes,
    /// too.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        /// The purpose is fulfilled. RFC 6455, 7.4.1
        const NORMAL: u16 = 1000;
        match self.state {
            State::Open => {
                self.append_control(Control::Close, &NORMAL.to_be_bytes(), out);
                self.state = State::Closing;
            }
            State::AwaitsRequest(_) | State::AwaitsResponse(_) => self.end(),
            State::Closing | State::Ended => {}
        }
    }

    /// Returns whether the request or the response has not come yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.state, State::AwaitsRequest(_) | State::AwaitsResponse(_))
    }

    /// Returns how many bytes are kept of what is incomplete.
    pub(crate) fn kept_bytes(&self) -> usize {
        let head = match &self.state {
            State::AwaitsRequest(handshake) => handshake.kept_bytes(),
            State::AwaitsResponse(handshake) => handshake.kept_bytes(),
            State::Open | State::Closing | State::Ended => 0,
        };
        head + self.control.capacity()
    }

    /// Returns how many of `bytes` belonged to the handshake, once it is over.
    fn receive_head(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, WebSocketError> {
        let taken = match &mut self.state {
            State::AwaitsRequest(handshake) => handshake.receive(bytes, out)?,
            State::AwaitsResponse(handshake) => handshake.receive(bytes)?,
            State::Open | State::Closing | State::Ended => return Ok(Some(0)),
        };
        if taken.is_some() {
            self.state = State::Open;
        }
        Ok(taken)
    }

    /// Takes frames from `bytes[at..]`. Returns the number of bytes of payload.
    fn receive_frames(
        &mut self,
        bytes: &mut [u8],
        mut at: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Violation> {
        let mut count = 0;
        while !self.has_ended() {
            let Some(mut frame) = self.frame else {
                if at == bytes.len() {
                    break;
                }
                let (taken, frame) = self.headers.take(&bytes[at..])?;
                at += taken;
                self.frame = frame;
                continue;
            };
            let length = (frame.remaining as usize).min(bytes.len() - at);
            if length == 0 && frame.remaining > 0 {
                break;
            }
            let part = &mut bytes[at..at + length];
            apply_mask(part, frame.mask);
            frame.mask = advance_mask(frame.mask, length);
            frame.remaining -= length as u32;
            self.frame = (frame.remaining > 0).then_some(frame);
            match frame.kind {
                Kind::Data if matches!(self.state, State::Open) => {
                    bytes.copy_within(at..at + length, count);
                    count += length;
                }
                Kind::Data => {}
                kind => self.receive_control(kind, part, out)?,
            }
            at += length;
        }
        Ok(count)
    }

    /// Takes a part of a control frame's payload, perhaps the last (an empty part is not kept).
    fn receive_control(
        &mut self,
        kind: Kind,
        part: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let is_complete = self.frame.is_none();
        if is_complete && self.control.is_empty() {
            return self.handle_control(kind, part, out);
        }
        self.control.extend_from_slice(part);
        if !is_complete {
            return Ok(());
        }
        let payload = mem::take(&mut self.control);
        self.handle_control(kind, &payload, out)
    }

    fn handle_control(
        &mut self,
        kind: Kind,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let is_open = matches!(self.state, State::Open);
        match kind {
            Kind::Ping if is_open && out.len() > ANSWERS_BYTES_MAX => {
                self.unanswered = Some(payload.into());
            }
            Kind::Ping if is_open => {
                self.unanswered = None;
                self.append_control(Control::Pong, payload, out);
            }
            Kind::Close => {
                let code = check_close(payload)?;
                if is_open {
                    self.append_control(Control::Close, code, out);
                }
                self.end();
            }
            Kind::Ping | Kind::Pong | Kind::Data => {}
        }
        Ok(())
    }

    /// Answers the ping that was put off, if there is room by now.
    pub(crate) fn answer_late(&mut self, out: &mut Vec<u8>) {
        if self.unanswered.is_some()
            && out.len() <= ANSWERS_BYTES_MAX
            && let Some(payload) = self.unanswered.take()
            && matches!(self.state, State::Open)
        {
            self.append_control(Control::Pong, &payload, out);
        }
    }

    /// Closes because of `violation`, unless that was done before.
    fn fail(
        &mut self,
        violation: Violation,
        out: &mut Vec<u8>,
    ) -> Result<WebSocketProgress, WebSocketError> {
        let is_open = matches!(self.state, State::Open);
        self.end();
        if !is_open {
            return Ok(WebSocketProgress { count: 0, has_ended: true });
        }
        let mut payload = violation.close_code().to_be_bytes().to_vec();
        payload.extend_from_slice(violation.to_string().as_bytes());
        self.append_control(Control::Close, &payload, out);
        Err(WebSocketError::Frame(violation))
    }

    fn end(&mut self) {
        self.state = State::Ended;
        self.unanswered = None;
        self.control = Vec::new();
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn append_control(&mut self, control: Control, payload: &[u8], out: &mut Vec<u8>) {
        let mask = self.append_header(OpCode::Control(control), payload.len(), out);
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(mask) = mask {
            apply_mask(&mut out[start..], mask);
        }
    }

    /// Appends the header of a frame with `length` bytes and makes room for these. Returns how they
    /// are to be masked.
    fn append_header(
        &mut self,
        opcode: OpCode,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Option<[u8; 4]> {
        let mask = self.masks.as_mut().map(|masks| masks.next());
        let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
        out.reserve(header.len(length as u64) + length);
        header.format(length as u64, out).expect("a Vec takes every byte");
        mask
    }
}

/// Returns the bytes of the code of a close frame, none if it has no code. RFC 6455, 7.4
fn check_close(payload: &[u8]) -> Result<&[u8], Violation> {
    let Some((bytes, reason)) = payload.split_at_checked(2) else {
        let is_empty = payload.is_empty();
        return if is_empty { Ok(payload) } else { Err(Violation::CloseWithHalfACode) };
    };
    let code = u16::from_be_bytes([bytes[0], bytes[1]]);
    // Registered codes that may be sent, and those of libraries and applications.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::CloseCode(code));
    }
    if str::from_utf8(reason).is_err() {
        return Err(Violation::CloseReason);
    }
    Ok(bytes)
}
