//! Both roles against tungstenite's WebSocket, joined in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;

use proptest::prelude::*;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::handshake::server::{Request, Response, ServerHandshake};
use tungstenite::handshake::{HandshakeError, HandshakeRole, MidHandshake};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use super::{Side, WebSocketSession};

/// Tungstenite's end of a connection.
#[derive(Clone, Debug, Default)]
struct Wire {
    to_it: Rc<RefCell<VecDeque<u8>>>,
    from_it: Rc<RefCell<Vec<u8>>>,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.to_it.borrow_mut().read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_it.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A session of ours and a WebSocket of tungstenite's, after the handshake.
struct Pair {
    ours: Side,
    theirs: WebSocket<Wire>,
    wire: Wire,
}

impl Wire {
    /// Gives our side what tungstenite wrote, in pieces, and tungstenite our answers.
    fn carry(&self, ours: &mut Side, piece_length: usize) {
        let bytes = std::mem::take(&mut *self.from_it.borrow_mut());
        ours.receive_in_pieces(&bytes, piece_length).unwrap();
        self.to_it.borrow_mut().extend(ours.out.drain(..));
    }
}

fn go_on<R: HandshakeRole>(result: Result<R::FinalResult, HandshakeError<R>>) -> MidHandshake<R> {
    match result {
        Err(HandshakeError::Interrupted(handshake)) => handshake,
        Err(HandshakeError::Failure(error)) => panic!("{error}"),
        Ok(_) => panic!("nobody has answered yet"),
    }
}

/// Joins our server with tungstenite's client.
fn server_and_client(piece_length: usize) -> Pair {
    let wire = Wire::default();
    let mut request = tungstenite::client::IntoClientRequest::into_client_request(
        "ws://broker.example:8083/mqtt?x",
    )
    .unwrap();
    let subprotocols = HeaderValue::from_static("chat, mqtt");
    request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocols);
    let handshake = ClientHandshake::start(wire.clone(), request, None).unwrap();
    let handshake = go_on(handshake.handshake());
    let mut ours = Side::server();
    wire.carry(&mut ours, piece_length);
    let Ok((theirs, response)) = handshake.handshake() else { panic!("the response is good") };
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    Pair { ours, theirs, wire }
}

/// Joins our client with tungstenite's server.
fn client_and_server(piece_length: usize) -> Pair {
    let wire = Wire::default();
    #[allow(clippy::result_large_err)] // as tungstenite wants it
    let choose = |request: &Request, mut response: Response| {
        let offered = request.headers()["Sec-WebSocket-Protocol"].clone();
        response.headers_mut().insert("Sec-WebSocket-Protocol", offered);
        Ok(response)
    };
    let handshake = go_on(ServerHandshake::start(wire.clone(), choose, None).handshake());
    let mut out = Vec::new();
    let mut ours = Side::new(WebSocketSession::client("broker.example", "/mqtt", &mut out));
    wire.to_it.borrow_mut().extend(out);
    let Ok(theirs) = handshake.handshake() else { panic!("the request is good") };
    wire.carry(&mut ours, piece_length);
    Pair { ours, theirs, wire }
}

fn pairs(piece_length: usize) -> [Pair; 2] {
    [server_and_client(piece_length), client_and_server(piece_length)]
}

impl Pair {
    /// Sends these messages from tungstenite, with pings in between; our side has to get them
    /// unchanged.
    fn exchange_to_ours(&mut self, messages: &[Vec<u8>], piece_length: usize) {
        for message in messages {
            self.theirs.write(Message::binary(message.clone())).unwrap();
            self.theirs.write(Message::Ping(vec![7; 5].into())).unwrap();
        }
        self.theirs.flush().unwrap();
        self.wire.carry(&mut self.ours, piece_length);
        assert!(self.ours.payload == messages.concat());
        for _ in messages {
            assert_eq!(self.theirs.read().unwrap(), Message::Pong(vec![7; 5].into()));
        }
    }

    /// Sends these messages from our side, each as a frame.
    fn exchange_to_theirs(&mut self, messages: &[Vec<u8>]) {
        for message in messages {
            let (front, back) = message.split_at(message.len() / 2);
            let slices = [IoSlice::new(front), IoSlice::new(back)];
            self.ours.session.seal(&slices, message.len(), &mut self.ours.out);
        }
        self.wire.carry(&mut self.ours, 1000);
        for message in messages.iter().filter(|message| !message.is_empty()) {
            assert!(self.theirs.read().unwrap() == Message::binary(message.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn messages_get_through_in_both_directions(
        messages in prop::collection::vec(
            prop_oneof![
                4 => prop::collection::vec(any::<u8>(), 0..200),
                1 => prop::collection::vec(any::<u8>(), 65_000..66_000),
            ],
            0..6,
        ),
        piece_length in prop_oneof![1..10usize, 1..100_000usize],
    ) {
        for mut pair in pairs(piece_length) {
            pair.exchange_to_ours(&messages, piece_length);
            pair.exchange_to_theirs(&messages);
        }
    }
}

#[test]
fn their_close_is_answered() {
    for mut pair in pairs(1) {
        let frame = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
        pair.theirs.close(Some(frame)).unwrap();
        pair.wire.carry(&mut pair.ours, 2);
        assert!(pair.ours.has_ended);
        let Ok(Message::Close(Some(answer))) = pair.theirs.read() else { panic!("no answer") };
        assert_eq!((answer.code, answer.reason.as_str()), (CloseCode::Away, ""));
    }
}

#[test]
fn our_close_is_answered() {
    for mut pair in pairs(1) {
        pair.ours.session.close(&mut pair.ours.out);
        pair.wire.carry(&mut pair.ours, 1);
        let Ok(Message::Close(Some(close))) = pair.theirs.read() else { panic!("no close") };
        assert_eq!(close.code, CloseCode::Normal);
        let _ = pair.theirs.flush();
        pair.wire.carry(&mut pair.ours, 1);
        assert!(pair.ours.has_ended);
    }
}
