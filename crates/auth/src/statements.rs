//! Compiled statements, which rules and bindings alike become: how those that hold for one Client
//! are found, and what they say of what it does.
//!
//! Each statement is about classes of Clients: everybody, anonymous Clients, those of a group, of a
//! user, or with a Client Identifier. One with conditions has a class of its own, of the Clients
//! for which the conditions hold. All statements stand in one tree. What is kept for a Client is
//! the list of its classes, and the values that it has for variables.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use midge_core::Identity;
use smallvec::SmallVec;

use crate::pattern::{Pattern, PatternKind, Values, Variables};
use crate::rule::{QosSet, TopicPattern};
use crate::rule_source::{Action, Judge, Opinion};
use crate::tree::{Asked, End, PUBLISH, Question, RECEIVE, SUBSCRIBE, Terms, Tree, TreeBuilder};

/// When a statement holds.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) networks: Option<Box<[IpNet]>>,
    pub(crate) listeners: Option<Box<[u16]>>,
    pub(crate) valid_until: Option<u64>,
}

/// The Clients that a statement is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder<'a> {
    Everybody,
    Anonymous,
    User(&'a str),
    ClientId(&'a str),
    Group(&'a str),
}

/// Compiled statements.
#[derive(Debug)]
pub(crate) struct Statements {
    tree: Tree,
    variables: Variables,
    classes: Classes,
    /// Conditions, each with the class of the Clients for which they hold.
    conditions: Box<[(Conditions, u32)]>,
    /// When statements cease to hold, sorted.
    changes: Box<[u64]>,
    /// The time, in seconds since 1970.
    now: AtomicU64,
}

/// The classes that statements are about, by what makes a Client one of them.
#[derive(Debug, Default)]
struct Classes {
    everybody: Option<u32>,
    anonymous: Option<u32>,
    groups: HashMap<Box<str>, u32>,
    users: HashMap<Box<str>, u32>,
    client_ids: HashMap<Box<str>, u32>,
    /// How many there are.
    count: u32,
    /// For some classes: which conditions, if they hold, make a Client one of another class.
    conditional: HashMap<u32, Vec<u32>>,
}

/// [`Statements`] while they are gathered.
#[derive(Debug, Default)]
pub(crate) struct StatementsBuilder {
    tree: TreeBuilder,
    variables: Variables,
    classes: Classes,
    conditions: Vec<(Conditions, u32)>,
    count: u32,
}

/// What the statements say of one Client.
#[derive(Debug)]
pub(crate) struct JudgedClient {
    statements: Arc<Statements>,
    /// Sorted.
    classes: Box<[u32]>,
    values: Values,
}

impl Terms {
    /// Returns the terms of a rule. One that denies some QoS denies requests only: the QoS of a
    /// delivery is not what it is about.
    pub(crate) fn new(
        allows: bool,
        (publish, subscribe): (bool, bool),
        qos: QosSet,
        retain: Option<bool>,
    ) -> Self {
        let receives = subscribe && (allows || qos == QosSet::ALL);
        let actions = [(publish, PUBLISH), (subscribe, SUBSCRIBE), (receives, RECEIVE)];
        let actions = actions.iter().filter(|it| it.0).fold(0, |all, it| all | it.1);
        let retain = retain.map_or(0b11, |retain| 1 << u8::from(retain));
        Self { allows, actions, qos: qos.bits(), retain }
    }

    /// Returns the part that holds for a pattern of this kind.
    fn of_kind(self, kind: PatternKind) -> Self {
        let actions = match kind {
            PatternKind::Plain => self.actions,
            PatternKind::Exact => self.actions & (PUBLISH | SUBSCRIBE),
            PatternKind::BroughtByExact if self.allows => self.actions & RECEIVE,
            PatternKind::BroughtByExact => 0,
        };
        Self { actions, ..self }
    }
}

impl Conditions {
    fn hold(&self, client: &Identity, now: u64) -> bool {
        let source = client.source;
        let address = source.and_then(|it| it.address).map(|it| it.to_canonical());
        let listener = source.and_then(|it| it.listener);
        let is_in = |networks: &[IpNet]| {
            address.is_some_and(|address| networks.iter().any(|it| it.contains(&address)))
        };
        let is_by = |listeners: &[u16]| listener.is_some_and(|it| listeners.contains(&it));
        self.networks.as_deref().is_none_or(is_in)
            && self.listeners.as_deref().is_none_or(is_by)
            && self.valid_until.is_none_or(|end| now < end)
    }
}

impl Classes {
    fn add(&mut self) -> u32 {
        self.count += 1;
        self.count - 1
    }

    /// Returns the class of the Clients that a statement is about.
    fn class(&mut self, holder: Holder<'_>) -> u32 {
        let (by_name, name) = match holder {
            Holder::Everybody => return Self::only(&mut self.everybody, &mut self.count),
            Holder::Anonymous => return Self::only(&mut self.anonymous, &mut self.count),
            Holder::Group(name) => (&mut self.groups, name),
            Holder::User(name) => (&mut self.users, name),
            Holder::ClientId(client_id) => (&mut self.client_ids, client_id),
        };
        if let Some(class) = by_name.get(name) {
            return *class;
        }
        by_name.insert(name.into(), self.count);
        self.add()
    }

    fn only(class: &mut Option<u32>, count: &mut u32) -> u32 {
        *class.get_or_insert_with(|| {
            *count += 1;
            *count - 1
        })
    }

    /// Returns the classes of `client`, without those that have conditions.
    fn of(&self, client: &Identity) -> SmallVec<[u32; 16]> {
        let anonymous = self.anonymous.filter(|_| client.user_name.is_none());
        let user = client.user_name.as_ref().and_then(|name| self.users.get(name));
        let client_id = self.client_ids.get(&client.client_id);
        let groups = client.facts.iter().flat_map(|facts| &*facts.groups);
        let groups = groups.filter_map(|name| self.groups.get(name));
        let named = groups.chain(user).chain(client_id).copied();
        self.everybody.into_iter().chain(anonymous).chain(named).collect()
    }
}

impl StatementsBuilder {
    /// Compiles topics for [`add`](Self::add). Several statements may have the same ones.
    pub(crate) fn compile(&mut self, topics: &[TopicPattern]) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for topics in topics {
            Pattern::compile(topics, &mut self.variables, &mut patterns);
        }
        patterns
    }

    /// Adds a statement, which has the next number, about the Clients that are in any of `holders`
    /// while the conditions hold.
    pub(crate) fn add<'a>(
        &mut self,
        terms: Terms,
        patterns: &[Pattern],
        conditions: Option<Conditions>,
        holders: impl IntoIterator<Item = Holder<'a>>,
    ) {
        let holders = holders.into_iter().map(|holder| self.classes.class(holder));
        let mut classes: SmallVec<[u32; 4]> = holders.collect();
        if let Some(conditions) = conditions {
            let number = self.conditions.len() as u32;
            for class in classes {
                self.classes.conditional.entry(class).or_default().push(number);
            }
            let class = self.classes.add();
            self.conditions.push((conditions, class));
            classes = [class].into_iter().collect();
        }
        for pattern in patterns {
            let terms = terms.of_kind(pattern.kind);
            for &class in classes.iter().filter(|_| terms.actions != 0) {
                self.tree.insert(pattern, End { class, statement: self.count, terms });
            }
        }
        self.count += 1;
    }

    pub(crate) fn build(self) -> Statements {
        let ends = self.conditions.iter().filter_map(|it| it.0.valid_until);
        let mut changes: Vec<u64> = ends.collect();
        changes.sort_unstable();
        changes.dedup();
        Statements {
            tree: self.tree.build(),
            variables: self.variables,
            classes: self.classes,
            conditions: self.conditions.into(),
            changes: changes.into(),
            now: AtomicU64::new(0),
        }
    }
}

