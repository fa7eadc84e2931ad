//! The client commands `midge pub`, `midge sub` and `midge rr`, in the manner of mosquitto_pub,
//! mosquitto_sub and mosquitto_rr, and `midge stats`.
//!
//! Each command is a module: arguments in, exit code out, and in between straight-line code over a
//! [`driver`], which joins the sans-IO [`session`] to a [`connection`]. Nothing here depends on
//! Midge's broker: the commands work with any.

mod args;
mod connection;
mod driver;
mod error;
mod format;
mod json;
mod lines;
mod message;
pub(crate) mod mosquitto;
mod output_args;
mod payload;
mod printer;
mod property;
pub(crate) mod publish;
mod publisher;
mod random;
mod reason;
mod reconnect;
pub(crate) mod request;
mod session;
mod signals;
mod source;
pub(crate) mod statistics;
pub(crate) mod subscribe;
mod subscriber;
mod terminal;

use std::process::ExitCode;

use error::ClientError;
use terminal::Terminal;

/// Tells the user why a command ended early, and returns its exit code.
fn finish(outcome: Result<(), ClientError>, terminal: Terminal) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    match &error {
        ClientError::Usage(message) => terminal.usage_error(message),
        error if error.is_silent() => {}
        error => terminal.error(&error.to_string()),
    }
    ExitCode::from(error.exit_code())
}
