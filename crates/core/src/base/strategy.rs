//! The configurable ways in which a shared subscription chooses a member.

use serde::{Deserialize, Serialize};

/// How a shared subscription chooses the member that gets a message. A member without a Network
/// Connection is never chosen while another one has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedStrategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// The same one as long as it is connected.
    Sticky,
    /// The one with the fewest unacknowledged messages of this group.
    LeastInFlight,
    /// By the publishing Client: what one Client publishes goes to one member.
    HashByClient,
    /// By the Topic Name: what is published to one topic goes to one member.
    HashByTopic,
}

impl SharedStrategy {
    /// Whether a choice depends on earlier ones of the whole node, so that the home has to make it.
    pub(crate) fn needs_home(self) -> bool {
        matches!(self, Self::Sticky | Self::LeastInFlight)
    }
}
