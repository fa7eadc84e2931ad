//! The settings that can change while a broker runs, and how a worker takes new ones. What exists
//! stays as it is: a Session that has more subscriptions than the new limit keeps them, and an
//! automatic subscription that is no longer made does not end.

use std::sync::Arc;

use midge_codec::TopicFilter;

use crate::base::durability::Durability;
use crate::base::limits::Limits;
use crate::core::Core;
use crate::topics::rewrite::TopicRules;

/// Settings that take effect at once. All workers of a node are given the same ones.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All limits. Those in [`Limits::FIXED`] keep their present value.
    pub limits: Arc<Limits>,
    /// Rewriting applies to what comes from now on, automatic subscriptions to Clients that connect
    /// from now on.
    pub topics: Arc<TopicRules>,
    /// What an acknowledgement promises unless something else is said. It applies to messages from
    /// now on, and to a Session when its Client connects.
    pub durability: Durability,
    /// The same by Topic Filter; the first one that matches counts.
    pub topic_durabilities: Vec<(Box<str>, Durability)>,
    /// What Response Information begins with; absent: none is given.
    pub response_prefix: Option<Box<str>>,
}

impl Core {
    /// Takes new settings; returns the limits that are in effect now.
    pub fn reconfigure(&mut self, settings: &Settings) -> &Limits {
        debug_assert!(
            settings.topic_durabilities.iter().all(|(it, _)| TopicFilter::parse(it).is_ok()),
            "filters are checked before they come here"
        );
        let limits =
            Arc::new(settings.limits.with_fixed_of(&self.ground.config.limits).within_memory());
        self.router.put_off.set_limits(&limits);
        self.router.retained.set_limits(&limits);
        self.ground.clients.set_limits(Arc::clone(&limits));
        self.ground.config.limits = limits;
        self.ground.config.topics = Arc::clone(&settings.topics);
        self.ground.config.durability.default = settings.durability;
        self.ground.config.durability.topics.clone_from(&settings.topic_durabilities);
        self.ground.config.response_prefix.clone_from(&settings.response_prefix);
        &self.ground.config.limits
    }
}
