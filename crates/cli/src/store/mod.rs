//! The command `midge store`: what can be done with a data directory besides running a broker on
//! it. `midge-store` does the work; arguments, messages and exit codes are here.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod backup;
mod check;
mod content;
mod data;
mod export;
mod import;
mod progress;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use midge_store::OpenError;

/// What every subcommand says about its end.
const EXIT_CODES: &str = "Exit codes: 0 it is done and nothing is damaged; 1 it could not be done, \
                          or something is damaged; 2 wrong usage or configuration.";

/// Check, export, import or back up a data directory.
#[derive(Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum StoreCommand {
    Check(check::CheckArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Backup(backup::BackupArgs),
}

/// Runs `midge store`.
pub(crate) fn run(args: &StoreArgs) -> ExitCode {
    let result = match &args.command {
        StoreCommand::Check(args) => check::run(args),
        StoreCommand::Export(args) => export::run(args),
        StoreCommand::Import(args) => import::run(args),
        StoreCommand::Backup(args) => backup::run(args),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Configuration) => ExitCode::from(crate::config::EXIT_WRONG_CONFIGURATION),
        Err(Failure::Message(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Why a subcommand could not do its work.
enum Failure {
    /// The configuration is wrong, which was reported already.
    Configuration,
    Message(String),
}

impl Failure {
    fn new(message: &impl ToString) -> Self {
        Self::Message(message.to_string())
    }

    /// Explains why the data directory could not be opened. `what` is the verb for what the user
    /// wanted to do with it.
    fn to_open(error: &OpenError, what: &str) -> Self {
        Self::Message(match error {
            OpenError::Locked { directory } => format!(
                "a broker is using {directory}: stop it, or make a backup while it runs (midge \
                 store backup) and {what} that"
            ),
            other => other.to_string(),
        })
    }
}
