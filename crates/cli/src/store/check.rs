//! `midge store check`: reads everything and reports what is damaged.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use midge_store::tools::{ReadOnlyDisk, check};

use super::data::DataArgs;
use super::progress::ProgressLine;
use super::{EXIT_CODES, Failure, content};

const EXAMPLES: &str = "\
Examples:
  midge store check
  midge store check --data /var/lib/midge --json

";

/// Read everything in a data directory and tell what is damaged; change nothing.
///
/// No broker may be using it: check a backup while one runs.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub(super) struct CheckArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let directory = args.data.directory()?;
    let failed = |error| Failure::to_open(&error, "check");
    let disk = ReadOnlyDisk::open(&directory).map_err(failed)?;
    let mut line = ProgressLine::new();
    let checked = check(Arc::new(disk), &mut |progress| line.tell(progress)).map_err(failed)?;
    drop(line);
    let text = match args.json {
        true => content::json(&directory, &checked),
        false => content::text(&directory, &checked),
    };
    // It is no error if nobody reads the output.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Ok(if checked.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
