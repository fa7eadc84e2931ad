//! Where a broker is, and how the commands that are clients reach it.
//!
//! `pub`, `sub`, `rr` and `bench` share this: URLs, the arguments about TLS, and the advice when a
//! connection cannot be made. It must never know about Control Packets.

mod failure;
mod scheme;
mod secret;
mod tls_args;
mod url;
mod waker;

pub(crate) use failure::{Failure, greeting_of_another_protocol};
pub(crate) use scheme::Scheme;
pub(crate) use secret::{PasswordArgs, Secret};
pub(crate) use tls_args::TlsArgs;
pub(crate) use url::BrokerUrl;
pub(crate) use waker::Waker;

use std::fmt;

use midge_net::{Connector, Target, TlsClientOptions};

/// The path of a WebSocket if the URL has none.
const WEBSOCKET_PATH: &str = "/mqtt";

/// Where a broker listens, and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: Scheme,
    /// For `unix`: the path of the socket.
    host: String,
    port: u16,
    path: String,
    tls: TlsClientOptions,
}

impl Endpoint {
    /// Makes the endpoint of a URL. The error names an argument that does not go with the URL.
    pub(crate) fn of_url(url: &BrokerUrl, tls: &TlsArgs) -> Result<Self, String> {
        tls.check(url.scheme)?;
        Ok(Self {
            scheme: url.scheme,
            host: url.host.clone(),
            port: url.port.unwrap_or(url.scheme.default_port()),
            path: url.path.clone().unwrap_or_else(|| WEBSOCKET_PATH.to_owned()),
            tls: tls.options(),
        })
    }

    /// Makes the endpoint of a host and a port. It has TLS if an argument about TLS is given or if
    /// the port is that of MQTT over TLS.
    pub(crate) fn of_host(host: &str, port: Option<u16>, tls: &TlsArgs) -> Result<Self, String> {
        let is_port_of_tls = port == Some(Scheme::Mqtts.default_port()) && !tls.is_refused();
        let has_tls = tls.is_given() || is_port_of_tls;
        let scheme = if has_tls { Scheme::Mqtts } else { Scheme::Mqtt };
        Self::of_url(&BrokerUrl::new(scheme, host, port), tls)
    }

    /// Makes the endpoint of a Unix socket.
    pub(crate) fn of_socket(path: &str, tls: &TlsArgs) -> Result<Self, String> {
        Self::of_url(&BrokerUrl::new(Scheme::Unix, path, None), tls)
    }

    /// Checks that a connection to the endpoint can have several streams; the error says what to
    /// do.
    pub(crate) fn check_data_streams(&self) -> Result<(), String> {
        match self.scheme {
            Scheme::Quic => Ok(()),
            _ => Err("--data-streams needs QUIC: write quic://HOST for the broker".to_owned()),
        }
    }

    /// Makes the connector for this endpoint. The error is about a TLS file.
    pub(crate) fn connector(&self) -> Result<Connector, String> {
        let target = Target {
            transport: self.scheme.transport(),
            host: self.host.clone(),
            port: self.port,
            path: self.path.clone(),
        };
        Connector::new(target, &self.tls).map_err(|error| error.to_string())
    }
}

impl Endpoint {
    /// Gives the URL, without user name and password.
    pub(crate) fn to_url(&self) -> String {
        if self.scheme == Scheme::Mqtt { format!("mqtt://{self}") } else { self.to_string() }
    }
}

impl fmt::Display for Endpoint {
    /// Writes host and port for MQTT over TCP, otherwise a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path, .. } = self;
        match scheme {
            Scheme::Mqtt => {}
            Scheme::Unix => return write!(f, "unix:{host}"),
            _ => write!(f, "{}://", scheme.name())?,
        }
        if host.contains(':') {
            write!(f, "[{host}]:{port}")?;
        } else {
            write!(f, "{host}:{port}")?;
        }
        if scheme.is_websocket() { f.write_str(path) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        tls: TlsArgs,
    }

    fn tls(line: &str) -> TlsArgs {
        Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).unwrap().tls
    }

    fn named(url: &str) -> String {
        Endpoint::of_url(&BrokerUrl::parse(url).unwrap(), &tls("")).unwrap().to_string()
    }

    #[test]
    fn names_endpoints_with_their_default_ports() {
        for (url, name) in [
            ("mqtt://localhost/t", "localhost:1883"),
            ("tcp://[::1]:1", "[::1]:1"),
            ("ssl://h", "mqtts://h:8883"),
            ("ws://h", "ws://h:8083/mqtt"),
            ("wss://[::1]/a", "wss://[::1]:8084/a"),
            ("quic://h/t", "quic://h:14567"),
            ("unix:///run/m.sock", "unix:/run/m.sock"),
        ] {
            assert_eq!(named(url), name, "{url}");
        }
    }

    #[test]
    fn arguments_about_tls_mean_tls() {
        let named = |line| Endpoint::of_host("h", None, &tls(line)).unwrap().to_string();
        assert_eq!(named(""), "h:1883");
        assert_eq!(named("--cafile ca.pem"), "mqtts://h:8883");
        assert_eq!(named("--insecure"), "mqtts://h:8883");
        assert_eq!(named("--cert c.pem --key c.key"), "mqtts://h:8883");
        assert_eq!(named("--tls-use-os-certs"), "mqtts://h:8883");
    }

    #[test]
    fn the_port_of_tls_means_tls() {
        let named = |port, line| Endpoint::of_host("h", Some(port), &tls(line)).unwrap();
        assert_eq!(named(8883, "").to_string(), "mqtts://h:8883");
        assert_eq!(named(8883, "").tls.ca, None, "the system's authorities");
        assert_eq!(named(8883, "--no-tls").to_string(), "h:8883");
        assert_eq!(named(1883, "").to_string(), "h:1883");
        assert_eq!(named(8884, "--tls-use-os-certs").to_string(), "mqtts://h:8884");
        assert!(named(1, "--tls-use-os-certs --cafile ca.pem").tls.system_ca);
        assert!(!named(1, "--cafile ca.pem").tls.system_ca);
    }

    #[test]
    fn arguments_about_tls_without_tls_are_refused() {
        for (url, line, part) in [
            ("mqtt://h", "--cafile a", "--cafile needs TLS: write mqtts:// instead of mqtt://"),
            ("ws://h", "--insecure", "write wss:// instead of ws://"),
            ("unix:/s", "--cert a --key b", "unix:// has none"),
        ] {
            let url = BrokerUrl::parse(url).unwrap();
            let error = Endpoint::of_url(&url, &tls(line)).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(Endpoint::of_host("h", None, &tls("--tls-alpn mqtt")).is_ok());
    }
}
