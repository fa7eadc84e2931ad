//! Who may not connect: bans of Client Identifiers, user names, addresses and networks.
//!
//! A check costs a few look-ups, however many bans there are: one for each kind, and one for each
//! length of prefix that a banned network has. This module keeps nothing on disk: a [`Ban`] can be
//! written as a line of text. The time is an argument.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;

use ipnet::IpNet;

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub subject: BanSubject,
    /// Why, for the log and for administrators.
    pub reason: Box<str>,
    /// When it ends, in seconds since 1970; absent: never.
    pub until: Option<u64>,
}

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BanSubject {
    /// The Client with this Client Identifier.
    ClientId(Box<str>),
    /// Everybody with this user name.
    UserName(Box<str>),
    /// Everybody who connects from this address.
    Address(IpAddr),
    /// Everybody who connects from this network.
    Network(IpNet),
}

/// A table of bans.
#[derive(Clone, Debug)]
pub struct Bans {
    client_ids: HashMap<Box<str>, Term>,
    user_names: HashMap<Box<str>, Term>,
    addresses: HashMap<IpAddr, Term>,
    v4: Networks,
    v6: Networks,
    bans_max: NonZeroUsize,
}

/// Why somebody is banned, and until when.
#[derive(Clone, Debug)]
struct Term {
    reason: Box<str>,
    until: Option<u64>,
}

/// Networks by the length of their prefix.
type Networks = BTreeMap<u8, HashMap<IpAddr, Term>>;

/// There are as many bans as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBans {
    /// The limit.
    pub bans_max: NonZeroUsize,
}

/// Why a text is no ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanTextError {
    detail: &'static str,
}

impl Bans {
    /// Makes an empty table for at most so many bans.
    pub fn new(bans_max: NonZeroUsize) -> Self {
        Self {
            client_ids: HashMap::new(),
            user_names: HashMap::new(),
            addresses: HashMap::new(),
            v4: Networks::new(),
            v6: Networks::new(),
            bans_max,
        }
    }

    /// Returns the ban that keeps a Client out; `now` is in seconds since 1970.
    pub fn check(
        &self,
        client_id: &str,
        user_name: Option<&str>,
        address: Option<IpAddr>,
        now: u64,
    ) -> Option<Ban> {
        if let Some(address) = address
            && let Some(ban) = self.check_address(address, now)
        {
            return Some(ban);
        }
        let by_name = user_name.and_then(|name| {
            let ban = in_force(&self.user_names, name, now)?;
            Some(ban.of(BanSubject::UserName(name.into())))
        });
        by_name.or_else(|| {
            let ban = in_force(&self.client_ids, client_id, now)?;
            Some(ban.of(BanSubject::ClientId(client_id.into())))
        })
    }

