//! What becomes of a `listener` of mosquitto, and of what stands before the first one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toml::Value;

use super::draft::number;
use super::meaning::Form;
use super::source::{Line, Place};

/// A listener in the making.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Where its line `listener`, `port` or `bind_address` stands.
    pub(super) place: Option<Place>,
    port: Option<u16>,
    /// An address, a name, or the path of a Unix socket.
    host: Option<String>,
    is_ipv4: bool,
    pub(super) is_websocket: bool,
    authority: Option<String>,
    requires_certificate: bool,
    keys: BTreeMap<&'static str, Value>,
    /// What it would let in more without.
    closed: Vec<String>,
    /// All lines that belong to it, but not its place.
    pub(super) lines: Vec<Line>,
}

impl Listener {
    /// Sets a key that is Midge's, too.
    pub(super) fn set(&mut self, key: &'static str, form: Form, value: &str) -> Result<(), String> {
        let value = form.value(value)?;
        self.keys.extend(value.map(|value| (key, value)));
        Ok(())
    }

    /// Adds a line that means something together with others.
    pub(super) fn add(&mut self, line: &Line) -> Result<(), String> {
        let value = &*line.value;
        match &*line.key {
            "listener" => {
                let (port, host) = value.split_once(' ').unwrap_or((value, ""));
                // mosquitto takes the rest of the line for a comment.
                let host = host.trim_start().split(" #").next().unwrap_or_default().trim();
                self.place = Some(line.place.clone());
                self.host = (!host.is_empty() && !host.starts_with('#')).then(|| host.to_owned());
                self.set_port(port, line)
            }
            "port" => {
                self.place = Some(line.place.clone());
                self.set_port(value, line)
            }
            "bind_address" => {
                self.place = Some(line.place.clone());
                self.host = Some(value.to_owned());
                Ok(())
            }
            "socket_domain" => {
                self.is_ipv4 = value == "ipv4";
                match value {
                    "ipv4" => Ok(()),
                    "ipv6" if self.host.is_some() => Ok(()),
                    _ => {
                        self.close(line);
                        Err("[::] is IPv4 as well; bind to an address of IPv6 instead".into())
                    }
                }
            }
            "protocol" => match value {
                "mqtt" => Ok(()),
                "websockets" => {
                    self.is_websocket = true;
                    Ok(())
                }
                _ => {
                    self.close(line);
                    Err("Midge speaks mqtt and websockets".into())
                }
            },
            "cafile" => {
                self.authority = Some(value.to_owned());
                Ok(())
            }
            "require_certificate" => {
                let value = Form::Boolean.value(value).inspect_err(|_| self.close(line))?;
                self.requires_certificate = value == Some(Value::Boolean(true));
                Ok(())
            }
            _ => self.add_other(line),
        }
    }

    fn add_other(&mut self, line: &Line) -> Result<(), String> {
        let value = &*line.value;
        match &*line.key {
            "tls_version" => match value {
                "tlsv1.3" => {
                    self.keys.insert("tls.version_min", "1.3".into());
                    Ok(())
                }
                "tlsv1.2" => Ok(()),
                _ => Err("Midge speaks TLS 1.2 and 1.3".into()),
            },
            "tls_keyform" if value == "pem" => Ok(()),
            "tls_keyform" => {
                self.close(line);
                Err("Midge reads keys from PEM files; export the key into one".into())
            }
            "max_connections" => {
                let connections = number(value)?.min(u32::MAX.into());
                let connections = i64::try_from(connections).unwrap_or(i64::MAX);
                // Without the key there is no bound, as with -1.
                if connections > 0 {
                    self.keys.insert("connections_max", connections.into());
                }
                Ok(())
            }
            "accept_protocol_versions" => {
                let words = value.split(',').map(|word| match word.trim() {
                    "3" => Ok("3.1"),
                    "4" => Ok("3.1.1"),
                    "5" => Ok("5.0"),
                    _ => Err("the versions are 3, 4 and 5".to_owned()),
                });
                let words = words.collect::<Result<Vec<_>, _>>();
                let words = words.inspect_err(|_| self.close(line))?;
                self.keys.insert("capabilities.versions", words.into());
                Ok(())
            }
            "enable_proxy_protocol" => match value {
                "1" | "2" => {
                    self.keys.insert("proxy_protocol", "required".into());
                    Ok(())
                }
                _ => Err("the versions are 1 and 2".into()),
            },
            _ => Err("Midge does not know this key".into()),
        }
    }

