//! The client commands and the benchmark over every scheme, against the real broker, and what they
//! say when something does not fit.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::broker::free_port;
use crate::command::{Running, midge, midge_in};
use crate::directory::Directory;

/// A broker that listens on every transport, with certificates of its own authority.
struct Broker {
    directory: Directory,
    ports: Ports,
    // Keeps the broker running until the end of the test.
    _running: Running,
}

#[derive(Clone, Copy)]
struct Ports {
    mqtt: u16,
    mqtts: u16,
    /// TLS with client certificates.
    mutual: u16,
    ws: u16,
    wss: u16,
    quic: u16,
    /// QUIC with client certificates.
    mutual_quic: u16,
}

/// Returns a file of the directory, as an argument.
fn path(directory: &Directory, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

fn start() -> Broker {
    let directory = Directory::empty();
    midge_in(directory.path(), &[], "certs --client alice --client bob").end().text();
    midge_in(directory.path(), &[], "certs --revoke bob").end().text();
    let [mqtt, mqtts, mutual, ws, wss, quic, mutual_quic] = [(); 7].map(|()| free_port());
    let mut text = format!("[[listener]]\nbind = \"127.0.0.1:{mqtt}\"\n");
    let files = "certificate = \"server.pem\"\nkey = \"server.key\"\n";
    let of_clients = format!("{files}client_ca = \"ca.pem\"\nclient_crl = \"crl.pem\"\n");
    for (port, protocol, tls) in [
        // On all addresses, so that it can be reached at one that the certificate does not contain.
        (mqtts, "mqtt", files.to_owned()),
        (mutual, "mqtt", of_clients.clone()),
        (ws, "websocket", String::new()),
        (wss, "websocket", files.to_owned()),
        (quic, "quic", files.to_owned()),
        (mutual_quic, "quic", of_clients),
    ] {
        let _ =
            write!(text, "[[listener]]\nbind = \"0.0.0.0:{port}\"\nprotocol = \"{protocol}\"\n");
        if !tls.is_empty() {
            let _ = write!(text, "[listener.tls]\n{tls}");
        }
    }
    let socket = path(&directory, "midge.sock");
    text.insert_str(0, "[authentication]\nanonymous = true\n");
    let _ = write!(text, "[[listener]]\nbind = \"unix:{socket}\"\n");
    directory.write(&text);
    let running = midge_in(directory.path(), &[], "--config midge.toml").wait_for("documentation");
    let ports = Ports { mqtt, mqtts, mutual, ws, wss, quic, mutual_quic };
    Broker { directory, ports, _running: running }
}

impl Broker {
    fn file(&self, name: &str) -> String {
        path(&self.directory, name)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("midge.sock")
    }

    /// Returns the URLs of all transports, with the arguments that they need.
    fn urls(&self) -> Vec<(String, String)> {
        let Ports { mqtt, mqtts, mutual, ws, wss, quic, mutual_quic } = self.ports;
        let ca = format!("--cafile {}", self.file("ca.pem"));
        let [certificate, key] = ["client-alice.pem", "client-alice.key"].map(|f| self.file(f));
        let own = format!("{ca} --cert {certificate} --key {key}");
        vec![
            (format!("mqtt://127.0.0.1:{mqtt}"), String::new()),
            (format!("mqtts://localhost:{mqtts}"), ca.clone()),
            (format!("mqtts://127.0.0.1:{mqtts}"), ca.clone()),
            (format!("mqtts://localhost:{mutual}"), own.clone()),
            (format!("quic://127.0.0.1:{quic}"), ca.clone()),
            (format!("quic://localhost:{mutual_quic}"), own),
            (format!("ws://127.0.0.1:{ws}/mqtt"), String::new()),
            (format!("wss://127.0.0.1:{wss}"), ca),
            (format!("wss://127.0.0.1:{wss}/mqtt"), "--insecure".to_owned()),
            (format!("unix://{}", self.socket().display()), String::new()),
        ]
    }

    /// Returns what `midge pub` says when it fails.
    fn refusal(&self, url: &str, arguments: &str) -> String {
        midge(&format!("pub -L {url} -t t -m x -W 15 {arguments}")).end().failure(1)
    }
}

#[test]
fn messages_go_from_every_transport_to_every_other() {
    let broker = start();
    let urls = broker.urls();
    let subscribers: Vec<_> = urls
        .iter()
        .map(|(url, arguments)| {
            let count = urls.len();
            midge(&format!("sub -L {url} -t t -d -q 2 -C {count} -W 30 {arguments}"))
                .wait_for("received SUBACK")
        })
        .collect();
    let mut expected = Vec::new();
    for (number, (url, arguments)) in urls.iter().enumerate() {
        let payload = format!("by-{number}");
        midge(&format!("pub -L {url} -t t -m {payload} -q 2 -W 30 {arguments}")).end().text();
        expected.push(payload);
    }
    for (subscriber, (url, _)) in subscribers.into_iter().zip(&urls) {
        let text = subscriber.end().text();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{url}");
    }
}

#[test]
fn large_messages_and_answers_come_whole() {
    let broker = start();
    let large = "0123456789abcdef".repeat(30_000);
    for (url, arguments) in broker.urls() {
        let subscriber = midge(&format!("sub -L {url} -t t/large -d -C 1 -W 30 -N {arguments}"))
            .wait_for("received SUBACK");
        midge(&format!("pub -L {url} -t t/large -s -W 30 {arguments}"))
            .feed(large.as_bytes())
            .end()
            .text();
        assert!(subscriber.end().text() == large, "{url}");
    }
}

/// Checks the streams that `-d` names; without QUIC there is one.
#[test]
fn each_filter_has_a_data_stream_of_its_own() {
    let broker = start();
    let url = format!("quic://localhost:{}", broker.ports.quic);
    let ca = format!("--cafile {}", broker.file("ca.pem"));
    let subscriber = midge(&format!(
        "sub -L {url} -t a/# -t b -t $share/g/c --data-streams -q 1 -d -v -C 6 -W 30 {ca}"
    ));
    let subscriber = (0..3).fold(subscriber, |running, _| running.wait_for("received SUBACK"));
    for (qos, streams) in [(1, "--data-streams"), (0, "--data-streams"), (2, "")] {
        for topic in ["a/1", "b"] {
            midge(&format!("pub -L {url} -t {topic} -m by-{qos} -q {qos} {streams} -W 30 {ca}"))
                .end()
                .text();
        }
    }
    let text = subscriber.end().text();
    for topic in ["a/1", "b"] {
        // There is no order between streams.
        let of_topic: Vec<_> = text.lines().filter(|line| line.starts_with(topic)).collect();
        let expected = ["by-1", "by-0", "by-2"].map(|payload| format!("{topic} {payload}"));
        assert_eq!(of_topic, expected);
    }
}

#[test]
fn much_goes_over_data_streams_and_nothing_is_lost() {
    let broker = start();
    let url = format!("quic://localhost:{}", broker.ports.quic);
    let ca = format!("--cafile {}", broker.file("ca.pem"));
    for qos in 0..3 {
        let subscriber =
            midge(&format!("sub -L {url} -t lines --data-streams -q 2 -d -C 500 -W 30 {ca}"))
                .wait_for("received SUBACK");
        let lines: String = (0..500).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "{number} {}", "x".repeat(1_000));
            text
        });
        midge(&format!("pub -L {url} -t lines -l -q {qos} --data-streams -W 30 {ca}"))
            .feed(lines.as_bytes())
            .end()
            .text();
        assert!(subscriber.end().text() == lines, "QoS {qos}");
    }
}

