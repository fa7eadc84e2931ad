//! The command `midge import`: a midge.toml from a mosquitto.conf.
//!
//! Lines are read by [`source`], understood by [`meaning`], worked out in a [`draft`] and written
//! by [`output`]. What comes out never lets in more than mosquitto did; what cannot be said in a
//! midge.toml is a comment in it, with the line that it is from. Nothing here starts a broker or
//! reads the files that a mosquitto.conf only names.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod access;
mod draft;
mod listener;
mod meaning;
mod output;
mod source;
#[cfg(test)]
mod tests;
mod without_effect;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use draft::Draft;
use output::Imported;

const HELP: &str = "\
Examples:
  midge import /etc/mosquitto/mosquitto.conf
  midge import /etc/mosquitto/mosquitto.conf --output midge.toml
  midge import mosquitto.conf --strict --json | jq '.notes[]'

Exit codes: 0 it is done; 1 a file cannot be read or written, or with --strict, lines are left; 2 \
wrong usage.";

/// Make a midge.toml of a mosquitto.conf.
///
/// Lines that have no equivalent are comments in it, with what to do instead. Files that it
/// includes are read; those that it only names, such as certificates, stay where they are.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct ImportArgs {
    /// The configuration of mosquitto 2.0 or 2.1.
    file: PathBuf,
    /// Write to this file instead of to standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file of --output if there is one.
    #[arg(long, requires = "output")]
    force: bool,
    /// Print one JSON object that says what has become of the lines.
    #[arg(long)]
    json: bool,
    /// End with exit code 1 if a line has no equivalent.
    #[arg(long)]
    strict: bool,
}

/// Runs `midge import`.
pub(crate) fn run(args: &ImportArgs) -> ExitCode {
    match import(args) {
        Ok(imported) if args.strict && imported.left() > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn import(args: &ImportArgs) -> Result<Imported, String> {
    let lines = source::read(&args.file)?;
    let imported = Imported::of(Draft::of(&lines), &args.file.to_string_lossy());
    if let Some(path) = &args.output {
        write(path, &imported.toml, args.force)?;
    }
    let output = args.output.as_ref().map(|path| path.to_string_lossy());
    if args.json {
        print(&format!("{}\n", imported.json(output.as_deref())));
    } else {
        if output.is_none() {
            print(&imported.toml);
        }
        eprintln!("{}", imported.summary());
    }
    Ok(imported)
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(!force).create(true).truncate(true);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{} is there already and stays as it is: name another file, or add --force to replace \
             it",
            path.display()
        ),
        _ => format!("{}: {error}", path.display()),
    })
}

/// Prints to standard output. It is no error if nobody reads it.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
