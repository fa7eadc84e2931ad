//! What has to hold between the keys of a `[[listener]]`, and between listeners.
//!
//! A key that would have no effect is an error, because whoever wrote it relies on it.

use std::time::Duration;

use midge_core::counted;
use midge_net::QuicOptions;

use super::address::{self, Address};
use super::condition::Condition;
use super::problem::{Origin, Problem};
use super::schema::{Key, Section};
use super::settings::{Setting, Table};
use super::value::Value;

/// What a listener's table says, in the form in which the rules ask for it.
struct Listener<'t> {
    table: &'t Table,
}

impl Condition {
    /// Whether the listener of this table meets the condition. A value that is wrong on its own was
    /// reported already and causes no further problem.
    pub(crate) fn holds(self, table: &Table) -> bool {
        let listener = Listener { table };
        match self {
            Self::Tls => listener.has("tls.certificate") || listener.has("tls.key"),
            Self::WebSocket => listener.may_speak("websocket"),
            Self::Quic => listener.may_speak("quic"),
            Self::Unix => listener.address().is_none_or(|address| address.is_unix()),
            Self::Tcp => {
                listener.address().is_none_or(|address| !address.is_unix()) && !listener.is_quic()
            }
            Self::NoQuic => !listener.is_quic(),
            Self::Proxy => listener.has_proxy(),
            Self::TlsVersions => Self::Tls.holds(table) && !listener.is_quic(),
            Self::Handshakes => {
                Self::Tls.holds(table) || listener.may_speak("websocket") || listener.is_quic()
            }
            Self::Addresses => !listener.is_unix() || listener.has_proxy(),
        }
    }

    /// Says why a key has no effect, as the rest of a sentence, and what to do.
    fn explain(self, table: &Table) -> (String, &'static str) {
        let listener = Listener { table };
        match self {
            Self::TlsVersions if listener.is_quic() => {
                ("has no effect, as QUIC always has TLS 1.3".to_string(), "leave it out")
            }
            Self::Handshakes => (
                "has no effect without TLS, WebSocket or QUIC: there are no handshakes".to_string(),
                "leave it out; connections_max and connection_rate_max bound connections",
            ),
            Self::Addresses => (
                "has no effect on a Unix socket, whose Clients have no addresses".to_string(),
                "leave it out; connection_rate_max bounds all of them together",
            ),
            Self::Tls | Self::TlsVersions => {
                ("needs `tls.certificate` and `tls.key`".to_string(), "write both, or leave it out")
            }
            Self::WebSocket => (
                format!("is for WebSocket, but {}", listener.protocol_in_words()),
                "write protocol = \"websocket\", or leave it out",
            ),
            Self::Quic => (
                format!("is for QUIC, but {}", listener.protocol_in_words()),
                "write protocol = \"quic\", or leave it out",
            ),
            Self::Unix => (
                format!("is for Unix sockets, but {}", listener.bind_in_words()),
                "write bind = \"unix:PATH\", or leave it out",
            ),
            Self::Tcp if listener.is_quic() => (
                "is for TCP, but QUIC goes over UDP".to_string(),
                "leave it out; QUIC has keys of its own, quic.*",
            ),
            Self::Tcp => (format!("is for TCP, but {}", listener.bind_in_words()), "leave it out"),
            Self::NoQuic => (
                "is not possible with QUIC: there is no place for the header".to_string(),
                "leave it out; a load balancer for QUIC has to preserve the address itself",
            ),
            Self::Proxy => (
                "has no effect without `proxy_protocol`".to_string(),
                "write proxy_protocol = \"required\", or leave it out",
            ),
        }
    }
}

