//! An established connection with its control stream.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use quinn::{ConnectionError, RecvStream, SendStream, VarInt};

use super::config::{window, window_with_data_streams};
use super::halves::Halves;
use super::thread::Shared;
use super::{code, stream::QuicDataStream};
use crate::admission::Slot;
use crate::listen::QuicOptions;
use crate::peer::TlsInfo;
use crate::stream::Received;

/// A future of the peer's next data stream. quinn's own future borrows from the connection.
type Arriving =
    Pin<Box<dyn Future<Output = Result<(SendStream, RecvStream), ConnectionError>> + Send>>;

/// A connection whose handshake is over.
pub(super) struct Connection {
    connection: quinn::Connection,
    /// The control stream; taken only when this is dropped.
    control: Option<Halves>,
    arriving: Option<Arriving>,
    /// The window for data streams, until there are some.
    data_window: Option<VarInt>,
    tls: Arc<TlsInfo>,
    /// The connection's place among those of its listener.
    slot: Option<Slot>,
    runtime: Arc<Shared>,
}

impl Connection {
    pub(super) fn new(
        connection: quinn::Connection,
        (send, receive): (SendStream, RecvStream),
        runtime: Arc<Shared>,
        tls: TlsInfo,
        options: &QuicOptions,
    ) -> Self {
        // The control stream comes first, because it keeps the Session going however much waits on
        // data streams. Setting the priority fails only for a stream that is over.
        let _ = send.set_priority(1);
        let control = Some(Halves::new(send, receive, Waker::noop().clone()));
        Self {
            connection,
            control,
            arriving: None,
            data_window: Some(window_with_data_streams(options)),
            tls: Arc::new(tls),
            slot: None,
            runtime,
        }
    }

    /// Accepts data streams of the peer.
    pub(super) fn with_data_streams(mut self) -> Self {
        self.arriving = Some(arriving(&self.connection));
        self
    }

    /// Holds `slot` as long as the connection exists.
    pub(super) fn with_slot(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Lets the connection have more under way, because it is known now whose it is.
    pub(super) fn widen(&mut self) {
        self.connection.set_receive_window(window());
    }

    pub(super) fn set_waker(&mut self, waker: Waker) {
        self.control().set_waker(waker);
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Received> {
        self.control().read(into)
    }

    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.control().write_vectored(slices)
    }

    pub(super) fn finish(&mut self) {
        self.control().finish();
    }

    pub(super) fn close(&mut self, code: VarInt) {
        self.connection.close(code, b"");
    }

    pub(super) fn address(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    pub(super) fn tls(&self) -> Arc<TlsInfo> {
        Arc::clone(&self.tls)
    }

    pub(super) fn accept_data_stream(&mut self, waker: &Waker) -> Option<QuicDataStream> {
        let mut context = Context::from_waker(waker);
        match self.arriving.as_mut()?.as_mut().poll(&mut context) {
            Poll::Pending => None,
            Poll::Ready(Ok((send, receive))) => {
                self.arriving = Some(arriving(&self.connection));
                Some(self.data_stream(send, receive))
            }
            Poll::Ready(Err(_)) => {
                self.arriving = None;
                None
            }
        }
    }

    #[cfg(feature = "client")]
    pub(super) fn open_data_stream(&mut self) -> io::Result<QuicDataStream> {
        let mut context = Context::from_waker(Waker::noop());
        let opened = std::pin::pin!(self.connection.open_bi()).poll(&mut context);
        match opened {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(Ok((send, receive))) => Ok(self.data_stream(send, receive)),
            Poll::Ready(Err(error)) => Err(super::failure::connection_lost(&error)),
        }
    }

    fn data_stream(&mut self, send: SendStream, receive: RecvStream) -> QuicDataStream {
        if let Some(window) = self.data_window.take() {
            self.connection.set_receive_window(window);
        }
        QuicDataStream::new(Halves::new(send, receive, Waker::noop().clone()))
    }

    fn control(&mut self) -> &mut Halves {
        self.control.as_mut().expect("it is taken only by drop")
    }
}

/// Closing at once would lose what the peer has not acknowledged, such as a DISCONNECT. So a task
/// waits for that first. The task also keeps the receiving half: dropping that would tell the peer
/// to stop sending, which some peers take for a failure.
impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut control) = self.control.take() else { return };
        if self.connection.close_reason().is_some() {
            return;
        }
        control.finish();
        let connection = self.connection.clone();
        let slot = self.slot.take();
        self.runtime.linger(control, move || {
            connection.close(code::NORMAL, b"");
            drop(slot);
        });
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("control", &self.control).finish_non_exhaustive()
    }
}

fn arriving(connection: &quinn::Connection) -> Arriving {
    let connection = connection.clone();
    Box::pin(async move { connection.accept_bi().await })
}

/// Gives an IPv4 address as IPv4, also on a socket of both families.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
