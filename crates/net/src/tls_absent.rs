//! Placeholders for TLS in a build without it: types that have no values.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use crate::listen::TlsOptions;
use crate::peer::TlsInfo;
use crate::plain::Plain;

/// This build has no TLS.
#[derive(Debug)]
pub struct TlsServer(Infallible);

/// This build has no TLS.
#[derive(Debug)]
pub(crate) struct TlsSession(Infallible);

/// This build has no TLS.
#[derive(Debug)]
pub(crate) enum TlsError {}

/// This build has no TLS.
#[derive(Debug)]
pub struct TlsFileError;

/// How far a session has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsProgress {
    pub(crate) has_ended: bool,
}

impl TlsServer {
    pub(crate) fn load(_options: &TlsOptions, _alpn: &[&[u8]]) -> Result<Self, TlsFileError> {
        Err(TlsFileError)
    }

    pub(crate) fn reload(&self) -> Result<bool, TlsFileError> {
        match self.0 {}
    }

    pub(crate) fn reload_if_changed(&self) -> Option<Result<(), TlsFileError>> {
        match self.0 {}
    }

    pub(crate) fn warnings(&self, _now: i64) -> Vec<String> {
        match self.0 {}
    }

    pub(crate) fn open(&self) -> Result<TlsSession, TlsError> {
        match self.0 {}
    }
}

impl TlsSession {
    pub(crate) fn begin(&mut self, _out: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.0 {}
    }

    pub(crate) fn kept(&self) -> &[u8] {
        match self.0 {}
    }

    pub(crate) fn receive(
        &mut self,
        _input: &mut [u8],
        _plain: &mut Plain<'_>,
        _out: &mut Vec<u8>,
    ) -> Result<TlsProgress, TlsError> {
        match self.0 {}
    }

    pub(crate) fn seal(&mut self, _plain: &[u8], _out: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.0 {}
    }

    pub(crate) fn close(&mut self, _out: &mut Vec<u8>) {
        match self.0 {}
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn info(&self) -> Option<Arc<TlsInfo>> {
        match self.0 {}
    }
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this build has no TLS: enable the feature `tls`")
    }
}

impl std::error::Error for TlsFileError {}

impl fmt::Display for TlsError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for TlsError {}
