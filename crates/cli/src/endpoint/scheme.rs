//! The schemes of brokers' URLs, and what each stands for.

use midge_net::Transport;

/// The scheme of a broker's URL.
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
    /// Reads a scheme, by its name or another name for it.
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

    /// The scheme's name in a URL.
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

    /// The port if a URL names none; 0 for a Unix socket.
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

    /// Whether the broker shows a certificate.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss | Self::Quic)
    }

    /// The same scheme over TLS, if there is one.
    pub(crate) fn secured(self) -> Option<Self> {
        match self {
            Self::Mqtt => Some(Self::Mqtts),
            Self::Ws => Some(Self::Wss),
            _ => None,
        }
    }
}
