//! Recognizes a stranger's first bytes when they are not what the listener is for.
//!
//! Most clients that cannot connect use the wrong port, or the wrong kind of URL. A few bytes tell
//! these cases apart, so that the log can say in words what came and what to do about it.

use midge_net::{Listen, Protocol, ProxyMode};

/// The protocol that the first bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    Mqtt,
    Tls,
    Http,
    /// HTTP/2 from a client that assumes it without asking: a WebSocket never begins like this.
    Http2,
    Proxy,
    Ssh,
    Amqp,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) is_tls: bool,
    pub(crate) is_websocket: bool,
    pub(crate) needs_proxy: bool,
}

impl Expected {
    pub(crate) fn of(listen: &Listen) -> Self {
        Self {
            is_tls: listen.tls.is_some(),
            is_websocket: matches!(listen.protocol, Protocol::WebSocket(_)),
            needs_proxy: listen.proxy.mode == ProxyMode::Required,
        }
    }

    /// Returns what came instead and what to do about it; `None` if the bytes may be what was
    /// expected.
    pub(crate) fn complaint(self, greeting: Greeting) -> Option<&'static str> {
        let here = (self.is_tls, self.is_websocket);
        let words = match (greeting, here) {
            (Greeting::Proxy, _) if self.needs_proxy => return None,
            (Greeting::Proxy, _) => {
                "a PROXY header came to a listener that takes none: set its proxy_protocol, or \
                 have the proxy send none"
            }
            (_, _) if self.needs_proxy => {
                "no PROXY header came, though the listener requires one: connect through the \
                 proxy, or make its proxy_protocol optional or off"
            }
            (Greeting::Tls, (false, false)) => {
                "a TLS ClientHello came to a listener without TLS: connect with mqtt://, or give \
                 the listener tls.certificate and tls.key"
            }
            (Greeting::Tls, (false, true)) => {
                "a TLS ClientHello came to a listener without TLS: connect with ws://, or give the \
                 listener tls.certificate and tls.key"
            }
            (Greeting::Http, (false, false)) => {
                "an HTTP request came to a listener for MQTT: for MQTT over WebSocket the listener \
                 needs protocol = \"websocket\""
            }
            (Greeting::Http, (true, false)) => {
                "an HTTP request without TLS came to a listener with TLS: connect with mqtts://; \
                 for wss:// the listener needs protocol = \"websocket\""
            }
            (Greeting::Http, (true, true)) => {
                "an HTTP request without TLS came to a listener with TLS: connect with wss://"
            }
            (Greeting::Http2 | Greeting::Ssh | Greeting::Amqp, _) => {
                greeting.never_spoken(here.0, here.1)
            }
            (Greeting::Mqtt, (true, false)) => {
                "MQTT without TLS came to a listener with TLS: connect with mqtts://"
            }
            (Greeting::Mqtt, (true, true)) => {
                "MQTT came to a listener for WebSocket with TLS: connect with wss://"
            }
            (Greeting::Mqtt, (false, true)) => {
                "MQTT came to a listener for WebSocket: connect with ws://"
            }
            (Greeting::Mqtt, (false, false))
            | (Greeting::Tls, (true, _))
            | (Greeting::Http, (false, true)) => return None,
        };
        Some(words)
    }
}

impl Greeting {
    /// Returns what to say of a protocol that no listener speaks, at one that has TLS, WebSocket,
    /// both or neither.
    fn never_spoken(self, is_tls: bool, is_websocket: bool) -> &'static str {
        match self {
            Self::Ssh => {
                "an SSH client came to a listener for MQTT: connect to the port of the SSH server, \
                 usually 22"
            }
            Self::Amqp => {
                "AMQP came to a listener for MQTT: connect with an MQTT client, or to a broker \
                 that speaks AMQP, usually at port 5672"
            }
            _ if is_tls => {
                "HTTP/2 without TLS came to a listener with TLS: for MQTT over WebSocket connect \
                 with wss://, by HTTP/1.1"
            }
            _ if is_websocket => {
                "HTTP/2 came to a listener for WebSocket, which begins with HTTP/1.1: connect with \
                 ws://, and have a proxy in between use HTTP/1.1"
            }
            _ => {
                "HTTP/2 came to a listener for MQTT: for MQTT over WebSocket the listener needs \
                 protocol = \"websocket\", and the client HTTP/1.1"
            }
        }
    }

    /// The answer to an HTTP request where MQTT is spoken.
    pub(crate) const HTTP_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 38\r\nConnection: close\r\n\r\n\
        This port speaks MQTT, and not HTTP.\r\n";

    /// How other protocols than MQTT begin.
    const OTHERS: [(&[u8], Self); 17] = [
        (b"\x16\x03\x00", Self::Tls),
        (b"\x16\x03\x01", Self::Tls),
        (b"\x16\x03\x02", Self::Tls),
        (b"\x16\x03\x03", Self::Tls),
        (b"\x16\x03\x04", Self::Tls),
        (b"GET ", Self::Http),
        (b"POST ", Self::Http),
        (b"HEAD ", Self::Http),
        (b"PUT ", Self::Http),
        (b"OPTIONS ", Self::Http),
        (b"CONNECT ", Self::Http),
        (b"DELETE ", Self::Http),
        (b"PRI * HTTP/2.0\r\n", Self::Http2),
        (b"SSH-", Self::Ssh),
        (b"AMQP", Self::Amqp),
        (b"PROXY ", Self::Proxy),
        (b"\r\n\r\n\0\r\nQUIT\n", Self::Proxy),
    ];

    /// Returns the protocol that these bytes begin, if so few bytes can tell.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let other = Self::OTHERS.iter().find(|(start, _)| bytes.starts_with(start));
        let is_mqtt = || bytes.first().is_some_and(|first| first >> 4 == 1) && names_mqtt(bytes);
        match other {
            Some((_, greeting)) => Some(*greeting),
            None => is_mqtt().then_some(Self::Mqtt),
        }
    }

    /// Whether a few bytes more may show that these begin another protocol than MQTT.
    ///
    /// Never for the first byte of a CONNECT, and at most 15 bytes are waited with.
    pub(crate) fn may_become_foreign(bytes: &[u8]) -> bool {
        let may_become = |start: &[u8]| start.len() > bytes.len() && start.starts_with(bytes);
        !bytes.is_empty() && Self::OTHERS.iter().any(|(start, _)| may_become(start))
    }
}

