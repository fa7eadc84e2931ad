//! The one HTTP(S) client of this crate: it asks a server that the administrator has named, and
//! says exactly why there is no answer.
//!
//! It blocks, so it belongs on a thread of a [`Pool`](crate::Pool). Each request has one deadline
//! for everything, each answer a limit of bytes. It follows no redirect, takes no proxy from the
//! environment, and connects to no address that only this machine or its cloud can mean
//! ([`destination`]). No error tells a header, a body, or what follows the host in a URL, because
//! there may be secrets in them.

mod connecting;
mod destination;
mod error;
mod headers;
mod tls;
mod url;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Method, Request, header};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, AsSendBody};

use connecting::{Connecting, Lookup, NoLookup};
pub use error::{HttpError, HttpProblem, HttpSetupError};
pub use headers::HttpHeaders;
pub use url::HttpUrl;

/// How requests are made.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The deadline for a whole request: looking up the name, connecting, sending, receiving. At
    /// most an hour.
    pub deadline: Duration,
    /// The most bytes of a body that are taken.
    pub response_bytes_max: usize,
    /// The most connections that are kept for later requests.
    pub idle_connections_max: usize,
    /// A connection is kept for so long.
    pub idle_max: Duration,
    /// The certificates of the authorities that are believed (PEM), instead of the system's.
    pub authorities: Option<PathBuf>,
    /// The certificate to show, and its key (PEM).
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether requests without TLS may leave this machine.
    pub allow_plain: bool,
}

/// Makes requests, and keeps connections for further ones.
#[derive(Debug)]
pub struct HttpClient {
    agent: Agent,
    options: HttpOptions,
}

/// What a server has answered.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// For how long the answer may be used again, if the server says so (`Cache-Control`, `Age`).
    pub usable_for: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// A later deadline is a mistake, and no clock can be added to the latest ones.
const DEADLINE_MAX: Duration = Duration::from_secs(60 * 60);

/// A response whose header is longer is not taken.
const RESPONSE_HEADER_BYTES_MAX: usize = 16 * 1024;

/// The buffers of a connection. A request is written in pieces of this size, and the deadline is
/// looked at before each.
const BUFFER_BYTES: usize = 16 * 1024;

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            response_bytes_max: 64 * 1024,
            idle_connections_max: 16,
            idle_max: Duration::from_secs(30),
            authorities: None,
            certificate: None,
            allow_plain: false,
        }
    }
}

impl HttpClient {
    /// Reads the files, and makes a client.
    ///
    /// # Errors
    ///
    /// A file cannot be used.
    pub fn new(options: HttpOptions) -> Result<Self, HttpSetupError> {
        Self::with_lookup(options, connecting::system_lookup())
    }

    fn with_lookup(mut options: HttpOptions, lookup: Lookup) -> Result<Self, HttpSetupError> {
        options.deadline = options.deadline.min(DEADLINE_MAX);
        let config = Agent::config_builder()
            .tls_config(tls::config(&options)?)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(options.deadline))
            .max_response_header_size(RESPONSE_HEADER_BYTES_MAX)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_idle_connections(options.idle_connections_max)
            .max_idle_connections_per_host(options.idle_connections_max)
            .max_idle_age(options.idle_max)
            .accept_encoding("identity")
            .user_agent(concat!("midge/", env!("CARGO_PKG_VERSION")))
            .build();
        let connecting = Connecting::new(options.allow_plain, lookup);
        let connector = connecting.chain(RustlsConnector::default());
        Ok(Self { agent: Agent::with_parts(config, connector, NoLookup), options })
    }

    /// Asks for what is at `url`.
    ///
    /// # Errors
    ///
    /// There is no whole answer in time. An answer with any status code is no error.
    pub fn get(&self, url: &HttpUrl, headers: &HttpHeaders) -> Result<HttpAnswer, HttpError> {
        self.run(url, || request(Method::GET, url, headers, None, ()))
    }

    /// Sends `body` to `url`.
    ///
    /// # Errors
    ///
    /// There is no whole answer in time. An answer with any status code is no error.
    pub fn post(
        &self,
        url: &HttpUrl,
        headers: &HttpHeaders,
        content_type: &'static str,
        body: &[u8],
    ) -> Result<HttpAnswer, HttpError> {
        self.run(url, || request(Method::POST, url, headers, Some(content_type), body))
    }

    /// Makes a request, and once more on a new connection if one that was kept turns out to have
    /// ended: servers close connections without asking.
    fn run<B: AsSendBody>(
        &self,
        url: &HttpUrl,
        request: impl Fn() -> Request<B>,
    ) -> Result<HttpAnswer, HttpError> {
        let began = Instant::now();
        connecting::forget_connected();
        let first = self.agent.run(request());
        let response = match first {
            Err(error) if is_end_of_connection(&error) && !connecting::has_connected() => {
                let left = self.options.deadline.saturating_sub(began.elapsed());
                let request = self.agent.configure_request(request());
                // No kept connection for this one: the others may have ended together.
                let request = request.timeout_global(Some(left)).max_idle_age(Duration::ZERO);
                self.agent.run(request.build())
            }
            first => first,
        };
        let mut response = response.map_err(|error| HttpError::of(url, error))?;
        let usable_for = usable_for(response.headers());
        let limit = self.options.response_bytes_max as u64;
        let body = response.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| HttpError::of(url, error))?;
        Ok(HttpAnswer { status: response.status().as_u16(), usable_for, body })
    }
}

fn request<B>(
    method: Method,
    url: &HttpUrl,
    headers: &HttpHeaders,
    content_type: Option<&'static str>,
    body: B,
) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.uri().clone();
    if let Some(content_type) = content_type {
        let value = header::HeaderValue::from_static(content_type);
        request.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    for (name, value) in headers.iter() {
        request.headers_mut().insert(name, value.clone());
    }
    request
}

/// Returns whether the connection has ended before there was an answer.
fn is_end_of_connection(error: &ureq::Error) -> bool {
    let ureq::Error::Io(error) = error else { return false };
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

/// Returns for how long an answer may be used again; zero if not at all, and if it is not clear.
fn usable_for(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age: Option<u64> = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        let Ok(value) = value.to_str() else { return Some(Duration::ZERO) };
        for directive in value.split(',').map(|it| it.trim().to_ascii_lowercase()) {
            let (name, value) = directive.split_once('=').unwrap_or((&directive, ""));
            match name {
                "no-store" | "no-cache" => return Some(Duration::ZERO),
                "max-age" => {
                    let seconds = value.trim_matches('"').parse().unwrap_or(0);
                    max_age = Some(max_age.map_or(seconds, |other| other.min(seconds)));
                }
                _ => {}
            }
        }
    }
    let age = headers.get(header::AGE).map_or(Some(0), |it| it.to_str().ok()?.trim().parse().ok());
    max_age.map(|it| Duration::from_secs(it.saturating_sub(age.unwrap_or(u64::MAX))))
}

/// Does not show the body.
impl std::fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let answer = &mut f.debug_struct("HttpAnswer");
        answer.field("status", &self.status).field("usable_for", &self.usable_for);
        answer.field("body_bytes", &self.body.len()).finish()
    }
}

/// Returns the one crypto provider. It is passed wherever it is needed, so that nothing depends on
/// a provider that something else in the process has installed.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
pub(crate) mod tests;
