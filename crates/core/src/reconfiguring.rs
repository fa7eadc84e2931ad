//! What can be given other values while a broker runs, and how a worker takes them. What exists
//! stays as it is: a Session that has more subscriptions than the new limit keeps them, an
//! automatic subscription that is not made any more does not end.

use std::sync::Arc;

use midge_codec::TopicFilter;

use crate::core::Core;
use crate::limits::Limits;
use crate::rewrite::TopicRules;
use crate::stored::Durability;

/// Values that take effect at once. The same ones are given to all workers of a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All limits. Of those in [`Limits::FIXED`] the present value stays.
    pub limits: Arc<Limits>,
    /// Rewriting, for what comes from now on; automatic subscriptions, for Clients that connect
    /// from now on.
    pub topics: Arc<TopicRules>,
    /// What an acknowledgement promises where nothing else is said. For messages from now on; for
    /// a Session when its Client connects.
    pub durability: Durability,
    /// The same by Topic Filter; the first one that matches counts.
    pub topic_durabilities: Vec<(Box<str>, Durability)>,
    /// What Response Information begins with; absent: none is given.
    pub response_prefix: Option<Box<str>>,
}

impl Core {
    /// Takes other settings; gives the limits that are in effect now.
    pub fn reconfigure(&mut self, settings: &Settings) -> &Limits {
        debug_assert!(
            settings.topic_durabilities.iter().all(|(it, _)| TopicFilter::parse(it).is_ok()),
            "filters are checked before they come here"
        );
        let limits = Arc::new(settings.limits.with_fixed_of(&self.config.limits).within_memory());
        self.backlog.set_limits(&limits);
        self.retained.set_limits(&limits);
        self.clients.limits = Arc::clone(&limits);
        self.config.limits = limits;
        self.config.topics = Arc::clone(&settings.topics);
        self.config.durability.default = settings.durability;
        self.config.durability.topics.clone_from(&settings.topic_durabilities);
        self.config.response_prefix.clone_from(&settings.response_prefix);
        &self.config.limits
    }
}
