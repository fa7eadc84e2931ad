//! `midge store export`: everything that a store keeps as lines of JSON.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use midge_store::tools::{ExportError, Exported, ReadOnlyDisk, export, is_inside};

use super::data::DataArgs;
use super::progress::ProgressLine;
use super::{EXIT_CODES, Failure, content};

const EXAMPLES: &str = "\
Examples:
  midge store export --output everything.jsonl
  midge store export --output everything.jsonl --force
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
    /// Replace the file of --output if there is one.
    #[arg(long, requires = "output")]
    force: bool,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, Failure> {
    let directory = args.data.directory()?;
    if let Some(path) = &args.output {
        refuse_inside(path, &directory)?;
    }
    let disk = ReadOnlyDisk::open(&directory);
    let disk = disk.map_err(|error| Failure::to_open(&error, "export"))?;
    let exported = match &args.output {
        Some(path) => to_file(disk, path, args.force)?,
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

/// Refuses an output file in the data directory: it would replace a file of the store, or lie among
/// its files. Both the name that the file gets and the file that has the name already count.
fn refuse_inside(path: &Path, directory: &Path) -> Result<(), Failure> {
    // `ReadOnlyDisk` says what is wrong with the directory.
    let Ok(directory) = directory.canonicalize() else { return Ok(()) };
    let is_refused = || -> io::Result<bool> {
        let path = std::path::absolute(path)?;
        let place = path.parent().unwrap_or(&path);
        Ok(is_inside(place, &directory)? || is_inside(&path, &directory)?)
    };
    if !is_refused().map_err(|error| Failure::new(&format!("{}: {error}", path.display())))? {
        return Ok(());
    }
    Err(Failure::new(&format!(
        "{} is in the data directory, where only the store's own files belong: name a file outside \
         of it",
        path.display()
    )))
}

/// Exports to a file. The file gets its name only when it is complete, and replaces another file
/// only with `force`. A device or a pipe is written to directly.
fn to_file(disk: ReadOnlyDisk, path: &Path, force: bool) -> Result<Exported, Failure> {
    let failed = |error: io::Error| Failure::new(&format!("{}: {error}", path.display()));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(Failure::new(&format!("{}: it is a directory", path.display())));
        }
        Ok(found) if !found.is_file() => {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return to(disk, &mut BufWriter::with_capacity(1 << 16, file));
        }
        Ok(_) if !force => return Err(exists(path)),
        _ => (),
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let unfinished = path.with_file_name(name);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&unfinished);
    let written = write(disk, file.map_err(failed)?).and_then(|exported| {
        take_name(&unfinished, path, force)?;
        Ok(exported)
    });
    let _ = fs::remove_file(&unfinished);
    written
}

/// Gives a finished file its name. Without `force`, a file that has appeared there meanwhile stays.
fn take_name(unfinished: &Path, path: &Path, force: bool) -> Result<(), Failure> {
    let taken = match force {
        true => fs::rename(unfinished, path),
        false => fs::hard_link(unfinished, path).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            // The file system has no hard links.
            _ => fs::rename(unfinished, path),
        }),
    };
    taken.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::new(&format!("{}: {error}", path.display())),
    })
}

fn exists(path: &Path) -> Failure {
    Failure::new(&format!(
        "{} is there already and stays as it is: name another file, or add --force to replace it",
        path.display()
    ))
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
