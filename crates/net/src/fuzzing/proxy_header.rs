//! Headers of the PROXY protocol made of any bytes: pieces must give the same result as the whole.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::listen::{ProxyMode, ProxyOptions};
use crate::peer::PeerAddress;
use crate::proxy::{ProxyError, ProxyHeader, ProxyProgress};

/// The longest header, which bounds what may be kept.
const KEPT_BYTES_MAX: usize = 4096;

/// Checks one input. `data` is a byte whose lowest bit says that a header is required, and whose
/// other bits say how long pieces are; then come the bytes that a peer sends.
///
/// # Panics
///
/// If something does not hold.
pub fn check_proxy_header(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let mode = if choice & 1 == 1 { ProxyMode::Required } else { ProxyMode::Optional };
    let whole = header(mode).receive(bytes);
    let pieces = receive_in_pieces(header(mode), bytes, usize::from(choice >> 1) + 1);
    assert_eq!(whole, pieces);
    match whole {
        Ok(ProxyProgress::Wait) => assert!(bytes.len() < KEPT_BYTES_MAX, "what is kept is bounded"),
        Ok(ProxyProgress::Done { source, info, rest }) => {
            assert!(bytes.ends_with(&rest), "what is behind the header is left as it is");
            assert!(source.is_none() || info.is_some());
            assert!(info.is_none() || rest.len() < bytes.len());
        }
        Err(_) => {}
    }
}

fn header(mode: ProxyMode) -> ProxyHeader {
    let proxy = PeerAddress::Network(SocketAddr::from(([10, 0, 0, 1], 1)));
    ProxyHeader::new(Arc::new(ProxyOptions { mode, from: Vec::new() }), proxy)
}

fn receive_in_pieces(
    mut header: ProxyHeader,
    bytes: &[u8],
    piece_length: usize,
) -> Result<ProxyProgress, ProxyError> {
    let mut taken = 0;
    for piece in bytes.chunks(piece_length) {
        taken += piece.len();
        match header.receive(piece)? {
            ProxyProgress::Wait => {}
            ProxyProgress::Done { source, info, mut rest } => {
                rest.extend_from_slice(&bytes[taken..]);
                return Ok(ProxyProgress::Done { source, info, rest });
            }
        }
    }
    Ok(ProxyProgress::Wait)
}
