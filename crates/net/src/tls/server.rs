//! A listener's side of TLS: its certificates, always the newest good ones.
//!
//! Reading files again swaps everything at once, or nothing if one file is bad. Sessions that are
//! open go on with what they began with.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};

use super::certificate::{CertificateInfo, certificate_info};
use super::error::{ContentProblem, TlsError, TlsFileError};
use super::files::{Content, Files, certified_key, paths};
use super::provider;
use super::resolver::{Resolver, SessionResolver};
use super::revocations::Revocations;
use super::session::{Opening, TlsSession};
use super::trust::{Trust, Verifier, verifier};
use super::watch::Marks;
use crate::{TlsOptions, TlsVersion};

/// Sessions that a QUIC listener with early data remembers. Such a session can be resumed only
/// once, or its early data could be replayed, so tickets alone do not do.
const EARLY_SESSIONS_MAX: usize = 4096;

/// The certificates of a listener.
#[derive(Debug)]
pub struct TlsServer {
    options: TlsOptions,
    alpn: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Current>>,
    trust: Arc<Trust>,
    watched: Mutex<Watched>,
}

/// What the newest good files have said.
#[derive(Debug)]
struct Current {
    config: ServerConfig,
    resolver: Arc<Resolver>,
    verifier: Verifier,
    resumption: Arc<Resumption>,
    infos: Vec<CertificateInfo>,
    /// The certificates behind them in their files.
    issuers: Vec<CertificateInfo>,
    revocations: Revocations,
    certificates_digest: [u8; 32],
    trust_digest: [u8; 32],
}

/// What sessions are resumed by. It lasts as long as the same authorities and revocations count:
/// afterwards every Client has to show its certificate again.
#[derive(Debug)]
struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    early_sessions: OnceLock<Arc<dyn StoresServerSessions>>,
}

/// When the files were looked at last.
#[derive(Debug)]
struct Watched {
    marks: Marks,
    has_failed: bool,
}

impl TlsServer {
    /// Reads the files of `options`. `alpn` are the protocols that are spoken, the best first; if
    /// it is empty, whatever Clients offer is let pass.
    ///
    /// # Errors
    ///
    /// If a file cannot be used.
    pub fn load(options: &TlsOptions, alpn: &[&[u8]]) -> Result<Self, TlsFileError> {
        let provider = provider();
        let alpn: Vec<_> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Looked at before they are read: what is written in between is found at the next look.
        let marks = Marks::of(paths(options));
        let files = Files::read(options)?;
        let current = Current::new(options, &alpn, &files, &provider, None)?;
        Ok(Self {
            options: options.clone(),
            alpn,
            provider,
            trust: Arc::new(Trust::new(current.verifier.clone())),
            current: RwLock::new(Arc::new(current)),
            watched: Mutex::new(Watched { marks, has_failed: false }),
        })
    }

    /// What is to be told about the files at `now`, in seconds since 1970: certificates that have
    /// expired or are not valid yet, lists of revoked ones that are missing or old.
    pub fn warnings(&self, now: i64) -> Vec<String> {
        let current = self.current();
        let certificates = current.infos.iter().chain(&current.issuers);
        let certificates = certificates.filter_map(|info| info.warning(now));
        certificates.chain(current.revocations.warnings(now)).collect()
    }

    /// Reads all files again, and takes them if all are good. Says whether something has changed.
    ///
    /// # Errors
    ///
    /// If a file cannot be used; then everything stays as it was.
    pub fn reload(&self) -> Result<bool, TlsFileError> {
        let mut watched = self.watched();
        let marks = Marks::of(paths(&self.options));
        self.reload_marked(&mut watched, marks)
    }

