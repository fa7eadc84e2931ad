//! What Clients may do: all sources of rules together, and one precedence.
//!
//! A decision never waits: [`AccessPolicy::judge`] finds once what holds for a Client, and
//! [`ClientPolicy::decide`] answers from memory. Neither reads a clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use midge_core::{Identity, UserFacts};

use crate::bindings::Bindings;
use crate::credential::CredentialRules;
use crate::groups::GroupIndex;
use crate::model::{ALL_CLIENTS, Model, ModelError, RegisteredClient};
use crate::rule_source::{Action, Judge, RuleSource};

/// What Clients may do.
///
/// In this order:
///
/// 1. a Client that is registered and disabled, or has a Client Identifier that is not one of its
///    own, may do nothing;
/// 2. nobody publishes to topics of the broker: `$SYS/#` and `$events/#`;
/// 3. a superuser may do everything else;
/// 4. what a rule of any source denies is denied;
/// 5. what a rule of any source, or a binding, allows is allowed;
/// 6. topics of the broker are denied;
/// 7. everything else is as the [default](DefaultAccess) says.
///
/// A subscription is allowed if all that its Topic Filter matches is allowed by one rule. A rule
/// denies it if it denies all of that; one that denies less leaves it, and denies the messages.
pub struct AccessPolicy {
    clients: HashMap<Box<str>, RegisteredClient>,
    groups: GroupIndex,
    sources: Box<[Box<dyn RuleSource>]>,
    default: DefaultAccess,
    disabled: Arc<ClientPolicy>,
    other_client_id: Arc<ClientPolicy>,
    superuser: Arc<ClientPolicy>,
    nothing_said: Arc<ClientPolicy>,
}

/// What holds where no rule says anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultAccess {
    /// It is denied.
    #[default]
    Deny,
    /// It is allowed.
    Allow,
}

/// What one Client may do. It holds until the policy changes, or the Client's identity does.
pub struct ClientPolicy {
    standing: Standing,
    /// What the sources say that have something to say, with their numbers.
    judges: Box<[(u16, Box<dyn Judge>)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Disabled,
    OtherClientId,
    Superuser,
    Ordinary(DefaultAccess),
}

/// The answer to an [`Action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// What has decided.
    pub by: DecidedBy,
}

/// What has decided. [`AccessPolicy::describe`] puts it into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// A rule or a binding.
    Rule {
        /// The number of the source, in the order in which the policy has them.
        source: u16,
        /// The rule, as [`RuleSource::describe`] knows it.
        rule: u32,
    },
    /// No rule says anything, and the default does.
    Default,
    /// The Client is a superuser.
    Superuser,
    /// The Client is registered, and disabled.
    Disabled,
    /// The Client is registered with other Client Identifiers.
    ClientIdentifier,
    /// Nobody publishes to topics of the broker.
    BrokerPublishes,
    /// Topics of the broker need a rule that allows them, and there is none.
    NoGrant,
}

impl AccessPolicy {
    /// The most sources.
    pub const SOURCES_MAX: usize = 1_000;

    /// Compiles a policy. The bindings of `model` and the rules inside credentials are sources of
    /// their own; `sources` are others, such as a [`RuleSet`](crate::RuleSet). `now`: seconds since
    /// 1970.
    ///
    /// # Errors
    ///
    /// All mistakes in the model.
    pub fn new(
        model: Model,
        sources: Vec<Box<dyn RuleSource>>,
        default: DefaultAccess,
        now: u64,
    ) -> Result<Self, Vec<ModelError>> {
        model.check()?;
        if sources.len() > Self::SOURCES_MAX {
            let max = Self::SOURCES_MAX;
            let detail = format!("there are {}, at most {max} are possible", sources.len());
            return Err(vec![ModelError { object: "sources of rules".into(), detail }]);
        }
        let own: [Box<dyn RuleSource>; 2] =
            [Box::new(CredentialRules), Box::new(Bindings::new(&model))];
        let groups = GroupIndex::new(&model.groups);
        let clients = model.clients.into_iter().map(|it| (it.user_name.clone(), it)).collect();
        let fixed = |standing| Arc::new(ClientPolicy { standing, judges: [].into() });
        let policy = Self {
            clients,
            groups,
            sources: own.into_iter().chain(sources).collect(),
            default,
            disabled: fixed(Standing::Disabled),
            other_client_id: fixed(Standing::OtherClientId),
            superuser: fixed(Standing::Superuser),
            nothing_said: fixed(Standing::Ordinary(default)),
        };
        policy.set_time(now);
        Ok(policy)
    }

    /// Sets the time, in seconds since 1970, by which rules hold for Clients that are judged from
    /// now on. Those that were judged before keep what they have.
    pub fn set_time(&self, now: u64) {
        self.sources.iter().for_each(|source| source.set_time(now));
    }

    /// Returns when the next rule ceases to hold, in seconds since 1970. Then the time has to be
    /// [set](Self::set_time), and all Clients have to be judged anew.
    pub fn next_change(&self) -> Option<u64> {
        self.sources.iter().filter_map(|source| source.next_change()).min()
    }