    fn set_port(&mut self, port: &str, line: &Line) -> Result<(), String> {
        match port.parse() {
            Ok(port) => {
                self.port = Some(port);
                Ok(())
            }
            Err(_) => {
                self.close(line);
                Err("it has no port from 0 to 65535; mosquitto refuses it, too".into())
            }
        }
    }

    /// Notes that the listener must not open without this line.
    pub(super) fn close(&mut self, line: &Line) {
        self.closed.push(line.with_place());
    }

    /// Returns why the listener cannot be opened by what has become of it.
    pub(super) fn closed(&self) -> Vec<String> {
        let mut closed = self.closed.clone();
        let has_authority = self.authority.is_some();
        if self.requires_certificate && !has_authority {
            closed.push("it asks for certificates, but no cafile says whose".into());
        }
        if self.has("tls.certificate") != self.has("tls.key") {
            closed.push("certfile and keyfile belong together".into());
        }
        if self.requires_certificate && !self.has("tls.certificate") {
            closed.push("it asks for certificates, but has none itself".into());
        }
        closed
    }

    /// Whether it is in the file, and not in comments.
    pub(super) fn is_opened(&self) -> bool {
        self.is_there() && self.closed().is_empty()
    }

    /// Whether there is anything to write of it.
    pub(super) fn is_there(&self) -> bool {
        self.place.is_some() || !self.lines.is_empty()
    }

    /// Returns the value of a key of Midge.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    fn is_unix(&self) -> bool {
        self.port == Some(0)
    }

    /// Returns the addresses. mosquitto's default listener is on port 1883.
    fn binds(&self) -> Vec<String> {
        let port = self.port.unwrap_or(1883);
        match self.host.as_deref() {
            Some(path) if self.is_unix() => vec![format!("unix:{path}")],
            Some(host) => match host.parse::<IpAddr>() {
                Ok(IpAddr::V6(_)) => vec![format!("[{host}]:{port}")],
                _ => vec![format!("{host}:{port}")],
            },
            None if self.place.is_none() => {
                vec![format!("127.0.0.1:{port}"), format!("[::1]:{port}")]
            }
            None if self.is_ipv4 => vec![format!("0.0.0.0:{port}")],
            None => vec![format!("[::]:{port}")],
        }
    }

    /// Returns the tables of Midge that stand for it: `bind` first, then the other keys.
    pub(super) fn tables(&self, no_delay: Option<&Value>) -> Vec<Vec<(&'static str, Value)>> {
        let mut keys = self.keys.clone();
        let has_tls = self.has("tls.certificate");
        if self.requires_certificate
            && let Some(authority) = &self.authority
        {
            keys.insert("tls.client_ca", authority.clone().into());
            keys.insert("tls.client_certificates", "required".into());
        }
        if self.is_websocket {
            keys.insert("protocol", "websocket".into());
        }
        if !self.is_unix() {
            keys.extend(no_delay.map(|value| ("tcp.no_delay", value.clone())));
        }
        // Keys without effect, which mosquitto takes without a word.
        keys.retain(|key, _| match *key {
            "tls.version_min" => has_tls,
            "tls.client_crl" => has_tls && self.requires_certificate,
            "websocket.origins" => self.is_websocket,
            _ => true,
        });
        let table = |bind: String| {
            let keys = keys.iter().map(|(key, value)| (*key, value.clone()));
            std::iter::once(("bind", bind.into())).chain(keys).collect()
        };
        self.binds().into_iter().map(table).collect()
    }
}
