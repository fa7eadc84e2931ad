//! Where values come from, and which source wins.

use log::LevelFilter;
use midge_core::{Limits, SharedStrategy};
use midge_net::ListenAddress;

use super::{error, file, load_text, variables};
use crate::config::environment::Variables;
use crate::config::flags::Flags;
use crate::config::problem::Origin;
use crate::config::{Configuration, Loaded, Report, load};

fn load_variables(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, Report> {
    load(file(text), &variables(pairs), &Flags::default())
}

fn origin(loaded: &Loaded, name: &str) -> Origin {
    let line = loaded.effective.iter().find(|line| line.name() == name).expect(name);
    line.origin.clone()
}

fn addresses(configuration: &Configuration) -> Vec<&str> {
    let addresses = configuration.listeners.iter().map(|listener| match &listener.listen.address {
        ListenAddress::Network(address) => address.as_str(),
        ListenAddress::Unix(path) => path.to_str().unwrap(),
    });
    addresses.collect()
}

#[test]
fn nothing_gives_the_defaults() {
    let loaded = load(None, &Variables::new(), &Flags::default()).unwrap();
    let configuration = loaded.configuration;
    assert_eq!(configuration.limits, Limits::default());
    assert!(configuration.listeners.is_empty());
    assert_eq!(configuration.workers, None);
    assert_eq!(configuration.shared_strategy, SharedStrategy::RoundRobin);
    assert_eq!(configuration.log_level, LevelFilter::Info);
    assert_eq!(configuration.shutdown_deadline.as_secs(), 10);
    assert!(loaded.effective.iter().all(|line| line.origin == Origin::Default));
}

#[test]
fn a_file_sets_everything() {
    let loaded = load_text(
        r#"
        listener = [{ bind = "0.0.0.0:1883" }, { bind = "[::1]:1883", protocol = "mqtt" }]
        auto_subscribe = [{ filter = "$exclusive/c/${client_id}", qos = 2, retain_handling = 1 }]
        rewrite = [{ from = "a/+", to = "b/$1", subscribe = false }]
        broker.workers = 3
        limits = { queue_messages_max = 0x10, retained_bytes_max = 9_000_000_000 }
        shared_subscriptions = { strategy = "least-in-flight", backlog = false }
        requests.response_prefix = "answers"
        log = { level = "debug", format = "json" }
        shutdown.deadline_seconds = 0
        "#,
    );
    let configuration = loaded.unwrap().configuration;
    assert_eq!(addresses(&configuration), ["0.0.0.0:1883", "[::1]:1883"]);
    assert_eq!(configuration.workers, Some(3));
    assert_eq!(configuration.limits.queue_messages_max, 16);
    assert_eq!(configuration.limits.retained_bytes_max, 9_000_000_000);
    assert_eq!(configuration.shared_strategy, SharedStrategy::LeastInFlight);
    assert!(!configuration.shared_backlog);
    assert_eq!(configuration.response_prefix.as_deref(), Some("answers"));
    assert_eq!(configuration.log_level, LevelFilter::Debug);
    let rewrite = &configuration.topics.rewrites[0];
    assert!(rewrite.publish && !rewrite.subscribe);
    let subscription = &configuration.topics.subscriptions[0];
    assert_eq!(subscription.options.qos, midge_codec::QoS::ExactlyOnce);
    assert_eq!(subscription.options.retain_handling, midge_codec::RetainHandling::SendIfNew);
}

#[test]
fn each_source_is_above_the_one_before() {
    let text = "[broker]\nworkers = 2\n[log]\nlevel = 'warn'\n[limits]\nreceive_maximum = 7\n";
    let pairs = [("MIDGE_BROKER_WORKERS", "3"), ("MIDGE_LOG_LEVEL", "error")];
    let flags = Flags { workers: Some("4".into()), ..Flags::default() };
    let loaded = load(file(text), &variables(&pairs), &flags).unwrap();
    assert_eq!(loaded.configuration.workers, Some(4));
    assert_eq!(loaded.configuration.log_level, LevelFilter::Error);
    assert_eq!(loaded.configuration.limits.receive_maximum, 7);
    assert_eq!(origin(&loaded, "broker.workers"), Origin::Flag("--workers"));
    assert_eq!(origin(&loaded, "log.level"), Origin::Environment("MIDGE_LOG_LEVEL".into()));
    assert!(matches!(origin(&loaded, "limits.receive_maximum"), Origin::File(_)));
    assert_eq!(origin(&loaded, "log.format"), Origin::Default);
}

#[test]
fn variables_change_listeners_and_add_some() {
    let text = "[[listener]]\nbind = '127.0.0.1:1883'\n";
    let pairs = [
        ("MIDGE_LISTENER_2_BIND", "127.0.0.1:3"),
        ("MIDGE_LISTENER_0_BIND", "127.0.0.1:1"),
        ("MIDGE_LISTENER_1_BIND", "127.0.0.1:2"),
    ];
    let loaded = load_variables(text, &pairs).unwrap();
    assert_eq!(addresses(&loaded.configuration), ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);

    assert_eq!(
        error(load_variables(text, &[("MIDGE_LISTENER_2_BIND", "127.0.0.1:3")])),
        "error: MIDGE_LISTENER_2_BIND is for [[listener]] number 2, but that stands only 1 time\n  \
         --> environment\n  \
         = numbers begin with 0; the next number adds one\n"
    );
}

#[test]
fn listen_replaces_all_listeners() {
    let text = "[[listener]]\nbind = '0.0.0.0:1883'\n";
    let listen = vec!["127.0.0.1:1".to_string(), "[::1]:1".to_string()];
    let flags = Flags { listen, ..Flags::default() };
    let loaded = load(file(text), &Variables::new(), &flags).unwrap();
    assert_eq!(addresses(&loaded.configuration), ["127.0.0.1:1", "[::1]:1"]);
}

#[test]
fn wrong_variables_and_flags_are_errors() {
    let pairs = [
        ("MIDGE_LIMITS_QUEUE_MESAGES_MAX", "1"),
        ("MIDGE_LISTENER_0_BINT", "1"),
        ("MIDGE_LOG_LEVEL", "loud"),
        ("MIDGE_SHARED_SUBSCRIPTIONS_BACKLOG", "yes"),
        ("MIDGE_BROKER_WORKERS", ""),
        ("MIDGE_WHATEVER", "1"),
    ];
    let flags = Flags { listen: vec!["1883".into()], ..Flags::default() };
    let report = load(None, &variables(&pairs), &flags).unwrap_err();
    let lines: Vec<String> = report.lines().collect();
    let expected = [
        "environment: MIDGE_LIMITS_QUEUE_MESAGES_MAX names no key of the configuration \
         (the nearest is MIDGE_LIMITS_QUEUE_MESSAGES_MAX)",
        "environment: MIDGE_LISTENER_0_BINT names no key of the configuration \
         (the nearest is MIDGE_LISTENER_N_BIND)",
        "environment: MIDGE_WHATEVER names no key of the configuration \
         (variables are called MIDGE_SECTION_KEY)",
        "environment: MIDGE_BROKER_WORKERS must be an integer from 1 to 64, but is empty",
        "environment: MIDGE_LOG_LEVEL must be \"off\", \"error\", \"warn\", \"info\", \"debug\" \
         or \"trace\", but is \"loud\"",
        "environment: MIDGE_SHARED_SUBSCRIPTIONS_BACKLOG must be true or false, but is \"yes\"",
        "command line: --listen is only a port: write \"0.0.0.0:1883\" or \"127.0.0.1:1883\" \
         (allowed: \"ADDRESS:PORT\", such as \"0.0.0.0:1883\" or \"[::]:1883\", \
         or \"unix:PATH\")",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn variables_of_others_are_left_alone() {
    let pairs = [
        ("MIDGE_CONFIG", "/etc/midge/midge.toml"),
        ("MIDGE_TEST_ANY", "1"),
        ("MIDGE_CONFORMANCE_ADDRESS", "127.0.0.1:1883"),
        ("MIDGE_BENCH_PASSWORD", "secret"),
        // A Service called "midge" or "midge-mqtt" in Kubernetes.
        ("MIDGE_PORT", "tcp://10.0.0.1:1883"),
        ("MIDGE_PORT_1883_TCP", "tcp://10.0.0.1:1883"),
        ("MIDGE_PORT_1883_TCP_ADDR", "10.0.0.1"),
        ("MIDGE_SERVICE_HOST", "10.0.0.1"),
        ("MIDGE_SERVICE_PORT", "1883"),
        ("MIDGE_MQTT_SERVICE_PORT_TLS", "8883"),
        ("MIDGE_MQTT_PORT_8883_TCP_PROTO", "tcp"),
        ("OTHER", "1"),
    ];
    assert!(load_variables("", &pairs).is_ok());
    assert!(load_variables("", &[("MIDGE_PORT", "1883")]).is_err());
}

#[test]
fn a_variable_that_is_not_utf8_is_an_error() {
    let variables = vec![("MIDGE_LOG_LEVEL".to_string(), None)];
    let report = load(None, &variables, &Flags::default()).unwrap_err();
    assert_eq!(report.lines().collect::<Vec<_>>(), ["environment: MIDGE_LOG_LEVEL is not UTF-8"]);
}
