//! The header of the PROXY protocol, version 1 or 2, which comes before everything else on a
//! connection: a proxy says on whose behalf it connects.
//!
//! This module turns bytes into a verdict. The sender of a header decides who a Client seems to be,
//! so a header from an address that is not a proxy's is refused, not skipped. This module must
//! never keep more than [`HEADER_BYTES_MAX`] bytes, and never take a byte that comes after the
//! header.
//!
//! The crate `ppp` knows the layout of a header. Its length, and whether all of it is there, is
//! found out here, so that each header is parsed only once.

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use ppp::{v1, v2};

use crate::listen::{ProxyMode, ProxyOptions};
use crate::peer::{PeerAddress, ProxiedTls, ProxyInfo};

/// The longest header that is accepted.
const HEADER_BYTES_MAX: usize = 4096;

/// The longest header of version 1, with its line end.
const LINE_BYTES_MAX: usize = 107;

/// How a header of version 1 begins.
const LINE_START: &[u8] = b"PROXY ";

/// The length of the part of a version 2 header before the addresses: signature, version and
/// command, family and protocol, length.
const FIXED_BYTES: usize = 16;

/// Waits for a header.
#[derive(Debug)]
pub(crate) struct ProxyHeader {
    options: Arc<ProxyOptions>,
    proxy: PeerAddress,
    kept: Vec<u8>,
}

/// What `receive` has made of the bytes given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProxyProgress {
    /// The header is not complete; what has come of it is kept.
    Wait,
    /// The header is over, or there is none.
    Done {
        /// Where the Client is. `None`: the proxy does not say, or connects for itself, as for a
        /// health check; then the proxy's address stays.
        source: Option<SocketAddr>,
        /// What else the header says; `None` if the proxy speaks for no Client or there is no
        /// header.
        info: Option<Arc<ProxyInfo>>,
        /// Bytes that follow the header.
        rest: Vec<u8>,
    },
}

/// Why a header is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProxyError {
    /// The sender's address is not among those of proxies.
    NotTrusted,
    /// There is no header, but there has to be one.
    Missing,
    /// The header is longer than 4 KB.
    TooLong,
    /// The header is malformed.
    Malformed(String),
}

/// What the bytes that have come look like.
enum Beginning {
    NoHeader,
    TooShortToTell,
    Line,
    Binary,
}

impl ProxyHeader {
    /// Waits for a header from `proxy`, which is the peer's address by the socket.
    pub(crate) fn new(options: Arc<ProxyOptions>, proxy: PeerAddress) -> Self {
        Self { options, proxy, kept: Vec::new() }
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// Takes what arrived. Not to be called again after it returned `Done`.
    ///
    /// # Errors
    ///
    /// The header is missing, malformed, or from somebody who may not send one.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<ProxyProgress, ProxyError> {
        self.kept.extend_from_slice(bytes);
        let is_required = match self.options.mode {
            ProxyMode::Off => return Ok(self.no_header()),
            ProxyMode::Optional => false,
            ProxyMode::Required => true,
        };
        if is_required && !self.is_trusted() {
            return Err(ProxyError::NotTrusted);
        }
        let beginning = look_at(&self.kept);
        match beginning {
            Beginning::TooShortToTell => return Ok(ProxyProgress::Wait),
            Beginning::NoHeader if is_required => return Err(ProxyError::Missing),
            Beginning::NoHeader => return Ok(self.no_header()),
            Beginning::Line | Beginning::Binary if !self.is_trusted() => {
                return Err(ProxyError::NotTrusted);
            }
            Beginning::Line | Beginning::Binary => {}
        }
        let is_line = matches!(beginning, Beginning::Line);
        let length = if is_line { line_length(&self.kept)? } else { binary_length(&self.kept)? };
        let Some(length) = length.filter(|length| *length <= self.kept.len()) else {
            return Ok(ProxyProgress::Wait);
        };
        let header = &self.kept[..length];
        let (source, info) = if is_line {
            parse_line(header, self.proxy)?
        } else {
            parse_binary(header, self.proxy)?
        };
        let info = info.map(Arc::new);
        let rest = self.kept.split_off(length);
        self.kept = Vec::new();
        Ok(ProxyProgress::Done { source, info, rest })
    }

    fn no_header(&mut self) -> ProxyProgress {
        ProxyProgress::Done { source: None, info: None, rest: mem::take(&mut self.kept) }
    }

    /// Returns whether the sender may be a proxy. A process of this machine is in no network, so it
    /// may if anybody may.
    fn is_trusted(&self) -> bool {
        match self.proxy.ip() {
            Some(address) => self.options.trusts(address),
            None => self.options.from.is_empty(),
        }
    }
}

type Said = (Option<SocketAddr>, Option<ProxyInfo>);

fn look_at(bytes: &[u8]) -> Beginning {
    let signature = v2::PROTOCOL_PREFIX;
    if bytes.starts_with(LINE_START) {
        Beginning::Line
    } else if bytes.starts_with(signature) {
        Beginning::Binary
    } else if LINE_START.starts_with(bytes) || signature.starts_with(bytes) {
        Beginning::TooShortToTell
    } else {
        Beginning::NoHeader
    }
}

/// Returns the length of the line, once its end is there.
fn line_length(bytes: &[u8]) -> Result<Option<usize>, ProxyError> {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(end + 1)),
        None if line.len() == LINE_BYTES_MAX => {
            let reason = format!("its line has more than {LINE_BYTES_MAX} bytes");
            Err(ProxyError::Malformed(reason))
        }
        None => Ok(None),
    }
}

