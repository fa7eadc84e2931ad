//! Where a publication goes: the one place that knows topics with a meaning of their own. This step
//! comes after the topic alias and before the publish gate, for a PUBLISH, a Will Message and a
//! message of the process itself alike. It must never decide who is allowed to publish: that is up
//! to the gate.

use std::borrow::Cow;

use midge_codec::ReasonCode;

use crate::base::drop_reason::DropReason;
use crate::base::limits::Limits;
use crate::topics::rewrite::TopicRules;

/// The first level in the topic of a message that is to be published later.
pub(crate) const DELAYED: &str = "$delayed";

/// Prefixes of Topic Filters that ask for more than matching. Nobody publishes to topics with these
/// prefixes, because nobody could subscribe to them.
pub(crate) const FILTER_PREFIXES: [&str; 3] = ["$share/", "$queue/", "$exclusive/"];

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Author<'a> {
    /// A Client; bridges mark themselves in their CONNECT.
    Client { client_id: &'a str, is_bridge: bool },
    /// The process of the broker, for which no topic is reserved.
    Process,
}

/// A topic that a message is published to, and when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Destination<'t> {
    text: Cow<'t, str>,
    /// Where the topic begins in the text.
    start: usize,
    /// Seconds that a `$delayed` message waits.
    delay_seconds: Option<u32>,
}

/// Why a topic cannot be published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdirected {
    TooManyLevels,
    /// Not `$delayed/SECONDS/TOPIC`, or too far ahead.
    Delay,
    /// It has the form of a shared or exclusive subscription.
    FilterForm,
    /// The topic is the broker's own.
    Reserved,
}

impl<'t> Destination<'t> {
    /// Seconds that a `$delayed` message waits.
    #[inline]
    pub(crate) fn delay_seconds(&self) -> Option<u32> {
        self.delay_seconds
    }

    /// Returns where a message of a Client goes. The topic is rewritten as the rules say,
    /// also when it follows `$delayed/SECONDS/`.
    #[inline]
    pub(crate) fn of_client(
        topic: Cow<'t, str>,
        author: Author<'_>,
        rules: &TopicRules,
        limits: &Limits,
    ) -> Result<Self, Misdirected> {
        // Hardly any topic has a meaning of its own.
        if topic.starts_with('$') || !rules.rewrites.is_empty() {
            return Self::with_meaning(topic, author, rules, limits);
        }
        check_levels(&topic, limits)?;
        Ok(Self::plain(topic))
    }

    /// Does the same for a topic that may have a meaning of its own, or be given one by a rule.
    #[inline(never)]
    fn with_meaning(
        topic: Cow<'t, str>,
        author: Author<'_>,
        rules: &TopicRules,
        limits: &Limits,
    ) -> Result<Self, Misdirected> {
        let asked = Self::split(topic, limits)?;
        let destination = match (rules.rewrite_topic(asked.topic()), asked.delay_seconds) {
            (None, _) => asked,
            // A rule may say that messages are delayed.
            (Some(new), None) => Self::split(Cow::Owned(new), limits)?,
            (Some(new), delay_seconds) => Self { text: Cow::Owned(new), start: 0, delay_seconds },
        };
        destination.checked(author, limits)
    }

    /// Returns where a message of the process goes.
    pub(crate) fn of_process(topic: &'t str, limits: &Limits) -> Result<Self, Misdirected> {
        Self::split(Cow::Borrowed(topic), limits)?.checked(Author::Process, limits)
    }

    /// Returns where a Will Message goes that was accepted with its CONNECT.
    pub(crate) fn of_will(topic: &'t str) -> Self {
        let limits = Limits { delay_seconds_max: u32::MAX, ..Limits::default() };
        let text = Cow::Borrowed(topic);
        Self::split(text.clone(), &limits).unwrap_or_else(|_| Self::plain(text))
    }

    /// Returns where a message goes that a store claims to have kept.
    pub(crate) fn of_stored(topic: &'t str, author: Author<'_>) -> Result<Self, Misdirected> {
        let limits =
            Limits { delay_seconds_max: u32::MAX, topic_levels_max: u16::MAX, ..Limits::default() };
        Self::split(Cow::Borrowed(topic), &limits)?.checked(author, &limits)
    }

    #[inline]
    pub(crate) fn topic(&self) -> &str {
        &self.text[self.start..]
    }

    /// Returns the destination as one topic, from which [`Destination::of_will`] makes it again.
    pub(crate) fn to_text(&self) -> String {
        match self.delay_seconds {
            None => self.topic().to_string(),
            Some(seconds) => format!("{DELAYED}/{seconds}/{}", self.topic()),
        }
    }

    /// Makes the destination for a topic without a meaning of its own.
    fn plain(text: Cow<'t, str>) -> Self {
        Self { text, start: 0, delay_seconds: None }
    }

