//! The part of an address that stands for one host: of IPv6 the network, in which a host chooses
//! its address freely. For counting by address; this module must never decide anything.

use std::net::IpAddr;

/// An IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostNetwork {
    /// The address.
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl HostNetwork {
    /// Returns the network of this address. An IPv4 address that is written as an IPv6 address
    /// counts as what it is.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> HostNetwork {
        HostNetwork::of(text.parse().unwrap())
    }

    #[test]
    fn ipv6_hosts_are_networks_and_mapped_addresses_are_ipv4() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
