//! The listeners that a broker starts with: which ones, and how they are shown to people.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use midge_broker::{Listener, ListenerSettings};
use midge_net::{ClientCertificates, Listen, ListenAddress, Protocol, ProxyMode};

use crate::config::{Configuration, printable};

/// Where a broker listens if nothing is configured: only users of this machine may connect without
/// saying who they are.
const DEFAULT_ADDRESSES: [&str; 2] = ["127.0.0.1:1883", "[::1]:1883"];

/// The listeners for a configuration that names none. The machine is asked only once whether it has
/// IPv6: if it cannot answer later, perhaps because no descriptor is left, that must not remove a
/// listener.
#[derive(Debug, Default)]
pub(crate) struct DefaultListeners {
    addresses: OnceCell<&'static [&'static str]>,
}

/// A listener as it is shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownListener {
    /// Such as `mqtts://0.0.0.0:8883` or `unix:/run/midge.sock`.
    url: String,
    /// Such as `0.0.0.0:8883` or `unix:/run/midge.sock`: its name in lines about its connections.
    pub(crate) address: String,
    /// Whether only processes of this machine can reach it.
    pub(crate) is_local: bool,
    /// Whether a Client needs a certificate from one of the listener's authorities.
    pub(crate) needs_certificate: bool,
    /// Whether anyone who reaches it can claim, as a proxy, to come from any address.
    pub(crate) believes_all_proxies: bool,
}

impl DefaultListeners {
    /// Returns the listeners that the configuration names, or else the default ones.
    pub(crate) fn or_configured(&self, configuration: &Configuration) -> Vec<ListenerSettings> {
        if !configuration.listeners.is_empty() {
            return configuration.listeners.clone();
        }
        let capabilities = configuration.capabilities;
        let plain = |address| ListenerSettings { capabilities, ..ListenerSettings::new(address) };
        let try_ipv6 = || TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map(drop);
        self.addresses(try_ipv6).iter().map(plain).collect()
    }

    fn addresses(&self, try_ipv6: impl FnOnce() -> io::Result<()>) -> &'static [&'static str] {
        self.addresses.get_or_init(|| match try_ipv6() {
            Ok(()) => &DEFAULT_ADDRESSES,
            Err(error) => {
                log::info!("not listening on {}: no IPv6 here ({error})", DEFAULT_ADDRESSES[1]);
                &DEFAULT_ADDRESSES[..1]
            }
        })
    }
}

impl ShownListener {
    pub(crate) fn new(listener: &Listener) -> Self {
        Self::of(&listener.settings.listen, listener.address.network())
    }

    /// Describes the listener that was asked for as `listen`. `address` is the network address that
    /// it is bound to, if it has one.
    pub(super) fn of(listen: &Listen, address: Option<SocketAddr>) -> Self {
        let place = match (&listen.address, address) {
            (_, Some(address)) => address.to_string(),
            (ListenAddress::Network(asked), None) => asked.clone(),
            (ListenAddress::Unix(path), None) => path.display().to_string(),
        };
        let needs_certificate = listen
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_certificates == ClientCertificates::Required);
        let is_unix = matches!(listen.address, ListenAddress::Unix(_));
        let is_local = is_unix || address.is_some_and(|address| address.ip().is_loopback());
        let has_proxy = listen.proxy.mode != ProxyMode::Off && listen.proxy.from.is_empty();
        let url = if is_unix { of_process(listen, &place) } else { of_network(listen, &place) };
        let address = if is_unix { listen.address.to_string() } else { place };
        let believes_all_proxies = has_proxy && !is_local;
        Self { url, address, is_local, needs_certificate, believes_all_proxies }
    }
}

fn of_network(listen: &Listen, address: &str) -> String {
    let is_secure = listen.tls.is_some();
    match &listen.protocol {
        Protocol::Mqtt if is_secure => format!("mqtts://{address}"),
        Protocol::Mqtt => format!("mqtt://{address}"),
        Protocol::WebSocket(options) => {
            let scheme = if is_secure { "wss" } else { "ws" };
            format!("{scheme}://{address}{}", options.path)
        }
        Protocol::Quic(_) => format!("quic://{address}"),
    }
}

