//! A listener's side of TLS, with the newest good certificates.
//!
//! Reading files again replaces everything at once, or nothing if one file is bad. Open sessions go
//! on with what they began with.

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

/// Sessions that a QUIC listener with early data remembers. Such a session must be resumed only
/// once, or its early data could be replayed, so tickets alone are not enough.
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

/// What the newest good files say.
#[derive(Debug)]
struct Current {
    config: ServerConfig,
    resolver: Arc<Resolver>,
    verifier: Verifier,
    resumption: Arc<Resumption>,
    infos: Vec<CertificateInfo>,
    /// The certificates that follow those in their files.
    issuers: Vec<CertificateInfo>,
    revocations: Revocations,
    certificates_digest: [u8; 32],
    trust_digest: [u8; 32],
}

/// What sessions are resumed with. It is replaced when other authorities or revocations count: then
/// every Client has to show its certificate again.
#[derive(Debug)]
struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    early_sessions: OnceLock<Arc<dyn StoresServerSessions>>,
}

/// The state of the files when they were last looked at.
#[derive(Debug)]
struct Watched {
    marks: Marks,
    has_failed: bool,
}

impl TlsServer {
    /// Reads the files of `options`. `alpn` are the protocols that are accepted, the best first; if
    /// it is empty, whatever Clients offer is accepted.
    ///
    /// # Errors
    ///
    /// If a file cannot be used.
    pub fn load(options: &TlsOptions, alpn: &[&[u8]]) -> Result<Self, TlsFileError> {
        let provider = provider();
        let alpn: Vec<_> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // The marks come from before the read, so that a later write is found at the next look.
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

    /// Returns the warnings about the files that are due at `now`, in seconds since 1970:
    /// certificates that have expired or are not valid yet, lists of revoked certificates that are
    /// missing or old.
    pub fn warnings(&self, now: i64) -> Vec<String> {
        let current = self.current();
        let certificates = current.infos.iter().chain(&current.issuers);
        let certificates = certificates.filter_map(|info| info.warning(now));
        certificates.chain(current.revocations.warnings(now)).collect()
    }

    /// Reads all files again, and takes them if all are good. Returns whether something has
    /// changed.
    ///
    /// # Errors
    ///
    /// If a file cannot be used; then everything stays as it was.
    pub fn reload(&self) -> Result<bool, TlsFileError> {
        let mut watched = self.watched();
        let marks = Marks::of(paths(&self.options));
        self.reload_marked(&mut watched, marks)
    }

    /// Does the same as [`TlsServer::reload`], but reads only if the file system says that a file
    /// has changed since the last look. Returns `None` if there is nothing to report. A failure is
    /// reported once for each change.
    pub fn reload_if_changed(&self) -> Option<Result<(), TlsFileError>> {
        let mut watched = self.watched();
        let marks = Marks::of(paths(&self.options));
        if marks == watched.marks {
            return None;
        }
        let had_failed = watched.has_failed;
        match self.reload_marked(&mut watched, marks) {
            // Files that are good again also count, even if nothing differs from before.
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
        // Trust comes first: a handshake that ends in between is judged by it.
        self.trust.replace(new.verifier.clone());
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    /// Returns what the certificates in use say, in the order of the options.
    pub fn certificate_infos(&self) -> Vec<CertificateInfo> {
        self.current().infos.clone()
    }

    /// Opens a session for a connection that has come.
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

    /// Returns a configuration for QUIC, with the present certificates: to be asked for again after
    /// each reload. QUIC does not use [`TlsServer::open`], so code that takes a connection has to
    /// call [`TlsServer::verify_again`] before anything that came on the connection counts.
    pub(crate) fn quic_server_config(&self, early_data: bool) -> ServerConfig {
        let current = self.current();
        let mut config = current.config.clone();
        config.cert_resolver = current.resolver.clone();
        if early_data {
            // The default ticketer makes no tickets: rustls accepts early data only for sessions
            // that it can take out of a store.
            config.max_early_data_size = u32::MAX;
            config.session_storage = current.resumption.early_sessions();
        } else {
            config.ticketer = current.resumption.ticketer.clone();
        }
        quic_only(config, &self.provider, &current.verifier)
    }

    /// Returns the present edition, the same (by [`Arc::ptr_eq`]) until a reload takes effect. Code
    /// that keeps a configuration keeps this, too, to see whether there is a newer one.
    pub(crate) fn edition(&self) -> Arc<dyn Any + Send + Sync> {
        self.current()
    }

    /// Verifies that the chain that a connection began with is good now. To be called when a
    /// handshake is complete, since a resumed one has verified nothing. `None` is a Client without
    /// a certificate.
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

/// Returns the certificates to be shown, and the information about them and about those that follow
/// them.
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

/// Returns the information about a certificate that is shown with another one: only its dates
/// deserve warnings.
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

/// Returns the same configuration without TLS 1.2.
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
