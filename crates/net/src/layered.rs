//! A plain socket with layers above it: a PROXY header to come, TLS, WebSocket.
//!
//! The layers are bytes in, bytes out; this module carries bytes between them and the socket and
//! keeps what the socket did not take. What a layer has to say before it fails is still sent. It
//! must never keep more than one sealed chunk and the layers' own answers.

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

/// A socket and its layers, from below.
#[derive(Debug)]
pub(crate) struct Layered {
    socket: PlainSocket,
    proxy: Proxy,
    tls: Tls,
    websocket: Option<Box<WebSocketSession>>,
    /// What waits for the TLS handshake: the first words of a WebSocket that this side opens.
    greeting: Vec<u8>,
    /// What waits for the socket.
    unsent: Vec<u8>,
    has_ended: bool,
    /// The layers' last words are said.
    is_shut: bool,
}

#[derive(Debug)]
enum Proxy {
    None,
    /// Its header has not come yet.
    Expected(Box<ProxyHeader>),
    /// It named this source, for whoever takes it.
    Named(SocketAddr, Option<Arc<ProxyInfo>>),
    Done(Option<Arc<ProxyInfo>>),
}

#[derive(Debug)]
enum Tls {
    None,
    /// A session is made when the first byte comes.
    Expected(Arc<TlsServer>),
    Open(Box<TlsSession>),
}

/// What a turn of reading has come to.
enum Turn {
    /// So many bytes are in the reader's buffer.
    Bytes { count: usize, more: bool },
    /// Nothing for the reader in what came.
    Nothing,
}

impl Layered {
    /// Reads of the socket that bring nothing for the reader, before others get their turn.
    const READS_MAX: usize = 4;
    /// Answers of layers (handshake, pong) that may wait for the socket. A peer that lets more
    /// wait does not read.
    const UNSENT_BYTES_MAX: usize = 512 * 1024;

    /// A connection that a listener has accepted.
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

