//! `midge store import`: a data directory of the lines of an export.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use midge_core::{Timestamp, counted};
use midge_store::Options;
use midge_store::tools::import;

use super::data::DataArgs;
use super::progress::ProgressLine;
use super::{EXIT_CODES, Failure};

const EXAMPLES: &str = "\
Examples:
  midge store import --data /var/lib/midge everything.jsonl
  gunzip -c everything.jsonl.gz | midge store import --data /var/lib/midge -

";

/// Make a data directory of an export.
///
/// It must be empty or not exist. Either everything is in it at the end, or nothing.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub(super) struct ImportArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What `midge store export` has written; - is standard input.
    file: PathBuf,
}

pub(super) fn run(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let directory = args.data.directory()?;
    let mut input = open(&args.file)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = Timestamp::from_millis(u64::try_from(now).unwrap_or(u64::MAX));
    let mut line = ProgressLine::new();
    let options = Options::default();
    let imported =
        import(&directory, &mut input, options, now, &mut |progress| line.tell(progress));
    drop(line);
    let imported = imported.map_err(|error| Failure::new(&error))?;
    println!(
        "{}: {}, {}, {}, {}",
        directory.display(),
        counted(imported.sessions, "Session"),
        counted(imported.groups, "shared subscription"),
        counted(imported.queued_messages, "queued message"),
        counted(imported.kept_messages, "retained or delayed one"),
    );
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, io::stdin())));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::with_capacity(1 << 16, file))),
        Err(error) => Err(Failure::new(&format!("{}: {error}", path.display()))),
    }
}
