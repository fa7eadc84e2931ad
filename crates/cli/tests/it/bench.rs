//! `midge bench`: each scenario runs briefly against a real broker.

use serde_json::Value;

use crate::broker::start_broker;
use crate::command::midge;

/// Runs a scenario to its end and returns its report.
fn figures(arguments: &str) -> Value {
    let broker = start_broker();
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let text = midge(&format!("bench {arguments} --url {url} --json")).end().text();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Asserts that all messages arrived, once each.
fn assert_complete(figures: &Value, received: u64) {
    let totals = &figures["totals"];
    assert_eq!(totals["received"], received, "{figures}");
    assert_eq!((&totals["lost"], &totals["duplicates"]), (&0.into(), &0.into()), "{figures}");
}

#[test]
fn every_message_between_two_arrives() {
    for qos in 0..=2 {
        for protocol in ["3.1.1", "5"] {
            let options = format!("--qos {qos} --protocol {protocol} --messages 2000 --clients 5");
            assert_complete(&figures(&format!("p2p {options}")), 2000);
        }
    }
}

#[test]
fn every_subscriber_of_a_fan_out_gets_every_message() {
    for qos in 0..=1 {
        let figures = figures(&format!("fan-out --qos {qos} --messages 100 --clients 30"));
        assert_complete(&figures, 3000);
    }
}

#[test]
fn a_fan_in_arrives_at_one() {
    assert_complete(&figures("fan-in --qos 0 --messages 3000 --clients 30"), 3000);
}

#[test]
fn a_shared_subscription_loses_and_repeats_nothing() {
    let options = "shared --qos 1 --messages 3000 --clients 10 --members 4";
    assert_complete(&figures(options), 3000);
}

#[test]
fn latency_has_percentiles_in_order() {
    let figures = figures("latency --messages 300 --rate 2000 --clients 5");
    assert_complete(&figures, 300);
    let latency = &figures["latency"];
    let at = |name: &str| latency[name].as_f64().unwrap_or_else(|| panic!("{name}: {figures}"));
    assert!(at("p50_us") <= at("p99_us") && at("p99_us") <= at("max_us"), "{figures}");
}

#[test]
fn persistent_sessions_are_removed_when_the_run_is_over() {
    let broker = start_broker();
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    for protocol in ["3.1.1", "5"] {
        for scenario in ["p2p --qos 1", "fan-out --qos 2", "fan-in --qos 1", "shared --qos 1"] {
            let options = "--messages 60 --clients 3 --members 3 --threads 2 --persistent --json";
            let line = format!("bench {scenario} --protocol {protocol} {options} --url {url}");
            let text = midge(&line).end().text();
            let figures: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (&figures["persistent"], &figures["totals"]["lost"]),
                (&true.into(), &0.into())
            );
        }
    }
    // No Client has a Session to come back to, so a message for one is lost at once.
    let drained =
        format!("bench drain --qos 1 --phase drain --clients 3 --patience 0.2 --url {url}");
    assert!(midge(&drained).end().code == Some(1));
}

#[test]
fn acknowledgements_are_timed_above_qos_0() {
    for (options, is_timed) in [
        ("p2p --qos 0", false),
        ("p2p --qos 1", true),
        ("p2p --qos 2 --threads 2", true),
        ("latency --qos 1 --rate 2000 --persistent", true),
        ("latency --qos 2 --rate 2000", true),
    ] {
        let figures = figures(&format!("{options} --messages 300 --clients 5"));
        assert_complete(&figures, 300);
        let latency = &figures["acknowledgement_latency"];
        assert_eq!(latency["p99_us"].as_f64().is_some_and(|us| us > 1.0), is_timed, "{figures}");
    }
}

#[test]
fn connections_are_counted() {
    assert_eq!(figures("connect --messages 200 --clients 10")["measured"], 200);
}

#[test]
fn idle_connections_are_held() {
    let figures = figures("idle --clients 50 --seconds 1");
    assert_eq!(figures["clients"], 50, "{figures}");
}

#[test]
fn what_was_queued_is_drained() {
    let figures = figures("drain --qos 1 --clients 4 --messages 200");
    assert_complete(&figures, 200);
}

#[test]
fn queues_are_filled_in_one_run_and_drained_in_another() {
    let broker = start_broker();
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    for (qos, options, received) in [(1, "", 200), (2, "", 200), (1, "--to-all", 800)] {
        let line = format!("--qos {qos} --clients 4 --messages 200 {options} --url {url} --json");
        let run = |phase: &str| -> Value {
            let text = midge(&format!("bench drain --phase {phase} {line}")).end().text();
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        let filled = run("fill");
        assert_eq!((&filled["measured"], filled.get("totals")), (&200.into(), None), "{filled}");
        assert!(filled.get("acknowledgement_latency").is_some(), "{filled}");
        let drained = run("drain");
        assert_complete(&drained, received);
        assert_eq!(drained["measured"], received, "{drained}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_an_error() {
    let port = crate::broker::free_port();
    let ended = midge(&format!("bench p2p --url mqtt://127.0.0.1:{port} --messages 1")).end();
    assert!(ended.failure(1).contains(&port.to_string()));
}
