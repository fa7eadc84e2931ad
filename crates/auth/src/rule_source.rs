//! A source of access rules, and what it thinks of something that a Client does.

use midge_codec::QoS;
use midge_core::Identity;

/// Something that a Client does, or that is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// It publishes, now.
    Publish {
        /// The Topic Name.
        topic: &'a str,
        /// The QoS of the PUBLISH.
        qos: QoS,
        /// Its RETAIN flag.
        retain: bool,
    },
    /// It wants a subscription, or has one.
    Subscribe {
        /// The Topic Filter, without `$share/...`.
        filter: &'a str,
        /// The maximum QoS.
        qos: QoS,
    },
    /// It is sent a message.
    Receive {
        /// The Topic Name.
        topic: &'a str,
    },
}

impl<'a> Action<'a> {
    /// Returns the Topic Name or Topic Filter.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Publish { topic, .. } | Self::Receive { topic } => topic,
            Self::Subscribe { filter, .. } => filter,
        }
    }
}

/// What a source thinks of an [`Action`], by one of its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Whether the rule allows.
    pub allows: bool,
    /// The rule, as [`RuleSource::describe`] knows it.
    pub rule: u32,
}

/// A source of access rules.
pub trait RuleSource: Send + Sync {
    /// Finds out what the source has to say about a Client, whose facts have all its attributes and
    /// groups, also those of the model. What comes out is asked for everything
    /// that the Client does until the policy changes; `None`: nothing, ever.
    fn judge(&self, client: &Identity) -> Option<Box<dyn Judge>>;

    /// Says in words which rule this is, and where it stands, such as `rule 3 of acl.conf, line 7`.
    fn describe(&self, rule: u32) -> String;

    /// Sets the time, in seconds since 1970, by which rules hold for Clients that are judged from
    /// now on.
    fn set_time(&self, now: u64) {
        let _ = now;
    }

    /// Returns when, by the time that is set, the next rule ceases to hold.
    fn next_change(&self) -> Option<u64> {
        None
    }
}

/// What a source has to say about one Client.
pub trait Judge: Send + Sync {
    /// Returns what the source thinks; `None`: none of its rules is about this.
    fn opinion(&self, action: Action<'_>) -> Option<Opinion>;
}
