//! Wrong command lines, and brokers that are not there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread::{self, JoinHandle};

use crate::broker::free_port;
use crate::command::{Running, midge, midge_in, midge_with};
use crate::directory::Directory;

#[test]
fn explains_a_wrong_command_line() {
    for (arguments, part) in [
        ("pub -m x", "add -t TOPIC"),
        ("pub -t a", "add -m TEXT"),
        ("pub -t a -m x -n", "cannot be used with"),
        ("pub -t a -l -m x", "cannot be used with"),
        ("pub -t a/# -m x", "'a/#' is not a topic to publish to"),
        ("pub -t a -m x -q 3", "QoS is 0, 1 or 2"),
        ("pub -t a -m x -D publish colour red", "no property 'colour' (it has: content-type"),
        ("pub -t a -m x -L http://h", "not a scheme of MQTT"),
        ("pub -t a -m x -L h:1883", "no scheme"),
        ("sub", "add -t FILTER"),
        ("sub -t a/#/b", "'a/#/b' is not a topic filter"),
        ("sub -t a -F %s", "'%s' is not a part of a message"),
        ("sub -t a -c", "add -i ID"),
        ("sub -t a -V 311 --no-local", "--no-local needs MQTT 5.0"),
        ("sub -t $share/g/a --no-local", "shared subscription"),
        ("rr -t a", "add -m TEXT"),
        ("rr -m a", "add -t TOPIC"),
        ("rr -t a -m x -V 311", "add -e TOPIC"),
        ("rr -t a -m x -e b -D publish response-topic c", "twice"),
    ] {
        let stderr = midge(arguments).end().failure(2);
        assert!(stderr.contains(part), "{arguments}: {stderr}");
    }
}

/// Returns the options that a program's help explains, each at the start of a line.
fn options_of(program: &str) -> Vec<String> {
    let help = String::from_utf8(Running::start(program, &["--help"]).end().stdout).unwrap();
    let explained = help.lines().filter_map(|line| line.strip_prefix(' ')?.split_once(" : "));
    let options = explained.map(|(option, _)| option.trim().to_owned());
    options.filter(|option| option.starts_with('-')).collect()
}

#[test]
fn takes_or_names_every_option_of_mosquitto() {
    for command in ["pub", "sub", "rr"] {
        let options = options_of(&format!("mosquitto_{command}"));
        assert!(options.len() > 30, "{options:?}");
        for option in options.iter().filter(|option| *option != "--help") {
            let stderr = midge_with(&[command, option]).end().failure(2);
            let is_named = stderr.contains(&format!("mosquitto_{command} has {option}, and midge"));
            assert!(is_named || !stderr.contains("unexpected argument"), "{option}: {stderr}");
        }
        // Options of later versions.
        for option in ["--ws", "--latency", "--message-rate", "--watch", "--tls-keylog", "-o"] {
            let stderr = midge_with(&[command, option, "x"]).end().failure(2);
            assert!(stderr.contains("and midge"), "{stderr}");
        }
    }
    let stderr = midge("sub -t a --proxy socks5h://h").end().failure(2);
    assert!(stderr.contains("mosquitto_sub has --proxy, and midge sub has not: "), "{stderr}");
    let stderr = midge("sub -t a --colour").end().failure(2);
    assert!(stderr.contains("unexpected argument '--colour'"), "{stderr}");
}

#[test]
fn help_is_in_sections() {
    let sections = |command: &str| {
        let text = midge(&format!("{command} --help")).end().text();
        let titles = text.lines().filter_map(|line| line.strip_suffix(':'));
        let titles = titles.filter(|line| !line.starts_with(' ')).map(str::to_owned);
        (titles.collect::<Vec<_>>(), text)
    };
    for (command, first) in [
        ("pub", &["Message"][..]),
        ("sub", &["Subscriptions and messages", "Output"]),
        ("rr", &["Message", "Output"]),
        ("stats", &["Output"]),
    ] {
        let (titles, text) = sections(command);
        let all = [first, &["Connection", "TLS", "Will Message", "General", "Examples"]].concat();
        assert_eq!(titles[..all.len()], all, "{text}");
        assert!(!titles.contains(&"Options".to_owned()), "{text}");
    }
    let (titles, text) = sections("bench");
    assert!(
        ["Load", "Connection", "TLS", "Report"]
            .iter()
            .all(|title| titles.iter().any(|t| t == title)),
        "{text}"
    );
    assert!(!titles.contains(&"Options".to_owned()), "{text}");
}

/// Returns the first packet of a command to a server that then closes, and how the command ends.
fn connect_packet(variables: &[(&str, &str)], arguments: &str) -> (Vec<u8>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut packet = vec![0; 1024];
        let length = stream.read(&mut packet).unwrap();
        packet.truncate(length);
        packet
    });
    let arguments = arguments.replace("{port}", &port.to_string());
    let directory = Directory::empty();
    std::fs::write(directory.path().join("password"), "hunter2\n").unwrap();
    let ended = midge_in(directory.path(), variables, &arguments).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    (server.join().unwrap(), format!("{ended:?}"))
}