/// Describes a Unix socket. There is no usual notation for the protocol that is spoken there.
fn of_process(listen: &Listen, path: &str) -> String {
    let spoken = match (&listen.protocol, listen.tls.is_some()) {
        (Protocol::WebSocket(_), false) => " (WebSocket)",
        (Protocol::WebSocket(_), true) => " (WebSocket, TLS)",
        (_, true) => " (TLS)",
        (_, false) => "",
    };
    format!("unix:{path}{spoken}")
}

impl fmt::Display for ShownListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.url))
    }
}

#[cfg(test)]
mod tests {
    use midge_net::{Listen, ProxyMode, QuicOptions, TlsOptions, WebSocketOptions};

    use super::{DEFAULT_ADDRESSES, DefaultListeners, ShownListener};

    #[test]
    fn the_machine_is_asked_once_whether_it_has_ipv6() {
        let failure = || Err(std::io::ErrorKind::AddrNotAvailable.into());
        let with_ipv6 = DefaultListeners::default();
        assert_eq!(with_ipv6.addresses(|| Ok(())), DEFAULT_ADDRESSES);
        assert_eq!(with_ipv6.addresses(failure), DEFAULT_ADDRESSES, "it had IPv6 at the start");
        let without = DefaultListeners::default();
        assert_eq!(without.addresses(failure), &DEFAULT_ADDRESSES[..1]);
        assert_eq!(without.addresses(|| Ok(())), &DEFAULT_ADDRESSES[..1]);
    }

    fn shown(listen: &Listen, address: &str) -> ShownListener {
        ShownListener::of(listen, address.parse().ok())
    }

    #[test]
    fn each_transport_has_its_url() {
        let tls = || TlsOptions::new("server.pem", "server.key");
        let network = "0.0.0.0:8883";
        let plain = Listen::new("0.0.0.0:0");
        let unix = Listen::new("unix:/run/midge.sock");
        let websocket = WebSocketOptions::default();
        let expected = [
            (plain.clone(), network, "mqtt://0.0.0.0:8883"),
            (plain.clone().tls(tls()), network, "mqtts://0.0.0.0:8883"),
            (plain.clone().websocket(websocket.clone()), network, "ws://0.0.0.0:8883/mqtt"),
            (plain.clone().websocket(websocket).tls(tls()), network, "wss://0.0.0.0:8883/mqtt"),
            (plain.quic(QuicOptions::default()).tls(tls()), network, "quic://0.0.0.0:8883"),
            (unix.clone(), "", "unix:/run/midge.sock"),
            (unix.tls(tls()), "", "unix:/run/midge.sock (TLS)"),
        ];
        for (listen, address, url) in expected {
            let shown = shown(&listen, address);
            assert_eq!(shown.to_string(), url);
            let is_unix = address.is_empty();
            assert_eq!(shown.address, if is_unix { "unix:/run/midge.sock" } else { network });
        }
    }

    #[test]
    fn who_can_reach_it_is_known() {
        let plain = Listen::new("0.0.0.0:1883");
        assert!(!shown(&plain, "0.0.0.0:1883").is_local);
        assert!(shown(&plain, "127.0.0.1:1883").is_local);
        assert!(shown(&Listen::new("unix:midge.sock"), "").is_local);
        let tls = TlsOptions::new("a", "b");
        assert!(!shown(&plain.clone().tls(tls.clone()), "0.0.0.0:1").needs_certificate);
        assert!(shown(&plain.clone().tls(tls.client_ca("c")), "0.0.0.0:1").needs_certificate);

        let mut proxied = plain;
        assert!(!shown(&proxied, "0.0.0.0:1").believes_all_proxies);
        proxied.proxy.mode = ProxyMode::Optional;
        assert!(shown(&proxied, "0.0.0.0:1").believes_all_proxies);
        assert!(!shown(&proxied, "127.0.0.1:1").believes_all_proxies);
        proxied.proxy.from.push("10.0.0.0/8".parse().unwrap());
        assert!(!shown(&proxied, "0.0.0.0:1").believes_all_proxies);
    }
}
