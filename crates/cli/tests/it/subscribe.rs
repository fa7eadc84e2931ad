//! `midge sub`, with mosquitto_pub as the sender.

use std::thread;
use std::time::Duration;

use crate::broker::{start_broker, start_broker_on};
use crate::command::{Running, midge, midge_with};

fn mosquitto_pub(port: u16, arguments: &str) {
    let arguments = format!("-p {port} {arguments}");
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    Running::start("mosquitto_pub", &arguments).end().text();
}

/// Starts a `midge sub` and waits until the broker has answered its subscription.
fn subscribed(port: u16, arguments: &str) -> Running {
    midge(&format!("sub -p {port} -d -W 15 {arguments}")).wait_for("received SUBACK")
}

#[test]
fn receives_in_each_version_and_qos() {
    let broker = start_broker();
    let port = broker.port();
    for version in ["31", "311", "5"] {
        for qos in 0..=2 {
            let receiver = subscribed(port, &format!("-V {version} -q {qos} -t a/+ -v -C 1"));
            mosquitto_pub(port, &format!("-V {version} -q 2 -t a/b -m hello"));
            assert_eq!(receiver.end().text(), "a/b hello\n", "version {version}, QoS {qos}");
        }
    }
}

#[test]
fn prints_as_mosquitto_sub_does() {
    let broker = start_broker();
    let port = broker.port();
    mosquitto_pub(
        port,
        "-V 5 -q 1 -r -t a/b -m text -D publish content-type text/plain \
         -D publish user-property k1 v1 -D publish user-property k2 v2 \
         -D publish correlation-data cd -D publish response-topic r/t \
         -D publish message-expiry-interval 100 -D publish payload-format-indicator 1",
    );
    let port = port.to_string();
    for format in [
        "[%A][%C][%D][%F][%l][%m][%P][%p][%q][%R][%r][%S][%t][%x][%X][%%][@@]",
        "[%10A][%020C][%-20C][%05F][%-5F][%6l][%06l][%-6l][%-06m]",
        "[%12R][%10.2R][%10t][%-10t][%4.2t][%.2t][%2x][%2p][%10p][%-10p]",
        "a\\tb\\\\c\\0d\\e\\a\\r\\v@@é",
        "@Y-@m-@d @H @j",
        "%t\\n%p",
    ] {
        let arguments =
            ["-p", &port, "-V", "5", "-q", "1", "-t", "#", "-C", "1", "-W", "10", "-F", format];
        let theirs = Running::start("mosquitto_sub", &arguments).end().text();
        let ours = midge_with(&[&["sub"], &arguments[..]].concat()).end().text();
        assert_eq!(ours, theirs, "{format}");
    }
    let arguments = ["-p", &port, "-V", "5", "-q", "1", "-t", "#", "-C", "1", "-F", "%j"];
    let theirs = Running::start("mosquitto_sub", &arguments).end().text();
    let ours = midge_with(&[&["sub"], &arguments[..]].concat()).end().text();
    // The order of properties is the sender's in their output; the two times are different moments.
    let comparable = |json: &str| {
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        value["tst"].take();
        value["properties"]["message-expiry-interval"].take();
        value
    };
    assert_eq!(comparable(&ours), comparable(&theirs), "{ours}");
}

#[test]
fn filters_what_it_prints() {
    let broker = start_broker();
    let port = broker.port();
    mosquitto_pub(port, "-t s/old -m old -r -q 1");
    let receiver = subscribed(port, "-t s/# -T s/not/# -R -C 2 -v");
    for message in ["s/a -m 1", "s/not/b -m 2", "s/not -m 3", "s/c -m 4"] {
        mosquitto_pub(port, &format!("-t {message}"));
    }
    assert_eq!(receiver.end().text(), "s/a 1\ns/c 4\n");
}

#[test]
fn prints_only_retained_messages_and_removes_them() {
    let broker = start_broker();
    let port = broker.port();
    for number in 0..300 {
        mosquitto_pub(port, &format!("-t r/{number} -m x -r"));
    }
    mosquitto_pub(port, "-t r/keep -m x -r");
    let text = midge(&format!(
        "sub -p {port} -t r/# -T r/keep -q 1 --remove-retained --retained-only -W 10"
    ))
    .end()
    .text();
    assert_eq!(text.lines().count(), 300);
    let ended = midge(&format!("sub -p {port} -t r/# -v -W 1")).end();
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "r/keep x\n");
}

