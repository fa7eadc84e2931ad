//! The `midge` binary: reads the command line and hands over to one command.
//!
//! Each command is a module with its own arguments and a `run` that returns the exit code. This
//! file must never hold more of a command than its name.

mod allocator;
mod bench;
mod certs;
mod client;
mod config;
mod endpoint;
mod import;
mod logger;
mod passwd;
mod serve;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Midge: an MQTT broker, and the clients that go with it.
///
/// Without a command it starts a broker, as `midge serve` does.
#[derive(Debug, Parser)]
#[command(name = "midge", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Config(config::command::ConfigArgs),
    Pub(client::publish::PublishArgs),
    Sub(client::subscribe::SubscribeArgs),
    Rr(client::request::RequestArgs),
    Stats(client::statistics::StatisticsArgs),
    Bench(bench::BenchArgs),
    Store(store::StoreArgs),
    Certs(certs::CertsArgs),
    Passwd(passwd::PasswdArgs),
    Import(import::ImportArgs),
}

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            let command = std::env::args_os().nth(1);
            if client::mosquitto::explain(command.as_ref().and_then(|name| name.to_str()), &error) {
                return ExitCode::from(2);
            }
            error.exit()
        }
    };
    match command_line.command {
        None => serve::run(&command_line.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Config(args)) => config::command::run(&args),
        Some(Command::Pub(args)) => client::publish::run(&args),
        Some(Command::Sub(args)) => client::subscribe::run(&args),
        Some(Command::Rr(args)) => client::request::run(&args),
        Some(Command::Stats(args)) => client::statistics::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Store(args)) => store::run(&args),
        Some(Command::Certs(args)) => certs::run(&args),
        Some(Command::Passwd(args)) => passwd::run(&args),
        Some(Command::Import(args)) => import::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_command_has_two_arguments_of_one_name() {
        super::CommandLine::command().debug_assert();
    }
}
