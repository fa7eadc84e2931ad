//! The `midge` binary: reads the command line and hands over to one command.
//!
//! Each command is a module with its own arguments and a `run` that returns the exit code. This
//! file must never hold more of a command than its name.

mod bench;
mod client;
mod config;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Midge: an MQTT broker, and the clients that go with it.
#[derive(Debug, Parser)]
#[command(name = "midge", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pub(client::publish::PublishArgs),
    Sub(client::subscribe::SubscribeArgs),
    Rr(client::request::RequestArgs),
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Pub(args) => client::publish::run(&args),
        Command::Sub(args) => client::subscribe::run(&args),
        Command::Rr(args) => client::request::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}
