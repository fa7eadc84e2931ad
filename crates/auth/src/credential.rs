//! The rules inside a credential: a source of rules, of which the first that fits decides.
//!
//! A credential has few rules, so they are compared one after the other. A rule whose topics cannot
//! be read stands for nothing if it allows, and for everything if it denies: a mistake must not
//! open anything.

use midge_core::{CredentialRule, Identity};

use crate::rule::QosSet;
use crate::rule_source::{Action, Judge, Opinion, RuleSource};
use crate::template::Template;
use crate::topic_filter;

/// The rules in `Identity::facts`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CredentialRules;

/// The rules of one credential.
#[derive(Debug)]
struct JudgedCredential(Box<[(u32, ResolvedRule)]>);

#[derive(Debug)]
struct ResolvedRule {
    allows: bool,
    publish: bool,
    subscribe: bool,
    qos: QosSet,
    retain: Option<bool>,
    topics: Topics,
}

#[derive(Debug)]
enum Topics {
    Filter(Box<str>),
    /// Everything: nobody knows what the rule is about.
    Unreadable,
}

impl RuleSource for CredentialRules {
    fn judge(&self, client: &Identity) -> Option<Box<dyn Judge>> {
        let rules = &client.facts.as_ref()?.rules;
        let resolved = rules.iter().zip(0..).filter_map(|(rule, number)| {
            let topics = match Template::parse(&rule.topics) {
                Ok(template) => Topics::Filter(template.resolve(client)?.into()),
                Err(_) if rule.allows => return None,
                Err(_) => Topics::Unreadable,
            };
            Some((number, ResolvedRule::new(rule, topics)))
        });
        let resolved: Box<[_]> = resolved.collect();
        (!resolved.is_empty()).then(|| Box::new(JudgedCredential(resolved)) as Box<dyn Judge>)
    }

    fn describe(&self, rule: u32) -> String {
        format!("rule {} of the credential", rule + 1)
    }
}

impl Judge for JudgedCredential {
    fn opinion(&self, action: Action<'_>) -> Option<Opinion> {
        let fits = |(_, rule): &&(u32, ResolvedRule)| rule.fits(action);
        let (number, rule) = self.0.iter().find(fits)?;
        Some(Opinion { allows: rule.allows, rule: *number })
    }
}

impl ResolvedRule {
    fn new(rule: &CredentialRule, topics: Topics) -> Self {
        let &CredentialRule { allows, publish, subscribe, qos, retain, .. } = rule;
        Self { allows, publish, subscribe, qos: QosSet::from_bits(qos), retain, topics }
    }

    fn fits(&self, action: Action<'_>) -> bool {
        match action {
            Action::Publish { topic, qos, retain } => {
                self.publish
                    && self.qos.contains(qos)
                    && self.retain.is_none_or(|it| it == retain)
                    && self.topics.matches(topic)
            }
            Action::Subscribe { filter, qos } => {
                self.subscribe && self.qos.contains(qos) && self.topics.covers(filter)
            }
            // The QoS of a delivery is not what a rule is about: as in `RuleSet`.
            Action::Receive { topic } => {
                let is_about_delivery = self.allows || self.qos == QosSet::ALL;
                self.subscribe && is_about_delivery && self.topics.matches(topic)
            }
        }
    }
}

impl Topics {
    fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Filter(filter) => topic_filter::matches(filter, topic),
            Self::Unreadable => true,
        }
    }

    fn covers(&self, filter: &str) -> bool {
        match self {
            Self::Filter(own) => topic_filter::covers(own, filter),
            Self::Unreadable => true,
        }
    }
}
