//! Topic rules of the configuration: rewriting of Topic Names and Topic Filters, and subscriptions
//! that are made for every Client when it connects.
//!
//! A rewrite happens before authorization: the topic that is authorized is the one that takes
//! effect.

use midge_codec::{SubscriptionOptions, TopicFilter, TopicName};

use crate::base::identity::Identity;
use crate::topics::destination::FILTER_PREFIXES;

/// All topic rules, in their order.
#[derive(Clone, Debug, Default)]
pub struct TopicRules {
    /// The first one that matches is applied.
    pub rewrites: Vec<Rewrite>,
    /// Made for every Client that connects.
    pub subscriptions: Vec<AutoSubscription>,
}

/// Gives topics another name: `from` is a filter, `to` a pattern in which `$1`, `$2`… stand for
/// what its wildcards matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// A Topic Filter: which topics are rewritten.
    pub from: String,
    /// The new name, with `$N` for the Nth wildcard's match.
    pub to: String,
    /// Whether Topic Names of PUBLISH are rewritten.
    pub publish: bool,
    /// Whether Topic Filters of SUBSCRIBE and UNSUBSCRIBE are rewritten.
    pub subscribe: bool,
}

/// A subscription made for every Client; `${client_id}` and `${user_name}` are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoSubscription {
    /// The Topic Filter.
    pub filter: String,
    /// Its options.
    pub options: SubscriptionOptions,
}

const CLIENT_ID: &str = "${client_id}";
const USER_NAME: &str = "${user_name}";

impl TopicRules {
    /// The new name of a topic that is published to, if a rule gives one.
    pub fn rewrite_topic(&self, topic: &str) -> Option<String> {
        if self.rewrites.is_empty() {
            return None;
        }
        let rules = self.rewrites.iter().filter(|rule| rule.publish);
        let new = rules.filter_map(|rule| rule.apply(topic)).next()?;
        TopicName::new(&new).is_ok().then_some(new)
    }

    /// The new form of a filter that is subscribed to, if a rule gives one.
    pub fn rewrite_filter(&self, filter: &str) -> Option<String> {
        let rules = self.rewrites.iter().filter(|rule| rule.subscribe);
        let new = rules.filter_map(|rule| rule.apply(filter)).next()?;
        // A rule changes what is matched, not whether the subscription is shared or exclusive.
        let is_plain = !FILTER_PREFIXES.iter().any(|prefix| new.starts_with(prefix));
        (is_plain && TopicFilter::parse(&new).is_ok()).then_some(new)
    }
}

impl AutoSubscription {
    /// The Topic Filter for this Client.
    ///
    /// # Errors
    ///
    /// Why this Client gets no such subscription: a variable has no value, or one that would widen
    /// the filter.
    pub(crate) fn filter_for(&self, client: &Identity) -> Result<String, &'static str> {
        let mut filter = String::with_capacity(self.filter.len() + client.client_id.len());
        let mut rest = &*self.filter;
        while let Some(at) = rest.find("${") {
            filter.push_str(&rest[..at]);
            rest = &rest[at..];
            let (variable, value) = if rest.starts_with(CLIENT_ID) {
                (CLIENT_ID, &*client.client_id)
            } else if rest.starts_with(USER_NAME) {
                let value = client.user_name.as_deref().filter(|name| !name.is_empty());
                (USER_NAME, value.ok_or("the Client has no authenticated user name")?)
            } else {
                ("${", "${")
            };
            if value.contains(['+', '#', '/']) {
                return Err(match variable {
                    CLIENT_ID => "the Client Identifier has a '+', '#' or '/'",
                    _ => "the user name has a '+', '#' or '/'",
                });
            }
            filter.push_str(value);
            rest = &rest[variable.len()..];
        }
        filter.push_str(rest);
        Ok(filter)
    }
}

impl Rewrite {
    fn apply(&self, topic: &str) -> Option<String> {
        let captures = captures(&self.from, topic)?;
        let mut new = String::with_capacity(self.to.len() + topic.len());
        let mut rest = &*self.to;
        while let Some(at) = rest.find('$') {
            new.push_str(&rest[..at]);
            let digits: String = rest[at + 1..].chars().take_while(char::is_ascii_digit).collect();
            match digits.parse::<usize>() {
                Ok(number) if number > 0 => new.push_str(captures.get(number - 1)?),
                _ => new.push_str(&rest[at..=at + digits.len()]),
            }
            rest = &rest[at + 1 + digits.len()..];
        }
        new.push_str(rest);
        Some(new)
    }
}