#[test]
fn a_password_comes_from_many_places_and_is_shown_nowhere() {
    let variable = [("MIDGE_PASSWORD", "hunter2")];
    for (variables, arguments) in [
        (&[][..], "pub -h 127.0.0.1 -p {port} -t t -m x -d -u me -P hunter2"),
        (&[], "pub -h 127.0.0.1 -p {port} -t t -m x -d -u me --password-file password"),
        (&[], "sub -L mqtt://me:hunter2@127.0.0.1:{port}/t -d"),
        (&variable, "rr -h 127.0.0.1 -p {port} -t t -m x -d -u me"),
        (&[], "bench p2p -h 127.0.0.1 -p {port} --user me --password-file password"),
        (&variable, "bench p2p -h 127.0.0.1 -p {port} --user me"),
    ] {
        let (packet, told) = connect_packet(variables, arguments);
        let has = |part: &[u8]| packet.windows(part.len()).any(|window| window == part);
        assert!(has(b"hunter2"), "{arguments}: {packet:?}");
        assert!(!told.contains("hunter2"), "{arguments}: {told}");
    }
    // Without a user name, the variable is meant for something else.
    let (packet, _) = connect_packet(&variable, "pub -h 127.0.0.1 -p {port} -t t -m x");
    assert!(!packet.windows(7).any(|window| window == b"hunter2"), "{packet:?}");
    for arguments in [
        "pub -L mqtt://me:hunter2@h:port/t -m x",
        "pub -L foo://me:hunter2@h/t -m x",
        "pub -L mqtt://me:hunter2%@h/t -m x",
        "bench p2p --url mqtt://me:hunter2@h:port",
        "pub -t t -m x -P hunter2 --password-file f",
        "pub -t t -m x -V 311 -P hunter2",
        "sub --help -P hunter2",
    ] {
        let ended = midge_in(std::path::Path::new("."), &variable, arguments).end();
        let told = format!("{ended:?}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let stderr = midge("pub -t t -m x -u me --password-file no/such/file").end().failure(2);
    assert!(stderr.contains("--password-file: no/such/file: "), "{stderr}");
}

#[test]
fn explains_that_nobody_listens() {
    let port = free_port();
    for command in ["pub -t a -m x", "sub -t a", "rr -t a -m x"] {
        let stderr = midge(&format!("{command} -h 127.0.0.1 -p {port}")).end().failure(1);
        assert_eq!(
            stderr,
            format!(
                "error: cannot connect to 127.0.0.1:{port}: connection refused. \
                 Is a broker running there? Start one with: midge"
            )
        );
    }
    let stderr = midge("pub -t a -m x -h no.such.host.invalid").end().failure(1);
    assert!(stderr.contains("cannot find the host 'no.such.host.invalid'"), "{stderr}");
}

/// Starts a server that sends one reply after each read, and then waits for the peer to close.
fn scripted_server(replies: &[&[u8]]) -> (u16, JoinHandle<()>) {
    let replies: Vec<_> = replies.iter().map(|reply| reply.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for reply in replies {
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(&reply).unwrap();
        }
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (port, server)
}

const CONNACK: &[u8] = b"\x20\x03\x00\x00\x00";

#[test]
fn explains_what_the_broker_refuses() {
    let cases: [(&str, &[&[u8]], &str); 8] = [
        (
            "pub -t a -m x",
            &[b"\x20\x0a\x00\x87\x07\x1f\x00\x04nope"],
            "refused the connection: Not authorized (0x87): nope. Check the user name",
        ),
        (
            "pub -t a -m x",
            &[b"\x20\x07\x00\x9d\x04\x1c\x00\x01h"],
            "It refers to h: connect there with -h",
        ),
        ("pub -t a -m x -q 1", &[CONNACK, b"\x40\x03\x00\x01\x97"], "Quota exceeded (0x97)"),
        ("pub -t a -m x -q 2", &[CONNACK, b"\x50\x03\x00\x01\x87"], "refused 1 message"),
        ("sub -t a", &[CONNACK, b"\x90\x04\x00\x01\x00\x87"], "refused every subscription"),
        ("sub -t a -t b -E", &[CONNACK, b"\x90\x05\x00\x01\x00\x00\x8f"], "'b' refused"),
        ("rr -t a -m x", &[CONNACK, b"\xe0\x02\x8e\x00"], "Session taken over (0x8E)"),
        (
            "rr -t a -m x",
            &[CONNACK, b"\xe0\x13\x87\x11\x1f\x00\x0eNot authorized"],
            "ended the connection: Not authorized (0x87). Check",
        ),
    ];
    for (arguments, replies, part) in cases {
        let (port, server) = scripted_server(replies);
        let stderr = midge(&format!("{arguments} -h 127.0.0.1 -p {port}")).end().failure(1);
        server.join().unwrap();
        assert!(stderr.contains(part), "{arguments}: {stderr}");
    }
}

#[test]
fn keeps_to_what_the_broker_allows() {
    for (connack, arguments, part) in [
        (&b"\x20\x05\x00\x00\x02\x24\x00"[..], "-q 1", "at most QoS 0: use -q 0"),
        (b"\x20\x05\x00\x00\x02\x25\x00", "-r", "leave out -r"),
        (b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x05", "", "takes at most 5"),
    ] {
        let (port, server) = scripted_server(&[connack]);
        let command = format!("pub -h 127.0.0.1 -p {port} -t a -m x {arguments}");
        let stderr = midge(&command).end().failure(1);
        server.join().unwrap();
        assert!(stderr.contains("cannot publish to 'a'") && stderr.contains(part), "{stderr}");
    }
}

#[test]
fn explains_that_something_else_listens() {
    for (reply, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "sent what is not MQTT"),
        (b"", "closed the connection without an answer to CONNECT"),
        (b"\x20\x02\x00", "closed the connection without an answer to CONNECT"),
        (b"\x20\x03\x00\x84\x00", "Try another version: -V 5, -V 311 or -V 31"),
        (b"\xd0\x00", "before the CONNACK"),
    ] {
        let (port, server) = scripted_server(&[reply]);
        let stderr = midge(&format!("pub -t a -m x -h 127.0.0.1 -p {port}")).end().failure(1);
        server.join().unwrap();
        assert!(stderr.contains(part), "{reply:?}: {stderr}");
    }
}
