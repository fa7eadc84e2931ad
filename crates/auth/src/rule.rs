//! An access rule, as people write it: plain values, and a check of them.

use std::fmt;

use ipnet::IpNet;
use midge_codec::QoS;

use crate::template::Template;

/// Allows, or denies, something to some Clients.
///
/// [`Rule::allow`] and [`Rule::deny`] make rules for everybody without conditions; change the
/// fields that are to say something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows; otherwise it denies.
    pub allows: bool,
    /// The Clients that it is about.
    pub who: Who,
    /// Whether it is about publishing.
    pub publish: bool,
    /// Whether it is about subscribing and receiving.
    pub subscribe: bool,
    /// The topics that it is about: any of these.
    pub topics: Vec<TopicPattern>,
    /// The QoS that it is about: that of a PUBLISH, or that a subscription requests. What a Client
    /// may receive does not depend on it: an allowed subscription brings its messages at any QoS,
    /// and a rule that denies some of the QoS denies only requests.
    pub qos: QosSet,
    /// The RETAIN flag of a PUBLISH that it is about; absent: both. Subscriptions have none.
    pub retain: Option<bool>,
    /// The networks from which a Client has to be connected; absent: from anywhere. A Client whose
    /// address is not known is in no network.
    pub networks: Option<Vec<IpNet>>,
    /// The listeners by which a Client has to be connected; absent: any.
    pub listeners: Option<Vec<u16>>,
    /// From when on it does not hold any more, in seconds since 1970; absent: never.
    pub valid_until: Option<u64>,
    /// Its name, or where it stands, for explanations: `rule 3`, `acl.conf, line 7`.
    pub reference: Box<str>,
}

/// The Clients that a [`Rule`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// All Clients.
    Everybody,
    /// Clients without a user name.
    Anonymous,
    /// Clients that are in any of these lists.
    AnyOf {
        /// Names of users.
        users: Vec<Box<str>>,
        /// Client Identifiers.
        client_ids: Vec<Box<str>>,
        /// Groups: of the model, or that authentication names.
        groups: Vec<Box<str>>,
    },
}

/// Topics that a [`Rule`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    /// The topics, for each Client its own.
    pub template: Template,
    /// Whether a Topic Filter that a Client subscribes to has to be this one, letter by letter, and
    /// so a Topic Name that it publishes to. A rule that denies an exact `#` denies that
    /// subscription and nothing else; one that allows it allows to receive what it brings.
    pub is_exact: bool,
}

/// Levels of QoS.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct QosSet(u8);

/// A mistake in a [`Rule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The rule's [reference](Rule::reference).
    pub reference: Box<str>,
    /// What is wrong with it, and what would be right.
    pub detail: String,
}

impl Rule {
    /// The most topics of one rule.
    pub const TOPICS_MAX: usize = 1_000;

    /// Allows everybody to publish and subscribe to `topics`.
    pub fn allow(topics: Vec<TopicPattern>) -> Self {
        Self {
            allows: true,
            who: Who::Everybody,
            publish: true,
            subscribe: true,
            topics,
            qos: QosSet::ALL,
            retain: None,
            networks: None,
            listeners: None,
            valid_until: None,
            reference: "".into(),
        }
    }

    /// Denies everybody to publish and subscribe to `topics`.
    pub fn deny(topics: Vec<TopicPattern>) -> Self {
        Self { allows: false, ..Self::allow(topics) }
    }

    /// Checks that the rule can say something, and adds its mistakes to `errors`. An empty list is
    /// a mistake: it could be taken for everything as well as for nothing.
    pub(crate) fn check(&self, errors: &mut Vec<RuleError>) {
        let mut error = |detail: &str| {
            errors.push(RuleError { reference: self.reference.clone(), detail: detail.into() });
        };
        if !self.publish && !self.subscribe {
            error("it is about nothing: name publish, subscribe or both");
        }
        if self.topics.is_empty() {
            error("it has no topics: write `#` for all");
        }
        if self.topics.len() > Self::TOPICS_MAX {
            error("it has more than 1000 topics: make several rules of it");
        }
        if self.qos == QosSet::NONE {
            error("it has no QoS: leave the list out for all");
        }
        if self.networks.as_ref().is_some_and(Vec::is_empty) {
            error("it has no network: leave the list out for all");
        }
        if self.listeners.as_ref().is_some_and(Vec::is_empty) {
            error("it has no listener: leave the list out for all");
        }
        if let Who::AnyOf { users, client_ids, groups } = &self.who
            && users.is_empty()
            && client_ids.is_empty()
            && groups.is_empty()
        {
            error("it is about nobody: name users, clients or groups, or say everybody");
        }
    }
}

impl Who {
    /// The Clients of these users.
    pub fn users(names: &[&str]) -> Self {
        Self::AnyOf { users: boxed(names), client_ids: Vec::new(), groups: Vec::new() }
    }

    /// The Clients with these Client Identifiers.
    pub fn client_ids(client_ids: &[&str]) -> Self {
        Self::AnyOf { users: Vec::new(), client_ids: boxed(client_ids), groups: Vec::new() }
    }

    /// The Clients of these groups.
    pub fn groups(names: &[&str]) -> Self {
        Self::AnyOf { users: Vec::new(), client_ids: Vec::new(), groups: boxed(names) }
    }
}

fn boxed(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

impl TopicPattern {
    /// All topics that the template stands for.
    pub fn new(template: Template) -> Self {
        Self { template, is_exact: false }
    }

    /// This Topic Filter, letter by letter.
    pub fn exact(template: Template) -> Self {
        Self { template, is_exact: true }
    }
}

impl QosSet {
    /// No QoS.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(0b111);

    /// Returns the set with these bits: bit 0 for QoS 0, to bit 2 for QoS 2. Others are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Returns the set as bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns whether `qos` is in the set.
    pub fn contains(self, qos: QoS) -> bool {
        self.0 & Self::from(qos).0 != 0
    }
}

impl From<QoS> for QosSet {
    fn from(qos: QoS) -> Self {
        Self(1 << qos as u8)
    }
}

impl FromIterator<QoS> for QosSet {
    fn from_iter<T: IntoIterator<Item = QoS>>(iterator: T) -> Self {
        Self(iterator.into_iter().fold(0, |bits, qos| bits | Self::from(qos).0))
    }
}

impl fmt::Debug for QosSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..3).filter(|qos| self.0 & (1 << qos) != 0)).finish()
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reference, self.detail)
    }
}

impl std::error::Error for RuleError {}