/// Returns the length that a binary header says it has, once that part is there.
fn binary_length(bytes: &[u8]) -> Result<Option<usize>, ProxyError> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    Ok(Some(length))
}

fn parse_line(line: &[u8], proxy: PeerAddress) -> Result<Said, ProxyError> {
    // Everything after this is to be ignored.
    if line.starts_with(b"PROXY UNKNOWN ") || line.starts_with(b"PROXY UNKNOWN\r") {
        return Ok((None, None));
    }
    let header = v1::Header::try_from(line).map_err(malformed)?;
    let (source, destination): (SocketAddr, SocketAddr) = match header.addresses {
        v1::Addresses::Unknown => return Ok((None, None)),
        v1::Addresses::Tcp4(ip) => (
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
        v1::Addresses::Tcp6(ip) => (
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
    };
    let mut info = info_without_values(proxy);
    info.destination = Some(destination);
    Ok((Some(source), Some(info)))
}

fn parse_binary(bytes: &[u8], proxy: PeerAddress) -> Result<Said, ProxyError> {
    /// Version 2, LOCAL.
    const LOCAL: u8 = 0x20;
    // The proxy connects for itself: everything after this is to be ignored.
    if bytes[v2::PROTOCOL_PREFIX.len()] == LOCAL {
        return Ok((None, None));
    }
    let header = v2::Header::try_from(bytes).map_err(malformed)?;
    let (source, destination): (Option<SocketAddr>, Option<SocketAddr>) = match header.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => (None, None),
        v2::Addresses::IPv4(ip) => (
            Some((ip.source_address, ip.source_port).into()),
            Some((ip.destination_address, ip.destination_port).into()),
        ),
        v2::Addresses::IPv6(ip) => (
            Some((ip.source_address, ip.source_port).into()),
            Some((ip.destination_address, ip.destination_port).into()),
        ),
    };
    let mut info = info_without_values(proxy);
    info.destination = destination;
    // Without a family, there is no telling where addresses end and values begin.
    if header.addresses != v2::Addresses::Unspecified {
        read_values(header.tlvs(), &mut info)?;
    }
    Ok((source, Some(info)))
}

/// Reads the values after the addresses. Of several values of the same kind, the first counts.
fn read_values(values: v2::TypeLengthValues<'_>, info: &mut ProxyInfo) -> Result<(), ProxyError> {
    const ALPN: u8 = v2::Type::ALPN as u8;
    const AUTHORITY: u8 = v2::Type::Authority as u8;
    const SSL: u8 = v2::Type::SSL as u8;
    for value in values {
        let value = value.map_err(malformed)?;
        match value.kind {
            ALPN if info.alpn.is_none() => info.alpn = Some(value.value.to_vec()),
            AUTHORITY if info.authority.is_none() => {
                info.authority = Some(text(&value.value, "the host name")?);
            }
            SSL if info.tls.is_none() => info.tls = read_tls(&value.value)?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns what the proxy says of TLS; `None` if the Client did not use TLS.
fn read_tls(value: &[u8]) -> Result<Option<ProxiedTls>, ProxyError> {
    /// Bits of the first byte: the Client used TLS; it showed a certificate in this connection, in
    /// this session.
    const SPOKEN: u8 = 1;
    const CERTIFICATE: u8 = 2 | 4;
    const VERSION: u8 = v2::Type::SSLVersion as u8;
    const COMMON_NAME: u8 = v2::Type::SSLCommonName as u8;
    let Some((&[client, a, b, c, d], values)) = value.split_first_chunk::<5>() else {
        return Err(ProxyError::Malformed("what it says of TLS is too short".to_string()));
    };
    // If not zero, the certificate was not verified, or there is none.
    let failure = u32::from_be_bytes([a, b, c, d]);
    let is_verified = client & CERTIFICATE != 0 && failure == 0;
    let mut tls = ProxiedTls { version: None, common_name: None, is_verified };
    for value in v2::TypeLengthValues::from(values) {
        let value = value.map_err(malformed)?;
        match value.kind {
            VERSION if tls.version.is_none() => {
                tls.version = Some(text(&value.value, "the version of TLS")?);
            }
            COMMON_NAME if tls.common_name.is_none() => {
                tls.common_name = Some(text(&value.value, "the Common Name")?);
            }
            _ => {}
        }
    }
    Ok((client & SPOKEN != 0).then_some(tls))
}

fn text(bytes: &[u8], what: &str) -> Result<String, ProxyError> {
    let text = str::from_utf8(bytes);
    text.map(str::to_string).map_err(|_| ProxyError::Malformed(format!("{what} is not UTF-8")))
}

fn info_without_values(proxy: PeerAddress) -> ProxyInfo {
    ProxyInfo { proxy, destination: None, authority: None, alpn: None, tls: None }
}

fn malformed(error: impl fmt::Display) -> ProxyError {
    ProxyError::Malformed(error.to_string())
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTrusted => f.write_str(
                "a header of the PROXY protocol from an address that is not among those of proxies",
            ),
            Self::Missing => f.write_str(
                "no header of the PROXY protocol; does the proxy send it (send-proxy-v2)?",
            ),
            Self::TooLong => {
                write!(f, "a header of the PROXY protocol with more than {HEADER_BYTES_MAX} bytes")
            }
            Self::Malformed(reason) => {
                write!(f, "a malformed header of the PROXY protocol: {reason}")
            }
        }
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests;