    /// As [`TlsServer::reload`], but reads only if the file system says that a file has changed
    /// since the last look; `None` if nothing has. A failure is told once for each change.
    pub fn reload_if_changed(&self) -> Option<Result<(), TlsFileError>> {
        let mut watched = self.watched();
        let marks = Marks::of(paths(&self.options));
        if marks == watched.marks {
            return None;
        }
        let had_failed = watched.has_failed;
        match self.reload_marked(&mut watched, marks) {
            // Good again counts, too, though it is the same as before.
            Ok(has_changed) => (has_changed || had_failed).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    }

    fn reload_marked(&self, watched: &mut Watched, marks: Marks) -> Result<bool, TlsFileError> {
        watched.marks = marks;
        watched.has_failed = true;
        let has_changed = self.replace()?;
        watched.has_failed = false;
        Ok(has_changed)
    }

    fn replace(&self) -> Result<bool, TlsFileError> {
        let files = Files::read(&self.options)?;
        let old = self.current();
        if old.is_of(&files) {
            return Ok(false);
        }
        let new = Current::new(&self.options, &self.alpn, &files, &self.provider, Some(&old))?;
        // Trust first: a handshake that ends in between is measured against it.
        self.trust.replace(new.verifier.clone());
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    /// What the certificates in use say, in the order of the options.
    pub fn certificate_infos(&self) -> Vec<CertificateInfo> {
        self.current().infos.clone()
    }

    /// A session for a connection that has come.
    pub(crate) fn open(&self) -> Result<TlsSession, TlsError> {
        let current = self.current();
        let asked = Arc::new(OnceLock::new());
        let mut config = current.config.clone();
        let resolver = current.resolver.clone();
        config.cert_resolver = Arc::new(SessionResolver { resolver, asked: asked.clone() });
        config.ticketer = current.resumption.ticketer.clone();
        let opening = Opening::Server {
            asked,
            trust: self.trust.clone(),
            verifier: current.verifier.clone(),
        };
        TlsSession::server(Arc::new(config), opening)
    }

    /// A configuration for QUIC, with the certificates as they are now: to be asked for again after
    /// each reload. QUIC does not come by [`TlsServer::open`], so whoever takes a connection has to
    /// call [`TlsServer::verify_again`] before anything that came by it counts.
    pub(crate) fn quic_server_config(&self, early_data: bool) -> ServerConfig {
        let current = self.current();
        let mut config = current.config.clone();
        config.cert_resolver = current.resolver.clone();
        if early_data {
            // The default ticketer makes none: rustls takes early data only of sessions that it
            // can take out of a store.
            config.max_early_data_size = u32::MAX;
            config.session_storage = current.resumption.early_sessions();
        } else {
            config.ticketer = current.resumption.ticketer.clone();
        }
        quic_only(config, &self.provider, &current.verifier)
    }

    /// The same one (by [`Arc::ptr_eq`]) until a reload takes effect: whoever keeps a configuration
    /// keeps this, too, and sees whether there is a newer one.
    pub(crate) fn edition(&self) -> Arc<dyn Any + Send + Sync> {
        self.current()
    }

    /// Whether the chain that a connection began with is good now: to be asked when a handshake is
    /// complete, since a resumed one has verified nothing. `None` is a Client without certificate.
    pub(crate) fn verify_again(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<(), TlsError> {
        self.trust.verify(chain)
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn new(
        options: &TlsOptions,
        alpn: &[Vec<u8>],
        files: &Files,
        provider: &Arc<CryptoProvider>,
        old: Option<&Self>,
    ) -> Result<Self, TlsFileError> {
        let (resolver, [infos, issuers]) = certificates(files, provider)?;
        let trust_digest = files.trust_digest();
        let same = old.filter(|old| old.trust_digest == trust_digest);
        let (verifier, resumption) = match same {
            Some(old) => (old.verifier.clone(), old.resumption.clone()),
            None => (verifier(options, files, provider)?, Arc::new(Resumption::new()?)),
        };
        let mut config = config(options.version_min, provider, &verifier, resolver.clone())?;
        config.alpn_protocols = alpn.to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config,
            resolver,
            verifier,
            resumption,
            infos,
            issuers,
            revocations: Revocations::of(files),
            certificates_digest: files.certificates_digest(),
            trust_digest,
        })
    }

    fn is_of(&self, files: &Files) -> bool {
        self.certificates_digest == files.certificates_digest()
            && self.trust_digest == files.trust_digest()
    }
}

impl Resumption {
    fn new() -> Result<Self, TlsFileError> {
        let ticketer = aws_lc_rs::Ticketer::new().map_err(refused)?;
        Ok(Self { ticketer, early_sessions: OnceLock::new() })
    }

    fn early_sessions(&self) -> Arc<dyn StoresServerSessions> {
        let sessions = || ServerSessionMemoryCache::new(EARLY_SESSIONS_MAX) as _;
        self.early_sessions.get_or_init(sessions).clone()
    }
}

/// What is shown, and what is to be told about it: the certificates, and those behind them.
fn certificates(
    files: &Files,
    provider: &CryptoProvider,
) -> Result<(Arc<Resolver>, [Vec<CertificateInfo>; 2]), TlsFileError> {
    let mut with_names = Vec::new();
    let mut infos = Vec::new();
    let mut issuers = Vec::new();
    for (certificate, key) in &files.certificates {
        let certified = certified_key(certificate, key, provider)?;
        let info = certificate_info(certificate.path.clone(), &certified.cert[0]);
        let info = info.map_err(|what| certificate.error(ContentProblem::BadCertificate(what)))?;
        issuers.extend(certified.cert[1..].iter().filter_map(|der| issuer(certificate, der)));
        with_names.push((certified, info.names.clone()));
        infos.push(info);
    }
    if with_names.is_empty() {
        return Err(TlsFileError::general(ContentProblem::NoCertificates));
    }
    Ok((Arc::new(Resolver::new(with_names)), [infos, issuers]))
}

/// One that is shown with another one: nothing but its dates is to be told.
fn issuer(file: &Content, der: &[u8]) -> Option<CertificateInfo> {
    let info = certificate_info(file.path.clone(), der).ok()?;
    Some(CertificateInfo { oddity: None, ..info })
}

fn config(
    version_min: TlsVersion,
    provider: &Arc<CryptoProvider>,
    verifier: &Verifier,
    resolver: Arc<Resolver>,
) -> Result<ServerConfig, TlsFileError> {
    let versions: &[_] = match version_min {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(versions).map_err(refused)?;
    let verifier = verifier.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth);
    Ok(builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver))
}

/// The same configuration, without TLS 1.2.
fn quic_only(
    like: ServerConfig,
    provider: &Arc<CryptoProvider>,
    verifier: &Verifier,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(&[&TLS13]).expect("the provider has TLS 1.3");
    let verifier = verifier.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth);
    let builder = builder.with_client_cert_verifier(verifier);
    let mut config = builder.with_cert_resolver(like.cert_resolver);
    config.alpn_protocols = like.alpn_protocols;
    config.ticketer = like.ticketer;
    config.session_storage = like.session_storage;
    config.max_early_data_size = like.max_early_data_size;
    config
}

fn refused(error: rustls::Error) -> TlsFileError {
    TlsFileError::general(ContentProblem::Refused(error))
}
