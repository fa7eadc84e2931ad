//! Which addresses a request may go to.
//!
//! Addresses are looked at after the name was looked up, so that no name server can lead a request
//! to a service that trusts whoever reaches it, above all the metadata service of a cloud, which
//! gives away credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::HttpProblem;

/// Metadata services of clouds outside of the link-local networks: AWS over IPv6, Azure, Alibaba,
/// Oracle.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Checks that a request may go to an address. `may_leave`: whether it may leave this machine.
pub(super) fn check(address: IpAddr, may_leave: bool) -> Result<(), HttpProblem> {
    let is_forbidden = match address.to_canonical() {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => is_forbidden_v6(address),
    };
    if is_forbidden {
        return Err(HttpProblem::ForbiddenAddress(address));
    }
    if !may_leave && !address.to_canonical().is_loopback() {
        return Err(HttpProblem::PlainElsewhere(address));
    }
    Ok(())
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    // The whole network 0.0.0.0/8 means this host.
    address.octets()[0] == 0
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address)
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || address == METADATA_V6
        || embedded_v4(address).is_some_and(is_forbidden_v4)
}

/// Returns the IPv4 address that a gateway, or this machine, would make of an IPv6 address: of an
/// IPv4-compatible one, by NAT64 (RFC 6052) or 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    match address.segments() {
        [0, 0, 0, 0, 0, 0, _, _] if !address.is_loopback() => Some(bits as u32),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(bits as u32),
        [0x2002, ..] => Some((bits >> 80) as u32),
        _ => None,
    }
    .map(Ipv4Addr::from_bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_allowed(address: &str) -> bool {
        check(address.parse().unwrap(), true).is_ok()
    }

    #[test]
    fn addresses_that_lead_astray_are_refused() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(!is_allowed(address), "{address}");
        }
    }

    #[test]
    fn others_are_not() {
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.0.2.1",
            "fd00::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_allowed(address), "{address}");
        }
    }

    #[test]
    fn plain_requests_stay_on_this_machine() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(check(address.parse().unwrap(), false).is_ok(), expected, "{address}");
        }
    }

    proptest! {
        #[test]
        fn however_an_address_is_written_it_is_the_same(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let plain = check(IpAddr::V4(v4), true).is_ok();
            let mapped = check(IpAddr::V6(v4.to_ipv6_mapped()), true).is_ok();
            prop_assert_eq!(plain, mapped);
        }
    }
}
