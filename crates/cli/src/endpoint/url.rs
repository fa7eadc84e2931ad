//! The address of a broker as a URL: `mqtts://user:password@host:port/topic`.
//!
//! Parsing only. What follows the host is a topic, except for `ws` and `wss`, where it is the path
//! that HTTP asks for, and for `unix`, where it is the path of the socket.

use super::scheme::Scheme;
use super::secret::Secret;

/// A broker's URL in its parts, percent-decoded (except the path of a WebSocket, which is sent as
/// it is).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerUrl {
    pub(crate) scheme: Scheme,
    /// For `unix`: the path of the socket.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Secret>,
    /// Never with `ws`, `wss` and `unix`.
    pub(crate) topic: Option<String>,
    /// Only with `ws` and `wss`.
    pub(crate) path: Option<String>,
}

impl BrokerUrl {
    /// A URL with nothing but these parts.
    pub(crate) fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        Self {
            scheme,
            host: host.to_owned(),
            port,
            user_name: None,
            password: None,
            topic: None,
            path: None,
        }
    }

    /// Reads a URL. The error says which part is wrong and what it should look like.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("unix:").filter(|rest| !rest.starts_with("//")) {
            return Self::of_socket(None, path);
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            "no scheme: a URL looks like mqtt://user:password@host:1883/topic".to_owned()
        })?;
        let scheme = Scheme::parse(scheme)?;
        let (authority, tail) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if !authority.contains('@') && scheme != Scheme::Unix && has_credentials(authority, tail) {
            return Err("a / in the user name or password has to be written as %2F".to_owned());
        }
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        if scheme == Scheme::Unix {
            if !address.is_empty() {
                return Err(format!(
                    "a socket has a path and no host: write unix:///{address}{tail}, or \
                     unix:{address}{tail} for a path from here"
                ));
            }
            return Self::of_socket(credentials, tail);
        }
        let (user_name, password) = parse_optional_credentials(credentials)?;
        let (host, port) = parse_address(address)?;
        let (topic, path) = if scheme.is_websocket() {
            (None, Some(tail).filter(|path| !path.is_empty()).map(str::to_owned))
        } else {
            let topic = tail.strip_prefix('/').filter(|topic| !topic.is_empty());
            (topic.map(percent_decode).transpose()?, None)
        };
        Ok(Self { scheme, host, port, user_name, password, topic, path })
    }

    fn of_socket(credentials: Option<&str>, path: &str) -> Result<Self, String> {
        let (user_name, password) = parse_optional_credentials(credentials)?;
        if path.is_empty() || path == "/" {
            return Err("no path: the URL of a socket looks like unix:///run/midge.sock".to_owned());
        }
        let path = percent_decode(path)?;
        Ok(Self { user_name, password, ..Self::new(Scheme::Unix, &path, None) })
    }
}

const BAD_PASSWORD: &str = "a % in the password without two hexadecimal digits, or none that \
                            decode to UTF-8: write % itself as %25";

/// A user name and a password.
type Credentials = (Option<String>, Option<Secret>);

fn parse_optional_credentials(credentials: Option<&str>) -> Result<Credentials, String> {
    credentials.map_or(Ok((None, None)), parse_credentials)
}

fn parse_credentials(credentials: &str) -> Result<Credentials, String> {
    let (user_name, password) = match credentials.split_once(':') {
        Some((user_name, password)) => {
            // A message must not show any part of the password.
            let password = percent_decode(password).map_err(|_| BAD_PASSWORD.to_owned())?;
            (user_name, Some(Secret::new(password)))
        }
        None => (credentials, None),
    };
    let user_name = Some(percent_decode(user_name)?).filter(|name| !name.is_empty());
    Ok((user_name, password))
}

/// Whether the text before the first `/` is no host and port, but the beginning of a user name and
/// password that contain a `/`. A message must not show any part of these.
fn has_credentials(authority: &str, tail: &str) -> bool {
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    tail.contains('@') && port.is_some_and(|port| port.parse::<u16>().is_err())
}

/// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
fn parse_address(address: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("an IPv6 address needs its ]")?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(format!("'{after}' after the address is not a port")),
            }
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err("no host: a URL looks like mqtt://host:1883/topic".to_owned());
    }
    let port = port.map(parse_port).transpose()?;
    Ok((percent_decode(host)?, port))
}