#[test]
fn explains_what_data_streams_need() {
    let broker = start();
    let Ports { mqtt, quic, .. } = broker.ports;
    for command in ["pub -m x", "sub"] {
        let command = format!("{command} -t t --data-streams -L mqtt://127.0.0.1:{mqtt}");
        let error = midge(&command).end().failure(2);
        assert!(error.contains("--data-streams needs QUIC"), "{error}");
    }
    let filters: String = (0..17).fold(String::new(), |mut text, number| {
        let _ = write!(text, " -t {number}");
        text
    });
    let ca = broker.file("ca.pem");
    let command =
        format!("sub --data-streams -L quic://localhost:{quic} --cafile {ca} -W 30{filters}");
    let error = midge(&command).end().failure(1);
    assert!(error.contains("takes no more than 16 data streams"), "{error}");
}

#[test]
fn the_benchmark_loses_nothing_on_any_transport() {
    let broker = start();
    for (url, arguments) in broker.urls() {
        for scenario in [
            "p2p --qos 1 --messages 2000 --clients 5 --threads 2",
            "fan-out --messages 50 --clients 20",
        ] {
            let command = format!("bench {scenario} --url {url} --json {arguments}");
            let text = midge(&command).end().text();
            let figures: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(figures["totals"]["lost"], 0, "{url}: {figures}");
            assert_eq!(figures["totals"]["duplicates"], 0, "{url}: {figures}");
            assert_ne!(figures["totals"]["received"], 0, "{url}: {figures}");
        }
        let command = format!("bench connect --messages 100 --clients 10 --url {url} {arguments}");
        midge(&command).end().text();
    }
}

#[test]
fn the_benchmark_loses_nothing_on_data_streams() {
    let broker = start();
    let url = format!("quic://localhost:{}", broker.ports.quic);
    let arguments = format!("--url {url} --cafile {} --data-streams", broker.file("ca.pem"));
    for scenario in [
        "p2p --qos 1 --messages 2000 --clients 5 --threads 2",
        "p2p --qos 2 --messages 500 --clients 5",
        "fan-out --messages 50 --clients 20",
        "drain --qos 1 --messages 500 --clients 5",
    ] {
        let text = midge(&format!("bench {scenario} --json {arguments}")).end().text();
        let figures: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(figures["data_streams"], true);
        for lost in ["lost", "duplicates"] {
            assert_eq!(figures["totals"][lost], 0, "{scenario}: {figures}");
        }
    }
    let error = midge(&format!("bench connect {arguments}")).end().failure(2);
    assert!(error.contains("--data-streams"), "{error}");
    let error = midge("bench p2p --data-streams").end().failure(2);
    assert!(error.contains("--data-streams needs QUIC"), "{error}");
}

