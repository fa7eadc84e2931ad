//! The keys of `[[listener]]`. Their defaults are those of the values in `midge-net` that they
//! become.

use std::time::Duration;

use midge_core::Limits;
use midge_net::{ListenerLimits, QuicOptions, TcpOptions, WebSocketOptions};

use super::super::condition::Condition;
use super::super::value::{Kind, Value};
use super::{DURABILITIES, Default, Key, Section, capabilities, limit_min, live, text};

/// Words of `protocol`.
const PROTOCOLS: &[&str] = &["mqtt", "websocket", "quic"];

/// Words of `tls.client_certificates` and of `proxy_protocol`.
const MODES: &[&str] = &["off", "optional", "required"];

/// Words of `tls.version_min`.
const VERSIONS: &[&str] = &["1.2", "1.3"];

pub(super) fn section() -> Section {
    let doc = "Where the broker listens; one [[listener]] for each address. See listeners.md.\n\
               Without any: 127.0.0.1:1883 and [::1]:1883, so that only this machine can connect.";
    let only = |keys: Vec<Key>, condition: Condition| {
        keys.into_iter().map(|key| key.only(condition)).collect::<Vec<_>>()
    };
    let groups = [
        listener(),
        tls(),
        only(websocket(), Condition::WebSocket),
        only(quic(), Condition::Quic),
        proxy(),
        only(unix(), Condition::Unix),
        only(tcp(), Condition::Tcp),
        capabilities::of_listener(),
        limits(),
    ];
    let keys = live(groups.into_iter().flatten().collect());
    Section { name: "listener", repeated: true, doc, keys }
}

fn absent(meaning: &'static str, example: &'static str) -> Default {
    Default::Absent { meaning, example: text(example) }
}

fn number(number: impl Into<u64>) -> Default {
    Default::Value(Value::Integer(number.into()))
}

fn seconds(duration: Duration) -> Default {
    number(duration.as_secs())
}

fn yes_or_no(value: bool) -> Default {
    Default::Value(Value::Boolean(value))
}

fn listener() -> Vec<Key> {
    let bind = "The address and the port to listen on. 0.0.0.0 is every IPv4 address of the \
                machine,\n[::] is every address, IPv4 and IPv6; 127.0.0.1 and [::1] are the \
                machine itself.\nPort 0 is any free port. Or a Unix socket: \
                \"unix:/run/midge.sock\".";
    let protocol = "What carries MQTT 3.1, 3.1.1 and 5.0 there. \"mqtt\": nothing, as over TCP \
                    and TLS;\n\"websocket\": WebSocket, as browsers need it; \"quic\": QUIC, over \
                    UDP.";
    vec![
        Key::new("bind", Kind::Address, Default::Required("\"0.0.0.0:1883\""), bind),
        Key::new("protocol", Kind::Choice(PROTOCOLS), Default::Value(text("mqtt")), protocol),
        Key::new(
            "durability",
            Kind::Choice(DURABILITIES),
            absent("as in [storage]", "interval"),
            "What an acknowledgement promises to Clients that come by this listener.",
        ),
    ]
}

fn tls() -> Vec<Key> {
    let certificate = "The broker's certificate, and those between it and the authority: a PEM \
                       file. With a list of\nfiles a Client gets the certificate that has the \
                       host name which it asks for (SNI), else\nthe first. The files of tls are \
                       read again when they change and on SIGHUP.";
    let client_certificates = "\"off\": Clients are not asked for a certificate; \"optional\": \
                               they may show one;\n\"required\": they have to. One that \
                               client_ca has not signed is refused in any case.";
    vec![
        Key::new("tls.certificate", Kind::Files, absent("no TLS", "server.pem"), certificate),
        Key::new(
            "tls.key",
            Kind::Files,
            absent("no TLS", "server.key"),
            "The private key of the certificate, a PEM file; of several, in the same order.",
        ),
        Key::new(
            "tls.client_ca",
            Kind::Files,
            absent("none", "devices-ca.pem"),
            "Certificates of the authorities that sign Clients' certificates.",
        )
        .only(Condition::Tls),
        Key::new(
            "tls.client_certificates",
            Kind::Choice(MODES),
            absent("\"required\" with tls.client_ca, else \"off\"", "optional"),
            client_certificates,
        )
        .only(Condition::Tls),
        Key::new(
            "tls.client_crl",
            Kind::Files,
            absent("none", "devices.crl"),
            "Lists of Clients' certificates that were revoked (CRL), PEM files.",
        )
        .only(Condition::Tls),
        Key::new(
            "tls.version_min",
            Kind::Choice(VERSIONS),
            Default::Value(text("1.2")),
            "The oldest version of TLS that is spoken. QUIC always has 1.3.",
        )
        .only(Condition::TlsVersions),
    ]
}

fn websocket() -> Vec<Key> {
    let path = Value::Text(WebSocketOptions::default().path.into());
    let origins = "Web origins whose pages may connect; without any, pages of all origins may. \
                   Programs\nother than browsers send no origin, and this does not restrict \
                   them.";
    vec![
        Key::new(
            "websocket.path",
            Kind::UrlPath,
            Default::Value(path),
            "The path of the URL that Clients connect to; any other is answered with 404.",
        ),
        Key::new(
            "websocket.origins",
            Kind::Origins,
            Default::Value(Value::List(WebSocketOptions::default().origins)),
            origins,
        ),
    ]
}

