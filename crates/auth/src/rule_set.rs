//! Access rules in effect: a source of rules.

use std::sync::Arc;

use midge_core::Identity;

use crate::model::{ALL_CLIENTS, Model};
use crate::rule::{Rule, RuleError, Who};
use crate::rule_source::{Judge, RuleSource};
use crate::statements::{Conditions, Holder, Statements, StatementsBuilder};
use crate::tree::Terms;

/// Rules, compiled. Their order does not matter: what denies goes before what allows.
#[derive(Debug)]
pub struct RuleSet {
    statements: Arc<Statements>,
    references: Box<[Box<str>]>,
}

impl RuleSet {
    /// The most rules of a set.
    pub const RULES_MAX: usize = 1_000_000;

    /// The most topics of all rules together, counted for each user, client and group of a rule.
    pub const ENTRIES_MAX: usize = 5_000_000;

    /// Compiles rules.
    ///
    /// # Errors
    ///
    /// All mistakes, in the order of the rules.
    pub fn new(rules: &[Rule]) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        if rules.len() > Self::RULES_MAX {
            let detail =
                format!("there are {}, at most {} are possible", rules.len(), Self::RULES_MAX);
            errors.push(RuleError { reference: "rules".into(), detail });
        }
        rules.iter().for_each(|rule| rule.check(&mut errors));
        let entries: usize = rules.iter().map(|it| it.topics.len() * holders(&it.who).len()).sum();
        if entries > Self::ENTRIES_MAX {
            let detail = format!(
                "they have {entries} topics, counted for each user, client and group of a rule; at \
                 most {} are possible: make groups",
                Self::ENTRIES_MAX
            );
            errors.push(RuleError { reference: "rules".into(), detail });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut builder = StatementsBuilder::default();
        for rule in rules {
            let actions = (rule.publish, rule.subscribe);
            let terms = Terms::new(rule.allows, actions, rule.qos, rule.retain);
            let patterns = builder.compile(&rule.topics);
            builder.add(terms, &patterns, conditions(rule), holders(&rule.who));
        }
        let references = rules.iter().map(|rule| rule.reference.clone()).collect();
        Ok(Self { statements: Arc::new(builder.build()), references })
    }

    /// Checks that each group of a rule is in the model. A group to which only authentication adds
    /// Clients is declared there without a query.
    ///
    /// # Errors
    ///
    /// All rules with groups that the model does not have.
    pub fn check_groups(rules: &[Rule], model: &Model) -> Result<(), Vec<RuleError>> {
        let declared = model.groups.iter().map(|group| &*group.name);
        let declared: std::collections::HashSet<&str> = declared.chain([ALL_CLIENTS]).collect();
        let mut errors = Vec::new();
        for rule in rules {
            let Who::AnyOf { groups, .. } = &rule.who else {
                continue;
            };
            for group in groups.iter().filter(|group| !declared.contains(&***group)) {
                let detail = format!("there is no group `{group}`: declare it");
                errors.push(RuleError { reference: rule.reference.clone(), detail });
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn conditions(rule: &Rule) -> Option<Conditions> {
    let conditions = Conditions {
        networks: rule.networks.as_deref().map(Into::into),
        listeners: rule.listeners.as_deref().map(Into::into),
        valid_until: rule.valid_until,
    };
    let has_any = conditions.networks.is_some()
        || conditions.listeners.is_some()
        || conditions.valid_until.is_some();
    has_any.then_some(conditions)
}

fn holders(who: &Who) -> Vec<Holder<'_>> {
    match who {
        Who::Everybody => vec![Holder::Everybody],
        Who::Anonymous => vec![Holder::Anonymous],
        Who::AnyOf { users, client_ids, groups } => {
            let users = users.iter().map(|name| Holder::User(name));
            let client_ids = client_ids.iter().map(|client_id| Holder::ClientId(client_id));
            let groups = groups.iter().map(|name| Holder::group(name));
            users.chain(client_ids).chain(groups).collect()
        }
    }
}

impl<'a> Holder<'a> {
    /// The Clients of a group.
    pub(crate) fn group(name: &'a str) -> Self {
        if name == ALL_CLIENTS { Self::Everybody } else { Self::Group(name) }
    }
}

impl RuleSource for RuleSet {
    fn judge(&self, client: &Identity) -> Option<Box<dyn Judge>> {
        self.statements.judge(client).map(|it| Box::new(it) as Box<dyn Judge>)
    }

    fn describe(&self, rule: u32) -> String {
        self.references[rule as usize].to_string()
    }

    fn set_time(&self, now: u64) {
        self.statements.set_time(now);
    }

    fn next_change(&self) -> Option<u64> {
        self.statements.next_change()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{QosSet, TopicPattern};
    use crate::template::Template;

    fn rule() -> Rule {
        let topics = vec![TopicPattern::new(Template::parse("a/#").unwrap())];
        Rule { reference: "rule 7".into(), ..Rule::allow(topics) }
    }

    #[test]
    fn an_empty_list_is_a_mistake() {
        for (rule, expected) in [
            (Rule { topics: Vec::new(), ..rule() }, "rule 7: it has no topics"),
            (Rule { publish: false, subscribe: false, ..rule() }, "rule 7: it is about nothing"),
            (Rule { qos: QosSet::NONE, ..rule() }, "rule 7: it has no QoS"),
            (Rule { networks: Some(Vec::new()), ..rule() }, "rule 7: it has no network"),
            (Rule { listeners: Some(Vec::new()), ..rule() }, "rule 7: it has no listener"),
            (Rule { who: Who::users(&[]), ..rule() }, "rule 7: it is about nobody"),
        ] {
            let errors = RuleSet::new(&[rule]).unwrap_err();
            assert_eq!(errors.len(), 1);
            assert!(errors[0].to_string().starts_with(expected), "{}", errors[0]);
        }
        assert!(RuleSet::new(&[rule()]).is_ok());
    }

    #[test]
    fn groups_have_to_be_declared() {
        let rules = [
            Rule { who: Who::groups(&["$all", "known"]), ..rule() },
            Rule { who: Who::groups(&["known", "other"]), ..rule() },
        ];
        let model = Model::new().group("known", None);
        let errors = RuleSet::check_groups(&rules, &model).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "rule 7: there is no group `other`: declare it");
    }
}
