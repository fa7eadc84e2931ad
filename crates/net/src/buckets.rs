//! Token buckets: how many connections may come in a second, in all and from each address.
//!
//! A bucket holds as many tokens as flow in within a second, and a connection takes one. So a
//! bucket that nobody has taken from for a second is full, and full buckets need not be kept: the
//! table has only buckets of addresses that came lately. The time is an argument; this module must
//! never ask a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The units in one token: a rate of one token per second brings one unit in a nanosecond.
const TOKEN: u64 = 1_000_000_000;

/// A bucket that has been taken from.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Billionths of a token in the bucket at `at`. At most `u32::MAX` tokens, so that the sum of
    /// two levels does not overflow.
    level: u64,
    at: Instant,
}

/// A rate for all connections together.
#[derive(Debug)]
pub(crate) struct SharedRate {
    rate: u32,
    bucket: Option<Bucket>,
}

/// A rate for the connections of each address.
#[derive(Debug)]
pub(crate) struct AddressRates {
    rate: u32,
    buckets: BTreeMap<AddressKey, Bucket>,
    /// The same buckets by the time at which they are full again, so that those are forgotten
    /// first.
    full_at: BTreeSet<(Instant, AddressKey)>,
    buckets_max: usize,
    /// The bucket of all addresses that find no place in the table.
    overflow: Option<Bucket>,
}

/// What counts as one address: for IPv6 the network of 64 bits, in which a host chooses freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AddressKey {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl SharedRate {
    /// Allows `rate` connections in a second; 0 means no limit.
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate, bucket: None }
    }

    /// Returns whether another connection may come at `now`.
    pub(crate) fn has_token(&self, now: Instant) -> bool {
        self.rate == 0 || has_token(self.bucket, self.rate, now)
    }

    /// Counts a connection for which [`SharedRate::has_token`] was true.
    pub(crate) fn take(&mut self, now: Instant) {
        if self.rate > 0 {
            self.bucket = Some(taken_from(self.bucket, self.rate, now));
        }
    }
}

impl AddressRates {
    /// The most addresses whose buckets are kept at the same time.
    const BUCKETS_MAX: usize = 65_536;

    /// Allows `rate` connections in a second from one address; 0 means no limit.
    pub(crate) fn new(rate: u32) -> Self {
        Self::with_buckets_max(rate, Self::BUCKETS_MAX)
    }

    pub(crate) fn with_buckets_max(rate: u32, buckets_max: usize) -> Self {
        Self {
            rate,
            buckets: BTreeMap::new(),
            full_at: BTreeSet::new(),
            buckets_max,
            overflow: None,
        }
    }

    /// Returns whether another connection may come from `address` at `now`.
    pub(crate) fn has_token(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        self.forget_full(now);
        let key = AddressKey::new(address);
        match self.buckets.get(&key) {
            Some(&bucket) => has_token(Some(bucket), self.rate, now),
            None if self.buckets.len() < self.buckets_max => true,
            None => has_token(self.overflow, self.rate, now),
        }
    }

    /// Counts a connection for which [`AddressRates::has_token`] was true at the same `now`.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) {
        if self.rate == 0 {
            return;
        }
        let key = AddressKey::new(address);
        let before = self.buckets.get(&key).copied();
        if before.is_none() && self.buckets.len() >= self.buckets_max {
            self.overflow = Some(taken_from(self.overflow, self.rate, now));
            return;
        }
        if let Some(before) = before {
            self.full_at.remove(&(before.full_at(self.rate), key));
        }
        let bucket = taken_from(before, self.rate, now);
        self.buckets.insert(key, bucket);
        self.full_at.insert((bucket.full_at(self.rate), key));
    }

    /// Returns the number of buckets in the table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Forgets up to two full buckets for each connection, so that the table shrinks as fast as it
    /// grows and never makes a connection wait.
    fn forget_full(&mut self, now: Instant) {
        for _ in 0..2 {
            match self.full_at.first() {
                Some(&(full_at, key)) if full_at <= now => {
                    self.full_at.pop_first();
                    self.buckets.remove(&key);
                }
                _ => return,
            }
        }
    }
}

