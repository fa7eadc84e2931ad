//! Where the benchmark speaks: results to standard output, progress and errors to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::args::BenchArgs;
use super::error::BenchError;

/// How often progress is shown if the caller has no clock of its own.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Prints the result. It is no error if nobody reads it.
pub(crate) fn result(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints why the benchmark failed.
pub(crate) fn error(error: &BenchError) {
    eprintln!("midge bench: {error}");
}

/// Shows how far the run is: on one line of a terminal, or line by line with `--progress`.
pub(crate) fn progress(args: &BenchArgs, elapsed: Duration, verb: &str, count: u64) {
    let seconds = elapsed.as_secs_f64();
    let scenario = args.scenario.name();
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{scenario}: {seconds:.1} s, {count} {verb}");
    } else if args.progress {
        eprintln!("{scenario}: {seconds:.1} s, {count} {verb}");
    }
}

/// Shows how far the run is, unless it did so a moment ago.
pub(crate) fn progress_sometimes(args: &BenchArgs, shown: &mut Instant, verb: &str, count: u64) {
    if shown.elapsed() >= PROGRESS_INTERVAL {
        progress(args, shown.elapsed(), verb, count);
        *shown = Instant::now();
    }
}

/// Removes the progress line.
pub(crate) fn end_progress() {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
