//! The real-client suites: Python, Node, mosquitto's own clients, and a Rust client.
//!
//! Each suite gets the broker's address as `MIDGE_TEST_ADDRESS` and knows nothing else about it, so
//! that the same suites run against any broker: `cargo xtask clients --address HOST:PORT`. The
//! suites about transports get a file that says where each listener is (see [`crate::transports`]).

use crate::{
    failure::{Failure, Result},
    install::Clients,
    process::{cargo, command},
    tally::Reporter,
    transports::FILE_VARIABLE,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The variable with the broker's address.
pub const ADDRESS_VARIABLE: &str = "MIDGE_TEST_ADDRESS";
/// The variable that tells the suites which other broker they talk to, for its known differences.
pub const PEER_VARIABLE: &str = "MIDGE_TEST_PEER";

/// The names of the suites, in the order in which they run.
pub const NAMES: &[&str] =
    &["mosquitto", "bridge", "python", "node", "rumqttc", "transports", "browser"];
/// The suites that need a broker with listeners of every kind; the others need one address.
pub const OF_TRANSPORTS: &[&str] = &["transports", "browser"];

/// The broker that the suites talk to.
#[derive(Debug, Clone)]
pub struct Peer {
    /// `host:port`.
    pub address: String,
    /// `midge`, or the broker whose known differences are expected.
    pub name: &'static str,
    /// The file that describes the broker's listeners, for the suites about transports.
    pub transports: Option<PathBuf>,
}

impl Peer {
    /// Describes the broker at `address`, of which nothing else is known.
    pub fn new(address: impl Into<String>, name: &'static str) -> Self {
        Self { address: address.into(), name, transports: None }
    }
}

/// Returns the command that runs the suite `name`, and how to read its output.
///
/// # Errors
/// Fails if there is no such suite, or if its test files cannot be listed.
pub fn suite(
    name: &str,
    root: &Path,
    target: &Path,
    clients: &Clients,
    peer: &Peer,
) -> Result<(Command, Reporter)> {
    let directory = root.join("tests/clients").join(name);
    let (mut command, reporter) = match name {
        "python" | "mosquitto" | "bridge" | "transports" => {
            (pytest(&clients.python, &directory), Reporter::Pytest)
        }
        "node" | "browser" => (node_test(clients, &directory)?, Reporter::Node),
        "rumqttc" => (rumqttc(root, target), Reporter::Nextest),
        _ => {
            let known = NAMES.join(", ");
            return Err(Failure(format!("there is no client suite {name:?}; there are {known}")));
        }
    };
    command.env(ADDRESS_VARIABLE, &peer.address).env(PEER_VARIABLE, peer.name);
    match &peer.transports {
        Some(transports) => {
            command.env(FILE_VARIABLE, transports);
        }
        None if OF_TRANSPORTS.contains(&name) => {
            return Err(Failure(format!("the suite {name:?} starts a broker of its own")));
        }
        None => {}
    }
    Ok((command, reporter))
}

fn pytest(python: &Path, directory: &Path) -> Command {
    let mut command = command(python, directory);
    // The tree stays as git knows it, without caches beside the tests.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "."]);
    command
}

fn node_test(clients: &Clients, directory: &Path) -> Result<Command> {
    let mut command = command("node", directory);
    command.env("NODE_PATH", &clients.node_modules);
    command.args(["--test", "--test-reporter=spec"]).args(node_files(directory)?);
    Ok(command)
}

fn node_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Failure::because(directory.display(), error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.to_string_lossy().ends_with(".test.js") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The Rust client is a package outside the workspace: its runtime must not get into our lock file.
fn rumqttc(root: &Path, target: &Path) -> Command {
    let mut command = cargo(root);
    command.env("CARGO_TARGET_DIR", target);
    command.args(["nextest", "run", "--profile", "ci"]);
    command.args(["--config-file", ".config/nextest.toml"]);
    command.args(["--manifest-path", "tests/rumqttc/Cargo.toml"]);
    command
}