/// Returns whether the bytes are a CONNECT: the Protocol Name comes after a Remaining Length of 1
/// to 4 bytes.
fn names_mqtt(bytes: &[u8]) -> bool {
    let rest = (2..=5).filter_map(|start| bytes.get(start..));
    rest.into_iter().any(|it| it.starts_with(b"\0\x04MQTT") || it.starts_with(b"\0\x06MQIsdp"))
}

#[cfg(test)]
mod tests {
    use super::{Expected, Greeting};

    const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";

    #[test]
    fn protocols_are_told_by_their_first_bytes() {
        let expected: [(&[u8], Option<Greeting>); 11] = [
            (CONNECT, Some(Greeting::Mqtt)),
            (b"\x10\x80\x01\x00\x06MQIsdp", Some(Greeting::Mqtt)),
            (b"\x16\x03\x01\x02\x00", Some(Greeting::Tls)),
            (b"GET /mqtt HTTP/1.1\r\n", Some(Greeting::Http)),
            (b"PROXY TCP4 1.2.3.4", Some(Greeting::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", Some(Greeting::Proxy)),
            (b"\x10", None),
            (b"SSH-2.0-x", Some(Greeting::Ssh)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Greeting::Http2)),
            (b"AMQP\x00\x00\x09\x01", Some(Greeting::Amqp)),
            (b"EHLO x\r\n", None),
        ];
        for (bytes, greeting) in expected {
            assert_eq!(Greeting::of(bytes), greeting, "{bytes:?}");
        }
    }

    #[test]
    fn a_greeting_that_comes_in_pieces_is_waited_for() {
        for (start, greeting) in Greeting::OTHERS {
            for length in 1..start.len() {
                let so_far = &start[..length];
                assert!(Greeting::may_become_foreign(so_far), "{so_far:?}");
                assert_eq!(Greeting::of(so_far), None, "{so_far:?}");
            }
            assert!(!Greeting::may_become_foreign(start), "it is {greeting:?}");
        }
        for nothing_else in [&b""[..], &CONNECT[..1], CONNECT, b"\xc0", b"EHLO", b"GEX", b"P\x02"] {
            assert!(!Greeting::may_become_foreign(nothing_else), "{nothing_else:?}");
        }
    }

    #[test]
    fn what_is_expected_is_no_complaint() {
        let plain = Expected::default();
        let tls = Expected { is_tls: true, ..plain };
        let websocket = Expected { is_websocket: true, ..plain };
        let proxied = Expected { needs_proxy: true, ..plain };
        assert_eq!(plain.complaint(Greeting::Mqtt), None);
        assert_eq!(tls.complaint(Greeting::Tls), None);
        assert_eq!(websocket.complaint(Greeting::Http), None);
        assert_eq!(proxied.complaint(Greeting::Proxy), None);
        assert!(proxied.complaint(Greeting::Mqtt).is_some_and(|it| it.contains("PROXY")));
        assert!(plain.complaint(Greeting::Tls).is_some_and(|it| it.contains("mqtt://")));
        assert!(tls.complaint(Greeting::Mqtt).is_some_and(|it| it.contains("mqtts://")));
        for listener in [plain, tls, websocket] {
            for greeting in [Greeting::Http2, Greeting::Ssh, Greeting::Amqp] {
                assert!(listener.complaint(greeting).is_some(), "{greeting:?} at {listener:?}");
            }
        }
    }

    #[test]
    fn the_answer_has_the_length_that_it_says() {
        let (_, body) = Greeting::HTTP_ANSWER.split_once("\r\n\r\n").unwrap();
        assert!(Greeting::HTTP_ANSWER.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
