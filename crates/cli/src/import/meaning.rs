//! What each key of mosquitto.conf means to Midge.
//!
//! The table must hold every key of mosquitto 2.0 and 2.1.

/// What a key means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// A key of a section.
    Broker(&'static str, &'static str, Form),
    /// A key of `[[listener]]`.
    Listener(&'static str, Form),
    /// It belongs to a bridge.
    Bridge,
    /// It says who may do what.
    Access,
    /// It is worked out together with other lines.
    Together,
    /// Midge does without; why.
    Unneeded(&'static str),
    /// Midge has nothing like it; what to do instead.
    Missing(&'static str),
    /// The same, and without it the listener would let in more than it should.
    Closes(&'static str),
}

/// What a value looks like, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Boolean,
    Text,
    /// A text that becomes a list of one.
    List,
    /// A number up to `max`. If it is 0 (or below), it becomes `zero`, or nothing.
    Number {
        max: u64,
        zero: Option<u64>,
    },
}

const U32: u64 = u32::MAX as u64;

const fn number(max: u64, zero: Option<u64>) -> Form {
    Form::Number { max, zero }
}

/// A number of which 0 means: no bound.
const BOUND: Form = number(U32, Some(U32));

const LIMITS: &str = "limits";
const CIPHERS: &str = "rustls offers only ciphers that are safe";
const IN_ENGINE: &str = "Midge reads keys from PEM files; export the key into one";
const NO_PSK: &str = "Midge has no TLS-PSK; give the devices certificates, or user names";
const BY_SYSTEM: &str = "the service manager does it; with systemd: User=, PIDFile= is not needed";
const TO_STDERR: &str = "Midge writes its log to standard error; let systemd or a pipe store it";
const IDENTITY: &str = "not yet; let the clients send the same user name, or wait for a version \
                        that takes it from the certificate";
const PLUGIN: &str = "Midge has no plugins of mosquitto; see migrating-from-mosquitto.md";
const LOG_FORM: &str = "each line of the log has its time; [log] format = \"json\" is for programs";
const DURABLE: &str = "everything acknowledged is on the disk at once; see durability.md";
const PREFIXES: &str = "Midge cannot refuse identifiers by their beginning; give users rules";
const RETAINED: &str = "Midge asks the rules when a message is published and when it is delivered";
const UPGRADE: &str = "a message keeps its QoS, or has that of the subscription if it is lower";
const ONE_NAME: &str = "Midge cannot make both names the same; write rules for user names";
const MOUNT_POINT: &str = "let the clients publish below the prefix, or run a broker for them";
const DEPRECATED: &str = "mosquitto 2 does nothing with it either";

/// Keys whose meaning is in this table alone.
const TABLE: &[(&str, Meaning)] = &[
    ("allow_duplicate_messages", Meaning::Unneeded(DEPRECATED)),
    ("allow_zero_length_clientid", Meaning::Together),
    ("auth_plugin_deny_special_chars", Meaning::Unneeded("names are never wildcards in rules")),
    ("auto_id_prefix", Meaning::Missing("Midge chooses the identifiers that it gives itself")),
    ("autosave_interval", Meaning::Unneeded(DURABLE)),
    ("autosave_on_changes", Meaning::Unneeded(DURABLE)),
    ("accept_protocol_versions", Meaning::Together),
    ("bind_interface", Meaning::Closes("bind takes the address of the interface: write that")),
    ("capath", Meaning::Missing("put the certificates into one file: tls.client_ca")),
    ("certfile", Meaning::Listener("tls.certificate", Form::Text)),
    ("check_retain_source", Meaning::Missing(RETAINED)),
    ("ciphers", Meaning::Unneeded(CIPHERS)),
    ("ciphers_tls1.3", Meaning::Unneeded(CIPHERS)),
    ("clientid_prefixes", Meaning::Closes(PREFIXES)),
    ("connection_messages", Meaning::Missing("[log] level decides for all lines")),
    ("crlfile", Meaning::Listener("tls.client_crl", Form::Text)),
    ("dhparamfile", Meaning::Unneeded(CIPHERS)),
    ("disable_client_cert_date_checks", Meaning::Missing("renew the certificates")),
    ("enable_control_api", Meaning::Missing("midge config show and midge stats tell the same")),
    ("enable_proxy_protocol", Meaning::Together),
    ("global_max_clients", Meaning::Broker(LIMITS, "sessions_max", number(U32, None))),
    ("global_max_connections", Meaning::Broker(LIMITS, "connections_max", number(U32, None))),
    ("http_dir", Meaning::Missing("let a Web server deliver the files")),
    ("include_dir", Meaning::Unneeded("the lines of its files are in this file")),
    ("keyfile", Meaning::Listener("tls.key", Form::Text)),
    ("log_facility", Meaning::Missing(TO_STDERR)),
    ("log_timestamp", Meaning::Missing(LOG_FORM)),
    ("log_timestamp_format", Meaning::Missing(LOG_FORM)),
    ("max_inflight_bytes", Meaning::Broker(LIMITS, "inflight_bytes_max", BOUND)),
    ("max_keepalive", Meaning::Broker(LIMITS, "keep_alive_seconds_max", number(65_535, Some(0)))),
    ("max_packet_size", Meaning::Broker(LIMITS, "packet_bytes_max", number(U32, None))),
    ("max_qos", Meaning::Listener("capabilities.qos_max", number(2, Some(0)))),
    ("max_queued_bytes", Meaning::Broker(LIMITS, "queue_bytes_max", BOUND)),
    ("max_queued_messages", Meaning::Broker(LIMITS, "queue_messages_max", BOUND)),
    (
        "max_topic_alias_broker",
        Meaning::Broker(LIMITS, "outgoing_topic_alias_maximum", number(65_535, Some(0))),
    ),
    ("maximum_qos", Meaning::Listener("capabilities.qos_max", number(2, Some(0)))),
    ("memory_limit", Meaning::Together),
    ("mount_point", Meaning::Closes(MOUNT_POINT)),
    ("persistence_file", Meaning::Unneeded("Midge names its own files")),
    ("pid_file", Meaning::Missing(BY_SYSTEM)),
    ("proxy_protocol_v2_require_tls", Meaning::Closes("let the proxy refuse others")),
    ("psk_file", Meaning::Closes(NO_PSK)),
    ("psk_hint", Meaning::Closes(NO_PSK)),
    ("queue_qos0_messages", Meaning::Together),
    ("retain_available", Meaning::Broker("capabilities", "retain", Form::Boolean)),
    ("retained_persistence", Meaning::Unneeded(DEPRECATED)),
    ("retry_interval", Meaning::Unneeded(DEPRECATED)),
    ("sys_interval", Meaning::Broker("sys_topics", "interval_seconds", number(86_400, Some(0)))),
    ("tls_engine", Meaning::Closes(IN_ENGINE)),
    ("tls_engine_kpass_sha1", Meaning::Closes(IN_ENGINE)),
    ("tls_keyform", Meaning::Together),
    ("upgrade_outgoing_qos", Meaning::Missing(UPGRADE)),
    ("use_identity_as_username", Meaning::Missing(IDENTITY)),
    ("use_subject_as_username", Meaning::Missing(IDENTITY)),
    ("use_username_as_clientid", Meaning::Closes(ONE_NAME)),
    ("user", Meaning::Missing(BY_SYSTEM)),
    ("websockets_headers_size", Meaning::Unneeded("Midge has a limit of its own")),
    ("websockets_log_level", Meaning::Missing("[log] level is for all listeners")),
    ("websockets_origin", Meaning::Listener("websocket.origins", Form::List)),
];

/// Keys that are worked out together with others.
const TOGETHER: &[&str] = &[
    "listener",
    "port",
    "bind_address",
    "socket_domain",
    "protocol",
    "cafile",
    "require_certificate",
    "tls_version",
    "max_connections",
    "max_topic_alias",
    "max_inflight_messages",
    "message_size_limit",
    "persistence",
    "persistence_location",
    "persistent_client_expiration",
    "log_dest",
    "log_type",
    "set_tcp_nodelay",
];

const ACCESS: &[&str] =
    &["per_listener_settings", "allow_anonymous", "password_file", "acl_file", "plugin_use"];

/// Keys of bridges that do not begin with `bridge_`, `local_` or `remote_`.
const BRIDGE: &[&str] = &[
    "connection",
    "address",
    "addresses",
    "cleansession",
    "clientid",
    "idle_timeout",
    "keepalive_interval",
    "notification_topic",
    "notifications",
    "notifications_local_only",
    "password",
    "restart_timeout",
    "round_robin",
    "start_type",
    "threshold",
    "topic",
    "try_private",
    "username",
];

impl Meaning {
    /// Returns what a key means; `None` if mosquitto has no such key.
    pub(super) fn of(key: &str) -> Option<Self> {
        if let Some((_, meaning)) = TABLE.iter().find(|(name, _)| *name == key) {
            return Some(*meaning);
        }
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        if TOGETHER.contains(&key) {
            Some(Self::Together)
        } else if ACCESS.contains(&key) || is_plugin(key) || begins(&["plugin_opt_", "auth_opt_"]) {
            Some(Self::Access)
        } else if BRIDGE.contains(&key) || begins(&["bridge_", "local_", "remote_"]) {
            Some(Self::Bridge)
        } else {
            None
        }
    }

    /// Whether the line belongs to the listener that it stands under.
    pub(super) fn is_of_listener(self, key: &str) -> bool {
        const OTHERS: [&str; 9] = [
            "socket_domain",
            "protocol",
            "cafile",
            "require_certificate",
            "tls_version",
            "max_connections",
            "accept_protocol_versions",
            "enable_proxy_protocol",
            "tls_keyform",
        ];
        matches!(self, Self::Listener(..) | Self::Closes(_)) || OTHERS.contains(&key)
    }
}

/// Whether a key names a plugin.
pub(super) fn is_plugin(key: &str) -> bool {
    ["plugin", "global_plugin", "auth_plugin", "plugin_load"].contains(&key)
}

/// What to do about a plugin that Midge does not know.
pub(super) const PLUGIN_REMEDY: &str = PLUGIN;

/// What to do about destinations of the log.
pub(super) const LOG_REMEDY: &str = TO_STDERR;