/// What the wildcards of `filter` match in `topic`. A wildcard in `topic` is matched literally, so
/// that filters can be rewritten by the same rule.
fn captures<'t>(filter: &str, topic: &'t str) -> Option<Vec<&'t str>> {
    // A leading wildcard matches nothing that begins with `$` [MQTT-4.7.2-1].
    if filter.starts_with(['+', '#']) && topic.starts_with('$') {
        return None;
    }
    let mut captures = Vec::new();
    let mut rest = Some(topic);
    for wanted in filter.split('/') {
        if wanted == "#" {
            captures.push(rest.unwrap_or_default());
            return Some(captures);
        }
        let text = rest?;
        let (level, after) = match text.split_once('/') {
            Some((level, after)) => (level, Some(after)),
            None => (text, None),
        };
        match wanted {
            "+" => captures.push(level),
            _ if wanted == level => (),
            _ => return None,
        }
        rest = after;
    }
    rest.is_none().then_some(captures)
}

#[cfg(test)]
mod tests {
    use midge_codec::SubscriptionOptions;

    use super::{AutoSubscription, Rewrite, TopicRules};
    use crate::base::identity::Identity;

    fn filter_for(
        filter: &str,
        client_id: &str,
        user_name: Option<&str>,
    ) -> Result<String, &'static str> {
        let options = SubscriptionOptions::default();
        let subscription = AutoSubscription { filter: filter.into(), options };
        let user_name = user_name.map(Into::into);
        subscription.filter_for(&Identity::new(client_id.into(), user_name))
    }

    #[test]
    fn variables_are_replaced_once() {
        let filter = filter_for("a/${client_id}/${user_name}/$x/#", "${user_name}", Some("u"));
        assert_eq!(filter.as_deref(), Ok("a/${user_name}/u/$x/#"));
    }

    #[test]
    fn names_never_widen_a_filter() {
        for name in ["+", "#", "a/b"] {
            assert!(filter_for("a/${client_id}", name, None).is_err());
            assert!(filter_for("a/${user_name}", "c", Some(name)).is_err());
            assert_eq!(filter_for("a/b", name, None).as_deref(), Ok("a/b"));
        }
        assert!(filter_for("a/${user_name}", "c", None).is_err());
        assert!(filter_for("a/${user_name}", "c", Some("")).is_err());
    }

    fn rules(from: &str, to: &str) -> TopicRules {
        let rewrite = Rewrite { from: from.into(), to: to.into(), publish: true, subscribe: true };
        TopicRules { rewrites: vec![rewrite], subscriptions: Vec::new() }
    }

    #[test]
    fn wildcards_are_carried_over() {
        let rules = rules("old/+/x/#", "new/$2/$1");
        assert_eq!(rules.rewrite_topic("old/a/x/b/c").as_deref(), Some("new/b/c/a"));
        assert_eq!(rules.rewrite_topic("old/a/y/b"), None);
        assert_eq!(rules.rewrite_filter("old/+/x/t").as_deref(), Some("new/t/+"));
    }

    #[test]
    fn a_leading_wildcard_leaves_the_brokers_own_topics_alone() {
        let rules = rules("#", "site/$1");
        assert_eq!(rules.rewrite_filter("$SYS/#"), None);
        assert_eq!(rules.rewrite_topic("a/b").as_deref(), Some("site/a/b"));
    }

    #[test]
    fn a_filter_keeps_its_kind() {
        assert_eq!(rules("a/+", "$exclusive/$1").rewrite_filter("a/b"), None);
        assert_eq!(rules("a/+", "$share/g/$1").rewrite_filter("a/b"), None);
    }

    #[test]
    fn a_result_that_is_no_topic_is_not_used() {
        assert_eq!(rules("a/#", "$1").rewrite_topic("a"), None);
        assert_eq!(rules("a", "b/$x/$").rewrite_topic("a").as_deref(), Some("b/$x/$"));
        assert_eq!(rules("a", "$3").rewrite_topic("a"), None);
    }
}
