//! A plain socket with layers above it: a PROXY header that is expected, TLS, WebSocket.
//!
//! The layers turn bytes into bytes. This module carries bytes between them and the socket and
//! keeps what the socket did not take. What a layer has to say before it fails is still sent. This
//! module must never keep more than one sealed chunk and the layers' own answers.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::peer::{ProxyInfo, TlsInfo, Transport};
use crate::plain::Plain;
use crate::proxy::{ProxyHeader, ProxyProgress};
use crate::scratch::Scratch;
use crate::socket::PlainSocket;
use crate::stream::Received;
use crate::tls::{TlsServer, TlsSession};
use crate::websocket::WebSocketSession;

/// A socket and its layers, from the bottom up.
#[derive(Debug)]
pub(crate) struct Layered {
    socket: PlainSocket,
    proxy: Proxy,
    tls: Tls,
    websocket: Option<Box<WebSocketSession>>,
    /// Bytes that came from the socket and are still to be given to the layers.
    arrived: Vec<u8>,
    has_begun: bool,
    /// The first of all bytes that came.
    first: FirstBytes,
    milestone: Option<Milestone>,
    /// What the WebSocket has to say and TLS has not sealed yet: its first message and its answers.
    words: Vec<u8>,
    /// Bytes that wait for the socket.
    unsent: Vec<u8>,
    /// Nothing can be written any more. What came before that is still read.
    is_broken: bool,
    has_ended: bool,
    /// The layers' last words are said.
    is_shut: bool,
}

/// Enough of the first bytes to tell what protocol they begin.
#[derive(Clone, Copy, Debug, Default)]
struct FirstBytes {
    bytes: [u8; 16],
    count: u8,
}

impl FirstBytes {
    fn of(bytes: &[u8]) -> Self {
        let mut first = Self::default();
        let count = bytes.len().min(first.bytes.len());
        first.bytes[..count].copy_from_slice(&bytes[..count]);
        first.count = count as u8;
        first
    }
}

#[derive(Debug)]
enum Proxy {
    None,
    /// The header has not come yet.
    Expected(Box<ProxyHeader>),
    Done(Option<Arc<ProxyInfo>>),
}

/// What the code that lets connections in has to learn before a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// The first byte has come: the handshake begins.
    Begun,
    /// The PROXY header is over; it named this source, or none.
    Located(Option<SocketAddr>),
}

#[derive(Debug)]
enum Tls {
    None,
    /// A session is made when the first byte comes.
    Expected(Arc<TlsServer>),
    Open(Box<TlsSession>),
}

/// The result of one attempt to read.
enum Turn {
    /// So many bytes are in the reader's buffer.
    Bytes { count: usize, more: bool },
    /// What came has nothing for the reader.
    Nothing,
}

impl Layered {
    /// How often the socket is read without anything for the reader before others get their turn.
    const READS_MAX: usize = 4;
    /// How many bytes may wait for the socket. If more wait, the peer does not read but has its own
    /// bytes answered (by handshake records, say).
    const UNSENT_BYTES_MAX: usize = 256 * 1024;

    /// Returns a connection that a listener has accepted.
    pub(crate) fn accepted(
        socket: PlainSocket,
        proxy: Option<ProxyHeader>,
        tls: Option<Arc<TlsServer>>,
        websocket: Option<WebSocketSession>,
    ) -> Self {
        let proxy = proxy.map_or(Proxy::None, |header| Proxy::Expected(Box::new(header)));
        let tls = tls.map_or(Tls::None, Tls::Expected);
        Self::new(socket, proxy, tls, websocket)
    }

    /// Returns a connection that this side opens. `greeting` is what the WebSocket begins with.
    pub(crate) fn opened(
        socket: PlainSocket,
        tls: Option<TlsSession>,
        websocket: Option<WebSocketSession>,
        greeting: Vec<u8>,
    ) -> io::Result<Self> {
        let tls = tls.map_or(Tls::None, |session| Tls::Open(Box::new(session)));
        let mut layered = Self::new(socket, Proxy::None, tls, websocket);
        layered.has_begun = true;
        match &mut layered.tls {
            Tls::Open(session) => {
                session.begin(&mut layered.unsent).map_err(invalid)?;
                layered.words = greeting;
            }
            _ => layered.unsent = greeting,
        }
        Ok(layered)
    }

