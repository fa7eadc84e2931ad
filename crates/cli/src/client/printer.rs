//! Messages on standard output, buffered until a command has nothing else to do.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use jiff::Zoned;

use super::error::ClientError;
use super::format::Template;
use super::message::Message;
use super::terminal::Terminal;

const BUFFER_BYTES: usize = 64 * 1024;

/// Writes messages in one format.
pub(crate) struct Printer {
    template: Template,
    newline: bool,
    /// Whether an empty payload prints nothing, not even an empty line. This is so without a
    /// format.
    skips_empty: bool,
    line: Vec<u8>,
    out: BufWriter<Stdout>,
}

impl Printer {
    pub(crate) fn new(template: Template, newline: bool, skips_empty: bool) -> Self {
        let out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
        Self { template, newline, skips_empty, line: Vec::new(), out }
    }

    /// Prints `message`. A message that the format cannot show is reported and left out.
    pub(crate) fn print(
        &mut self,
        message: &Message,
        terminal: Terminal,
    ) -> Result<(), ClientError> {
        if self.skips_empty && message.payload.is_empty() {
            return Ok(());
        }
        self.line.clear();
        if self.template.render(message, Zoned::now, &mut self.line).is_err() {
            terminal.error(&format!("the payload on '{}' is not JSON, as %J needs", message.topic));
            return Ok(());
        }
        if self.newline {
            self.line.push(b'\n');
        }
        self.out.write_all(&self.line).map_err(|error| output_error(&error))
    }

    /// Hands everything printed to the reader of standard output.
    pub(crate) fn flush(&mut self) -> Result<(), ClientError> {
        self.out.flush().map_err(|error| output_error(&error))
    }
}

fn output_error(error: &io::Error) -> ClientError {
    match error.kind() {
        ErrorKind::BrokenPipe => ClientError::OutputClosed,
        _ => ClientError::Refused(format!("cannot write to standard output: {error}")),
    }
}
