//! The schemes of brokers' URLs, and what each stands for.

use midge_net::Transport;

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
    Quic,
    Unix,
}

impl Scheme {
    /// Reads a scheme or another name of it.
    pub(crate) fn parse(scheme: &str) -> Result<Self, String> {
        match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => Ok(Self::Mqtt),
            "mqtts" | "ssl" | "tls" => Ok(Self::Mqtts),
            "ws" => Ok(Self::Ws),
            "wss" => Ok(Self::Wss),
            "quic" => Ok(Self::Quic),
            "unix" => Ok(Self::Unix),
            other => Err(format!(
                "{other}:// is not a scheme of MQTT: use mqtt, mqtts, ws, wss, quic or unix"
            )),
        }
    }

    /// Its name in a URL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Quic => "quic",
            Self::Unix => "unix",
        }
    }

    /// The port where a URL has none; 0 for a socket.
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 8083,
            Self::Wss => 8084,
            Self::Quic => 14567,
            Self::Unix => 0,
        }
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Mqtt => Transport::Tcp,
            Self::Mqtts => Transport::Tls,
            Self::Ws => Transport::WebSocket,
            Self::Wss => Transport::SecureWebSocket,
            Self::Quic => Transport::Quic,
            Self::Unix => Transport::Unix,
        }
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Whether a certificate says who the broker is.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss | Self::Quic)
    }

    /// The one with TLS below.
    pub(crate) fn secured(self) -> Option<Self> {
        match self {
            Self::Mqtt => Some(Self::Mqtts),
            Self::Ws => Some(Self::Wss),
            _ => None,
        }
    }
}
