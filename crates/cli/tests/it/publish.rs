//! `midge pub`, with mosquitto_sub as the receiver.

use std::time::Instant;

use crate::broker::start_broker;
use crate::command::{Running, midge, midge_with};
use crate::directory::Directory;

/// Returns the retained messages that mosquitto_sub finds, in this format.
fn retained(port: u16, filter: &str, format: &str) -> String {
    let port = port.to_string();
    let arguments =
        ["-p", &port, "-V", "5", "-q", "2", "-t", filter, "-F", format, "-C", "1", "-W", "10"];
    Running::start("mosquitto_sub", &arguments).end().text()
}

#[test]
fn publishes_in_each_version_and_qos() {
    let broker = start_broker();
    let port = broker.port();
    for version in ["31", "311", "5", "mqttv31", "mqttv311", "mqttv5"] {
        for qos in 0..=2 {
            let topic = format!("v/{version}/{qos}");
            midge(&format!("pub -p {port} -V {version} -q {qos} -t {topic} -m hello -r"))
                .end()
                .text();
            assert_eq!(retained(port, &topic, "%t %q %r %p"), format!("{topic} {qos} 1 hello\n"));
        }
    }
}

#[test]
fn publishes_all_properties() {
    let broker = start_broker();
    let port = broker.port();
    midge(&format!(
        "pub -p {port} -t t -m x -r -D publish content-type text/plain \
         -D publish correlation-data c -D publish response-topic r/t \
         -D publish message-expiry-interval 100 -D publish payload-format-indicator 1 \
         -D publish user-property k1 v1 -D publish user-property k2 v2"
    ))
    .end()
    .text();
    assert_eq!(retained(port, "t", "%C|%D|%R|%F|%P"), "text/plain|c|r/t|1|k1:v1 k2:v2\n");
}

#[test]
fn publishes_files_and_standard_input() {
    let broker = start_broker();
    let port = broker.port();
    midge(&format!("pub -p {port} -t file -f Cargo.toml -r")).end().text();
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
    assert_eq!(retained(port, "file", "%p"), format!("{manifest}\n"));
    midge(&format!("pub -p {port} -t stdin -s -r -q 1")).feed(b"one\ntwo").end().text();
    assert_eq!(retained(port, "stdin", "%p"), "one\ntwo\n");
    midge(&format!("pub -L mqtt://127.0.0.1:{port}/stdin -n -r -q 1")).end().text();
    midge(&format!("pub -p {port} -t last -m -5 -r -q 1")).end().text();
    let arguments = format!("sub -p {port} -t # -v -C 2 -W 10");
    let text = midge(&arguments).end().text();
    assert!(text.contains("last -5\n") && !text.contains("one"), "{text}");
}

#[test]
fn an_empty_standard_input_is_no_message() {
    let broker = start_broker();
    let port = broker.port();
    midge(&format!("pub -p {port} -t kept -m old -r -q 1")).end().text();
    for command in ["pub -s -r -q 1 -t kept", "rr -s -r -q 1 -t kept -e answer -W 10"] {
        let stderr = midge(&format!("{command} -p {port}")).feed(b"").end().failure(1);
        assert!(stderr.contains("standard input is empty") && stderr.contains("-n"), "{stderr}");
    }
    // With -l, an empty standard input has no line to publish.
    midge(&format!("pub -p {port} -t kept -l -r -q 1")).feed(b"").end().text();
    assert_eq!(retained(port, "kept", "%p"), "old\n");
}

#[test]
fn empty_messages_are_those_that_mosquitto_pub_sends() {
    let broker = start_broker();
    let port = broker.port().to_string();
    let directory = Directory::empty();
    let file = directory.path().join("empty");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &[u8]); 5] = [
        (&["-m", ""], b""),
        (&["-n"], b""),
        (&["-f", file], b""),
        (&["-l"], b"a\n\nb\n"),
        (&["-l"], b"a\n\n\nb"),
    ];
    for (arguments, input) in cases {
        let sent_by = |program: &str, first: &[&str]| {
            let receiver = midge(&format!("sub -p {port} -t t/# -F [%p] -d -W 20"));
            let receiver = receiver.wait_for("received SUBACK");
            let all = [first, &["-p", &port, "-t", "t/x", "-q", "1"], arguments].concat();
            Running::start(program, &all).feed(input).end().text();
            midge(&format!("pub -p {port} -t t/end -m end -q 1")).end().text();
            receiver.wait_for("'t/end'").signal("TERM").end().text()
        };
        let theirs = sent_by("mosquitto_pub", &[]);
        assert_eq!(sent_by(env!("CARGO_BIN_EXE_midge"), &["pub"]), theirs, "{arguments:?}");
    }
}