    fn new(
        socket: PlainSocket,
        proxy: Proxy,
        tls: Tls,
        websocket: Option<WebSocketSession>,
    ) -> Self {
        Self {
            socket,
            proxy,
            tls,
            websocket: websocket.map(Box::new),
            arrived: Vec::new(),
            has_begun: false,
            first: FirstBytes::default(),
            milestone: None,
            words: Vec::new(),
            unsent: Vec::new(),
            is_broken: false,
            has_ended: false,
            is_shut: false,
        }
    }

    /// Reads until there is something for the reader, the socket has nothing more, a milestone is
    /// reached, or it is the turn of others.
    pub(crate) fn read(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<Received> {
        for _ in 0..Self::READS_MAX {
            if self.has_ended {
                return Ok(Received::End);
            }
            if self.unsent.len() > Self::UNSENT_BYTES_MAX {
                let why = "the peer does not read what its own bytes are answered with";
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
            let turn = match &self.tls {
                _ if !self.has_begun => self.begin(scratch),
                Tls::None => self.read_directly(into, scratch),
                _ => self.read_sealed(into, scratch),
            };
            // A failure to write is not reported here but to the writer: what has come can still be
            // read.
            self.is_broken |= self.flush().is_err();
            if let Turn::Bytes { count, more } = turn? {
                return Ok(Received::Bytes { count, more: more || self.has_ended });
            }
            if self.milestone.is_some() {
                break;
            }
        }
        Ok(Received::Bytes { count: 0, more: true })
    }

    /// Reads the first bytes, which wait until it is decided whether the handshake may begin.
    fn begin(&mut self, scratch: &mut Scratch) -> io::Result<Turn> {
        let count = self.socket.read(&mut scratch.raw[..Self::FIRST_BYTES_MAX])?;
        scratch.taken += count;
        self.has_ended = count == 0;
        self.arrived = scratch.raw[..count].to_vec();
        self.first = FirstBytes::of(&self.arrived);
        self.has_begun = count > 0;
        self.milestone = self.has_begun.then_some(Milestone::Begun);
        Ok(Turn::Nothing)
    }

    /// The most bytes taken from the socket before a handshake may begin.
    const FIRST_BYTES_MAX: usize = 2048;

    /// Takes bytes that waited here, or else bytes from the socket.
    fn receive(&mut self, into: &mut [u8], taken: &mut usize) -> io::Result<(usize, bool)> {
        if self.arrived.is_empty() {
            let count = self.socket.read(into)?;
            *taken += count;
            self.has_ended = count == 0;
            return Ok((count, count == into.len()));
        }
        let count = self.arrived.len().min(into.len());
        into[..count].copy_from_slice(&self.arrived[..count]);
        if count == self.arrived.len() {
            self.arrived = Vec::new();
        } else {
            self.arrived.drain(..count);
        }
        Ok((count, true))
    }

    /// Reads without TLS, where bytes go into the reader's buffer at once.
    fn read_directly(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<Turn> {
        let (count, more) = self.receive(into, &mut scratch.taken)?;
        if let Proxy::Expected(_) = &self.proxy {
            return self.take_header(&into[..count]);
        }
        self.unwrap_messages(into, count, more)
    }

    fn read_sealed(&mut self, into: &mut [u8], scratch: &mut Scratch) -> io::Result<Turn> {
        let kept = match &self.tls {
            Tls::Open(session) => session.kept(),
            _ => &[],
        };
        let start = kept.len();
        scratch.raw[..start].copy_from_slice(kept);
        let room = Scratch::READ_BYTES.min(into.len().saturating_sub(start));
        if room == 0 {
            let why = "the peer's handshake is longer than what it is read into";
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        let (arrived, more) =
            self.receive(&mut scratch.raw[start..start + room], &mut scratch.taken)?;
        if arrived == 0 {
            return Ok(Turn::Nothing);
        }
        if let Proxy::Expected(_) = &self.proxy {
            // There is no session yet, so nothing was kept.
            return self.take_header(&scratch.raw[..arrived]);
        }
        let count = self.open_records(&mut scratch.raw[..start + arrived], into)?;
        self.unwrap_messages(into, count, more)
    }

    /// Returns the first of all bytes that came, before any layer took them.
    pub(crate) fn first_bytes(&self) -> &[u8] {
        &self.first.bytes[..usize::from(self.first.count)]
    }

    /// Returns whether an incomplete TLS record is here.
    pub(crate) fn has_partial_record(&self) -> bool {
        matches!(&self.tls, Tls::Open(session) if !session.kept().is_empty())
    }

    /// Takes the PROXY header. The bytes after it wait until its source was let in.
    fn take_header(&mut self, bytes: &[u8]) -> io::Result<Turn> {
        if let Proxy::Expected(header) = &mut self.proxy
            && let ProxyProgress::Done { source, info, rest } =
                header.receive(bytes).map_err(invalid)?
        {
            self.proxy = Proxy::Done(info);
            self.arrived.splice(..0, rest);
            self.milestone = Some(Milestone::Located(source));
        }
        Ok(Turn::Nothing)
    }

    /// Decrypts `raw` into `into`.
    fn open_records(&mut self, raw: &mut [u8], into: &mut [u8]) -> io::Result<usize> {
        if let Tls::Expected(server) = &self.tls {
            let session = server.open().map_err(invalid)?;
            self.tls = Tls::Open(Box::new(session));
        }
        let Tls::Open(session) = &mut self.tls else {
            return Ok(0);
        };
        let mut plain = Plain::new(into);
        let result = session.receive(raw, &mut plain, &mut self.unsent);
        let count = plain.len();
        self.has_ended |= result.map_err(invalid)?.has_ended;
        Ok(count)
    }

    /// Takes `count` bytes in the reader's buffer out of their WebSocket frames, in place.
    fn unwrap_messages(&mut self, into: &mut [u8], count: usize, more: bool) -> io::Result<Turn> {
        let mut count = count;
        if let Some(websocket) = &mut self.websocket
            && count > 0
        {
            let progress =
                websocket.receive(&mut into[..count], &mut self.words).map_err(invalid)?;
            count = progress.count;
            self.has_ended |= progress.has_ended;
        }
        Ok(if count == 0 { Turn::Nothing } else { Turn::Bytes { count, more } })
    }

    /// Seals a chunk of what is offered and writes it. Bytes that the socket does not take wait
    /// here.
    pub(crate) fn write_vectored(
        &mut self,
        slices: &[IoSlice<'_>],
        scratch: &mut Scratch,
    ) -> io::Result<usize> {
        self.flush()?;
        if self.wants_write() || self.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let length = offered.min(Scratch::SEAL_BYTES - Self::FRAME_BYTES_MAX);
        let (plain, sealed) = (&mut scratch.plain, &mut scratch.sealed);
        plain.clear();
        sealed.clear();
        match (&mut self.websocket, &mut self.tls) {
            (Some(websocket), Tls::Open(session)) => {
                websocket.seal(slices, length, plain);
                session.seal(plain, sealed).map_err(invalid)?;
            }
            (Some(websocket), _) => websocket.seal(slices, length, sealed),
            (None, Tls::Open(session)) => {
                gather(slices, length, plain);
                session.seal(plain, sealed).map_err(invalid)?;
            }
            (None, _) => gather(slices, length, sealed),
        }
        let written = write_all_there_is_room_for(&mut self.socket, sealed)?;
        self.unsent.extend_from_slice(&sealed[written..]);
        Ok(length)
    }

    /// The most bytes that a frame's header has.
    const FRAME_BYTES_MAX: usize = 14;

    pub(crate) fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Writes what waits, as far as there is room: first the records that wait, then what there is
    /// room for after them.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.is_broken {
            self.unsent = Vec::new();
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.flush_unsent()?;
        if self.unsent.is_empty() {
            self.seal_words()?;
            self.flush_unsent()?;
        }
        Ok(())
    }

    /// Seals the WebSocket's own answers when there is room for them. Its session bounds how much
    /// of them waits here.
    fn seal_words(&mut self) -> io::Result<()> {
        if let Some(websocket) = &mut self.websocket {
            websocket.answer_late(&mut self.words);
        }
        if self.words.is_empty() {
            return Ok(());
        }
        match &mut self.tls {
            Tls::Open(session) if session.is_handshaking() => return Ok(()),
            Tls::Open(session) => session.seal(&self.words, &mut self.unsent).map_err(invalid)?,
            _ => self.unsent.append(&mut self.words),
        }
        self.words = Vec::new();
        Ok(())
    }

    fn flush_unsent(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let written = match write_all_there_is_room_for(&mut self.socket, &self.unsent) {
            // The socket is still connecting, and will report when there is room.
            Err(error) if error.kind() == ErrorKind::NotConnected => 0,
            result => result?,
        };
        if written == self.unsent.len() {
            // An idle connection owns no buffer.
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..written);
        }
        Ok(())
    }

    pub(crate) fn shutdown_write(&mut self, scratch: &mut Scratch) {
        if !std::mem::replace(&mut self.is_shut, true) {
            self.say_goodbye(scratch);
            // Best effort, as for plain sockets: the peer may be gone already.
            let _ = self.flush();
        }
        self.socket.shutdown_write();
    }

    fn say_goodbye(&mut self, scratch: &mut Scratch) {
        let closing = &mut scratch.plain;
        closing.clear();
        closing.append(&mut self.words);
        if let Some(websocket) = &mut self.websocket {
            websocket.close(closing);
        }
        match &mut self.tls {
            Tls::Open(session) => {
                if !closing.is_empty() && !session.is_handshaking() {
                    let _ = session.seal(closing, &mut self.unsent);
                }
                session.close(&mut self.unsent);
            }
            // There is no session yet in which to say it.
            Tls::Expected(_) => (),
            Tls::None => self.unsent.extend_from_slice(closing),
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        let tls_is = match &self.tls {
            Tls::None => false,
            Tls::Expected(_) => true,
            Tls::Open(session) => session.is_handshaking(),
        };
        let proxy_is = matches!(self.proxy, Proxy::Expected(_));
        proxy_is || tls_is || self.websocket.as_ref().is_some_and(|it| it.is_handshaking())
    }

    /// Returns about how many bytes are kept here: of a handshake or something else that is
    /// incomplete, and what waits for the socket.
    pub(crate) fn kept_bytes(&self) -> usize {
        let proxy = match &self.proxy {
            Proxy::Expected(header) => header.kept_bytes(),
            Proxy::None | Proxy::Done(_) => 0,
        };
        let tls = match &self.tls {
            Tls::Open(session) => session.kept_bytes(),
            Tls::None | Tls::Expected(_) => 0,
        };
        let websocket = self.websocket.as_ref().map_or(0, |websocket| websocket.kept_bytes());
        let own = self.arrived.capacity() + self.words.capacity() + self.unsent.capacity();
        proxy + tls + websocket + own
    }

    /// Takes the milestone that was reached since the last call, if any.
    #[inline]
    pub(crate) fn take_milestone(&mut self) -> Option<Milestone> {
        self.milestone.take()
    }

    pub(crate) fn proxy_info(&self) -> Option<Arc<ProxyInfo>> {
        match &self.proxy {
            Proxy::Done(info) => info.clone(),
            Proxy::None | Proxy::Expected(_) => None,
        }
    }

    pub(crate) fn tls_info(&self) -> Option<Arc<TlsInfo>> {
        match &self.tls {
            Tls::Open(session) => session.info(),
            Tls::None | Tls::Expected(_) => None,
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        match (&self.tls, &self.websocket) {
            (Tls::None, None) => self.socket.transport(),
            (Tls::None, Some(_)) => Transport::WebSocket,
            (_, None) => Transport::Tls,
            (_, Some(_)) => Transport::SecureWebSocket,
        }
    }

    pub(crate) fn is_established(&self) -> io::Result<bool> {
        self.socket.is_established()
    }

    pub(crate) fn source(&mut self) -> &mut dyn mio::event::Source {
        self.socket.source()
    }
}

/// Appends the first `length` bytes of `slices` to `into`.
fn gather(slices: &[IoSlice<'_>], length: usize, into: &mut Vec<u8>) {
    let mut left = length;
    for slice in slices {
        let part = &slice[..slice.len().min(left)];
        into.extend_from_slice(part);
        left -= part.len();
    }
}

/// Writes `bytes` until the socket takes no more. Returns how many it has taken.
fn write_all_there_is_room_for(socket: &mut PlainSocket, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(all(test, feature = "websocket"))]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    /// Masked with zeros: a ping without a payload, and an MQTT DISCONNECT in a binary message.
    const PING: &[u8] = &[0x89, 0x80, 0, 0, 0, 0];
    const DISCONNECT: &[u8] = &[0x82, 0x82, 0, 0, 0, 0, 0xE0, 0];

    /// Returns an open WebSocket, and its peer's socket.
    fn open() -> (Layered, UnixStream, Scratch) {
        let (own, mut peer) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        let socket = PlainSocket::Unix(mio::net::UnixStream::from_std(own));
        let websocket = WebSocketSession::server(Arc::default());
        let mut layered = Layered::accepted(socket, None, None, Some(websocket));
        let mut scratch = Scratch::new();
        peer.write_all(REQUEST).unwrap();
        while layered.is_handshaking() {
            assert!(!matches!(read(&mut layered, &mut scratch), Ok((_, true))));
        }
        let mut response = [0; 4096];
        assert!(peer.read(&mut response).unwrap() > 0);
        (layered, peer, scratch)
    }

    /// Returns what a read brings, and whether the end has come.
    fn read(layered: &mut Layered, scratch: &mut Scratch) -> io::Result<(Vec<u8>, bool)> {
        let mut into = vec![0; 64 * 1024];
        match layered.read(&mut into, scratch)? {
            Received::Bytes { count, .. } => Ok((into[..count].to_vec(), false)),
            Received::End => Ok((Vec::new(), true)),
        }
    }

    /// Reads everything up to the end, in whatever way the peer has left.
    fn read_to_end(layered: &mut Layered, scratch: &mut Scratch) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok((bytes, false)) = read(layered, scratch) {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn what_came_before_the_peer_left_is_read_though_it_cannot_be_answered() {
        let (mut layered, mut peer, mut scratch) = open();
        peer.write_all(&[PING, DISCONNECT].concat()).unwrap();
        drop(peer);
        assert_eq!(read_to_end(&mut layered, &mut scratch), [0xE0, 0]);
    }

    #[test]
    fn what_came_is_read_though_older_bytes_could_not_be_written() {
        let (mut layered, mut peer, mut scratch) = open();
        let chunk = vec![7; 32 * 1024];
        let slices = [IoSlice::new(&chunk)];
        while layered.write_vectored(&slices, &mut scratch).is_ok() {}
        assert!(layered.wants_write(), "the socket is full");
        peer.write_all(DISCONNECT).unwrap();
        drop(peer);
        assert_eq!(read_to_end(&mut layered, &mut scratch), [0xE0, 0]);
        assert!(layered.write_vectored(&slices, &mut scratch).is_err());
        assert!(!layered.wants_write());
    }

    #[test]
    fn a_peer_that_pings_and_does_not_read_fills_no_memory() {
        let (mut layered, mut peer, mut scratch) = open();
        peer.set_nonblocking(true).unwrap();
        let pings = PING.repeat(4096);
        for _ in 0..400 {
            let _ = peer.write(&pings);
            match read(&mut layered, &mut scratch) {
                Ok((bytes, is_end)) => assert!(bytes.is_empty() && !is_end),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(layered.unsent.len() + layered.words.len() < 200 * 1024);
        }
    }

    #[test]
    fn a_pong_that_was_put_off_leaves_when_there_is_room() {
        let (mut layered, mut peer, mut scratch) = open();
        peer.set_nonblocking(true).unwrap();
        let pings = PING.repeat(8192);
        while !layered.wants_write() || layered.words.len() < 64 * 1024 {
            let _ = peer.write(&pings);
            let _ = read(&mut layered, &mut scratch);
        }
        // The last ping is marked, so the last pong can be recognized.
        let marked = [0x89, 0x81, 0, 0, 0, 0, b'!'];
        let mut answered = Vec::new();
        let mut sent = 0;
        while !answered.ends_with(&[0x8A, 1, b'!']) {
            if sent < marked.len() {
                sent += peer.write(&marked[sent..]).unwrap_or(0);
            }
            let mut bytes = [0; 4096];
            let count = peer.read(&mut bytes).unwrap_or(0);
            answered.extend_from_slice(&bytes[..count]);
            let _ = read(&mut layered, &mut scratch);
            let _ = layered.flush();
        }
        assert!(!layered.wants_write());
    }
}
