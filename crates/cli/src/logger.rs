//! The log of `midge serve`: lines on standard error, for people or as JSON.
//!
//! One line is one write. Text of Clients gets out only with its control characters escaped: a
//! Client Identifier can neither forge a line nor command a terminal.

use std::io::{self, IsTerminal, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::Serialize;

use crate::config::{LogFormat, printable};

/// Writes log lines.
#[derive(Debug)]
struct Logger {
    format: LogFormat,
    colour: bool,
}

/// A line of JSON, in this order.
#[derive(Serialize)]
struct JsonLine<'l> {
    time: &'l str,
    level: &'l str,
    target: &'l str,
    message: &'l str,
}

/// Makes the log go to standard error. Further calls change only the level.
pub(crate) fn install(level: LevelFilter, format: LogFormat) {
    let is_colour_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colour = is_colour_wanted && io::stderr().is_terminal();
    // The process has one log from here to its end; there is nothing to give back.
    let logger: &'static Logger = Box::leak(Box::new(Logger { format, colour }));
    let _ = log::set_logger(logger);
    log::set_max_level(level);
}

/// Writes lines that are addressed to whoever started the broker: as they are where the log is
/// for people, as log lines where it is for programs.
pub(crate) fn announce(format: LogFormat, text: &str) {
    for line in text.lines() {
        match format {
            LogFormat::Text if log::max_level() >= LevelFilter::Info => write_line(line),
            LogFormat::Text => {}
            LogFormat::Json => {
                let words: Vec<&str> = line.split_whitespace().collect();
                log::info!(target: "midge", "{}", words.join(" "));
            }
        }
    }
}

impl Log for Logger {
    /// Libraries are not asked about their inner life.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("midge") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            write_line(&self.line(&time(), record));
        }
    }

    fn flush(&self) {}
}

impl Logger {
    fn line(&self, time: &str, record: &Record<'_>) -> String {
        let message = record.args().to_string();
        let level = record.level();
        if self.format == LogFormat::Json {
            let level = level.as_str().to_ascii_lowercase();
            let line = JsonLine { time, level: &level, target: record.target(), message: &message };
            return serde_json::to_string(&line).unwrap_or_default();
        }
        let message = printable(&message);
        // Whoever looks this closely wants to know which part it was.
        let target = match level {
            Level::Debug | Level::Trace => format!(" {}:", record.target()),
            _ => String::new(),
        };
        if self.colour {
            let colour = colour(level);
            format!("\x1b[2m{time}\x1b[0m {colour}{level:<5}\x1b[0m{target} {message}")
        } else {
            format!("{time} {level:<5}{target} {message}")
        }
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[2m",
    }
}

/// Now, as RFC 3339 in UTC.
fn time() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// There is nobody to tell that standard error cannot be written.
fn write_line(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use log::{Level, Log, Metadata, Record};

    use super::{Logger, time};
    use crate::config::LogFormat;

    const TIME: &str = "2026-01-02T03:04:05.678Z";

    fn line(format: LogFormat, colour: bool, level: Level) -> String {
        let mut record = Record::builder();
        let record = record.level(level).target("midge_broker");
        let logger = Logger { format, colour };
        let id = "a\n\x1b[31m";
        logger.line(TIME, &record.args(format_args!("client {id}\" is here")).build())
    }

    #[test]
    fn text_is_on_one_line_and_commands_nothing() {
        assert_eq!(
            line(LogFormat::Text, false, Level::Info),
            r#"2026-01-02T03:04:05.678Z INFO  client a\n\u{1b}[31m" is here"#
        );
        assert_eq!(
            line(LogFormat::Text, false, Level::Debug),
            r#"2026-01-02T03:04:05.678Z DEBUG midge_broker: client a\n\u{1b}[31m" is here"#
        );
        assert!(line(LogFormat::Text, true, Level::Error).contains("\x1b[1;31mERROR\x1b[0m"));
    }

    #[test]
    fn json_is_one_object() {
        assert_eq!(
            line(LogFormat::Json, true, Level::Warn),
            r#"{"time":"2026-01-02T03:04:05.678Z","level":"warn","target":"midge_broker","#
                .to_string()
                + r#""message":"client a\n\u001b[31m\" is here"}"#
        );
    }

    #[test]
    fn times_are_of_rfc_3339() {
        let time = time();
        assert_eq!(time.len(), TIME.len(), "{time}");
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }

    #[test]
    fn libraries_only_warn() {
        let logger = Logger { format: LogFormat::Text, colour: false };
        let enabled = |target, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(enabled("midge_core", Level::Trace));
        assert!(enabled("mio::poll", Level::Warn));
        assert!(!enabled("mio::poll", Level::Info));
    }
}
