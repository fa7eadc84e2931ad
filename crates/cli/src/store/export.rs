//! `midge store export`: everything that a store keeps as lines of JSON.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use midge_store::tools::{ExportError, Exported, ReadOnlyDisk, export};

use super::data::DataArgs;
use super::progress::ProgressLine;
use super::{EXIT_CODES, Failure, content};

const EXAMPLES: &str = "\
Examples:
  midge store export --output everything.jsonl
  midge store export --data /var/lib/midge | gzip > everything.jsonl.gz
  midge store export | jq -r 'select(.kind == \"session\") | .client_id'

";

/// Write everything that a data directory keeps as lines of JSON.
///
/// No broker may be using it: export a backup while one runs. What cannot be read is left out and
/// reported.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("{EXAMPLES}{EXIT_CODES}"))]
pub(super) struct ExportArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Write to this file, for nobody else to read, instead of to standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let directory = args.data.directory()?;
    let disk = ReadOnlyDisk::open(&directory);
    let disk = disk.map_err(|error| Failure::to_open(&error, "export"))?;
    let exported = match &args.output {
        Some(path) => to_file(disk, path)?,
        None => to(disk, &mut BufWriter::with_capacity(1 << 16, io::stdout().lock()))?,
    };
    if exported.is_whole() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    content::push_report(&mut text, "", &exported.damage);
    content::push_report(&mut text, "lost: ", &exported.lost);
    eprint!("{text}");
    eprintln!("{} is damaged; what can be read is in the export", directory.display());
    Ok(ExitCode::FAILURE)
}

/// The file has its name only when everything is in it.
fn to_file(disk: ReadOnlyDisk, path: &Path) -> Result<Exported, Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    let failed = |error: io::Error| Failure::new(&format!("{}: {error}", path.display()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&unfinished).map_err(failed)?;
    let written = write(disk, file).and_then(|exported| {
        fs::rename(&unfinished, path).map_err(failed)?;
        Ok(exported)
    });
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write(disk: ReadOnlyDisk, file: File) -> Result<Exported, Failure> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let exported = to(disk, &mut out)?;
    out.get_ref().sync_all().map_err(|error| Failure::new(&ExportError::Write(error)))?;
    Ok(exported)
}

fn to(disk: ReadOnlyDisk, out: &mut dyn Write) -> Result<Exported, Failure> {
    let mut line = ProgressLine::new();
    export(Arc::new(disk), out, &mut |progress| line.tell(progress))
        .map_err(|error| Failure::new(&error))
}
