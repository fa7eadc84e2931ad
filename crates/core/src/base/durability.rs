//! Which promise an acknowledgement makes: by topic, by listener, for the whole broker.

use midge_codec::{TopicFilter, TopicName};
use serde::{Deserialize, Serialize};

/// What an acknowledgement promises; the later ones promise more.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Kept in memory only: the end of the process loses it.
    Memory,
    /// Written to the file before it is acknowledged, and to the device at intervals: the end of
    /// the process loses nothing, a power cut what came within the last interval.
    Interval,
    /// On the device before it is acknowledged.
    #[default]
    Fsync,
}

/// What is promised where. The first Topic Filter that matches decides, else the listener
/// ([`Opening::durability`](crate::Opening::durability)), else the default of the broker.
#[derive(Clone, Debug, Default)]
pub struct DurabilityRules {
    /// Whether there is a store at all; if not, everything is [`Durability::Memory`].
    pub has_store: bool,
    /// For the whole broker.
    pub default: Durability,
    /// By Topic Filter; the first one that matches counts.
    pub topics: Vec<(Box<str>, Durability)>,
}

impl DurabilityRules {
    /// Returns what a Session is promised if its Client came by a listener that promises `own`: as
    /// much as any message that may wait for it, because that message would be lost with the
    /// Session.
    pub(crate) fn of_session(&self, own: Option<Durability>) -> Durability {
        let own = self.of_listener(own);
        let strongest = self.topics.iter().map(|(_, durability)| *durability).max();
        match self.has_store {
            true => own.max(strongest.unwrap_or(own)),
            false => own,
        }
    }

    /// Returns what is promised where no rule for a topic applies.
    fn of_listener(&self, own: Option<Durability>) -> Durability {
        if !self.has_store {
            return Durability::Memory;
        }
        own.unwrap_or(self.default)
    }

    /// Returns what a publisher is promised if it came by a listener that promises `own`.
    pub(crate) fn of_message(&self, own: Option<Durability>, topic: &str) -> Durability {
        if !self.has_store || self.topics.is_empty() {
            return self.of_listener(own);
        }
        let rule = TopicName::new(topic).ok().and_then(|name| {
            let matches = |filter: &str| TopicFilter::parse(filter).is_ok_and(|f| f.matches(name));
            self.topics.iter().find(|(filter, _)| matches(filter))
        });
        rule.map_or_else(|| self.of_listener(own), |(_, durability)| *durability)
    }
}

#[cfg(test)]
mod tests {
    use super::{Durability, DurabilityRules};

    #[test]
    fn the_topic_counts_before_the_listener_before_the_broker() {
        let rules = DurabilityRules {
            has_store: true,
            default: Durability::Fsync,
            topics: vec![("noise/#".into(), Durability::Memory), ("#".into(), Durability::Fsync)],
        };
        let own = Some(Durability::Interval);
        assert_eq!(rules.of_message(own, "noise/a"), Durability::Memory);
        assert_eq!(rules.of_message(own, "a"), Durability::Fsync);
        assert_eq!(rules.of_session(own), Durability::Fsync);
        let rules = DurabilityRules { topics: Vec::new(), ..rules };
        assert_eq!(rules.of_session(own), Durability::Interval);
        assert_eq!(rules.of_message(own, "a"), Durability::Interval);
        assert_eq!(rules.of_message(None, "a"), Durability::Fsync);
        let rules = DurabilityRules { has_store: false, ..rules };
        assert_eq!(rules.of_message(own, "a"), Durability::Memory);
    }
}