#[test]
fn publishes_each_line_and_waits_for_all_acknowledgements() {
    let broker = start_broker();
    let port = broker.port();
    // Fewer than the 1,000 messages that mosquitto queues for a temporarily slower subscriber.
    const LINES: usize = 900;
    for (qos, version) in [(0, "5"), (1, "5"), (2, "5"), (1, "311"), (2, "31")] {
        let receiver = midge(&format!(
            "sub -p {port} -d -q 2 -t lines/{qos}/{version} -C {} -W 15",
            LINES + 1
        ))
        .wait_for("received SUBACK");
        let mut lines: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
        lines.push_str("no line end");
        midge(&format!("pub -p {port} -V {version} -q {qos} -t lines/{qos}/{version} -l"))
            .feed(lines.as_bytes())
            .end()
            .text();
        let text = receiver.end().text();
        assert!(text == format!("{lines}\n"), "QoS {qos}, version {version}");
    }
}

#[test]
fn publishes_a_large_payload() {
    let broker = start_broker();
    let port = broker.port();
    let payload = vec![b'x'; 20_000_000];
    let receiver = midge(&format!("sub -p {port} -d -q 1 -t large -F %l -C 1 -W 20"))
        .wait_for("received SUBACK");
    midge(&format!("pub -p {port} -t large -s -q 1")).feed(&payload).end().text();
    assert_eq!(receiver.end().text(), "20000000\n");
}

#[test]
fn repeats_with_a_pause_and_a_topic_alias() {
    let broker = start_broker();
    let port = broker.port();
    let receiver = midge(&format!("sub -p {port} -d -t r -C 3 -W 15")).wait_for("received SUBACK");
    let start = Instant::now();
    midge(&format!(
        "pub -p {port} -t r -m x -q 1 --repeat 3 --repeat-delay 0.2 -D publish topic-alias 1"
    ))
    .end()
    .text();
    assert!(start.elapsed().as_millis() >= 400);
    assert_eq!(receiver.end().text(), "x\nx\nx\n");
}

#[test]
fn a_signal_ends_a_pause_between_two_messages() {
    let broker = start_broker();
    let port = broker.port();
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let command =
            midge(&format!("pub -p {port} -t r -m x -q 1 -d --repeat 2 --repeat-delay 60"))
                .wait_for("received PUBACK");
        let ended = command.signal(signal).wait_for("sending DISCONNECT").end();
        assert_eq!((ended.code, ended.stdout), (Some(code), Vec::new()));
    }
}

#[test]
fn leaves_a_will_behind_only_when_it_dies() {
    let broker = start_broker();
    let port = broker.port();
    let receiver =
        midge(&format!("sub -p {port} -d -v -t will/# -C 2 -W 15")).wait_for("received SUBACK");
    let will = format!("-p {port} -q 1 --will-payload gone --will-qos 1 --will-topic");
    midge(&format!("pub {will} will/none -t will/first -m x")).end().text();
    midge(&format!("pub {will} will/killed -t will/none/x -l -d"))
        .wait_for("received CONNACK")
        .signal("KILL");
    assert_eq!(receiver.end().text(), "will/first x\nwill/killed gone\n");
}

#[test]
fn says_goodbye_when_a_signal_ends_it() {
    let broker = start_broker();
    let port = broker.port();
    let command = midge(&format!("pub -p {port} -t t -l -d --will-topic w"));
    let command = command.wait_for("received CONNACK").signal("INT");
    // Standard input ends only afterwards; its end alone would end the command, too.
    let ended = command.wait_for("sending DISCONNECT").end();
    assert_eq!(ended.code, Some(130));
}

#[test]
fn keeps_blanks_and_any_bytes() {
    let broker = start_broker();
    let port = broker.port().to_string();
    let bytes: Vec<u8> = (0..=255).collect();
    midge_with(&["pub", "-p", &port, "-t", "a b/ä", "-s", "-r", "-q", "1"])
        .feed(&bytes)
        .end()
        .text();
    let ended = midge(&format!("sub -p {port} -t # -N -C 1 -W 10")).end();
    assert_eq!(ended.stdout, bytes);
}
