//! The addresses of listeners: `ADDRESS:PORT` or `unix:PATH`, and whether two of them collide.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf, absolute};

use midge_net::addresses_collide;

/// Where a listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Socket(SocketAddr),
    /// A host's name, in lower case, and the port.
    Name(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// Longest path of a Unix socket in bytes: every operating system has room for it.
const PATH_BYTES_MAX: usize = 103;

/// Longest host name in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// Reads an address; the error continues a sentence that begins with the key.
pub(crate) fn parse(text: &str) -> Result<Address, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        // It is bound as an address of IPv6 only, which no system accepts for one of IPv4.
        return match address.ip().to_canonical() {
            ip if ip == address.ip() => Ok(Address::Socket(address)),
            ip => Err(format!(
                "is an IPv4 address written as one of IPv6: write \"{ip}:{}\"",
                address.port()
            )),
        };
    }
    if let Some(path) = text.strip_prefix(UNIX) {
        return parse_path(path);
    }
    if text.starts_with('/') {
        return Err(format!("is a path: for a Unix socket write \"{UNIX}{text}\""));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(port) => format!("is only a port: write \"0.0.0.0:{port}\" or \"127.0.0.1:{port}\""),
            Err(_) => format!("has no port: write \"{text}:1883\""),
        });
    };
    if host.is_empty() {
        return Err(format!("has no address before the port: write \"0.0.0.0:{port}\""));
    }
    // What follows may be the last part of the address as well; a port is likelier.
    let is_port = port.parse::<u16>().is_ok();
    if host.parse::<Ipv6Addr>().is_ok() && (is_port || text.parse::<IpAddr>().is_err()) {
        return Err(format!("needs brackets around the IPv6 address: write \"[{host}]:{port}\""));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("has no port: write \"[{text}]:1883\""));
    }
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!("has the port {port:?}, but ports go from 0 to 65535"));
    };
    let is_host = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    if host.len() > HOST_BYTES_MAX || !host.chars().all(is_host) {
        return Err(format!("has {host:?} for an address, which is neither an address nor a name"));
    }
    // Otherwise the name service would be asked for text that only looks like an IPv4 address.
    if host.chars().all(|char| char.is_ascii_digit() || char == '.') {
        return Err(format!("has {host:?} for an address, which is no IPv4 address"));
    }
    Ok(Address::Name(host.to_ascii_lowercase(), port))
}

fn parse_path(path: &str) -> Result<Address, String> {
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(format!("names no file: write \"{UNIX}/run/midge.sock\""));
    }
    if path.starts_with("//") {
        return Err(format!("is no URL: write \"{UNIX}/{}\"", path.trim_start_matches('/')));
    }
    if path.len() > PATH_BYTES_MAX {
        let length = path.len();
        return Err(format!("has a path of {length} bytes, but at most {PATH_BYTES_MAX} fit"));
    }
    let parts = Path::new(path).components().filter(|part| *part != Component::CurDir);
    Ok(Address::Unix(parts.collect()))
}

impl Address {
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether the two cannot be bound at the same time. Port 0 is a different free port each time.
    pub(crate) fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Socket(this), Self::Socket(other)) => addresses_collide(this, other),
            (Self::Name(_, port), Self::Name(..)) => *port != 0 && self == other,
            (Self::Unix(this), Self::Unix(other)) => place(this) == place(other),
            _ => false,
        }
    }
}

/// Returns the one name of the place that a path names: its directory may have several. The file
/// itself may be a link, and is replaced as one.
fn place(path: &Path) -> PathBuf {
    let path = absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let directory = path.parent().and_then(|directory| directory.canonicalize().ok());
    match (directory, path.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn addresses_are_told_from_mistakes() {
        for good in ["0.0.0.0:1883", "[::1]:0", "localhost:1883", "my-host.example.org:65535"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let message = |text: &str| parse(text).unwrap_err();
        assert_eq!(message("1883"), r#"is only a port: write "0.0.0.0:1883" or "127.0.0.1:1883""#);
        assert_eq!(message("localhost"), r#"has no port: write "localhost:1883""#);
        assert_eq!(message(":1883"), r#"has no address before the port: write "0.0.0.0:1883""#);
        assert_eq!(message("::1"), r#"has no port: write "[::1]:1883""#);
        assert_eq!(message("fe80::1:ffff"), r#"has no port: write "[fe80::1:ffff]:1883""#);
        assert_eq!(
            message("::1:1883"),
            r#"needs brackets around the IPv6 address: write "[::1]:1883""#
        );
        assert_eq!(
            message("[::ffff:127.0.0.1]:1883"),
            r#"is an IPv4 address written as one of IPv6: write "127.0.0.1:1883""#
        );
        assert_eq!(
            message("0.0.0.0:70000"),
            r#"has the port "70000", but ports go from 0 to 65535"#
        );
        assert_eq!(
            message("10.0.0.256:1883"),
            r#"has "10.0.0.256" for an address, which is no IPv4 address"#
        );
        assert_eq!(
            message("*:1883"),
            r#"has "*" for an address, which is neither an address nor a name"#
        );
    }

    #[test]
    fn unix_sockets_have_a_path() {
        for good in ["unix:/run/midge.sock", "unix:midge.sock", "unix:./a b.sock"] {
            assert!(parse(good).unwrap().is_unix(), "{good}");
        }
        let message = |text: &str| parse(text).unwrap_err();
        assert_eq!(message("unix:"), r#"names no file: write "unix:/run/midge.sock""#);
        assert_eq!(message("unix:/run/"), r#"names no file: write "unix:/run/midge.sock""#);
        assert_eq!(message("unix:///run/m"), r#"is no URL: write "unix:/run/m""#);
        assert_eq!(message("/run/m"), r#"is a path: for a Unix socket write "unix:/run/m""#);
        let long = format!("unix:/{}", "x".repeat(103));
        assert_eq!(message(&long), "has a path of 104 bytes, but at most 103 fit");
    }

    #[test]
    fn collisions_are_seen() {
        let collide =
            |one: &str, other: &str| parse(one).unwrap().collides_with(&parse(other).unwrap());
        assert!(collide("127.0.0.1:1883", "127.0.0.1:1883"));
        assert!(collide("0.0.0.0:1883", "127.0.0.1:1883"));
        assert!(collide("[::1]:1883", "[::]:1883"));
        assert!(collide("Host:1883", "host:1883"));
        assert!(collide("0.0.0.0:1883", "[::]:1883"));
        assert!(collide("127.0.0.1:1883", "[::]:1883"));
        assert!(collide("unix:midge.sock", "unix:./midge.sock"));
        assert!(collide("unix:/run/midge.sock", "unix:/run//./midge.sock"));
        assert!(collide("unix:/tmp/midge.sock", "unix:/tmp/../tmp/midge.sock"));
        let here = std::env::current_dir().unwrap();
        assert!(collide("unix:s", &format!("unix:{}/s", here.display())));
        assert!(!collide("unix:/run/midge.sock", "unix:/run/other.sock"));
        assert!(!collide("unix:localhost:1883", "localhost:1883"));
        assert!(!collide("0.0.0.0:1883", "[::1]:1883"));
        assert!(!collide("127.0.0.1:1883", "127.0.0.1:1884"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!collide("localhost:1883", "127.0.0.1:1883"));
    }
}