impl Statements {
    /// Sets the time by which statements hold for Clients that are judged from now on.
    pub(crate) fn set_time(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// Returns when the next statement ceases to hold.
    pub(crate) fn next_change(&self) -> Option<u64> {
        let now = self.now.load(Ordering::Relaxed);
        self.changes.get(self.changes.partition_point(|change| *change <= now)).copied()
    }

    /// Finds the statements that may hold for `client`, whose facts have all its attributes and
    /// groups; `None`: there are none.
    pub(crate) fn judge(self: &Arc<Self>, client: &Identity) -> Option<JudgedClient> {
        let mut classes = self.classes.of(client);
        if !self.conditions.is_empty() {
            let now = self.now.load(Ordering::Relaxed);
            let numbers = classes.iter().filter_map(|class| self.classes.conditional.get(class));
            let conditions = numbers.flatten().map(|number| &self.conditions[*number as usize]);
            let holding = conditions.filter(|(it, _)| it.hold(client, now)).map(|it| it.1);
            let holding: SmallVec<[u32; 16]> = holding.collect();
            classes.extend(holding);
        }
        if classes.is_empty() {
            return None;
        }
        classes.sort_unstable();
        classes.dedup();
        let (classes, values) = (classes.into_vec().into(), self.variables.values(client));
        Some(JudgedClient { statements: Arc::clone(self), classes, values })
    }
}

impl Asked {
    fn new(action: Action<'_>) -> Self {
        match action {
            Action::Publish { qos, retain, .. } => Self {
                action: PUBLISH,
                qos: QosSet::from(qos).bits(),
                retain: 1 << u8::from(retain),
            },
            Action::Subscribe { qos, .. } => {
                Self { action: SUBSCRIBE, qos: QosSet::from(qos).bits(), retain: 0b11 }
            }
            Action::Receive { .. } => {
                Self { action: RECEIVE, qos: QosSet::ALL.bits(), retain: 0b11 }
            }
        }
    }
}

impl Judge for JudgedClient {
    /// What denies goes before what allows.
    fn opinion(&self, action: Action<'_>) -> Option<Opinion> {
        let (asked, classes, values) = (Asked::new(action), &self.classes, &self.values);
        let question = Question { asked, classes, values };
        let found = self.statements.tree.find(action.name(), question);
        let denies = found.denies.map(|rule| Opinion { allows: false, rule });
        denies.or(found.allows.map(|rule| Opinion { allows: true, rule }))
    }
}
