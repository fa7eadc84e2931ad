//! A `[[listener]]` in the form that the broker takes, made from checked settings.

use std::path::PathBuf;
use std::time::Duration;

use midge_broker::{Capabilities, ListenerSettings};
use midge_net::{
    CertificateFiles, ClientCertificates, Listen, ListenerLimits, Protocol, ProxyMode,
    ProxyOptions, QuicOptions, TcpOptions, TlsOptions, TlsVersion, UnixOptions, WebSocketOptions,
};

use super::listener_texts;
use super::values::{Values, capabilities, durability};

/// The listener that a table asks for.
pub(super) fn settings(values: &Values<'_>, default: Capabilities) -> Option<ListenerSettings> {
    let listen = Listen {
        protocol: protocol(values),
        tls: tls(values),
        proxy: proxy(values),
        tcp: tcp(values),
        unix: UnixOptions {
            owner: values.text("unix.owner"),
            group: values.text("unix.group"),
            mode: values.text("unix.mode").and_then(|mode| listener_texts::mode(&mode).ok()),
        },
        limits: limits(values),
        ..Listen::new(values.text("bind")?)
    };
    let capabilities = Capabilities {
        packet_bytes_max: integer(values, "packet_bytes_max"),
        ..capabilities(values, "capabilities.", default)
    };
    Some(ListenerSettings { listen, durability: durability(values, "durability"), capabilities })
}

fn protocol(values: &Values<'_>) -> Protocol {
    match values.text("protocol").as_deref() {
        Some("websocket") => Protocol::WebSocket(WebSocketOptions {
            path: values.text("websocket.path").unwrap_or_default(),
            origins: values.list("websocket.origins"),
        }),
        Some("quic") => {
            let defaults = QuicOptions::default();
            let streams = values.integer("quic.data_streams_max");
            Protocol::Quic(QuicOptions {
                idle_timeout: seconds(values, "quic.idle_timeout_seconds"),
                keep_alive: seconds(values, "quic.keep_alive_seconds"),
                early_data: values.boolean("quic.early_data"),
                data_streams_max: streams
                    .and_then(|streams| u16::try_from(streams).ok())
                    .unwrap_or(defaults.data_streams_max),
            })
        }
        _ => Protocol::Mqtt,
    }
}

fn tls(values: &Values<'_>) -> Option<TlsOptions> {
    let certificates = values.list("tls.certificate").into_iter().zip(values.list("tls.key"));
    let certificates: Vec<_> = certificates
        .map(|(certificate, key)| CertificateFiles {
            certificate: certificate.into(),
            key: key.into(),
        })
        .collect();
    if certificates.is_empty() {
        return None;
    }
    let paths = |key| values.list(key).into_iter().map(PathBuf::from).collect::<Vec<_>>();
    let client_ca = paths("tls.client_ca");
    let client_certificates = match values.text("tls.client_certificates").as_deref() {
        Some("required") => ClientCertificates::Required,
        Some("optional") => ClientCertificates::Optional,
        None if !client_ca.is_empty() => ClientCertificates::Required,
        _ => ClientCertificates::Off,
    };
    Some(TlsOptions {
        certificates,
        client_certificates,
        client_ca,
        client_crl: paths("tls.client_crl"),
        version_min: match values.text("tls.version_min").as_deref() {
            Some("1.3") => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
    })
}

fn proxy(values: &Values<'_>) -> ProxyOptions {
    let mode = match values.text("proxy_protocol").as_deref() {
        Some("required") => ProxyMode::Required,
        Some("optional") => ProxyMode::Optional,
        _ => ProxyMode::Off,
    };
    let networks = values.list("proxy_protocol_from");
    let networks = networks.iter().filter_map(|network| listener_texts::network(network).ok());
    ProxyOptions { mode, from: networks.collect() }
}

fn tcp(values: &Values<'_>) -> TcpOptions {
    TcpOptions {
        no_delay: values.boolean("tcp.no_delay"),
        keep_alive: seconds(values, "tcp.keep_alive_seconds"),
        backlog: integer(values, "tcp.backlog").unwrap_or(TcpOptions::default().backlog),
    }
}

fn limits(values: &Values<'_>) -> ListenerLimits {
    let any = |key| integer(values, key).unwrap_or_default();
    let deadline = values.integer("connect_deadline_ms").map(Duration::from_millis);
    ListenerLimits {
        connections_max: any("connections_max"),
        connection_rate_max: any("connection_rate_max"),
        connection_rate_per_address_max: any("connection_rate_per_address_max"),
        handshakes_max: any("handshakes_max"),
        connect_deadline: deadline,
        packet_before_connect_bytes_max: integer(values, "packet_before_connect_bytes_max"),
    }
}

fn integer(values: &Values<'_>, key: &str) -> Option<u32> {
    values.integer(key).and_then(|number| u32::try_from(number).ok())
}

fn seconds(values: &Values<'_>, key: &str) -> Duration {
    Duration::from_secs(values.integer(key).unwrap_or_default())
}
