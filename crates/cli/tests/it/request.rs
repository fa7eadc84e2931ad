//! `midge rr`, answered by `midge sub` and `midge pub`, and by mosquitto_rr's counterpart.

use crate::broker::start_broker;
use crate::command::midge;

#[test]
fn prints_the_response_to_its_own_request() {
    let broker = start_broker();
    let port = broker.port();
    let responder = midge(&format!("sub -p {port} -d -t ask -C 1 -W 15 -F %R|%D|%p"))
        .wait_for("received SUBACK");
    let requester = midge(&format!("rr -p {port} -t ask -m question -q 1 -v -W 15"));
    let request = responder.end().text();
    let [topic, data, payload] = request.trim_end().split('|').collect::<Vec<_>>()[..] else {
        panic!("{request}");
    };
    assert_eq!(payload, "question");
    let answer = |data: &str, text: &str| {
        let property = format!("-D publish correlation-data {data}");
        midge(&format!("pub -p {port} -t {topic} -m {text} -q 1 {property}")).end().text();
    };
    answer("another", "wrong");
    answer(data, "right");
    assert_eq!(requester.end().text(), format!("{topic} right\n"));
}

#[test]
fn uses_an_agreed_topic_in_every_version() {
    let broker = start_broker();
    let port = broker.port();
    for version in ["31", "311", "5"] {
        let requester = midge(&format!(
            "rr -p {port} -V {version} -t ask/{version} -e answer/{version} -n -d -W 15"
        ))
        .wait_for("sending PUBLISH");
        midge(&format!("pub -p {port} -t answer/{version} -m yes")).end().text();
        assert_eq!(requester.end().text(), "yes\n", "version {version}");
    }
}

#[test]
fn warns_when_nobody_is_there_and_gives_up_in_time() {
    let broker = start_broker();
    let port = broker.port();
    let stderr = midge(&format!("rr -p {port} -t nobody -q 1 -m x -W 0.5")).end().failure(27);
    assert!(stderr.contains("nobody is subscribed to 'nobody' now"), "{stderr}");
    assert!(stderr.contains("no response to 'nobody' on 'response/"), "{stderr}");
}
