//! Every section and key of the configuration in one table.
//!
//! The reader of files, the environment variables, `midge config show` and the reference are all
//! made from this table; a key that is not in it does not exist. The keys of `[limits]` come from
//! the core's own table.
//!
//! A key whose name has a dot, such as `tls.certificate`, stands in a table inside of the section.
//! TOML has three ways to write it: `tls.certificate = "..."`, `tls = { certificate = "..." }` and
//! a table `[listener.tls]`.

mod access;
mod capabilities;
mod listener;

use std::borrow::Cow;

use midge_core::{LimitRow, Limits};

use super::condition::Condition;
use super::value::{Kind, Value};

/// A section: `[name]`, or `[[name]]` if it can stand more than once.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) repeated: bool,
    /// What it is for.
    pub(crate) doc: &'static str,
    pub(crate) keys: Vec<Key>,
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
    /// What it does; the lines of a limit begin with a blank, which the reader of it takes away.
    pub(crate) doc: &'static str,
    /// Whether SIGHUP puts a new value into effect; other keys need a restart.
    pub(crate) live: bool,
    /// What the section has to be for the key to mean something.
    pub(crate) only: Option<Condition>,
}

/// What holds where a key is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    Value(Value),
    /// The key must be given; this value is an example.
    Required(&'static str),
    /// What the broker does without it, and an example of a value.
    Absent {
        meaning: &'static str,
        example: Value,
    },
}

/// The whole table.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) sections: Vec<Section>,
}

/// Words of `[log] level`.
pub(crate) const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Words of `[log] format`.
const LOG_FORMATS: &[&str] = &["text", "json"];

/// Words of `durability`.
const DURABILITIES: &[&str] = &["fsync", "interval", "memory"];

/// Words of `[broker] placement`.
const PLACEMENTS: &[&str] = &["auto", "even"];

/// Words of `[shared_subscriptions] strategy`.
const STRATEGIES: &[&str] =
    &["round-robin", "random", "sticky", "least-in-flight", "hash-by-client", "hash-by-topic"];

const fn text(text: &'static str) -> Value {
    Value::Text(Cow::Borrowed(text))
}