    /// Returns the ban that keeps out an address: the one of the smallest network.
    pub fn check_address(&self, address: IpAddr, now: u64) -> Option<Ban> {
        let address = address.to_canonical();
        if let Some(ban) = in_force(&self.addresses, &address, now) {
            return Some(ban.of(BanSubject::Address(address)));
        }
        self.networks(address).iter().rev().find_map(|(length, bans)| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            let ban = in_force(bans, &network.addr(), now)?;
            Some(ban.of(BanSubject::Network(network)))
        })
    }

    /// Adds a ban, in place of one of the same subject.
    ///
    /// # Errors
    ///
    /// There is no room. [`Bans::remove_ended`] may make some.
    pub fn add(&mut self, ban: Ban) -> Result<(), TooManyBans> {
        let subject = ban.subject.normal();
        let was_there = self.remove(&subject);
        if !was_there && self.len() >= self.bans_max.get() {
            return Err(TooManyBans { bans_max: self.bans_max });
        }
        let term = Term { reason: ban.reason, until: ban.until };
        match subject {
            BanSubject::ClientId(client_id) => self.client_ids.insert(client_id, term),
            BanSubject::UserName(name) => self.user_names.insert(name, term),
            BanSubject::Address(address) => self.addresses.insert(address, term),
            BanSubject::Network(network) => {
                let networks = self.networks_mut(network.addr());
                networks.entry(network.prefix_len()).or_default().insert(network.addr(), term)
            }
        };
        Ok(())
    }

    /// Removes a ban. Returns whether there was one.
    pub fn remove(&mut self, subject: &BanSubject) -> bool {
        match subject.normal() {
            BanSubject::ClientId(client_id) => self.client_ids.remove(&client_id).is_some(),
            BanSubject::UserName(name) => self.user_names.remove(&name).is_some(),
            BanSubject::Address(address) => self.addresses.remove(&address).is_some(),
            BanSubject::Network(network) => {
                let networks = self.networks_mut(network.addr());
                let Some(bans) = networks.get_mut(&network.prefix_len()) else { return false };
                let was_there = bans.remove(&network.addr()).is_some();
                if bans.is_empty() {
                    networks.remove(&network.prefix_len());
                }
                was_there
            }
        }
    }

    /// Removes the bans that have ended, and returns their subjects.
    pub fn remove_ended(&mut self, now: u64) -> Vec<BanSubject> {
        let ended = self.iter().filter(|ban| !ban.is_in_force(now));
        let ended: Vec<_> = ended.map(|ban| ban.subject).collect();
        for subject in &ended {
            self.remove(subject);
        }
        ended
    }

    /// Lists all bans, in no order, also those that have ended and are not yet removed.
    pub fn iter(&self) -> impl Iterator<Item = Ban> {
        let client_ids = self.client_ids.iter();
        let client_ids = client_ids.map(|(it, term)| term.of(BanSubject::ClientId(it.clone())));
        let user_names = self.user_names.iter();
        let user_names = user_names.map(|(it, term)| term.of(BanSubject::UserName(it.clone())));
        let addresses = self.addresses.iter();
        let addresses = addresses.map(|(it, term)| term.of(BanSubject::Address(*it)));
        let networks = self.v4.iter().chain(&self.v6).flat_map(|(length, bans)| {
            bans.iter().filter_map(|(address, term)| {
                let network = IpNet::new(*address, *length).ok()?;
                Some(term.of(BanSubject::Network(network)))
            })
        });
        client_ids.chain(user_names).chain(addresses).chain(networks)
    }

    /// Returns how many bans there are.
    pub fn len(&self) -> usize {
        let networks = self.v4.values().chain(self.v6.values()).map(HashMap::len).sum::<usize>();
        self.client_ids.len() + self.user_names.len() + self.addresses.len() + networks
    }

    /// Returns whether there is no ban.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn networks(&self, address: IpAddr) -> &Networks {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    fn networks_mut(&mut self, address: IpAddr) -> &mut Networks {
        if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

fn in_force<'t, K, Q>(bans: &'t HashMap<K, Term>, key: &Q, now: u64) -> Option<&'t Term>
where
    K: Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    bans.get(key).filter(|term| is_in_force(term.until, now))
}

fn is_in_force(until: Option<u64>, now: u64) -> bool {
    until.is_none_or(|until| now < until)
}

impl Term {
    fn of(&self, subject: BanSubject) -> Ban {
        Ban { subject, reason: self.reason.clone(), until: self.until }
    }
}

impl Ban {
    /// Returns whether the ban has not ended; `now` is in seconds since 1970.
    pub fn is_in_force(&self, now: u64) -> bool {
        is_in_force(self.until, now)
    }
}

impl BanSubject {
    /// Returns the one way in which the table knows this subject.
    fn normal(&self) -> Self {
        match self {
            Self::Address(address) => Self::Address(address.to_canonical()),
            Self::Network(network) => {
                let network = canonical(network.trunc());
                let is_host = network.prefix_len() == network.max_prefix_len();
                if is_host { Self::Address(network.addr()) } else { Self::Network(network) }
            }
            Self::ClientId(_) | Self::UserName(_) => self.clone(),
        }
    }
}

/// Returns a network of IPv4 addresses that are written as IPv6 addresses as what it is.
fn canonical(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (address @ IpAddr::V4(_), Some(length)) if network.addr().is_ipv6() => {
            IpNet::new(address, length).unwrap_or(network)
        }
        _ => network,
    }
}

/// One line: the kind, the subject, the end (`-` for never) and the reason, with tabulators between
/// them. [`FromStr`] reads it.
impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            BanSubject::ClientId(it) => write!(f, "client\t{}", it.escape_default())?,
            BanSubject::UserName(it) => write!(f, "user\t{}", it.escape_default())?,
            BanSubject::Address(it) => write!(f, "address\t{it}")?,
            BanSubject::Network(it) => write!(f, "network\t{it}")?,
        }
        match self.until {
            Some(until) => write!(f, "\t{until}")?,
            None => f.write_str("\t-")?,
        }
        write!(f, "\t{}", self.reason.escape_default())
    }
}

impl FromStr for Ban {
    type Err = BanTextError;

