//! From an accepted socket to a stream: whether it is let in, and which layers it gets.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::admission::{Admission, Refusal, Slot};
use crate::layered::Layered;
use crate::listen::{Listen, Protocol, ProxyMode, ProxyOptions, WebSocketOptions};
use crate::listener::Listener;
use crate::peer::PeerAddress;
use crate::proxy::ProxyHeader;
use crate::socket::PlainSocket;
use crate::stream::Stream;
use crate::tls::TlsServer;
use crate::websocket::WebSocketSession;

/// What the connections of a listener become.
#[derive(Debug)]
pub(crate) struct Reception {
    admission: Arc<Admission>,
    /// `None` if no header is expected.
    proxy: Option<Arc<ProxyOptions>>,
    tls: Option<Arc<TlsServer>>,
    websocket: Option<Arc<WebSocketOptions>>,
}

impl Reception {
    pub(crate) fn new(
        listen: &Listen,
        admission: Arc<Admission>,
        tls: Option<Arc<TlsServer>>,
    ) -> Self {
        let proxy = (listen.proxy.mode != ProxyMode::Off).then(|| Arc::new(listen.proxy.clone()));
        let websocket = match &listen.protocol {
            Protocol::WebSocket(options) => Some(Arc::new(options.clone())),
            Protocol::Mqtt | Protocol::Quic(_) => None,
        };
        Self { admission, proxy, tls, websocket }
    }

    /// Accepts one connection. `None`: it was refused and is closed already. A stream with a
    /// refusal is to be told so by code that speaks its protocol, and counts towards no limit.
    pub(crate) fn accept(
        &self,
        listener: &Listener,
        now: Instant,
    ) -> io::Result<Option<(Stream, Option<Refusal>)>> {
        let (socket, address) = listener.accept()?;
        // Behind a proxy, the address that counts is not known yet.
        let is_proxy = |ip: IpAddr| self.proxy.as_ref().is_some_and(|it| it.trusts(ip));
        let counted = address.ip().filter(|ip| !is_proxy(*ip));
        match self.admission.admit(counted, now) {
            Ok(slot) => Ok(Some((self.stream(socket, address, Some(slot)), None))),
            // Saying no must not cost as much as a TLS handshake.
            Err(refusal) if self.tls.is_none() && self.proxy.is_none() => {
                Ok(Some((self.stream(socket, address, None), Some(refusal))))
            }
            Err(_) => Ok(None),
        }
    }

    fn stream(&self, socket: PlainSocket, address: PeerAddress, slot: Option<Slot>) -> Stream {
        let is_plain = self.proxy.is_none() && self.tls.is_none() && self.websocket.is_none();
        if !is_plain {
            return Stream::layered(self.layers(socket, address), address, slot);
        }
        Stream::plain(socket, address, slot)
    }

    fn layers(&self, socket: PlainSocket, address: PeerAddress) -> Layered {
        let proxy =
            self.proxy.as_ref().map(|options| ProxyHeader::new(Arc::clone(options), address));
        let websocket = self.websocket.as_ref().map(Arc::clone).map(WebSocketSession::server);
        Layered::accepted(socket, proxy, self.tls.clone(), websocket)
    }
}