    /// Takes `$delayed/SECONDS/` off.
    fn split(text: Cow<'t, str>, limits: &Limits) -> Result<Self, Misdirected> {
        let Some(rest) = text.strip_prefix(DELAYED) else {
            return Ok(Self::plain(text));
        };
        let Some(rest) = rest.strip_prefix('/') else {
            let is_another_name = !rest.is_empty();
            return if is_another_name { Ok(Self::plain(text)) } else { Err(Misdirected::Delay) };
        };
        let (seconds, topic) = rest.split_once('/').ok_or(Misdirected::Delay)?;
        let seconds: u32 = seconds.parse().map_err(|_| Misdirected::Delay)?;
        if seconds > limits.delay_seconds_max || topic.is_empty() {
            return Err(Misdirected::Delay);
        }
        let start = text.len() - topic.len();
        Ok(Self { text, start, delay_seconds: Some(seconds) })
    }

    fn checked(self, author: Author<'_>, limits: &Limits) -> Result<Self, Misdirected> {
        let topic = self.topic();
        check_levels(topic, limits)?;
        if topic.starts_with('$') {
            check_special(topic, author)?;
        }
        Ok(self)
    }
}

/// Checks how many levels a topic has. A topic with fewer bytes than the limit need not be
/// searched.
#[inline]
fn check_levels(topic: &str, limits: &Limits) -> Result<(), Misdirected> {
    let levels_max = usize::from(limits.topic_levels_max);
    if topic.len() >= levels_max && count_slashes(topic) >= levels_max {
        return Err(Misdirected::TooManyLevels);
    }
    Ok(())
}

fn count_slashes(topic: &str) -> usize {
    topic.bytes().fold(0, |count, byte| count + usize::from(byte == b'/'))
}

fn check_special(topic: &str, author: Author<'_>) -> Result<(), Misdirected> {
    let first = topic.split('/').next().unwrap_or_default();
    if first == DELAYED {
        return Err(Misdirected::Delay); // a delay behind a delay
    }
    if FILTER_PREFIXES.iter().any(|prefix| prefix.strip_suffix('/') == Some(first)) {
        return Err(Misdirected::FilterForm);
    }
    let is_reserved = first == "$SYS" || first == "$events";
    match author {
        Author::Client { client_id, is_bridge }
            if is_reserved && !is_own_state(topic, client_id, is_bridge) =>
        {
            Err(Misdirected::Reserved)
        }
        _ => Ok(()),
    }
}

/// Whether this is the topic where a bridge tells whether it is connected:
/// `$SYS/broker/connection/NAME/state`. Bridges of MQTT 5.0 cannot mark themselves: for them, NAME
/// has to be the Client Identifier.
fn is_own_state(topic: &str, client_id: &str, is_bridge: bool) -> bool {
    let name = topic.strip_prefix("$SYS/broker/connection/");
    match name.and_then(|rest| rest.strip_suffix("/state")) {
        Some(name) if is_bridge => !name.is_empty() && !name.contains('/'),
        Some(name) => !name.is_empty() && name == client_id,
        None => false,
    }
}

impl Misdirected {
    pub(crate) fn reason_code(self) -> ReasonCode {
        match self {
            Self::Reserved => ReasonCode::NotAuthorized,
            _ => ReasonCode::TopicNameInvalid,
        }
    }

    pub(crate) fn drop_reason(self) -> DropReason {
        match self {
            Self::Reserved => DropReason::PublishNotAuthorized,
            _ => DropReason::TopicNameInvalid,
        }
    }

