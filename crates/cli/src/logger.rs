//! The log of `midge serve`: lines on standard error, for people or as JSON with fields.
//!
//! Whoever logs a line puts it into a bounded queue and goes on; a separate thread writes it. So
//! nobody is held up by a standard error that takes nothing (a terminal that was stopped, a pipe
//! that nobody reads): lines that do not fit into the queue are left out, and their number is
//! logged as soon as standard error takes lines again. Control characters in text from Clients are
//! escaped: a Client Identifier can neither forge a line nor command a terminal.

mod line;
mod queue;

use std::io;
use std::panic;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::LogFormat;
use line::Style;
use queue::Queue;

/// The log of this process, from the moment that it is installed.
static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Takes log lines.
#[derive(Debug)]
struct Logger {
    style: Style,
    queue: Arc<Queue>,
}

/// A line that a broker writes when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartLine {
    /// What the line is about. `None`: it stands alone. Empty: it goes on about the same as the
    /// line above.
    label: Option<&'static str>,
    value: String,
    /// The address of the listener that the line is about; the value is the listener's URL.
    listener: Option<String>,
}

/// When dropped, waits until everything logged is written, as long as standard error takes it.
#[derive(Debug)]
pub(crate) struct Guard;

impl Guard {
    /// How long to wait for a standard error that takes nothing.
    const PATIENCE: Duration = Duration::from_millis(200);
    /// How long to wait for a standard error that takes a little now and then.
    const DEADLINE: Duration = Duration::from_secs(1);
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(logger) = LOGGER.get() {
            logger.queue.wait_until_written(Self::PATIENCE, Self::DEADLINE);
        }
    }
}

/// Makes the log go to standard error. The guard waits, when dropped, for what was logged. The
/// panic of a thread is logged, too.
///
/// # Errors
///
/// Fails if the operating system refuses the thread that writes, or if standard error is closed.
pub(crate) fn install(level: LevelFilter, format: LogFormat) -> io::Result<Guard> {
    let style = Style::of_process(format);
    let queue = Queue::to_standard_error(move |left_out| style.left_out(left_out))?;
    let logger = LOGGER.get_or_init(|| Logger { style, queue });
    let _ = log::set_logger(logger);
    log::set_max_level(level);
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        log::error!("thread {}: {panic}", thread.name().unwrap_or("without a name"));
    }));
    Ok(Guard)
}

/// Writes lines for the person who started the broker: one below the other if the log is for
/// people, as log lines if it is for programs.
pub(crate) fn announce(lines: &[StartLine]) {
    let Some(logger) = LOGGER.get() else {
        return;
    };
    match logger.style.format {
        LogFormat::Text if log::max_level() >= LevelFilter::Info => {
            let level = Level::Info;
            for line in start_text(lines) {
                logger.queue.push(&format!("{}{line}\n", logger.style.prefix(level)), level);
            }
        }
        LogFormat::Text => {}
        LogFormat::Json => lines.iter().for_each(StartLine::log),
    }
}

/// Gives the lines for people: a label stands once, before all lines that belong to it.
pub(crate) fn start_text(lines: &[StartLine]) -> Vec<String> {
    let mut last = "";
    let mut text = Vec::with_capacity(lines.len());
    for StartLine { label, value, .. } in lines {
        text.push(match label {
            None => value.clone(),
            Some(label) => {
                let shown = if *label == last { "" } else { label };
                format!("  {shown:<13}  {value}")
            }
        });
        last = label.unwrap_or_default();
    }
    text
}

impl StartLine {
    /// A line that stands alone.
    pub(crate) fn title(value: String) -> Self {
        Self { label: None, value, listener: None }
    }

    pub(crate) fn new(label: &'static str, value: String) -> Self {
        Self { label: Some(label), value, listener: None }
    }

    pub(crate) fn of_listener(label: &'static str, url: String, address: String) -> Self {
        Self { listener: Some(address), ..Self::new(label, url) }
    }

    fn log(&self) {
        let value = self.value.as_str();
        let listener = self.listener.as_deref();
        let url = listener.map(|_| value);
        match self.label.filter(|label| !label.is_empty()) {
            Some(label) => log::info!(target: "midge", listener, url; "{label} {value}"),
            None => log::info!(target: "midge", "{value}"),
        }
    }
}

impl Log for Logger {
    /// Lets libraries log only errors and warnings, and nothing of their inner life.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("midge") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.queue.push(&self.style.line(&line::now(), record), record.level());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use log::{Level, Log, Metadata};

    use super::Logger;
    use super::line::Style;
    use super::queue::Queue;

    #[test]
    fn libraries_only_warn() {
        let logger = Logger { style: Style::default(), queue: Queue::without_writer() };
        let enabled = |target, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(enabled("midge_core", Level::Trace));
        assert!(enabled("mio::poll", Level::Warn));
        assert!(!enabled("mio::poll", Level::Info));
    }
}