fn quic() -> Vec<Key> {
    let defaults = QuicOptions::default();
    let a_day = Kind::Integer { min: 0, max: 86_400 };
    let early_data = "true: accept data that a returning Client sends before its handshake is \
                      complete (0-RTT). An\nattacker who has seen it on the network can send it \
                      again. false: only after the handshake.";
    vec![
        Key::new(
            "quic.idle_timeout_seconds",
            a_day,
            seconds(defaults.idle_timeout),
            "How long a connection may be silent before it counts as lost; 0: for ever.",
        ),
        Key::new(
            "quic.keep_alive_seconds",
            a_day,
            seconds(defaults.keep_alive),
            "How often a silent Client is asked whether it is still there; 0: never.",
        ),
        Key::new("quic.early_data", Kind::Boolean, yes_or_no(defaults.early_data), early_data),
        Key::new(
            "quic.data_streams_max",
            Kind::Integer { min: 0, max: u16::MAX.into() },
            number(defaults.data_streams_max),
            "Data streams that one Client may open beside its control stream.",
        ),
    ]
}

fn proxy() -> Vec<Key> {
    let proxy = "A header of the PROXY protocol, version 1 or 2, in which a proxy says where a \
                 connection comes\nfrom. \"off\": connections do not begin with one; \
                 \"optional\": they may; \"required\": they have to.";
    let from = "Networks that proxies are in; a header from elsewhere is refused. Without any, \
                whoever\nreaches the listener is believed.";
    vec![
        Key::new("proxy_protocol", Kind::Choice(MODES), Default::Value(text("off")), proxy)
            .only(Condition::NoQuic),
        Key::new(
            "proxy_protocol_from",
            Kind::Networks,
            Default::Value(Value::List(Vec::new())),
            from,
        )
        .only(Condition::Proxy),
    ]
}

fn unix() -> Vec<Key> {
    let broker = "that of the broker";
    vec![
        Key::new(
            "unix.owner",
            Kind::Account,
            absent(broker, "midge"),
            "The user that the Unix socket belongs to.",
        ),
        Key::new(
            "unix.group",
            Kind::Account,
            absent(broker, "midge"),
            "The group that the Unix socket belongs to.",
        ),
        Key::new(
            "unix.mode",
            Kind::Mode,
            Default::Value(text("0660")),
            "Who may connect to the Unix socket: those who may write to it.",
        ),
    ]
}

fn tcp() -> Vec<Key> {
    let defaults = TcpOptions::default();
    let keep_alive = "After how much silence the operating system asks whether the other side is \
                      still there;\n0: never.";
    vec![
        Key::new(
            "tcp.no_delay",
            Kind::Boolean,
            yes_or_no(defaults.no_delay),
            "true: small packets leave at once (TCP_NODELAY). false: the operating system may hold \
             them back,\nto send several together.",
        ),
        Key::new(
            "tcp.keep_alive_seconds",
            // More is not possible on Linux.
            Kind::Integer { min: 0, max: 32_767 },
            seconds(defaults.keep_alive),
            keep_alive,
        ),
        Key::new(
            "tcp.backlog",
            Kind::Integer { min: 1, max: 65_535 },
            number(defaults.backlog),
            "Connections that may wait until the broker accepts them.",
        ),
    ]
}

fn limits() -> Vec<Key> {
    let defaults = ListenerLimits::default();
    let any = Kind::Integer { min: 0, max: u32::MAX.into() };
    let broker = |key: &'static str, doc: &'static str| {
        let row = Limits::TABLE.iter().find(|row| row.key == key);
        let (max, default) = row.map_or((u64::MAX, 0), |row| (row.max, row.default));
        let example = Value::Integer(default);
        let default = Default::Absent { meaning: "as in [limits]", example };
        Key::new(key, Kind::Integer { min: limit_min(key), max }, default, doc)
    };
    vec![
        Key::new(
            "connections_max",
            any,
            number(defaults.connections_max),
            "Connections to this listener at the same time; 0: as many as [limits] lets in.",
        ),
        Key::new(
            "connection_rate_max",
            any,
            number(defaults.connection_rate_max),
            "New connections in a second; as many may come at once. 0: no bound.",
        ),
        Key::new(
            "connection_rate_per_address_max",
            any,
            number(defaults.connection_rate_per_address_max),
            "New connections in a second from one address (IPv6: from one /64). 0: no bound.",
        )
        .only(Condition::Addresses),
        Key::new(
            "handshakes_max",
            any,
            number(defaults.handshakes_max),
            "Connections in the middle of a handshake of TLS, WebSocket or QUIC. 0: no bound.",
        )
        .only(Condition::Handshakes),
        broker(
            "connect_deadline_ms",
            "How long a Client has from its connection to a complete CONNECT, with all handshakes.",
        ),
        broker("packet_before_connect_bytes_max", "Largest first packet (CONNECT) in bytes."),
        broker(
            "packet_bytes_max",
            "Largest Control Packet in bytes that is accepted once a Client is connected.",
        ),
    ]
}