    /// Explains the error to the publisher.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::TooManyLevels => "the Topic Name has too many levels",
            Self::Delay => "a delayed message goes to $delayed/SECONDS/TOPIC",
            Self::FilterForm => {
                "$share, $queue and $exclusive begin Topic Filters: nobody publishes to them"
            }
            Self::Reserved => "the topic is the broker's own",
        }
    }

    /// Explains the error to a Client whose CONNECT is refused.
    pub(crate) fn explanation_for_will(self) -> &'static str {
        match self {
            Self::TooManyLevels => "the Will Topic has too many levels",
            Self::Delay => "the Will Topic is not of the form $delayed/SECONDS/TOPIC",
            Self::FilterForm => "the Will Topic has the form of a shared or exclusive subscription",
            Self::Reserved => "the Will Topic is the broker's own",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{Author, Destination, Misdirected};
    use crate::base::limits::Limits;
    use crate::topics::rewrite::{Rewrite, TopicRules};

    fn rules() -> TopicRules {
        let rewrite = |from: &str, to: &str| Rewrite {
            from: from.to_string(),
            to: to.to_string(),
            publish: true,
            subscribe: true,
        };
        let rewrites = vec![
            rewrite("old/#", "new/$1"),
            rewrite("slow/#", "$delayed/7/$1"),
            rewrite("mine/#", "$SYS/$1"),
        ];
        TopicRules { rewrites, ..TopicRules::default() }
    }

    fn find(topic: &str, author: Author<'_>) -> Result<(String, Option<u32>), Misdirected> {
        find_by(&rules(), topic, author)
    }

    fn find_by(
        rules: &TopicRules,
        topic: &str,
        author: Author<'_>,
    ) -> Result<(String, Option<u32>), Misdirected> {
        let limits = Limits { topic_levels_max: 5, delay_seconds_max: 100, ..Limits::default() };
        let found = Destination::of_client(Cow::Borrowed(topic), author, rules, &limits)?;
        let again = found.to_text();
        assert_eq!(Destination::of_will(&again).topic(), found.topic(), "a Will comes back");
        Ok((found.topic().to_string(), found.delay_seconds))
    }

    #[test]
    fn topics_with_a_meaning_are_found_before_and_behind_rules_and_delays() {
        use Misdirected::{Delay, FilterForm, Reserved, TooManyLevels};
        let goes = |topic: &str, delay| Ok((topic.to_string(), delay));
        let author = Author::Client { client_id: "me", is_bridge: false };
        for (topic, expected) in [
            ("a/b", goes("a/b", None)),
            ("old/a", goes("new/a", None)),
            ("$delayed/5/a/b", goes("a/b", Some(5))),
            ("$delayed/5/old/a", goes("new/a", Some(5))),
            ("slow/a", goes("a", Some(7))),
            ("$delayed/5/slow/a", Err(Delay)),
            ("$delayed/5/$delayed/5/a", Err(Delay)),
            ("$delayed", Err(Delay)),
            ("$delayed/", Err(Delay)),
            ("$delayed/5", Err(Delay)),
            ("$delayed/5/", Err(Delay)),
            ("$delayed/x/a", Err(Delay)),
            ("$delayed/101/a", Err(Delay)),
            ("$delayedness/a", goes("$delayedness/a", None)),
            ("1/2/3/4/5", goes("1/2/3/4/5", None)),
            ("1/2/3/4/5/6", Err(TooManyLevels)),
            ("$delayed/5/1/2/3/4/5", goes("1/2/3/4/5", Some(5))),
            ("$share/g/a", Err(FilterForm)),
            ("$queue/a", Err(FilterForm)),
            ("$exclusive/a", Err(FilterForm)),
            ("$delayed/5/$share/g/a", Err(FilterForm)),
            ("$SYS", Err(Reserved)),
            ("$SYS/a", Err(Reserved)),
            ("mine/a", Err(Reserved)),
            ("$events", Err(Reserved)),
            ("$events/a", Err(Reserved)),
            ("$delayed/5/$SYS/a", Err(Reserved)),
            ("$other/a", goes("$other/a", None)),
        ] {
            assert_eq!(find(topic, author), expected, "{topic}");
        }
    }

    #[test]
    fn topics_that_no_rule_reaches_mean_the_same_where_there_are_no_rules() {
        let author = Author::Client { client_id: "me", is_bridge: false };
        for topic in [
            "a/b",
            "1/2/3/4/5",
            "1/2/3/4/5/6",
            "/////",
            "////",
            "a name longer than five bytes",
            "$delayed",
            "$delayed/5/a/b",
            "$delayed/5/1/2/3/4/5/6",
            "$delayed/5/$delayed/5/a",
            "$delayedness/a",
            "$share/g/a",
            "$SYS/a",
            "$other/a",
            "$other/2/3/4/5/6",
        ] {
            let without = find_by(&TopicRules::default(), topic, author);
            assert_eq!(without, find(topic, author), "{topic}");
        }
    }

    #[test]
    fn a_bridge_writes_its_state_and_nothing_else_of_the_brokers() {
        let bridge = Author::Client { client_id: "me", is_bridge: true };
        let client = Author::Client { client_id: "me", is_bridge: false };
        for (topic, by_bridge, by_client) in [
            ("$SYS/broker/connection/me/state", true, true),
            ("$SYS/broker/connection/other/state", true, false),
            ("$SYS/broker/connection//state", false, false),
            ("$SYS/broker/connection/state", false, false),
            ("$SYS/broker/connection/me/status", false, false),
            ("$SYS/broker/uptime", false, false),
        ] {
            assert_eq!(find(topic, bridge).is_ok(), by_bridge, "{topic}");
            assert_eq!(find(topic, client).is_ok(), by_client, "{topic}");
        }
        let many = "$SYS/broker/connection/a/b/state";
        let limits = Limits::default();
        let rules = rules();
        for author in [bridge, client, Author::Client { client_id: "a/b", is_bridge: true }] {
            let found = Destination::of_client(Cow::Borrowed(many), author, &rules, &limits);
            assert_eq!(found, Err(Misdirected::Reserved));
        }
    }

    #[test]
    fn the_process_publishes_what_clients_may_not_but_not_what_nobody_could_get() {
        let limits = Limits::default();
        let found = Destination::of_process("$SYS/broker/version", &limits).unwrap();
        assert_eq!(found.topic(), "$SYS/broker/version");
        let found = Destination::of_process("$delayed/3/a", &limits).unwrap();
        assert_eq!((found.topic(), found.delay_seconds), ("a", Some(3)));
        let refused = Destination::of_process("$share/g/a", &limits);
        assert_eq!(refused, Err(Misdirected::FilterForm));
    }
}
