//! What a worker is made with.

use std::sync::Arc;

use crate::base::budget::NodeBudget;
use crate::base::durability::DurabilityRules;
use crate::base::identity::WorkerId;
use crate::base::limits::Limits;
use crate::base::strategy::SharedStrategy;
use crate::gate::Policy;
use crate::topics::rewrite::TopicRules;

/// What a worker is made with.
#[derive(Clone)]
pub struct CoreConfig {
    /// Which worker of the node it is.
    pub worker: WorkerId,
    /// How many workers the node has.
    pub workers: usize,
    /// Seeds hash tables; the same for all workers of a node.
    pub seed: u64,
    /// Unpredictable bytes, of this worker alone. From them it makes names that strangers see but
    /// must not be able to guess.
    pub secret: [u64; 2],
    /// All limits.
    pub limits: Arc<Limits>,
    /// The counts of what all workers of the node hold together: one object for all of them.
    pub budget: Arc<NodeBudget>,
    /// Who may do what.
    pub policy: Arc<dyn Policy>,
    /// Topic rewriting and automatic subscriptions.
    pub topics: Arc<TopicRules>,
    /// How shared subscriptions choose a member.
    pub shared_strategy: SharedStrategy,
    /// Whether a shared subscription keeps messages itself while no member is connected.
    pub shared_backlog: bool,
    /// A request for Response Information is answered with this, a `/` and the Client Identifier.
    pub response_prefix: Option<Box<str>>,
    /// Whether [`crate::Event::Dropped`] is reported.
    pub tell_drops: bool,
    /// What acknowledgements promise.
    pub durability: DurabilityRules,
}
