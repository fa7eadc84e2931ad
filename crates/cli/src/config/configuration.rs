//! The configuration in the form that the broker takes, made from checked settings.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use midge_broker::{Capabilities, Durability, ListenerSettings, Placement, Storage};
use midge_codec::{RetainHandling, SubscriptionOptions};
use midge_core::{AutoSubscription, Limits, Rewrite, SharedStrategy, TopicRules};
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::data_directory;
use super::listener;
use super::schema::Schema;
use super::settings::Settings;
use super::values::{Values, capabilities, durability, qos};

/// What a broker is started with.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// Where to listen; empty if no listener was named.
    pub(crate) listeners: Vec<ListenerSettings>,
    pub(crate) access: AccessSettings,
    /// `None`: everything is kept in memory only.
    pub(crate) storage: Option<Storage>,
    pub(crate) durability: Durability,
    /// Durabilities by Topic Filter.
    pub(crate) topic_durabilities: Vec<(String, Durability)>,
    /// `None`: one for each processor.
    pub(crate) workers: Option<usize>,
    pub(crate) placement: Placement,
    pub(crate) capabilities: Capabilities,
    pub(crate) limits: Limits,
    pub(crate) topics: TopicRules,
    pub(crate) shared_strategy: SharedStrategy,
    pub(crate) shared_backlog: bool,
    pub(crate) response_prefix: Option<String>,
    /// `None`: nothing is published below `$SYS`.
    pub(crate) own_topics_interval: Option<Duration>,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: LogFormat,
    /// The Client whose packets are traced; `None`: all Clients.
    pub(crate) trace_client: Option<String>,
    pub(crate) shutdown_deadline: Duration,
}

/// Who comes in and what Clients may do, as far as it does not stand in other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessSettings {
    /// `None`: not said.
    pub(crate) anonymous: Option<bool>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) allows_by_default: bool,
    pub(crate) acl_file: Option<PathBuf>,
}

/// Who can connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// Users that authentication knows.
    Known,
    /// Anybody.
    Anybody,
}

impl AccessSettings {
    /// Says who can connect.
    pub(crate) fn users(&self) -> Users {
        match self.anonymous.unwrap_or(self.password_file.is_none()) {
            true => Users::Anybody,
            false => Users::Known,
        }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Configuration {
    /// Makes a configuration from settings in which no problem was found.
    pub(crate) fn new(schema: &Schema, settings: &Settings) -> Self {
        let one = |section: &'static str| Values {
            schema,
            section,
            table: settings.tables(section).first(),
        };
        let all = |section: &'static str| {
            let tables = settings.tables(section).iter();
            tables.map(move |table| Values { schema, section, table: Some(table) })
        };
        let workers = one("broker").integer("workers");
        let level = one("log").text("level").and_then(|level| level.parse().ok());
        let is_json = one("log").text("format").as_deref() == Some("json");
        let deadline = one("shutdown").integer("deadline_seconds").unwrap_or_default();
        let shared = one("shared_subscriptions");
        let capabilities = capabilities(&one("capabilities"), "", Capabilities::default());
        Self {
            listeners: all("listener")
                .filter_map(|values| listener::settings(&values, capabilities))
                .collect(),
            access: access(&one("authentication"), &one("authorization")),
            storage: storage(&one("storage")),
            durability: durability(&one("storage"), "durability").unwrap_or_default(),
            topic_durabilities: all("durability")
                .filter_map(|rule| Some((rule.text("filter")?, durability(&rule, "level")?)))
                .collect(),
            workers: workers.and_then(|workers| usize::try_from(workers).ok()),
            placement: placement(one("broker").text("placement").as_deref()),
            capabilities,
            limits: limits(&one("limits")),
            topics: TopicRules {
                rewrites: all("rewrite").map(|values| rewrite(&values)).collect(),
                subscriptions: all("auto_subscribe").map(|values| subscription(&values)).collect(),
            },
            shared_strategy: strategy(&shared.text("strategy").unwrap_or_default()),
            shared_backlog: shared.boolean("backlog"),
            response_prefix: one("requests")
                .text("response_prefix")
                .filter(|prefix| !prefix.is_empty()),
            own_topics_interval: one("sys_topics")
                .integer("interval_seconds")
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            log_level: level.unwrap_or(LevelFilter::Info),
            trace_client: one("log").text("trace_client"),
            log_format: if is_json { LogFormat::Json } else { LogFormat::Text },
            shutdown_deadline: Duration::from_secs(deadline),
        }
    }
}

fn access(authentication: &Values<'_>, authorization: &Values<'_>) -> AccessSettings {
    AccessSettings {
        anonymous: authentication.given_boolean("anonymous"),
        password_file: authentication.text("password_file").map(PathBuf::from),
        allows_by_default: authorization.text("default").as_deref() != Some("deny"),
        acl_file: authorization.text("acl_file").map(PathBuf::from),
    }
}

fn storage(values: &Values<'_>) -> Option<Storage> {
    if values.boolean("in_memory") {
        return None;
    }
    let directory = values.text("path").map_or_else(data_directory::default, PathBuf::from);
    let interval = values.integer("interval_ms").map(Duration::from_millis);
    let defaults = Storage::new(directory);
    Some(Storage {
        interval: interval.unwrap_or(defaults.interval),
        segment_bytes: values.integer("segment_bytes").unwrap_or(defaults.segment_bytes),
        ..defaults
    })
}

fn limits(values: &Values<'_>) -> Limits {
    let mut limits = Limits::default();
    for row in Limits::TABLE {
        if let Some(value) = values.integer(row.key) {
            let is_set = limits.set(row.key, value);
            debug_assert!(is_set, "{} was checked against its maximum", row.key);
        }
    }
    limits
}

fn rewrite(values: &Values<'_>) -> Rewrite {
    Rewrite {
        from: values.text("from").unwrap_or_default(),
        to: values.text("to").unwrap_or_default(),
        publish: values.boolean("publish"),
        subscribe: values.boolean("subscribe"),
    }
}

fn subscription(values: &Values<'_>) -> AutoSubscription {
    let qos = qos(values.integer("qos").unwrap_or_default());
    let retain_handling = match values.integer("retain_handling") {
        Some(2) => RetainHandling::DoNotSend,
        Some(1) => RetainHandling::SendIfNew,
        _ => RetainHandling::SendAtSubscribe,
    };
    let options = SubscriptionOptions {
        qos,
        no_local: values.boolean("no_local"),
        retain_as_published: values.boolean("retain_as_published"),
        retain_handling,
    };
    AutoSubscription { filter: values.text("filter").unwrap_or_default(), options }
}

fn placement(word: Option<&str>) -> Placement {
    match word {
        Some("even") => Placement::Even,
        _ => Placement::Auto,
    }
}

fn strategy(word: &str) -> SharedStrategy {
    let word = StrDeserializer::<ValueError>::new(word);
    SharedStrategy::deserialize(word).unwrap_or_default()
}
