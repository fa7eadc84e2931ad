//! The arguments that say how received messages are printed.

use clap::Args;

use super::error::ClientError;
use super::format::Template;
use super::printer::Printer;

/// How messages are printed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print the topic before the payload
    #[arg(short = 'v', long)]
    verbose: bool,

    /// Print each message in this format, such as '%I %t %p' or '%j'; see below
    #[arg(short = 'F', long, value_name = "FORMAT", allow_hyphen_values = true)]
    format: Option<String>,

    /// Print JSON, with the payload as a string: short for -F %j
    #[arg(long, conflicts_with_all = ["format", "verbose"])]
    json: bool,

    /// Spread JSON over several lines
    #[arg(long)]
    pretty: bool,

    /// Print no line end after a message
    #[arg(short = 'N', long)]
    no_newline: bool,
}

/// The part of the help that explains `-F`.
pub(crate) const FORMAT_HELP: &str = "\
Formats:
  %t topic  %p payload  %x %X payload in hexadecimal  %l payload length in bytes
  %q QoS  %r retain  %m packet identifier  %I time as ISO 8601  %U time as seconds since 1970
  %j JSON  %J JSON with the payload as JSON  %% a %
  %A topic alias  %C content type  %D correlation data  %E message expiry interval
  %F payload format indicator  %P user properties  %R response topic  %S subscription identifier
  @X the time, as strftime's %X  @N nanoseconds  @@ an @  \\\\ \\0 \\a \\e \\n \\r \\t \\v escapes
  A width, a maximum after a dot, and the flags - (left) and 0 may stand after %: %-20.20t
";

impl OutputArgs {
    /// Makes the printer for these arguments.
    pub(crate) fn printer(&self) -> Result<Printer, ClientError> {
        let format = if self.json { Some("%j") } else { self.format.as_deref() };
        let template = match format {
            Some(format) => Template::parse(format, self.pretty)
                .map_err(|error| ClientError::Usage(format!("-F: {error}")))?,
            None if self.verbose => Template::verbose(),
            None => Template::payload(),
        };
        let skips_empty = format.is_none() && !self.verbose;
        Ok(Printer::new(template, !self.no_newline, skips_empty))
    }
}