#[test]
fn hosts_and_ports_and_sockets_are_arguments_too() {
    let broker = start();
    let socket = broker.socket();
    midge(&format!("pub --unix {} -t t -m x -q 1", socket.display())).end().text();
    let (port, ca) = (broker.ports.mqtts, broker.file("ca.pem"));
    midge(&format!("pub -h localhost -p {port} --cafile {ca} -t t -m x -q 1")).end().text();
}

#[test]
fn explains_certificates_that_are_not_good() {
    let broker = start();
    let (Ports { mqtts, mutual, quic, mutual_quic, .. }, ca) =
        (broker.ports, broker.file("ca.pem"));
    let other = Directory::empty();
    midge_in(other.path(), &[], "certs").end().text();
    let certificate = |stem: &str| {
        let [certificate, key] = ["pem", "key"].map(|end| broker.file(&format!("{stem}.{end}")));
        format!("--cafile {ca} --cert {certificate} --key {key}")
    };
    let foreign = format!(
        "--cafile {ca} --cert {} --key {}",
        path(&other, "client.pem"),
        path(&other, "client.key")
    );
    for (port, host, arguments, parts) in [
        (mqtts, "localhost", String::new(), ["not of an authority", "--cafile FILE"]),
        (quic, "127.0.0.1", String::new(), ["not of an authority", "--cafile FILE"]),
        (quic, "127.0.0.2", format!("--cafile {ca}"), ["for another name", "name '127.0.0.2'"]),
        (
            mutual_quic,
            "127.0.0.1",
            format!("--cafile {ca}"),
            ["requires a certificate", "--cert FILE and --key FILE"],
        ),
        (mutual_quic, "127.0.0.1", certificate("client-bob"), ["revoked", "Check the certificate"]),
        (
            mqtts,
            "localhost",
            format!("--cafile {}", path(&other, "ca.pem")),
            ["not of an authority", "the file of --cafile, and is not"],
        ),
        (mqtts, "127.0.0.2", format!("--cafile {ca}"), ["for another name", "name '127.0.0.2'"]),
        (
            mutual,
            "localhost",
            format!("--cafile {ca}"),
            ["requires a certificate", "--cert FILE and --key FILE"],
        ),
        (mutual, "localhost", certificate("client-bob"), ["revoked", "Check the certificate"]),
        (mutual, "localhost", foreign, ["authority", "Check the certificate of --cert"]),
        (
            mqtts,
            "localhost",
            format!("--cafile {}", path(&other, "none.pem")),
            ["none.pem", "no such file"],
        ),
    ] {
        let scheme = if [quic, mutual_quic].contains(&port) { "quic" } else { "mqtts" };
        let error = broker.refusal(&format!("{scheme}://{host}:{port}"), &arguments);
        for part in parts {
            assert!(error.contains(part), "{host} {arguments}: {part}: {error}");
        }
    }
}

#[test]
fn explains_that_another_protocol_is_spoken() {
    let broker = start();
    let Ports { mqtt, mqtts, ws, .. } = broker.ports;
    for (url, arguments, part) in [
        (format!("mqtts://127.0.0.1:{mqtt}"), "--insecure", "A port without TLS is mqtt://"),
        (format!("mqtt://127.0.0.1:{mqtts}"), "", "it speaks TLS. Write mqtts://"),
        (format!("mqtt://127.0.0.1:{ws}"), "", "ws://"),
        (format!("ws://127.0.0.1:{mqtt}"), "", "One for MQTT over plain TCP is mqtt://"),
        (format!("ws://127.0.0.1:{ws}/other"), "", "that of Midge is /mqtt"),
        (format!("mqtts://127.0.0.1:{ws}"), "--insecure", "For a port without TLS write mqtt://"),
        (format!("unix:{}", broker.file("none.sock")), "", "there is no such socket"),
        (format!("unix:{}", broker.file("midge.toml")), "", "nobody answers"),
    ] {
        let error = broker.refusal(&url, arguments);
        assert!(error.contains(part), "{url}: {error}");
    }
    let udp = format!("quic://127.0.0.1:{}", free_port());
    let error = broker.refusal(&udp, "--insecure");
    assert!(error.contains("listens for QUIC there (UDP)"), "{error}");
    let error = midge(&format!("bench p2p --url ws://127.0.0.1:{ws}/other")).end().failure(1);
    assert!(error.contains("that of Midge is /mqtt"), "{error}");
    let error = midge(&format!("bench connect --url mqtts://localhost:{mqtts}")).end().failure(1);
    assert!(error.contains("--cafile FILE"), "{error}");
}