    /// Finds what `client` may do.
    pub fn judge(&self, client: &Identity) -> Arc<ClientPolicy> {
        if let Some(registered) = self.registered(client) {
            if !registered.is_enabled {
                return Arc::clone(&self.disabled);
            }
            if registered.client_ids.as_ref().is_some_and(|it| !it.contains(&client.client_id)) {
                return Arc::clone(&self.other_client_id);
            }
        }
        if client.facts.as_ref().is_some_and(|facts| facts.is_superuser) {
            return Arc::clone(&self.superuser);
        }
        let completed = self.complete(client);
        let client = completed.as_ref().unwrap_or(client);
        let judges = self.sources.iter().zip(0..);
        let judges = judges.filter_map(|(source, number)| Some((number, source.judge(client)?)));
        let judges: Box<[_]> = judges.collect();
        if judges.is_empty() {
            return Arc::clone(&self.nothing_said);
        }
        Arc::new(ClientPolicy { standing: Standing::Ordinary(self.default), judges })
    }

    /// Returns the groups that `client` belongs to, sorted: for explanations.
    pub fn groups_of(&self, client: &Identity) -> Vec<Box<str>> {
        let completed = self.complete(client);
        let facts = completed.as_ref().unwrap_or(client).facts.as_ref();
        let groups = facts.map(|facts| facts.groups.to_vec()).unwrap_or_default().into_iter();
        let mut groups: Vec<Box<str>> = groups.chain([ALL_CLIENTS.into()]).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn registered(&self, client: &Identity) -> Option<&RegisteredClient> {
        client.user_name.as_ref().and_then(|name| self.clients.get(name))
    }

    /// Returns `client` with its registered attributes and its groups among its facts; `None` if
    /// there are none to add.
    fn complete(&self, client: &Identity) -> Option<Identity> {
        let attributes = self.registered(client).map(|it| &it.attributes);
        let attributes = attributes.filter(|it| !it.is_empty());
        let with_attributes = attributes.map(|attributes| {
            let mut facts = client.facts.as_deref().cloned().unwrap_or_default();
            let added = attributes.iter().map(|(name, value)| (name.clone(), value.clone()));
            facts.attributes.extend(added);
            Identity { facts: Some(Arc::new(facts)), ..client.clone() }
        });
        let found = self.groups.groups_of(with_attributes.as_ref().unwrap_or(client));
        if found.is_empty() {
            return with_attributes;
        }
        let mut completed = with_attributes.unwrap_or_else(|| client.clone());
        let facts =
            Arc::make_mut(completed.facts.get_or_insert_with(|| UserFacts::default().into()));
        let groups = std::mem::take(&mut facts.groups).into_vec().into_iter();
        facts.groups = groups.chain(found.into_iter().map(Into::into)).collect();
        Some(completed)
    }

    /// Says in words what has decided.
    pub fn describe(&self, by: DecidedBy) -> String {
        match by {
            DecidedBy::Rule { source, rule } => {
                return self.sources[usize::from(source)].describe(rule);
            }
            DecidedBy::Default if self.default == DefaultAccess::Allow => {
                "no rule is about it, and the default is allow"
            }
            DecidedBy::Default => "no rule allows it, and the default is deny",
            DecidedBy::Superuser => "the client is a superuser",
            DecidedBy::Disabled => "the client is registered as disabled",
            DecidedBy::ClientIdentifier => {
                "the client is registered with other client identifiers than this one"
            }
            DecidedBy::BrokerPublishes => {
                "only the broker publishes to topics that begin with $SYS/ and $events/"
            }
            DecidedBy::NoGrant => {
                "topics that begin with $SYS/ and $events/ need a rule or binding that names them, \
                 and there is none"
            }
        }
        .into()
    }
}

impl ClientPolicy {
    /// Returns whether the Client may be connected.
    pub fn may_stay(&self) -> bool {
        !matches!(self.standing, Standing::Disabled | Standing::OtherClientId)
    }

    /// Decides about something that the Client does, or that is done for it.
    pub fn decide(&self, action: Action<'_>) -> Decision {
        let denied = |by| Decision { allowed: false, by };
        let default = match self.standing {
            Standing::Disabled => return denied(DecidedBy::Disabled),
            Standing::OtherClientId => return denied(DecidedBy::ClientIdentifier),
            Standing::Superuser => None,
            Standing::Ordinary(default) => Some(default),
        };
        let is_of_broker = is_of_broker(action.name());
        if is_of_broker && matches!(action, Action::Publish { .. }) {
            return denied(DecidedBy::BrokerPublishes);
        }
        let Some(default) = default else {
            return Decision { allowed: true, by: DecidedBy::Superuser };
        };
        let mut allowed = None;
        for (source, judge) in &self.judges {
            let Some(opinion) = judge.opinion(action) else {
                continue;
            };
            let by = DecidedBy::Rule { source: *source, rule: opinion.rule };
            if !opinion.allows {
                return denied(by);
            }
            allowed = allowed.or(Some(Decision { allowed: true, by }));
        }
        allowed.unwrap_or(if is_of_broker {
            denied(DecidedBy::NoGrant)
        } else {
            Decision { allowed: default == DefaultAccess::Allow, by: DecidedBy::Default }
        })
    }
}

impl fmt::Debug for AccessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessPolicy")
            .field("clients", &self.clients.len())
            .field("sources", &self.sources.len())
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPolicy").field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// Returns whether a topic, or all that a filter matches, is the broker's own.
fn is_of_broker(name: &str) -> bool {
    name.starts_with('$') && matches!(name.split('/').next(), Some("$SYS" | "$events"))
}