impl Key {
    fn new(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Self {
        Self { name, kind, default, doc, live: false, only: None }
    }

    fn live(mut self) -> Self {
        self.live = true;
        self
    }

    fn only(mut self, condition: Condition) -> Self {
        self.only = Some(condition);
        self
    }

    /// The default, if the key has one.
    pub(crate) fn default_value(&self) -> Option<&Value> {
        match &self.default {
            Default::Value(value) => Some(value),
            Default::Required(_) | Default::Absent { .. } => None,
        }
    }
}

impl Section {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys inside of the table `group`, with their whole names.
    pub(crate) fn group<'s>(&'s self, group: &str) -> impl Iterator<Item = &'s Key> + Clone {
        let is_inside = move |key: &&Key| {
            let rest = key.name.strip_prefix(group).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some()
        };
        self.keys.iter().filter(is_inside)
    }

    /// Whether it has a key or a table of keys of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.key(name).is_some() || self.group(name).next().is_some()
    }

    /// The section as it stands in a file.
    pub(crate) fn header(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

impl Schema {
    /// The table of this build.
    pub(crate) fn new() -> Self {
        let sections = vec![
            listener::section(),
            access::authentication(),
            access::authorization(),
            broker(),
            storage(),
            durability(),
            capabilities::section(),
            limits(),
            shared_subscriptions(),
            rewrite(),
            auto_subscribe(),
            requests(),
            own_topics(),
            log(),
            shutdown(),
        ];
        Self { sections }
    }

    /// The section of this name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

fn broker() -> Section {
    let max = midge_core::WorkerId::MAX_WORKERS as u64;
    let default = Default::Absent { meaning: "one for each processor", example: Value::Integer(2) };
    let doc = "Threads that serve connections. A Client belongs to one of them.";
    let placement = "Which of these threads a Client belongs to. \"auto\": while the load is low, \
                     all Clients are on one\nthread; a busy thread gives Clients to one that is \
                     not, and they do not notice. \"even\": a new\nClient goes to the thread with \
                     the fewest, and stays there.";
    let keys = vec![
        Key::new("workers", Kind::Integer { min: 1, max }, default, doc),
        Key::new("placement", Kind::Choice(PLACEMENTS), Default::Value(text("auto")), placement),
    ];
    Section { name: "broker", repeated: false, doc: "The broker as a whole.", keys }
}

fn storage() -> Section {
    let path = "The data directory: Sessions, queued and retained messages are kept there. Only \
                one broker\ncan use it at a time.";
    let absent = "$STATE_DIRECTORY, else midge in $XDG_DATA_HOME, else ~/.local/share/midge \
                  (macOS: ~/Library/Application Support/midge), else /var/lib/midge";
    let in_memory = "true: nothing is kept on disk, and everything that the broker has \
                     acknowledged ends with it.";
    let durability = "What an acknowledgement promises. \"fsync\": what it acknowledges is on the \
                      device and\nsurvives a power cut. \"interval\": it is in the file and \
                      survives the end of the process;\na power cut can take what came within \
                      interval_ms. \"memory\": nothing.";
    let interval = "How long what is promised as \"interval\" may take to reach the device.";
    let keys = vec![
        Key::new(
            "path",
            Kind::Directory,
            Default::Absent { meaning: absent, example: text("/var/lib/midge") },
            path,
        ),
        Key::new("in_memory", Kind::Boolean, Default::Value(Value::Boolean(false)), in_memory),
        Key::new(
            "durability",
            Kind::Choice(DURABILITIES),
            Default::Value(text("fsync")),
            durability,
        )
        .live(),
        Key::new(
            "interval_ms",
            Kind::Integer { min: 1, max: 3_600_000 },
            Default::Value(Value::Integer(1_000)),
            interval,
        ),
        Key::new(
            "segment_bytes",
            Kind::Integer { min: 16_384, max: 1_073_741_824 },
            Default::Value(Value::Integer(8_388_608)),
            "Bytes of one file of the journal. At least two of them are on the disk at any time, \
             and as much as\nfour more is kept free for acknowledgements, but at most a quarter of \
             store_bytes_max.",
        ),
    ];
    let doc = "What outlives the broker, and where; see durability.md.";
    Section { name: "storage", repeated: false, doc, keys }
}

/// All of them take effect without a restart.
fn live(keys: Vec<Key>) -> Vec<Key> {
    keys.into_iter().map(Key::live).collect()
}

fn durability() -> Section {
    let keys = vec![
        Key::new(
            "filter",
            Kind::Filter,
            Default::Required("\"telemetry/#\""),
            "Which messages: a Topic Filter.",
        ),
        Key::new(
            "level",
            Kind::Choice(DURABILITIES),
            Default::Required("\"memory\""),
            "What their acknowledgement promises, as the durability of [storage].",
        ),
    ];
    let doc = "Another durability for messages to some topics, whatever listener they come by.\nOf \
               several, the first one that matches counts.";
    Section { name: "durability", repeated: true, doc, keys: live(keys) }
}

fn limits() -> Section {
    let key = |row: &'static LimitRow| {
        let kind = Kind::Integer { min: limit_min(row.key), max: row.max };
        let default = Default::Value(Value::Integer(row.default));
        let key = Key::new(row.key, kind, default, row.meaning);
        if Limits::FIXED.contains(&row.key) { key } else { key.live() }
    };
    let keys = Limits::TABLE.iter().map(key).collect();
    let doc = "How much one Client, one Session and the whole broker may take.";
    Section { name: "limits", repeated: false, doc, keys }
}

/// The smallest value of a limit with which the broker is still one.
fn limit_min(key: &str) -> u64 {
    match key {
        // Identifiers of up to 23 bytes have to be accepted [MQTT-3.1.3-5].
        "client_identifier_bytes_max" => 23,
        // Room for the CONNECT of such a Client.
        "packet_before_connect_bytes_max" => 128,
        // Room for a short topic.
        "packet_bytes_max" => 16,
        // Here 0 has a meaning: nothing of the kind, or no bound.
        "keep_alive_seconds_max"
        | "packet_bytes_per_second_min"
        | "session_expiry_seconds_max"
        | "topic_alias_maximum"
        | "outgoing_topic_alias_maximum"
        | "user_properties_max"
        | "retained_messages_max"
        | "retained_bytes_max"
        | "delayed_messages_max"
        | "delayed_bytes_max"
        | "delay_seconds_max"
        | "shared_backlog_messages_max"
        | "shared_backlog_bytes_max"
        | "memory_bytes_max" => 0,
        _ => 1,
    }
}

fn shared_subscriptions() -> Section {
    let strategy = "Which member of a shared subscription gets a message: one after the other; \
                    any; the same\none as long as it is connected; the one with the fewest \
                    unacknowledged messages; by the\npublishing Client; by the Topic Name.";
    let backlog = "true: a shared subscription keeps messages while none of its members is \
                   connected,\nup to shared_backlog_messages_max and shared_backlog_bytes_max of \
                   [limits].\nfalse: they go to the queue of one member.";
    let keys = vec![
        Key::new(
            "strategy",
            Kind::Choice(STRATEGIES),
            Default::Value(text("round-robin")),
            strategy,
        ),
        Key::new("backlog", Kind::Boolean, Default::Value(Value::Boolean(true)), backlog),
    ];
    let doc = "Subscriptions to $share/GROUP/FILTER and $queue/FILTER.";
    Section { name: "shared_subscriptions", repeated: false, doc, keys }
}

fn rewrite() -> Section {
    let yes = Default::Value(Value::Boolean(true));
    let keys = vec![
        Key::new(
            "from",
            Kind::Filter,
            Default::Required("\"old/+/data\""),
            "Which topics are rewritten: a Topic Filter.",
        ),
        Key::new(
            "to",
            Kind::Target,
            Default::Required("\"new/$1/data\""),
            "The new topic. $1, $2... stand for what the wildcards of `from` match, in their \
             order.",
        ),
        Key::new(
            "publish",
            Kind::Boolean,
            yes.clone(),
            "true: the Topic Names of messages are rewritten.",
        ),
        Key::new(
            "subscribe",
            Kind::Boolean,
            yes,
            "true: the Topic Filters of subscriptions are rewritten.",
        ),
    ];
    let doc = "Gives topics another name before anything else is done with them.\nOf several \
               rules, the first one that matches is applied.";
    Section { name: "rewrite", repeated: true, doc, keys: live(keys) }
}

fn auto_subscribe() -> Section {
    let no = Default::Value(Value::Boolean(false));
    let small = Kind::Integer { min: 0, max: 2 };
    let zero = Default::Value(Value::Integer(0));
    let keys = vec![
        Key::new(
            "filter",
            Kind::SubscriptionFilter,
            Default::Required("\"clients/${client_id}/commands\""),
            "The Topic Filter. ${client_id} and ${user_name} stand for those of the Client; a \
             user\nname counts once it is authenticated. A Client that has none, or one with \
             '+', '#' or\n'/', gets no such subscription; the log says so.",
        ),
        Key::new("qos", small, zero.clone(), "The maximum QoS of the subscription."),
        Key::new(
            "no_local",
            Kind::Boolean,
            no.clone(),
            "true: a Client does not receive its own messages.",
        ),
        Key::new(
            "retain_as_published",
            Kind::Boolean,
            no,
            "true: the RETAIN flag stays as the publisher set it. false: it is set only on \
             messages\nthat were retained before the subscription was made.",
        ),
        Key::new(
            "retain_handling",
            small,
            zero,
            "Retained messages are sent: 0 at each connect, 1 only if the subscription is new, 2 \
             never.",
        ),
    ];
    let doc = "A subscription that is made for every Client when it connects.";
    Section { name: "auto_subscribe", repeated: true, doc, keys: live(keys) }
}

fn requests() -> Section {
    let default = Default::Value(text("response"));
    let doc = "The broker tells an MQTT 5 Client that asks for Response Information to take \
               answers at\nPREFIX/CLIENT-IDENTIFIER. Empty: it gives no such information.";
    let keys = vec![Key::new("response_prefix", Kind::TopicPrefix, default, doc).live()];
    let doc = "Request and response between MQTT 5 Clients.";
    Section { name: "requests", repeated: false, doc, keys }
}

fn own_topics() -> Section {
    let keys = vec![Key::new(
        "interval_seconds",
        Kind::Integer { min: 0, max: 86_400 },
        Default::Value(Value::Integer(10)),
        "How often the broker publishes the figures that have changed; a new subscription makes it \
         publish\nthem at once. 0: it publishes none.",
    )];
    let doc = "Figures that the broker publishes about itself below $SYS; see statistics.md.";
    Section { name: "sys_topics", repeated: false, doc, keys }
}

fn log() -> Section {
    let keys = vec![
        Key::new(
            "level",
            Kind::Choice(LOG_LEVELS),
            Default::Value(text("info")),
            "The least important lines that are written.",
        )
        .live(),
        Key::new(
            "format",
            Kind::Choice(LOG_FORMATS),
            Default::Value(text("text")),
            "Lines for people, or one JSON object on each line.",
        ),
        Key::new(
            "trace_client",
            Kind::ClientIdentifier,
            Default::Absent { meaning: "all Clients", example: text("pump-7") },
            "The Client whose packets level trace shows: a Client Identifier.",
        )
        .live(),
    ];
    let doc = "What the broker writes to standard error.";
    Section { name: "log", repeated: false, doc, keys }
}

fn shutdown() -> Section {
    let keys = vec![Key::new(
        "deadline_seconds",
        Kind::Integer { min: 0, max: 3_600 },
        Default::Value(Value::Integer(10)),
        "How long the broker may take to say goodbye to its Clients after SIGTERM or SIGINT.",
    )];
    Section { name: "shutdown", repeated: false, doc: "How the broker ends.", keys }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Default, Schema};
    use crate::config::environment::variable;
    use crate::config::value::Given;

    #[test]
    fn no_two_keys_have_the_same_variable() {
        let mut names = BTreeSet::new();
        for section in Schema::new().sections {
            for key in &section.keys {
                assert!(names.insert(variable(&section, key)), "{} {}", section.name, key.name);
                // A key is not a table of keys too.
                assert!(section.group(key.name).next().is_none(), "{}", key.name);
            }
        }
    }

    #[test]
    fn every_default_and_example_is_allowed() {
        for section in Schema::new().sections {
            for key in &section.keys {
                let name = format!("{} {}", section.header(), key.name);
                let text = match &key.default {
                    Default::Value(value) | Default::Absent { example: value, .. } => {
                        value.to_string()
                    }
                    Default::Required(example) => (*example).to_string(),
                };
                let value = text.parse::<toml::Value>().unwrap();
                let given = match &value {
                    toml::Value::Integer(number) => Given::Integer(Some((*number).into())),
                    toml::Value::Boolean(value) => Given::Boolean(*value),
                    toml::Value::String(_) => Given::Text(text.trim_matches('"')),
                    toml::Value::Array(items) => {
                        let texts = items.iter().filter_map(toml::Value::as_str);
                        Given::List(texts.map(Given::Text).collect())
                    }
                    other => panic!("{name}: {other}"),
                };
                assert!(key.kind.check(&given).is_ok(), "{name} = {text}");
                assert!(!key.doc.trim().is_empty(), "{name}");
            }
        }
    }
}