impl Listener<'_> {
    fn has(&self, key: &str) -> bool {
        self.table.has(key)
    }

    /// Returns where the value of a key stands.
    fn origin(&self, key: &str) -> Origin {
        let setting = self.table.get(key);
        setting.map_or(self.table.origin.clone(), |setting| setting.origin.clone())
    }

    fn address(&self) -> Option<Address> {
        address::parse(self.table.text("bind")?).ok()
    }

    fn is_unix(&self) -> bool {
        self.address().is_some_and(|address| address.is_unix())
    }

    fn is_quic(&self) -> bool {
        self.table.text("protocol") == Some("quic")
    }

    /// Whether the protocol is this one, or its value is wrong.
    fn may_speak(&self, protocol: &str) -> bool {
        match self.table.text("protocol") {
            Some(given) => given == protocol,
            None => self.has("protocol"),
        }
    }

    fn has_proxy(&self) -> bool {
        match self.table.text("proxy_protocol") {
            Some(mode) => mode != "off",
            None => self.has("proxy_protocol"),
        }
    }

    fn protocol_in_words(&self) -> String {
        format!("`protocol` is \"{}\"", self.table.text("protocol").unwrap_or("mqtt"))
    }

    fn bind_in_words(&self) -> String {
        format!("`bind` is {:?}", self.table.text("bind").unwrap_or_default())
    }

    fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.origin(key), message)
    }
}

/// Checks all listeners.
pub(crate) fn check(section: &Section, tables: &[Table], problems: &mut Vec<Problem>) {
    for table in tables {
        let listener = Listener { table };
        check_conditions(section, &listener, problems);
        if Condition::Tls.holds(table) {
            problems.extend(check_certificate(&listener));
            problems.extend(check_clients(&listener));
        }
        problems.extend(check_quic(&listener));
        problems.extend(check_quic_times(&listener));
        problems.extend(check_proxy(&listener));
    }
    check_addresses(tables, problems);
}

fn check_conditions(section: &Section, listener: &Listener<'_>, problems: &mut Vec<Problem>) {
    let given = section.keys.iter().filter(|key| is_meant(key, listener.table));
    for key in given {
        let Some(condition) = key.only.filter(|only| !only.holds(listener.table)) else { continue };
        let (message, help) = condition.explain(listener.table);
        let problem = listener.problem(key.name, format!("`{}` {message}", key.name));
        problems.push(problem.help(help));
    }
}

/// Whether a key has a valid value, and one that asks for something.
fn is_meant(key: &Key, table: &Table) -> bool {
    match table.get(key.name).map(|setting| &setting.value) {
        Some(Value::Text(word)) => *word != "off",
        Some(Value::List(items)) => !items.is_empty(),
        Some(_) => true,
        None => false,
    }
}

/// Checks that each certificate has its key.
fn check_certificate(listener: &Listener<'_>) -> Option<Problem> {
    let pair = ("tls.certificate", "tls.key");
    for (one, other) in [pair, (pair.1, pair.0)] {
        if listener.table.get(one).is_some() && !listener.has(other) {
            let example = if other == "tls.key" { "server.key" } else { "server.pem" };
            let problem = listener.problem(one, format!("`{one}` needs `{other}` beside it"));
            return Some(problem.help(format!("for example: {other} = \"{example}\"")));
        }
    }
    let (certificates, keys) = (listener.table.list(pair.0)?, listener.table.list(pair.1)?);
    if certificates.len() == keys.len() {
        return None;
    }
    let message = format!(
        "`tls.certificate` names {}, but `tls.key` {}",
        counted(certificates.len(), "file"),
        counted(keys.len(), "file")
    );
    let help = "each certificate has a key, in the same order; a chain is one file";
    Some(listener.problem("tls.key", message).help(help))
}