#[test]
fn asks_for_retained_messages_as_told() {
    let broker = start_broker();
    let port = broker.port();
    mosquitto_pub(port, "-t t -m old -r");
    let arguments = "-t t -C 1 --retain-handling never --retain-as-published -F %r%p";
    let receiver = subscribed(port, arguments);
    mosquitto_pub(port, "-t t -m new -r");
    assert_eq!(receiver.end().text(), "1new\n");
}

#[test]
fn resumes_a_session_and_takes_no_more_than_asked() {
    let broker = start_broker();
    let port = broker.port();
    let session = format!("-p {port} -c -i worker -q 2 -t jobs");
    midge(&format!("sub {session} -E -W 10")).end().text();
    for qos in [1, 2, 1, 2, 1, 2] {
        mosquitto_pub(port, &format!("-t jobs -m job{qos} -q {qos}"));
    }
    let mut seen = String::new();
    for _ in 0..6 {
        seen.push_str(&midge(&format!("sub {session} -C 1 -W 10")).end().text());
    }
    assert_eq!(seen, "job1\njob2\n".repeat(3));
    midge(&format!("sub {session} -C 1 -W 0.3")).end().failure(27);
}

#[test]
fn unsubscribes_from_what_an_earlier_session_asked_for() {
    let broker = start_broker();
    let port = broker.port();
    let session = format!("-p {port} -c -i a -q 1 -W 10");
    midge(&format!("sub {session} -t x -t y -E")).end().text();
    midge(&format!("sub {session} -U x -E")).end().text();
    mosquitto_pub(port, "-t x -m x -q 1");
    mosquitto_pub(port, "-t y -m y -q 1");
    assert_eq!(midge(&format!("sub {session} -t y -C 1")).end().text(), "y\n");
}

#[test]
fn connects_again_when_the_broker_comes_back() {
    let broker = start_broker();
    let port = broker.port();
    let receiver = subscribed(port, "-t t -C 1");
    broker.kill();
    let receiver = receiver.wait_for("Connecting again in");
    let _broker = start_broker_on(port);
    let receiver = receiver.wait_for("received SUBACK");
    mosquitto_pub(port, "-t t -m back");
    assert_eq!(receiver.end().text(), "back\n");
}

#[test]
fn gives_up_when_told_not_to_connect_again() {
    let broker = start_broker();
    let port = broker.port();
    let receiver = subscribed(port, "-t t --retry never");
    broker.kill();
    let stderr = receiver.end().failure(1);
    assert!(stderr.contains("closed the connection"), "{stderr}");
}

#[test]
fn ends_well_with_a_signal_and_with_a_closed_pipe() {
    let broker = start_broker();
    let port = broker.port();
    for signal in ["INT", "TERM"] {
        let ended = subscribed(port, "-t t --will-topic w").signal(signal).end();
        assert_eq!(ended.code, Some(0));
        assert!(ended.stderr.contains("sending DISCONNECT"), "{ended:?}");
    }
    mosquitto_pub(port, "-t t -m x -r -q 1");
    let script = format!("{} sub -p {port} -t t -d | true", env!("CARGO_BIN_EXE_midge"));
    let shell = Running::start("bash", &["-o", "pipefail", "-c", &script]);
    let stderr = shell.end().failure(0);
    assert!(stderr.contains("sending DISCONNECT") && !stderr.contains("error"), "{stderr}");
}

#[test]
fn keeps_a_quiet_connection_alive() {
    let broker = start_broker();
    let port = broker.port();
    let receiver = subscribed(port, "-t t -k 1 -C 1");
    thread::sleep(Duration::from_millis(2500));
    mosquitto_pub(port, "-t t -m still");
    let ended = receiver.end();
    assert!(ended.stderr.contains("received PINGRESP"), "{ended:?}");
    assert_eq!(ended.text(), "still\n");
}

#[test]
fn ends_when_its_time_is_over() {
    let broker = start_broker();
    let port = broker.port();
    let stderr = midge(&format!("sub -p {port} -t t -W 0.3")).end().failure(27);
    assert_eq!(stderr, "error: the time is over: 0 messages within 0.3 s");
    let stderr = midge(&format!("sub -p {port} -t t -W 0.3 --quiet")).end().failure(27);
    assert_eq!(stderr, "");
}
