//! `midge store backup`: a copy of a data directory, also while a broker uses it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use midge_store::tools::{BackupOptions, backup};

use super::data::DataArgs;
use super::progress::ProgressLine;
use super::{EXIT_CODES, Failure, content};

const EXAMPLES: &str = "\
Examples:
  midge store backup /backup/midge-2026-11-21
  midge store backup --data /var/lib/midge /backup/midge-2026-11-21 --json

";

/// Copy a data directory, also while a broker uses it, and check the copy.
///
/// What was acknowledged as durable before the command began is in the copy. A broker can be
/// started on it. The target must be empty or not exist.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub(super) struct BackupArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The directory to copy to.
    target: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BackupArgs) -> Result<ExitCode, Failure> {
    let directory = args.data.directory()?;
    let mut line = ProgressLine::new();
    let options = BackupOptions::default();
    let checked = backup(&directory, &args.target, options, &mut |progress| line.tell(progress));
    drop(line);
    let checked = checked.map_err(|error| Failure::new(&error))?;
    let text = match args.json {
        true => content::json(&args.target, &checked),
        false => content::text(&args.target, &checked),
    };
    // It is no error if nobody reads the output.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Ok(if checked.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
