//! placeholder
use std::net::SocketAddr;
use std::sync::Arc;
use crate::listen::ProxyOptions;
use crate::peer::{PeerAddress, ProxyInfo};
#[derive(Debug)]
pub(crate) struct ProxyHeader;
#[derive(Debug)]
pub(crate) enum ProxyProgress { Wait, Done { source: Option<SocketAddr>, info: Option<ProxyInfo>, rest: Vec<u8> } }
impl ProxyHeader {
    pub(crate) fn new(_: Arc<ProxyOptions>, _: PeerAddress) -> Self { Self }
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<ProxyProgress, std::io::Error> {
        Ok(if bytes.is_empty() { ProxyProgress::Wait } else { ProxyProgress::Done { source: None, info: None, rest: bytes.to_vec() } })
    }
}
