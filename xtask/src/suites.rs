//! The one test command: everything, in the order in which it fails fastest.
//!
//! A step that fails does not stop the next one, so that one run tells everything. If the build
//! fails, only what cannot work without it is left out. The last line is the sum.

use crate::{
    broker::Broker,
    clients::{self, Peer},
    failure::{Failure, Result},
    fuzz, install,
    process::{self, cargo},
    tally::{Reporter, Tally},
    tidy,
    transports::Transports,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// The Rust client's tests, which are a package outside the workspace.
const RUMQTTC: &str = "tests/rumqttc";

/// What carries MQTT, by the names that the conformance suite uses.
pub const TRANSPORTS: &[&str] = &["tcp", "tls", "ws", "wss", "quic"];

/// Which broker the conformance suite tests.
#[derive(Debug, Clone, Copy)]
pub enum Conformance<'a> {
    /// A broker in the process of each test, reached by this transport.
    InProcess(&'a str),
    /// The broker that runs at this address or URL.
    At(&'a str),
}

/// The features of the broker that an embedding program may choose; the binary has all of them.
const EMBEDDED_FEATURES: &[&str] = &["", "tls", "websocket", "quic"];

/// A run of the test command: what was done, and how it went.
#[derive(Debug)]
pub struct Run {
    root: PathBuf,
    target: PathBuf,
    steps: Vec<(String, Tally, f64)>,
}

impl Run {
    /// Makes a run in the repository at `root`, in which nothing has been done yet.
    ///
    /// # Errors
    /// Fails if cargo does not say where it builds.
    pub fn new(root: &Path) -> Result<Self> {
        let target = process::target_directory(root)?;
        Ok(Self { root: root.to_path_buf(), target, steps: Vec::new() })
    }

    /// Does everything: formatting, lints, tests, documentation, real clients, a short fuzz.
    ///
    /// # Errors
    /// Fails if something that the tests need cannot be installed.
    pub fn everything(&mut self) -> Result<()> {
        let clients = install::everything(&self.root, &self.target)?;
        self.quick_checks();
        if self.build() {
            self.rust_tests();
            // The tests of the workspace have run the suite over TCP.
            for transport in TRANSPORTS.iter().filter(|transport| **transport != "tcp") {
                self.conformance(Conformance::InProcess(transport));
            }
            self.against_midge(&clients, clients::NAMES, true)?;
        }
        self.documentation();
        self.fuzz(10)
    }

    /// Runs the checks that need no build, house rules and formatting, and then the lints.
    pub fn quick_checks(&mut self) {
        self.tidy();
        let mut format = cargo(&self.root);
        format.args(["fmt", "--all", "--check"]);
        self.step("formatting", Reporter::Check, format);
        let mut clippy = cargo(&self.root);
        clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
        self.step("clippy", Reporter::Check, clippy);
        for features in EMBEDDED_FEATURES {
            let mut clippy = cargo(&self.root);
            clippy.args(["clippy", "--package", "midge-broker", "--lib", "--features", features]);
            clippy.args(["--", "-D", "warnings"]);
            let name = if features.is_empty() { "none" } else { features };
            self.step(&format!("clippy midge-broker, features: {name}"), Reporter::Check, clippy);
        }
        self.packages_outside();
    }

    /// Checks formatting and lints of the packages that `--workspace` does not reach.
    fn packages_outside(&mut self) {
        for package in ["fuzz", RUMQTTC] {
            let manifest = format!("{package}/Cargo.toml");
            if self.root.join(&manifest).is_file() {
                let mut format = cargo(&self.root);
                format.args(["fmt", "--check", "--manifest-path", &manifest]);
                self.step(&format!("formatting {package}"), Reporter::Check, format);
            }
        }
        // The fuzz targets are left out: linting them would compile libFuzzer a second time.
        let mut clippy = cargo(&self.root);
        clippy.env("CARGO_TARGET_DIR", &self.target);
        clippy.args(["clippy", "--all-targets", "--manifest-path"]);
        clippy.arg(format!("{RUMQTTC}/Cargo.toml")).args(["--", "-D", "warnings"]);
        self.step(&format!("clippy {RUMQTTC}"), Reporter::Check, clippy);
    }

    /// Checks the house rules and prints each finding on a line.
    pub fn tidy(&mut self) {
        println!("== house rules");
        let began = Instant::now();
        let tally = match tidy::check(&self.root) {
            Ok(findings) => {
                findings.iter().for_each(|finding| println!("{finding}"));
                Tally { passed: usize::from(findings.is_empty()), failed: findings.len() }
            }
            Err(failure) => {
                println!("{failure}");
                Tally { passed: 0, failed: 1 }
            }
        };
        self.record("house rules", tally, began);
    }

    /// Builds all binaries and tests once, with the features that the next steps also use.
    fn build(&mut self) -> bool {
        let mut build = cargo(&self.root);
        build.args(["build", "--workspace", "--bins", "--tests"]);
        self.step("build", Reporter::Check, build).failed == 0
    }

    /// Builds the broker alone, as `cargo build` does. Returns whether that worked.
    pub fn build_broker(&mut self) -> bool {
        let mut build = cargo(&self.root);
        build.arg("build");
        self.step("build", Reporter::Check, build).failed == 0
    }

    fn rust_tests(&mut self) {
        let mut nextest = cargo(&self.root);
        nextest.args(["nextest", "run", "--workspace", "--profile", "ci"]);
        self.step("tests", Reporter::Nextest, nextest);
        let mut doctests = cargo(&self.root);
        doctests.args(["test", "--workspace", "--doc", "--quiet"]);
        self.step("documentation examples", Reporter::RustTest, doctests);
    }

    /// Runs the conformance suite.
    pub fn conformance(&mut self, how: Conformance<'_>) {
        let mut nextest = cargo(&self.root);
        nextest.args(["nextest", "run", "--package", "midge-conformance", "--profile", "ci"]);
        // Most of the suite's tests wait for an answer, and some for a second to pass.
        nextest.arg("--test-threads=6");
        let name = match how {
            Conformance::InProcess(transport) => {
                nextest.env("MIDGE_CONFORMANCE_TRANSPORT", transport);
                format!("conformance over {transport}")
            }
            Conformance::At(address) => {
                nextest.env("MIDGE_CONFORMANCE_ADDRESS", address);
                "conformance".to_owned()
            }
        };
        self.step(&name, Reporter::Nextest, nextest);
    }

    /// Runs the conformance suite over everything that carries MQTT.
    pub fn conformance_over_all(&mut self) {
        for transport in TRANSPORTS {
            self.conformance(Conformance::InProcess(transport));
        }
    }

    fn documentation(&mut self) {
        let mut documentation = cargo(&self.root);
        documentation.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        self.step("documentation", Reporter::Check, documentation);
    }

    /// Starts the `midge` that was built, runs the named suites against it and ends it.
    ///
    /// # Errors
    /// Fails if a suite does not exist or cannot be started.
    pub fn clients_against_midge(
        &mut self,
        clients: &install::Clients,
        names: &[&str],
    ) -> Result<()> {
        self.against_midge(clients, names, false)
    }

    /// Does as [`Run::clients_against_midge`], and with `conformance` runs the conformance suite as
    /// well: the workspace's tests run it only with a broker without a store.
    fn against_midge(
        &mut self,
        clients: &install::Clients,
        names: &[&str],
        conformance: bool,
    ) -> Result<()> {
        let (of_transports, others) = split(names);
        let binary = self.target.join("debug/midge");
        if conformance || !others.is_empty() {
            match Broker::midge(&binary, &self.target.join("clients")) {
                Ok(broker) => {
                    if conformance {
                        self.conformance(Conformance::At(&broker.address().to_string()));
                    }
                    let peer = Peer::new(broker.address().to_string(), "midge");
                    self.clients_against(broker, &peer, clients, &others)?;
                }
                Err(failure) => self.no_broker(&failure),
            }
        }
        if of_transports.is_empty() {
            return Ok(());
        }
        let transports = Transports::for_midge(&self.target.join("clients/transports"))?;
        let broker = Broker::midge_with_all_transports(&binary, &transports);
        self.transports_against(broker, &transports, "midge", clients, &of_transports)
    }

    /// Runs the suites about transports, if the broker has started.
    fn transports_against(
        &mut self,
        broker: Result<Broker>,
        transports: &Transports,
        name: &'static str,
        clients: &install::Clients,
        names: &[&str],
    ) -> Result<()> {
        match broker {
            Ok(broker) => {
                let file = Some(transports.file.clone());
                let peer =
                    Peer { transports: file, ..Peer::new(broker.address().to_string(), name) };
                self.clients_against(broker, &peer, clients, names)
            }
            Err(failure) => {
                self.no_broker(&failure);
                Ok(())
            }
        }
    }

    fn no_broker(&mut self, failure: &Failure) {
        println!("{failure}");
        self.record("broker starts", Tally { passed: 0, failed: 1 }, Instant::now());
    }

    /// Starts Debian's mosquitto and runs the named suites against it: a test of the suites.
    ///
    /// # Errors
    /// Fails if mosquitto cannot be found or started.
    pub fn clients_against_mosquitto(
        &mut self,
        clients: &install::Clients,
        names: &[&str],
    ) -> Result<()> {
        let program = process::find_program("mosquitto")
            .ok_or_else(|| Failure("mosquitto is installed but not found".into()))?;
        let (of_transports, others) = split(names);
        if !others.is_empty() {
            let broker = Broker::mosquitto(&program, &self.target.join("clients"))?;
            let peer = Peer::new(broker.address().to_string(), "mosquitto");
            self.clients_against(broker, &peer, clients, &others)?;
        }
        if of_transports.is_empty() {
            return Ok(());
        }
        let transports = Transports::for_mosquitto(&self.target.join("clients/transports"))?;
        let broker = Broker::mosquitto_with_all_transports(&program, &transports);
        self.transports_against(broker, &transports, "mosquitto", clients, &of_transports)
    }

    fn clients_against(
        &mut self,
        broker: Broker,
        peer: &Peer,
        clients: &install::Clients,
        names: &[&str],
    ) -> Result<()> {
        self.clients_at(peer, clients, names)?;
        let began = Instant::now();
        let stopped = broker.stop();
        if let Err(failure) = &stopped {
            println!("{failure}");
        }
        let passed = usize::from(stopped.is_ok());
        self.record("broker ends on SIGTERM", Tally { passed, failed: 1 - passed }, began);
        Ok(())
    }

    /// Runs the named suites against the broker at the peer's address.
    ///
    /// # Errors
    /// Fails if a suite does not exist or cannot be started.
    pub fn clients_at(
        &mut self,
        peer: &Peer,
        clients: &install::Clients,
        names: &[&str],
    ) -> Result<()> {
        for name in names {
            let (command, reporter) =
                clients::suite(name, &self.root, &self.target, clients, peer)?;
            self.step(&format!("real clients: {name}"), reporter, command);
        }
        Ok(())
    }

    /// Runs every fuzz target for some seconds.
    ///
    /// # Errors
    /// Fails if a target cannot be started.
    pub fn fuzz(&mut self, seconds: u32) -> Result<()> {
        println!("== building the fuzz targets");
        let began = Instant::now();
        let targets = match fuzz::Targets::build(&self.root, &self.target) {
            Ok(targets) => targets,
            Err(failure) => {
                println!("{failure}");
                self.record("fuzz targets build", Tally { passed: 0, failed: 1 }, began);
                return Ok(());
            }
        };
        for name in &targets.names {
            let run = targets.run(name, seconds)?;
            self.step(&format!("fuzz {name}, {seconds} s"), Reporter::Check, run);
        }
        Ok(())
    }

    /// Checks licences, sources and bans of the dependencies with cargo-deny.
    ///
    /// # Errors
    /// Fails if cargo-deny is not installed.
    pub fn dependencies(&mut self) -> Result<()> {
        if process::find_program("cargo-deny").is_none() {
            return Err(Failure("cargo-deny is missing: cargo install cargo-deny --locked".into()));
        }
        let mut deny = cargo(&self.root);
        deny.args(["deny", "check", "licenses", "bans", "sources"]);
        self.step("dependencies", Reporter::Check, deny);
        Ok(())
    }

    fn step(&mut self, name: &str, reporter: Reporter, command: Command) -> Tally {
        println!("== {name}");
        let began = Instant::now();
        let tally = match process::run(command) {
            Ok(finished) => Tally::of(reporter, &finished),
            Err(failure) => {
                println!("{failure}");
                Tally { passed: 0, failed: 1 }
            }
        };
        self.record(name, tally, began);
        tally
    }

    fn record(&mut self, name: &str, tally: Tally, began: Instant) {
        self.steps.push((name.to_owned(), tally, began.elapsed().as_secs_f64()));
    }

    /// Prints a line for each step and the sum as the last line. Returns whether everything passed.
    #[must_use]
    pub fn close(&self) -> bool {
        let mut sum = Tally::default();
        println!("\n{:>7} {:>7} {:>8}", "passed", "failed", "seconds");
        for (name, tally, seconds) in &self.steps {
            println!("{:>7} {:>7} {seconds:>8.1}  {name}", tally.passed, tally.failed);
            sum.add(*tally);
        }
        println!("\n{} passed, {} failed", sum.passed, sum.failed);
        sum.failed == 0 && sum.passed > 0
    }
}

/// Returns the suites that need a broker with every transport, and the others.
fn split<'a>(names: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    names.iter().partition(|name| clients::OF_TRANSPORTS.contains(name))
}