fn parse_port(port: &str) -> Result<u16, String> {
    match port.parse() {
        Ok(0) | Err(_) => Err(format!("the port '{port}' is not a number from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}

/// Replaces `%XX` by the byte it stands for.
fn percent_decode(text: &str) -> Result<String, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.ok_or_else(|| {
            format!("a % in '{text}' without two hexadecimal digits: write % itself as %25")
        })?);
        rest = &after[2..];
    }
    String::from_utf8(decoded).map_err(|_| format!("'{text}' does not decode to UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_url_with_all_parts() {
        let url = BrokerUrl::parse("mqtt://us%3Aer:p%40ss@example.org:1884/a/b/#").unwrap();
        assert_eq!((url.scheme, url.path), (Scheme::Mqtt, None));
        assert_eq!(url.host, "example.org");
        assert_eq!(url.port, Some(1884));
        assert_eq!(url.user_name.as_deref(), Some("us:er"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p@ss"));
        assert_eq!(url.topic.as_deref(), Some("a/b/#"));
    }

    #[test]
    fn takes_a_url_with_only_a_host() {
        for url in ["MQTT://localhost", "mqtt://localhost/"] {
            let url = BrokerUrl::parse(url).unwrap();
            assert_eq!((url.scheme, url.host.as_str()), (Scheme::Mqtt, "localhost"));
            assert_eq!((url.port, url.topic, url.user_name), (None, None, None));
        }
    }

    #[test]
    fn takes_ipv6_addresses() {
        let url = BrokerUrl::parse("mqtt://[::1]:1884/t").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", Some(1884)));
        assert_eq!(BrokerUrl::parse("mqtt://[fe80::1]").unwrap().port, None);
    }

    #[test]
    fn keeps_a_password_without_a_user_name_and_with_colons() {
        let url = BrokerUrl::parse("mqtt://:to:ken@h").unwrap();
        assert_eq!((url.user_name, url.password), (None, Some(Secret::new("to:ken"))));
    }

    #[test]
    fn what_follows_the_host_of_a_websocket_is_its_path() {
        for (url, path) in [
            ("ws://h:80/mqtt", Some("/mqtt")),
            ("WSS://h/a/b?token=%20", Some("/a/b?token=%20")),
            ("ws://h/", Some("/")),
            ("ws://h", None),
        ] {
            let url = BrokerUrl::parse(url).unwrap();
            assert_eq!((url.path.as_deref(), url.topic), (path, None));
        }
    }

    #[test]
    fn takes_the_path_of_a_socket() {
        for (url, path, user_name) in [
            ("unix:///run/midge.sock", "/run/midge.sock", None),
            ("unix:/run/midge.sock", "/run/midge.sock", None),
            ("unix:midge.sock", "midge.sock", None),
            ("unix://me:x@/a%20b", "/a b", Some("me")),
        ] {
            let url = BrokerUrl::parse(url).unwrap();
            assert_eq!((url.scheme, url.host.as_str()), (Scheme::Unix, path));
            assert_eq!((url.user_name.as_deref(), url.port), (user_name, None));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, part) in [
            ("http://h", "not a scheme of MQTT"),
            ("unix://run/midge.sock", "unix:///run/midge.sock"),
            ("unix:", "no path"),
            ("unix:///", "no path"),
            ("localhost", "no scheme"),
            ("mqtt://", "no host"),
            ("mqtt://:1883/t", "no host"),
            ("mqtt://h:0", "'0'"),
            ("mqtt://h:65536", "'65536'"),
            ("mqtt://h:x/t", "'x'"),
            ("mqtt://[::1", "]"),
            ("mqtt://[::1]x", "'x'"),
            ("mqtt://u%4@h", "%25"),
            ("mqtt://u%zz@h", "%25"),
            ("mqtt://u%+4@h", "%25"),
            ("mqtt://h/%ff", "UTF-8"),
            ("mqtt://u:hunter2%@h", "password"),
            ("mqtt://u:hunter2@h:x", "'x'"),
            ("amqp://u:hunter2@h", "amqp"),
        ] {
            let error = BrokerUrl::parse(url).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
