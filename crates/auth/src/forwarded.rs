//! The address of a Client that comes by way of HTTP proxies.
//!
//! A header is believed only as far as proxies of our own have written it: from the right, up to
//! the first address that is none of theirs. This module must never believe the rest, which the
//! Client may have written itself.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The header in which the proxies write the addresses. There is one, because proxies pass on the
/// other as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: CLIENT, PROXY`.
    XForwardedFor,
    /// `Forwarded: for=CLIENT, for=PROXY` (RFC 7239).
    Forwarded,
}

/// The proxies that are believed.
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    networks: Box<[IpNet]>,
    header: ForwardedHeader,
}

/// So many addresses are looked at; there are not so many proxies.
const HOPS_MAX: usize = 32;

impl ForwardedHeader {
    /// Returns the name of the header, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

impl TrustedProxies {
    /// Believes proxies in these networks.
    pub fn new(networks: Vec<IpNet>, header: ForwardedHeader) -> Self {
        Self { networks: networks.into(), header }
    }

    /// Returns the header that is looked at.
    pub fn header(&self) -> ForwardedHeader {
        self.header
    }

    /// Returns the address of the Client behind `peer`. `values` are those of all headers of the
    /// name [`ForwardedHeader::name`], in their order.
    ///
    /// That is `peer` itself if it is no proxy that is believed, if there is no such header, and if
    /// what the proxies wrote is not understood. If all addresses are proxies', it is the first.
    pub fn client_address(&self, peer: IpAddr, values: &[&str]) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.is_trusted(peer) {
            return peer;
        }
        let mut elements = values.iter().rev().flat_map(|value| Elements { rest: Some(value) });
        let mut first = peer;
        for element in elements.by_ref().take(HOPS_MAX) {
            let address = match self.header {
                ForwardedHeader::XForwardedFor => parse_address(element),
                ForwardedHeader::Forwarded => parse_forwarded(element),
            };
            let Some(address) = address else { return peer };
            if !self.is_trusted(address) {
                return address;
            }
            first = address;
        }
        if elements.next().is_some() { peer } else { first }
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// The elements of a list, from the right: what a proxy has added does not depend on quotes that
/// came before. Empty ones are left out.
struct Elements<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while let Some(rest) = self.rest {
            let mut is_quoted = false;
            let comma = rest.bytes().rposition(|byte| {
                is_quoted ^= byte == b'"';
                byte == b',' && !is_quoted
            });
            let element = match comma {
                Some(comma) => {
                    self.rest = Some(&rest[..comma]);
                    &rest[comma + 1..]
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            let element = element.trim_matches([' ', '\t']);
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// Returns the address of the one `for` in an element of `Forwarded`.
fn parse_forwarded(element: &str) -> Option<IpAddr> {
    let mut address = None;
    // No address has a semicolon in it, so one in quotes only makes garbage.
    for pair in element.split(';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim_matches([' ', '\t']).eq_ignore_ascii_case("for") {
            let value = value.trim_matches([' ', '\t']);
            let unquoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            let previous = address.replace(parse_address(unquoted.unwrap_or(value))?);
            if previous.is_some() {
                return None;
            }
        }
    }
    address
}

/// Reads an address, with a port or without.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address: IpAddr = bare().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ForwardedHeader::{Forwarded, XForwardedFor};

    fn client(header: ForwardedHeader, peer: &str, values: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().unwrap());
        let proxies = TrustedProxies::new(networks.to_vec(), header);
        proxies.client_address(peer.parse().unwrap(), values).to_string()
    }

    #[test]
    fn proxies_are_believed_up_to_the_first_stranger() {
        for (peer, values, expected) in [
            ("10.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6, 192.0.2.1, 10.0.0.7"], "192.0.2.1"),
            ("10.0.0.1", &["6.6.6.6", "192.0.2.1", "10.0.0.7"], "192.0.2.1"),
            ("10.0.0.1", &["garbage, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("::ffff:10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            ("10.0.0.1", &["192.0.2.1, ,"], "192.0.2.1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
        ] {
            assert_eq!(client(XForwardedFor, peer, values), expected, "{values:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed_and_garbage_is_not() {
        assert_eq!(client(XForwardedFor, "192.0.2.9", &["192.0.2.1"]), "192.0.2.9");
        for value in ["", ",", "unknown", "192.0.2.1, x", "192.0.2.1, 10.0.0.300", "1.2.3", "[::1"]
        {
            assert_eq!(client(XForwardedFor, "10.0.0.1", &[value]), "10.0.0.1", "{value}");
        }
        assert_eq!(client(XForwardedFor, "10.0.0.1", &[]), "10.0.0.1");
        let long = "10.1.1.1,".repeat(HOPS_MAX + 1);
        assert_eq!(client(XForwardedFor, "10.0.0.1", &[&long]), "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_too() {
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For = 192.0.2.1 ;proto=https;by=10.0.0.1", "192.0.2.1"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=6.6.6.6, for=192.0.2.1;host=\"a,b\", for=10.0.0.7", "192.0.2.1"),
            ("for=\"6.6.6.6, for=192.0.2.1", "192.0.2.1"),
            ("for=unknown", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1"),
        ] {
            assert_eq!(client(Forwarded, "10.0.0.1", &[value]), expected, "{value}");
        }
    }

    proptest! {
        /// Whatever a Client writes before it, what the proxy has added decides.
        #[test]
        fn what_a_client_writes_does_not_matter(theirs in any::<String>()) {
            let value = format!("{theirs}, 192.0.2.1");
            prop_assert_eq!(client(XForwardedFor, "10.0.0.1", &[&value]), "192.0.2.1");
            let value = format!("{theirs}, for=\"192.0.2.1:1\"");
            prop_assert_eq!(client(Forwarded, "10.0.0.1", &[&value]), "192.0.2.1");
        }

        #[test]
        fn reading_never_panics(
            value in any::<String>(),
            other in "[0-9a-f:.,;=\"\\[\\] for]{0,40}",
        ) {
            for header in [XForwardedFor, Forwarded] {
                client(header, "10.0.0.1", &[&value, &other]);
            }
        }
    }
}