    /// A connection that this side opens. `greeting` is what the WebSocket begins with.
    pub(crate) fn opened(
        socket: PlainSocket,
        tls: Option<TlsSession>,
        websocket: Option<WebSocketSession>,
        greeting: Vec<u8>,
    ) -> io::Result<Self> {
        let tls = tls.map_or(Tls::None, |session| Tls::Open(Box::new(session)));
        let mut layered = Self::new(socket, Proxy::None, tls, websocket);
        match &mut layered.tls {
            Tls::Open(session) => {
                session.begin(&mut layered.unsent).map_err(invalid)?;
                layered.greeting = greeting;
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
            greeting: Vec::new(),
            unsent: Vec::new(),
            has_ended: false,
            is_shut: false,
        }
    }

    /// Reads until there is something for the reader, the socket has nothing more, or it is the
    /// turn of others.
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
                Tls::None => self.read_directly(into),
                _ => self.read_sealed(into, scratch),
            };
            let flushed = self.flush();
            match turn? {
                Turn::Bytes { count, more } => {
                    flushed?;
                    return Ok(Received::Bytes { count, more: more || self.has_ended });
                }
                Turn::Nothing => flushed?,
            }
        }
        Ok(Received::Bytes { count: 0, more: true })
    }

    /// Without TLS the reader's buffer is the first one that bytes are in.
    fn read_directly(&mut self, into: &mut [u8]) -> io::Result<Turn> {
        let arrived = self.socket.read(into)?;
        if arrived == 0 {
            self.has_ended = true;
            return Ok(Turn::Nothing);
        }
        let more = arrived == into.len();
        let count = match &mut self.proxy {
            Proxy::Expected(_) => match self.take_header(&into[..arrived])? {
                Some(rest) if rest.len() <= into.len() => {
                    into[..rest.len()].copy_from_slice(&rest);
                    rest.len()
                }
                Some(_) => return Err(io::Error::new(ErrorKind::InvalidData, "too long a header")),
                None => return Ok(Turn::Nothing),
            },
            _ => arrived,
        };
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
        let mut arrived = self.socket.read(&mut scratch.raw[start..start + room])?;
        if arrived == 0 {
            self.has_ended = true;
            return Ok(Turn::Nothing);
        }
        let more = arrived == room;
        if let Proxy::Expected(_) = &self.proxy {
            // No session is there yet, so nothing was kept.
            match self.take_header(&scratch.raw[..arrived])? {
                Some(rest) if rest.is_empty() => return Ok(Turn::Nothing),
                Some(rest) => {
                    scratch.raw[..rest.len()].copy_from_slice(&rest);
                    arrived = rest.len();
                }
                None => return Ok(Turn::Nothing),
            }
        }
        let count = self.open_records(&mut scratch.raw[..start + arrived], into)?;
        self.unwrap_messages(into, count, more)
    }

    /// The bytes behind the PROXY header, once all of it is there.
    fn take_header(&mut self, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Proxy::Expected(header) = &mut self.proxy else {
            return Ok(Some(bytes.to_vec()));
        };
        match header.receive(bytes).map_err(invalid)? {
            ProxyProgress::Wait => Ok(None),
            ProxyProgress::Done { source, info, rest } => {
                self.proxy = match source {
                    Some(source) => Proxy::Named(source, info),
                    None => Proxy::Done(info),
                };
                Ok(Some(rest))
            }
        }
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
        if !self.greeting.is_empty() && !session.is_handshaking() {
            session.seal(&std::mem::take(&mut self.greeting), &mut self.unsent).map_err(invalid)?;
        }
        Ok(count)
    }

    /// Takes `count` bytes in the reader's buffer out of their WebSocket frames, in place.
    fn unwrap_messages(&mut self, into: &mut [u8], count: usize, more: bool) -> io::Result<Turn> {
        let mut count = count;
        if let Some(websocket) = &mut self.websocket
            && count > 0
        {
            let result = match &mut self.tls {
                Tls::Open(session) => {
                    let mut answers = Vec::new();
                    let result = websocket.receive(&mut into[..count], &mut answers);
                    if !answers.is_empty() {
                        session.seal(&answers, &mut self.unsent).map_err(invalid)?;
                    }
                    result
                }
                _ => websocket.receive(&mut into[..count], &mut self.unsent),
            };
            let progress = result.map_err(invalid)?;
            count = progress.count;
            self.has_ended |= progress.has_ended;
        }
        Ok(if count == 0 { Turn::Nothing } else { Turn::Bytes { count, more } })
    }

    /// Seals a chunk of what is offered and writes it; what the socket does not take waits here.
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

    /// Bytes of a frame's header at most.
    const FRAME_BYTES_MAX: usize = 14;

    pub(crate) fn wants_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let written = match write_all_there_is_room_for(&mut self.socket, &self.unsent) {
            // It is still connecting: it will tell when there is room.
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
            // There is nobody yet to say it to.
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

    /// The source that the PROXY header has named, once.
    pub(crate) fn take_source(&mut self) -> Option<SocketAddr> {
        match std::mem::replace(&mut self.proxy, Proxy::None) {
            Proxy::Named(source, info) => {
                self.proxy = Proxy::Done(info);
                Some(source)
            }
            other => {
                self.proxy = other;
                None
            }
        }
    }

    pub(crate) fn proxy_info(&self) -> Option<Arc<ProxyInfo>> {
        match &self.proxy {
            Proxy::Named(_, info) | Proxy::Done(info) => info.clone(),
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

/// The first `length` bytes of `slices`.
fn gather(slices: &[IoSlice<'_>], length: usize, into: &mut Vec<u8>) {
    let mut left = length;
    for slice in slices {
        let part = &slice[..slice.len().min(left)];
        into.extend_from_slice(part);
        left -= part.len();
    }
}

/// How much of `bytes` the socket has taken.
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
