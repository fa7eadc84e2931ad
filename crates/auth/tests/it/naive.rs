//! What a policy says, straight from the rules of the documentation: every query, binding and rule
//! is looked at for every question, and Topic Filters are texts.

use std::net::IpAddr;
use std::sync::Arc;

use midge_auth::{
    Action, Model, Permission, QosSet, Rule, Template, TopicPattern, Who, topic_filter,
};
use midge_core::{Identity, UserFacts};

/// The answer, and which rule or binding has given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Disabled,
    OtherClientId,
    BrokerPublishes,
    Superuser,
    /// By the rule or binding that is described so.
    Denied(String),
    Allowed(String),
    NoGrant,
    Default,
}

/// Everything that a policy is made of.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) rules: Vec<Rule>,
    pub(crate) now: u64,
}

impl Answer {
    pub(crate) fn is_allowed(&self, by_default: bool) -> bool {
        match self {
            Self::Superuser | Self::Allowed(_) => true,
            Self::Default => by_default,
            _ => false,
        }
    }
}

impl World {
    pub(crate) fn answer(&self, client: &Identity, action: Action<'_>) -> Answer {
        let name = client.user_name.as_deref();
        let registered = self.model.clients.iter().find(|it| Some(&*it.user_name) == name);
        let mut facts = client.facts.as_deref().cloned().unwrap_or_default();
        if let Some(registered) = registered {
            if !registered.is_enabled {
                return Answer::Disabled;
            }
            if registered.client_ids.as_ref().is_some_and(|it| !it.contains(&client.client_id)) {
                return Answer::OtherClientId;
            }
            facts.attributes.extend(registered.attributes.clone());
        }
        let topic = match action {
            Action::Publish { topic, .. } | Action::Receive { topic } => topic,
            Action::Subscribe { filter, .. } => filter,
        };
        let first = topic.split('/').next();
        let is_of_broker = first == Some("$SYS") || first == Some("$events");
        if is_of_broker && matches!(action, Action::Publish { .. }) {
            return Answer::BrokerPublishes;
        }
        if facts.is_superuser {
            return Answer::Superuser;
        }
        let client = &Identity { facts: Some(Arc::new(facts.clone())), ..client.clone() };
        let opinions = [
            credential_opinion(client, &facts, action),
            self.bindings_opinion(client, action),
            self.rules_opinion(client, action),
        ];
        if let Some(denied) = opinions.iter().flatten().find(|it| !it.0) {
            return Answer::Denied(denied.1.clone());
        }
        match opinions.into_iter().flatten().next() {
            Some((_, reference)) => Answer::Allowed(reference),
            None if is_of_broker => Answer::NoGrant,
            None => Answer::Default,
        }
    }

    fn is_member(&self, client: &Identity, group: &str) -> bool {
        let said = client.facts.iter().flat_map(|facts| &*facts.groups);
        let declared = self.model.groups.iter().filter(|it| &*it.name == group);
        let mut queries = declared.filter_map(|it| it.query.as_ref());
        group == "$all"
            || said.clone().any(|it| &**it == group)
            || queries.any(|query| query.matches(client))
    }

    fn bindings_opinion(&self, client: &Identity, action: Action<'_>) -> Option<(bool, String)> {
        for binding in &self.model.bindings {
            let publishes = binding.permission == Permission::Publisher;
            if publishes != matches!(action, Action::Publish { .. })
                || !self.is_member(client, &binding.group)
            {
                continue;
            }
            let is_named = |it: &&midge_auth::TopicSpace| it.name == binding.topic_space;
            let space = self.model.topic_spaces.iter().find(is_named).unwrap();
            if space.templates.iter().any(|template| is_inside(template, client, action)) {
                return Some((true, binding.to_string()));
            }
        }
        None
    }

    fn rules_opinion(&self, client: &Identity, action: Action<'_>) -> Option<(bool, String)> {
        let fits = |rule: &&Rule| self.is_about(rule, client) && fits(rule, client, action);
        let fitting: Vec<&Rule> = self.rules.iter().filter(fits).collect();
        let first = fitting.iter().find(|rule| !rule.allows).or(fitting.first())?;
        Some((first.allows, first.reference.to_string()))
    }

    fn is_about(&self, rule: &Rule, client: &Identity) -> bool {
        let is_who = match &rule.who {
            Who::Everybody => true,
            Who::Anonymous => client.user_name.is_none(),
            Who::AnyOf { users, client_ids, groups } => {
                users.iter().any(|it| Some(it) == client.user_name.as_ref())
                    || client_ids.contains(&client.client_id)
                    || groups.iter().any(|it| self.is_member(client, it))
            }
        };
        let address: Option<IpAddr> = client.source.and_then(|it| it.address);
        let listener = client.source.and_then(|it| it.listener);
        let is_in = |nets: &Vec<ipnet::IpNet>| {
            address.is_some_and(|address| nets.iter().any(|it| it.contains(&address)))
        };
        is_who
            && rule.networks.as_ref().is_none_or(is_in)
            && rule.listeners.as_ref().is_none_or(|it| listener.is_some_and(|n| it.contains(&n)))
            && rule.valid_until.is_none_or(|end| self.now < end)
    }
}

/// Whether the rule, which is about the client, is about what it does.
fn fits(rule: &Rule, client: &Identity, action: Action<'_>) -> bool {
    rule.topics.iter().any(|topics| fits_topics(rule, topics, client, action))
}

fn fits_topics(rule: &Rule, topics: &TopicPattern, client: &Identity, action: Action<'_>) -> bool {
    let Some(own) = topics.template.resolve(client) else {
        return false;
    };
    match action {
        Action::Publish { topic, qos, retain } => {
            let is_topic =
                if topics.is_exact { own == topic } else { topic_filter::matches(&own, topic) };
            rule.publish
                && rule.qos.contains(qos)
                && rule.retain.is_none_or(|it| it == retain)
                && is_topic
        }
        Action::Subscribe { filter, qos } => {
            let is_covered =
                if topics.is_exact { own == filter } else { topic_filter::covers(&own, filter) };
            rule.subscribe && rule.qos.contains(qos) && is_covered
        }
        Action::Receive { topic } => {
            let is_about_delivery = rule.allows || rule.qos == QosSet::ALL && !topics.is_exact;
            rule.subscribe && is_about_delivery && topic_filter::matches(&own, topic)
        }
    }
}

/// The first that fits decides.
fn credential_opinion(
    client: &Identity,
    facts: &UserFacts,
    action: Action<'_>,
) -> Option<(bool, String)> {
    for (index, rule) in facts.rules.iter().enumerate() {
        let Ok(template) = Template::parse(&rule.topics) else {
            // None that is generated: a test of its own looks at it.
            continue;
        };
        let as_rule = Rule {
            publish: rule.publish,
            subscribe: rule.subscribe,
            qos: QosSet::from_bits(rule.qos),
            retain: rule.retain,
            ..if rule.allows { Rule::allow(Vec::new()) } else { Rule::deny(Vec::new()) }
        };
        if fits_topics(&as_rule, &TopicPattern::new(template), client, action) {
            return Some((rule.allows, format!("rule {} of the credential", index + 1)));
        }
    }
    None
}

fn is_inside(template: &Template, client: &Identity, action: Action<'_>) -> bool {
    template.resolve(client).is_some_and(|own| match action {
        Action::Subscribe { filter, .. } => topic_filter::covers(&own, filter),
        Action::Publish { topic, .. } | Action::Receive { topic } => {
            topic_filter::matches(&own, topic)
        }
    })
}
