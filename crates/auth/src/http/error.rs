//! Why there is no answer, and why there is no client. The texts never hold what was sent or what
//! came back.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;

use super::url::HttpUrl;

/// There is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// Scheme, host and port.
    url: Box<str>,
    /// What has happened.
    pub problem: HttpProblem,
}

/// What may happen to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpProblem {
    /// The whole answer was not there by the deadline.
    Late,
    /// Nothing is known of the host.
    UnknownHost(Box<str>),
    /// Many names are being looked up, and none is found.
    TooManyLookups,
    /// The host has an address to which no request is made.
    ForbiddenAddress(IpAddr),
    /// The host has an address elsewhere, and the URL is without TLS.
    PlainElsewhere(IpAddr),
    /// There is no connection, or it has ended.
    Connection(Box<str>),
    /// TLS has failed.
    Tls(Box<str>),
    /// The answer is longer than allowed.
    TooLong,
    /// The answer is not HTTP.
    NotHttp,
}

/// There is no client: something in the configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSetupError {
    subject: String,
    detail: Box<str>,
}

impl HttpError {
    pub(super) fn of(url: &HttpUrl, error: ureq::Error) -> Self {
        Self { url: url.to_string().into(), problem: HttpProblem::of(error) }
    }
}

impl HttpProblem {
    fn of(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::Late,
            ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
                Self::TooLong
            }
            ureq::Error::HostNotFound => Self::UnknownHost("it has no address".into()),
            ureq::Error::Rustls(error) => Self::Tls(error.to_string().into()),
            ureq::Error::Tls(text) => Self::Tls(text.into()),
            ureq::Error::TlsRequired => Self::Tls("there is none".into()),
            ureq::Error::Io(error) => Self::of_io(&error),
            ureq::Error::Other(other) => match other.downcast::<Self>() {
                Ok(problem) => *problem,
                Err(_) => Self::Connection("it has failed".into()),
            },
            ureq::Error::ConnectionFailed => Self::Connection("it has failed".into()),
            // Their texts may quote what the server has sent.
            _ => Self::NotHttp,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Self::Tls(error.to_string().into()),
            None if error.kind() == io::ErrorKind::TimedOut => Self::Late,
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Connection("the server has closed it before its answer was complete".into())
            }
            None => Self::Connection(error.to_string().into()),
        }
    }
}

impl HttpSetupError {
    pub(crate) fn new(subject: String, detail: impl Into<Box<str>>) -> Self {
        Self { subject, detail: detail.into() }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.problem)
    }
}

impl fmt::Display for HttpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("there is no whole answer by the deadline"),
            Self::UnknownHost(detail) => write!(f, "the host is unknown: {detail}"),
            Self::TooManyLookups => f.write_str("the name server does not answer"),
            Self::ForbiddenAddress(address) => write!(
                f,
                "the host has the address {address}, to which no request is made: link-local, \
                 multicast and unspecified addresses, and those of a cloud's metadata, are refused"
            ),
            Self::PlainElsewhere(address) => write!(
                f,
                "the host has the address {address}, which is not this machine: use https, or \
                 allow plain HTTP"
            ),
            Self::Connection(detail) => write!(f, "connection: {detail}"),
            Self::Tls(detail) => write!(f, "TLS: {detail}"),
            Self::TooLong => f.write_str("the answer is longer than allowed"),
            Self::NotHttp => f.write_str("the answer is not valid HTTP/1.1"),
        }
    }
}

impl fmt::Display for HttpSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.detail)
    }
}

impl Error for HttpError {}
impl Error for HttpProblem {}
impl Error for HttpSetupError {}
