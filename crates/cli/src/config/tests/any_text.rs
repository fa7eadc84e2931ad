//! Any text in a file, a variable or a flag gets an answer, never a panic.

use proptest::prelude::*;

use super::{file, load_text, variables};
use crate::config::flags::Flags;
use crate::config::{Loaded, Report, load};

/// A file that uses every construct.
const SEED: &str = r#"
[[listener]]
bind = "0.0.0.0:1883"
protocol = 'mqtt'
[[listener]]
bind = "[::]:8883"
protocol = "websocket"
tls = { certificate = ["a.pem", "b.pem"], key = ["a.key", "b.key"], client_ca = "c.pem" }
websocket.origins = ["https://a.b"]
proxy_protocol = "required"
proxy_protocol_from = ["10.0.0.0/8"]
[[listener]]
bind = "unix:a.sock"
[listener.unix]
mode = "0600"
[limits]
queue_messages_max = 5_000
retained_bytes_max = 0xFFFF
[shared_subscriptions]
strategy = "sticky"
backlog = true
[[rewrite]]
from = "a/+/#"
to = "b/$2/$1"
[[auto_subscribe]]
filter = "$share/g/${client_id}"
qos = 1
[log]
level = """info"""
"#;

/// Shows a result in every way, to see that none of them panics.
fn show(result: &Result<Loaded, Report>) {
    match result {
        Ok(loaded) => {
            assert!(loaded.effective.iter().all(|line| !line.name().is_empty()));
        }
        Err(report) => {
            let text = report.to_string();
            let is_quiet = |char: char| char == '\n' || !char.is_control();
            assert!(text.chars().all(is_quiet), "{text:?}");
            assert!(report.lines().all(|line| !line.chars().any(char::is_control)));
            let _ = report.json();
            assert!(report.len() > 0);
        }
    }
}

/// Replaces a stretch of the seed.
fn mutated() -> impl Strategy<Value = String> {
    let insert = prop_oneof![
        Just(String::new()),
        "\\PC{0,8}",
        "[\\[\\]{}=\"'#.\n,$]{1,4}",
        Just("\u{0}".to_string()),
        Just("99999999999999999999999999999999999999999999".to_string()),
        Just("1979-05-27T07:32:00Z".to_string()),
    ];
    let mutation = (any::<prop::sample::Index>(), 0..12_usize, insert);
    prop::collection::vec(mutation, 1..5).prop_map(|mutations| {
        let mut text: Vec<char> = SEED.chars().collect();
        for (start, length, insert) in mutations {
            let start = start.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, insert.chars());
        }
        text.into_iter().collect()
    })
}

#[test]
fn the_seed_is_right() {
    load_text(SEED).unwrap();
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        show(&load_text(&text));
    }

    #[test]
    fn a_damaged_file_is_answered(text in mutated()) {
        show(&load_text(&text));
    }

    #[test]
    fn any_variable_and_flag_is_answered(
        name in "MIDGE_[A-Z0-9_]{0,40}",
        section in "LISTENER_[0-9]{0,30}_BIND|LIMITS_QUEUE_MESSAGES_MAX|REWRITE_[01]_TO",
        value in any::<String>(),
        listen in prop::collection::vec("[0-9a-f.:\\[\\]*]{0,24}", 0..3),
    ) {
        let known = format!("MIDGE_{section}");
        let variables = variables(&[(&name, &value), (&known, &value)]);
        let flags = Flags { listen, workers: Some(value.clone()), ..Flags::default() };
        show(&load(file(SEED), &variables, &flags));
    }
}

#[test]
fn depth_and_length_are_survived() {
    show(&load_text(&format!("[limits]\nx = {}", "[".repeat(100_000))));
    show(&load_text(&format!("a{} = 1", ".a".repeat(100_000))));
    show(&load_text(&format!("{} = 1", "a".repeat(1_000_000))));
    show(&load_text(&"[[listener]]\n".repeat(2_000)));
    show(&load_text(&(0..5_000).map(|number| format!("k{number} = 1\n")).collect::<String>()));
}