/// Checks that keys about Clients' certificates have an authority and are not switched off.
fn check_clients(listener: &Listener<'_>) -> Option<Problem> {
    let help = "for example: tls.client_ca = \"devices-ca.pem\"";
    if listener.has("tls.client_ca") {
        let is_off = listener.table.text("tls.client_certificates") == Some("off");
        let of_list = ["tls.client_crl", "tls.client_ca"];
        let key = of_list.into_iter().find(|key| listener.table.get(key).is_some())?;
        let message = format!("`{key}` has no effect, as `tls.client_certificates` is \"off\"");
        return is_off.then(|| {
            let help = "write \"optional\" or \"required\", or leave it out";
            listener.problem(key, message).help(help)
        });
    }
    let mode = listener.table.text("tls.client_certificates").filter(|mode| *mode != "off");
    if let Some(mode) = mode {
        let message = format!(
            "`tls.client_certificates` is \"{mode}\", but there is no `tls.client_ca` to \
             verify certificates with"
        );
        return Some(listener.problem("tls.client_certificates", message).help(help));
    }
    listener.table.get("tls.client_crl")?;
    let message = "`tls.client_crl` needs `tls.client_ca` beside it";
    Some(listener.problem("tls.client_crl", message).help(help))
}

/// Checks the times of QUIC: a connection that is asked only after it has ended is not kept alive.
fn check_quic_times(listener: &Listener<'_>) -> Option<Problem> {
    let seconds = |key: &str, default: Duration| match listener.table.get(key) {
        Some(Setting { value: Value::Integer(seconds), .. }) => *seconds,
        _ => default.as_secs(),
    };
    let defaults = QuicOptions::default();
    let idle = seconds("quic.idle_timeout_seconds", defaults.idle_timeout);
    let keep_alive = seconds("quic.keep_alive_seconds", defaults.keep_alive);
    if idle == 0 || keep_alive < idle {
        return None;
    }
    let asked = ["quic.keep_alive_seconds", "quic.idle_timeout_seconds"];
    let key = asked.into_iter().find(|key| listener.has(key))?;
    let message = format!(
        "`quic.keep_alive_seconds` ({keep_alive}) has to be below `quic.idle_timeout_seconds` \
         ({idle}), or quiet connections end"
    );
    Some(listener.problem(key, message).help("a third of it is usual; 0 never asks"))
}

fn check_quic(listener: &Listener<'_>) -> Option<Problem> {
    if !listener.is_quic() {
        return None;
    }
    if listener.is_unix() {
        let message = "`protocol` is \"quic\", which goes over UDP, but `bind` names a Unix socket";
        return Some(listener.problem("protocol", message).help("write bind = \"ADDRESS:PORT\""));
    }
    if listener.has("tls.certificate") || listener.has("tls.key") {
        return None;
    }
    let message = "`protocol` is \"quic\", which always uses TLS, but there is no \
                   `tls.certificate`";
    let help = "for example: tls = { certificate = \"server.pem\", key = \"server.key\" }";
    Some(listener.problem("protocol", message).help(help))
}

/// Refuses networks for a Unix socket: its peers have no address that could be in one.
fn check_proxy(listener: &Listener<'_>) -> Option<Problem> {
    let networks = listener.table.list("proxy_protocol_from")?;
    if networks.is_empty() || !listener.is_unix() {
        return None;
    }
    let message =
        "`proxy_protocol_from` names networks, but the peers of a Unix socket are in none";
    let help = "leave it out; unix.owner, unix.group and unix.mode say who may connect";
    Some(listener.problem("proxy_protocol_from", message).help(help))
}

/// Checks that no two listeners are at the same place. A TCP port is not the UDP port of that
/// number.
fn check_addresses(tables: &[Table], problems: &mut Vec<Problem>) {
    let mut others: Vec<(Address, bool, &str)> = Vec::new();
    for table in tables {
        let listener = Listener { table };
        let (Some(address), Some(text)) = (listener.address(), table.text("bind")) else {
            continue;
        };
        let is_quic = listener.is_quic();
        let mut earlier = others.iter().filter(|(_, other_is_quic, _)| *other_is_quic == is_quic);
        if let Some((_, _, other)) = earlier.find(|(other, ..)| address.collides_with(other)) {
            let message = if *other == text || address.is_unix() {
                format!("{text} is listened on twice")
            } else {
                format!("{text} cannot be listened on beside {other}, as one includes the other")
            };
            problems.push(listener.problem("bind", message));
        }
        others.push((address, is_quic, text));
    }
}
