//! The command `midge config`: checks, shows and explains the configuration, and starts nothing.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use midge_core::counted;
use serde_json::json;

use super::accounts;
use super::certificates::{self, Findings};
use super::effect_warnings;
use super::flags::Flags;
use super::problem::{Origin, Report, printable};
use super::reference;
use super::resolved::Resolved;
use super::schema::{Schema, Section};
use super::{Loaded, Sources};

/// The exit code for a wrong configuration.
pub(crate) const EXIT_WRONG_CONFIGURATION: u8 = 2;

/// Check, show and explain the configuration.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ConfigCommand {
    Check(CheckArgs),
    Show(ShowArgs),
    Reference(ReferenceArgs),
}

/// Tell every error of a configuration: of the file, of the environment, and of the certificate
/// files that they name.
///
/// Exit code 0: there is none; 2: there are some.
#[derive(Args, Clone, Debug)]
struct CheckArgs {
    /// The file; without it the one that a broker started here would read.
    file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Print the configuration that a broker started here would have, and where each value is from.
///
/// The data directory and the number of workers are those that the broker would use.
#[derive(Args, Clone, Debug)]
struct ShowArgs {
    #[command(flatten)]
    flags: Flags,
}

/// Print a configuration file with every key, its meaning and its default.
#[derive(Args, Clone, Debug)]
struct ReferenceArgs {
    /// Print the page of the documentation instead.
    #[arg(long)]
    markdown: bool,
}

/// Runs `midge config`.
pub(crate) fn run(args: &ConfigArgs) -> ExitCode {
    match &args.command {
        ConfigCommand::Check(args) => check(args),
        ConfigCommand::Show(args) => show(args),
        ConfigCommand::Reference(args) => {
            let schema = Schema::new();
            print(&if args.markdown {
                reference::markdown(&schema)
            } else {
                reference::toml(&schema)
            });
            ExitCode::SUCCESS
        }
    }
}

/// Tells the user what is wrong, and what follows from it.
pub(crate) fn print_report(report: &Report, consequence: &str) {
    let errors = counted(report.len(), "error");
    eprintln!("{report}\n{errors} in the configuration{consequence}");
}

fn check(args: &CheckArgs) -> ExitCode {
    let sources = Sources::of_process(&Flags { config: args.file.clone(), ..Flags::default() });
    let result = sources.load().and_then(|loaded| {
        let Findings { problems, mut warnings } = certificates::look(&loaded);
        warnings.extend(accounts::warnings(&loaded));
        warnings.extend(effect_warnings::warnings(&loaded));
        if problems.is_empty() { Ok(warnings) } else { Err(Report::new(loaded.file, problems)) }
    });
    let path = sources.path().map(|path| path.display().to_string());
    if args.json {
        let errors = result.as_ref().err().map(Report::json).unwrap_or_default();
        let warnings = result.as_ref().ok().cloned().unwrap_or_default();
        let ok = result.is_ok();
        let answer = json!({ "file": path, "ok": ok, "errors": errors, "warnings": warnings });
        print(&format!("{answer}\n"));
    }
    match result {
        Ok(_) if args.json => ExitCode::SUCCESS,
        Ok(warnings) => {
            warnings.iter().for_each(|warning| eprintln!("warning: {}", printable(warning)));
            match path {
                Some(path) => print(&format!("{}: no errors\n", printable(&path))),
                None => print("there is no file; the defaults and the environment: no errors\n"),
            }
            ExitCode::SUCCESS
        }
        Err(report) => {
            if !args.json {
                print_report(&report, "");
            }
            ExitCode::from(EXIT_WRONG_CONFIGURATION)
        }
    }
}

fn show(args: &ShowArgs) -> ExitCode {
    match Sources::of_process(&args.flags).load() {
        Ok(loaded) => {
            print(&effective(&loaded));
            ExitCode::SUCCESS
        }
        Err(report) => {
            print_report(&report, "");
            ExitCode::from(EXIT_WRONG_CONFIGURATION)
        }
    }
}

/// Writes the effective configuration as a file, with the origin of each value behind it.
fn effective(loaded: &Loaded) -> String {
    let schema = Schema::new();
    let mut text = String::new();
    let mut last = None;
    for line in &loaded.effective {
        let header = schema.section(line.section).map(Section::header);
        if last.replace((line.section, line.index)) != Some((line.section, line.index)) {
            let separator = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{separator}{}", header.unwrap_or_default());
        }
        let Resolved { value, origin, remark } = Resolved::of(line, loaded);
        let setting = match (value, remark) {
            (Some(value), _) => format!("{} = {value}", line.key),
            (None, None) => format!("# {} is not set", line.key),
            (None, Some(_)) => format!("# {} is not used", line.key),
        };
        let origin = origin_in_words(&origin, loaded);
        let remark = remark.map(|remark| format!(", {remark}")).unwrap_or_default();
        let _ = writeln!(text, "{setting:<48} # {}{remark}", printable(&origin));
    }
    text
}

fn origin_in_words(origin: &Origin, loaded: &Loaded) -> String {
    match (origin, &loaded.file) {
        (Origin::File(span), Some(file)) => {
            format!("{}:{}", file.path, file.position(span.start).line)
        }
        (Origin::Environment(name), _) => name.clone(),
        (Origin::Flag(name), _) => (*name).to_string(),
        _ => "default".to_string(),
    }
}

/// Prints to standard output. It is no error if nobody reads it.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