    fn from_str(text: &str) -> Result<Self, BanTextError> {
        let error = |detail| BanTextError { detail };
        let parts: Vec<_> = text.splitn(4, '\t').collect();
        let [kind, subject, until, reason] = parts[..] else {
            return Err(error("it has four parts with tabulators between them"));
        };
        let bad_escape = error("a backslash begins an escape such as \\t or \\u{e9}");
        let subject = match kind {
            "client" => BanSubject::ClientId(unescape(subject).ok_or(bad_escape.clone())?),
            "user" => BanSubject::UserName(unescape(subject).ok_or(bad_escape.clone())?),
            "address" => BanSubject::Address(
                subject.parse().map_err(|_| error("an `address` is an IPv4 or IPv6 address"))?,
            ),
            "network" => BanSubject::Network(
                subject.parse().map_err(|_| error("a `network` is such as 192.0.2.0/24"))?,
            ),
            _ => return Err(error("it begins with client, user, address or network")),
        };
        let until = match until {
            "-" => None,
            seconds => Some(
                seconds.parse().map_err(|_| error("the end is `-` or in seconds since 1970"))?,
            ),
        };
        Ok(Self { subject, until, reason: unescape(reason).ok_or(bad_escape)? })
    }
}

/// Undoes [`str::escape_default`].
fn unescape(text: &str) -> Option<Box<str>> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut characters = escape.chars();
        plain.push(match characters.next()? {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            it @ ('\\' | '\'' | '"') => it,
            'u' => {
                let (code, after) = characters.as_str().strip_prefix('{')?.split_once('}')?;
                characters = after.chars();
                char::from_u32(u32::from_str_radix(code, 16).ok()?)?
            }
            _ => return None,
        });
        rest = characters.as_str();
    }
    plain.push_str(rest);
    Some(plain.into())
}

impl fmt::Display for TooManyBans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are {} bans already, the most that may be: remove some", self.bans_max)
    }
}

impl std::error::Error for TooManyBans {}

impl fmt::Display for BanTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text is no ban: {}", self.detail)
    }
}

