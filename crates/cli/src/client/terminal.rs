//! What a client command tells its user besides the messages: on standard error, in colour only if
//! that is a terminal.

use std::io::{self, IsTerminal, Write};

/// Where errors, warnings and `-d` go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    quiet: bool,
    colour: bool,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const GREY: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

impl Terminal {
    /// With `quiet`, errors and warnings of the run are not printed.
    pub(crate) fn new(quiet: bool) -> Self {
        let colour = io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { quiet, colour }
    }

    /// An error of the command line, which `--quiet` does not silence.
    pub(crate) fn usage_error(self, message: &str) {
        self.write(RED, "error: ", message);
        self.write("", "", "\nFor more information, try '--help'.");
    }

    pub(crate) fn error(self, message: &str) {
        if !self.quiet {
            self.write(RED, "error: ", message);
        }
    }

    pub(crate) fn warning(self, message: &str) {
        if !self.quiet {
            self.write(YELLOW, "warning: ", message);
        }
    }

    pub(crate) fn debug(self, message: &str) {
        if self.colour {
            self.write(GREY, message, "");
        } else {
            self.write("", message, "");
        }
    }

    /// Writes a line. There is nobody to tell that standard error cannot be written.
    fn write(self, colour: &str, start: &str, rest: &str) {
        let mut stderr = io::stderr().lock();
        let _ = if self.colour {
            writeln!(stderr, "{colour}{start}{RESET}{rest}")
        } else {
            writeln!(stderr, "{start}{rest}")
        };
    }
}