impl Bucket {
    /// Returns the level at `now`. Threads have their own idea of now: an earlier one changes
    /// nothing.
    fn level_at(self, rate: u32, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).min(Duration::from_secs(1));
        let passed = u64::from(passed.subsec_nanos()) + passed.as_secs() * TOKEN;
        (self.level + passed * u64::from(rate)).min(u64::from(rate) * TOKEN)
    }

    fn full_at(self, rate: u32) -> Instant {
        let missing = u64::from(rate) * TOKEN - self.level;
        self.at + Duration::from_nanos(missing.div_ceil(u64::from(rate)))
    }
}

impl AddressKey {
    fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let mut network = [0; 8];
                network.copy_from_slice(&address.octets()[..8]);
                Self::V6(network)
            }
        }
    }
}

/// Returns whether there is a token; `None` is a full bucket.
fn has_token(bucket: Option<Bucket>, rate: u32, now: Instant) -> bool {
    bucket.is_none_or(|bucket| bucket.level_at(rate, now) >= TOKEN)
}

fn taken_from(bucket: Option<Bucket>, rate: u32, now: Instant) -> Bucket {
    let (level, at) = match bucket {
        Some(bucket) => (bucket.level_at(rate, now), bucket.at.max(now)),
        None => (u64::from(rate) * TOKEN, now),
    };
    Bucket { level: level.saturating_sub(TOKEN), at }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn admits(rates: &mut AddressRates, address: IpAddr, now: Instant) -> bool {
        let admits = rates.has_token(address, now);
        if admits {
            rates.take(address, now);
        }
        admits
    }

    #[test]
    fn an_address_does_not_take_from_another() {
        let (mut rates, now) = (AddressRates::new(2), Instant::now());
        for number in [1, 1, 2] {
            assert!(admits(&mut rates, address(number), now));
        }
        assert!(!admits(&mut rates, address(1), now));
        assert!(admits(&mut rates, address(2), now));
        let mapped = Ipv4Addr::from_bits(1).to_ipv6_mapped().into();
        assert!(!admits(&mut rates, mapped, now), "an IPv4 address written as IPv6 is the same");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (mut rates, now) = (AddressRates::new(1), Instant::now());
        let host = |network: u128, host: u128| Ipv6Addr::from_bits(network << 64 | host).into();
        assert!(admits(&mut rates, host(7, 1), now));
        assert!(!admits(&mut rates, host(7, 2), now));
        assert!(admits(&mut rates, host(8, 1), now));
    }

    #[test]
    fn a_full_table_has_one_more_bucket_for_all_others() {
        let (mut rates, start) = (AddressRates::with_buckets_max(2, 3), Instant::now());
        for number in 0..3 {
            assert!(admits(&mut rates, address(number), start));
        }
        for (number, is_admitted) in [(3, true), (4, true), (5, false), (0, true), (0, false)] {
            assert_eq!(admits(&mut rates, address(number), start), is_admitted, "{number}");
        }
        assert_eq!(rates.len(), 3);
        let later = start + Duration::from_millis(500);
        assert!(admits(&mut rates, address(5), later), "1 and 2 are full again and forgotten");
        assert!(admits(&mut rates, address(5), later));
        assert!(!admits(&mut rates, address(5), later), "now with a bucket of its own");
        assert!(!rates.has_token(address(0), start), "and 0 is still known");
    }

    #[test]
    fn the_table_shrinks_when_addresses_stay_away() {
        let (mut rates, start) = (AddressRates::new(1), Instant::now());
        for number in 0..1000 {
            assert!(admits(&mut rates, address(number), start));
        }
        for number in 0..1000 {
            let later = start + Duration::from_secs(2 + u64::from(number));
            assert!(admits(&mut rates, address(number % 2), later));
        }
        assert_eq!((rates.len(), rates.full_at.len()), (1, 1));
    }

    #[test]
    fn the_largest_rate_does_not_overflow() {
        let (mut rate, start) = (SharedRate::new(u32::MAX), Instant::now());
        for seconds in [0, 0, 1, 1000, 1_000_000] {
            let now = start + Duration::from_secs(seconds);
            assert!(rate.has_token(now));
            rate.take(now);
        }
    }
}