impl std::error::Error for BanTextError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bans(max: usize) -> Bans {
        Bans::new(NonZeroUsize::new(max).unwrap())
    }

    fn ban(subject: BanSubject, until: Option<u64>) -> Ban {
        Ban { subject, reason: "test".into(), until }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn network(text: &str) -> BanSubject {
        BanSubject::Network(text.parse().unwrap())
    }

    fn subject(bans: &Bans, from: &str) -> Option<BanSubject> {
        bans.check("c", Some("u"), Some(address(from)), 0).map(|ban| ban.subject)
    }

    #[test]
    fn each_kind_of_ban_keeps_out() {
        let mut bans = bans(10);
        assert_eq!(bans.check("c", Some("u"), None, 0), None);
        bans.add(ban(BanSubject::ClientId("c".into()), None)).unwrap();
        assert!(bans.check("c", None, None, 0).is_some());
        assert!(bans.check("d", Some("c"), None, 0).is_none());
        bans.add(ban(BanSubject::UserName("u".into()), None)).unwrap();
        assert!(bans.check("d", Some("u"), None, 0).is_some());
        bans.add(ban(BanSubject::Address(address("::1")), None)).unwrap();
        assert!(bans.check("d", None, Some(address("::1")), 0).is_some());
        assert!(bans.check("d", None, Some(address("::2")), 0).is_none());
        bans.add(ban(network("2001:db8::/32"), None)).unwrap();
        assert!(bans.check("d", None, Some(address("2001:db8:1::")), 0).is_some());
        assert!(bans.check("d", None, Some(address("2001:db9::")), 0).is_none());
    }

    #[test]
    fn the_smallest_network_is_named() {
        let mut bans = bans(10);
        for text in ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25"] {
            bans.add(ban(network(text), None)).unwrap();
        }
        assert_eq!(subject(&bans, "192.0.2.200"), Some(network("192.0.2.128/25")));
        assert_eq!(subject(&bans, "::ffff:192.0.2.1"), Some(network("192.0.2.0/24")));
        assert_eq!(subject(&bans, "8.8.8.8"), Some(network("0.0.0.0/0")));
        assert_eq!(subject(&bans, "::1"), None);
    }

    #[test]
    fn one_subject_has_one_ban_however_it_is_written() {
        let mut bans = bans(2);
        bans.add(ban(network("192.0.2.7/32"), None)).unwrap();
        bans.add(ban(network("::ffff:192.0.2.7/128"), None)).unwrap();
        bans.add(ban(BanSubject::Address(address("192.0.2.7")), Some(5))).unwrap();
        assert_eq!(bans.len(), 1);
        bans.add(ban(network("192.0.2.9/24"), None)).unwrap();
        assert!(bans.remove(&network("::ffff:192.0.2.0/120")));
        assert!(!bans.remove(&network("192.0.2.0/24")));
        assert!(bans.remove(&network("192.0.2.7/32")));
        assert!(bans.is_empty() && bans.v4.is_empty());
    }

    #[test]
    fn bans_end() {
        let mut bans = bans(3);
        bans.add(ban(BanSubject::ClientId("c".into()), Some(10))).unwrap();
        bans.add(ban(network("192.0.2.0/24"), None)).unwrap();
        assert!(bans.check("c", None, None, 9).is_some());
        assert!(bans.check("c", None, None, 10).is_none());
        assert_eq!(bans.remove_ended(9), []);
        assert_eq!(bans.remove_ended(10), [BanSubject::ClientId("c".into())]);
        assert_eq!(bans.len(), 1);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut bans = bans(1);
        bans.add(ban(BanSubject::ClientId("c".into()), None)).unwrap();
        bans.add(ban(BanSubject::ClientId("c".into()), Some(7))).unwrap();
        let error = bans.add(ban(BanSubject::ClientId("d".into()), None)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there are 1 bans already, the most that may be: remove some"
        );
        assert_eq!(bans.iter().next().unwrap().until, Some(7));
    }

    #[test]
    fn a_ban_is_a_line_of_text() {
        let ban = Ban { reason: "a\tb\\\né".into(), ..ban(network("192.0.2.0/24"), Some(7)) };
        assert_eq!(ban.to_string(), "network\t192.0.2.0/24\t7\ta\\tb\\\\\\n\\u{e9}");
        assert_eq!(ban.to_string().parse(), Ok(ban));
        for text in ["", "client\ta\t-", "client\t\\x\t-\t", "address\ta\t-\t", "user\ta\t1.5\t"] {
            assert!(text.parse::<Ban>().is_err(), "{text:?}");
        }
    }

    fn subjects() -> impl Strategy<Value = BanSubject> {
        // Few bits, so that networks hold each other.
        let address = any::<(bool, u8)>().prop_map(|(v4, it)| match v4 {
            true => IpAddr::from([it, 0, 0, it]),
            false => IpAddr::from((u128::from(it) << 120 | u128::from(it)).to_be_bytes()),
        });
        prop_oneof![
            "[ab]{1,2}".prop_map(|it| BanSubject::ClientId(it.into())),
            "[ab]{1,2}".prop_map(|it| BanSubject::UserName(it.into())),
            address.clone().prop_map(BanSubject::Address),
            (address, 0..=32_u8).prop_map(|(address, length)| {
                BanSubject::Network(IpNet::new(address, length).unwrap())
            }),
        ]
    }

    proptest! {
        #[test]
        fn the_table_decides_as_a_list(
            listed in prop::collection::vec((subjects(), 0..4_u64), 0..20),
            asked in subjects(),
            now in 0..4_u64,
        ) {
            let mut bans = bans(100);
            for (subject, until) in &listed {
                bans.add(ban(subject.clone(), Some(*until))).unwrap();
            }
            // Of two bans of one subject, the later one holds.
            let mut model: Vec<(BanSubject, u64)> = Vec::new();
            for (subject, until) in listed {
                let subject = subject.normal();
                model.retain(|(other, _)| *other != subject);
                model.push((subject, until));
            }
            prop_assert_eq!(bans.len(), model.len());
            let from = match &asked {
                BanSubject::Address(address) => Some(*address),
                BanSubject::Network(network) => Some(network.addr()),
                _ => None,
            };
            let (client_id, user_name) = match &asked {
                BanSubject::ClientId(it) => (&**it, None),
                BanSubject::UserName(it) => ("-", Some(&**it)),
                _ => ("-", None),
            };
            let expected = model.iter().any(|(subject, until)| now < *until && match subject {
                BanSubject::ClientId(it) => **it == *client_id,
                BanSubject::UserName(it) => Some(&**it) == user_name,
                BanSubject::Address(it) => Some(*it) == from,
                BanSubject::Network(it) => from.is_some_and(|from| it.contains(&from)),
            });
            prop_assert_eq!(bans.check(client_id, user_name, from, now).is_some(), expected);
        }

        #[test]
        fn text_is_read_as_it_is_written(name in any::<String>(), reason in any::<String>()) {
            let subject = BanSubject::UserName(name.into());
            let ban = Ban { subject, reason: reason.into(), until: None };
            let text = ban.to_string();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(text.parse(), Ok(ban));
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = text.parse::<Ban>();
            let _ = format!("client\t{text}\t-\t{text}").parse::<Ban>();
        }
    }
}
