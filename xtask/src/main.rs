//! `cargo xtask`: the commands of the repository, from its command line.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to its user")]

use std::process::ExitCode;
use xtask::{
    clients::{self, Peer},
    failure::{Failure, Result},
    install, process,
    suites::{Conformance, Run, TRANSPORTS},
};

const USAGE: &str = "\
cargo xtask test              install what the tests need, then run all of them
cargo xtask tidy              only the house rules
cargo xtask check             house rules, formatting and lints
cargo xtask clients [SUITE]   the real-client suites (mosquitto, bridge, python, node, rumqttc,
                              transports, browser) against the broker, which is built first
    --address HOST:PORT       ... against a broker that is already running
    --mosquitto               ... against Debian's mosquitto: a test of the suites themselves
cargo xtask conformance       a test for each normative statement, against a broker in the process,
                              over TCP, TLS, WebSocket, both, and QUIC
    --transport NAME          ... over one of them: tcp, tls, ws, wss or quic
    --address URL             ... against a broker that is already running: HOST:PORT, mqtts://...
cargo xtask fuzz [SECONDS]    every fuzz target, 60 seconds each unless told otherwise
cargo xtask ci                test, and the licences and sources of all dependencies (cargo-deny)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Result<bool> {
    let root = xtask::root();
    let mut run = Run::new(&root)?;
    match words {
        ["test"] => run.everything()?,
        ["tidy"] => run.tidy(),
        ["check"] => run.quick_checks(),
        ["clients", rest @ ..] => run_clients(&mut run, rest)?,
        ["conformance"] => run.conformance_over_all(),
        ["conformance", "--transport", name] if TRANSPORTS.contains(name) => {
            run.conformance(Conformance::InProcess(name));
        }
        ["conformance", "--address", address] => run.conformance(Conformance::At(address)),
        ["fuzz"] => run.fuzz(60)?,
        ["fuzz", seconds] => run.fuzz(parse_seconds(seconds)?)?,
        ["ci"] => {
            run.everything()?;
            run.dependencies()?;
        }
        _ => return Err(Failure(format!("which command?\n\n{USAGE}"))),
    }
    Ok(run.close())
}

fn parse_seconds(word: &str) -> Result<u32> {
    word.parse().map_err(|_| Failure(format!("{word:?} is no number of seconds\n\n{USAGE}")))
}

fn run_clients(run: &mut Run, words: &[&str]) -> Result<()> {
    let root = xtask::root();
    let installed = install::clients(&root, &process::target_directory(&root)?)?;
    match words {
        ["--address", address, names @ ..] => {
            let peer = Peer::new(*address, "unknown");
            let all: Vec<_> = suites(names).to_vec();
            let asked = all
                .into_iter()
                .filter(|name| !names.is_empty() || !clients::OF_TRANSPORTS.contains(name));
            run.clients_at(&peer, &installed, &asked.collect::<Vec<_>>())
        }
        ["--mosquitto", names @ ..] => run.clients_against_mosquitto(&installed, suites(names)),
        names if run.build_broker() => run.clients_against_midge(&installed, suites(names)),
        _ => Ok(()),
    }
}

/// Returns the suites that were named, or all.
fn suites<'a>(names: &'a [&'a str]) -> &'a [&'a str] {
    if names.is_empty() { clients::NAMES } else { names }
}
