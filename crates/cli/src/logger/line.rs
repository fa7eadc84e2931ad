//! How one line of the log looks: a sentence for people, or a JSON object for programs, which also
//! has the values in the sentence as fields.

use std::borrow::Cow;
use std::env;
use std::fmt::Write;
use std::io::{self, IsTerminal};

use log::kv::{Error as KvError, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use midge_core::counted;

use crate::config::LogFormat;

/// How lines are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) format: LogFormat,
    pub(super) colour: bool,
    /// Whether systemd's journal reads the log; then lines begin with their priority.
    pub(super) journal: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { format: LogFormat::Text, colour: false, journal: false }
    }
}

impl Style {
    /// About how many bytes a line has beside its time and its sentence.
    const BESIDE_BYTES: usize = 32;

    /// The style for the standard error of this process.
    pub(super) fn of_process(format: LogFormat) -> Self {
        let is_colour_wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = is_colour_wanted && io::stderr().is_terminal();
        Self { format, colour, journal: is_journal() }
    }

    /// Formats a record as a line, with its line end.
    pub(super) fn line(self, time: &str, record: &Record<'_>) -> String {
        let message = record.args().to_string();
        let level = record.level();
        let mut line = self.prefix(level);
        if self.format == LogFormat::Json {
            json_line(&mut line, time, record, &message);
            return line;
        }
        let message = printable(&message);
        line.reserve(time.len() + message.len() + Self::BESIDE_BYTES);
        // Someone who looks this closely wants to know which part of the program it was.
        let target = match level {
            Level::Debug | Level::Trace => format!("{}: ", record.target()),
            _ => String::new(),
        };
        let written = if self.colour {
            let colour = colour(level);
            writeln!(line, "\x1b[2m{time}\x1b[0m {colour}{level:<5}\x1b[0m {target}{message}")
        } else if self.journal {
            // The journal knows the time, and the priority from the prefix.
            writeln!(line, "{target}{message}")
        } else {
            writeln!(line, "{time} {level:<5} {target}{message}")
        };
        debug_assert!(written.is_ok(), "strings take everything");
        line
    }

    /// Gives the prefix that tells the journal how grave a line is.
    pub(super) fn prefix(self, level: Level) -> String {
        let priority = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        if self.journal { format!("<{priority}>") } else { String::new() }
    }

    /// Formats the line that says how many lines there was no room for.
    pub(super) fn left_out(self, count: u64) -> String {
        let values = [("left_out", count)];
        let lines = counted(count, "line");
        let mut record = Record::builder();
        let record = record.level(Level::Warn).target("midge").key_values(&values);
        let arguments = format_args!("left out: {lines} of the log; standard error took none");
        self.line(&now(), &record.args(arguments).build())
    }
}

/// Returns the current time, as RFC 3339 in UTC.
pub(super) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Whether standard error goes to the journal. `JOURNAL_STREAM` names the device and the inode of
/// the journal's socket.
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let named = stream.split_once(':');
    let named = named.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let own = nix::sys::stat::fstat(io::stderr()).ok();
    own.is_some_and(|own| named == Some((own.st_dev, own.st_ino)))
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

/// Escapes characters that command a terminal, end a line or turn the text around.
fn printable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.into(); // as nearly all lines are
    }
    let printable = text.chars().fold(String::with_capacity(text.len()), |mut printable, char| {
        match is_command(char) {
            true => printable.extend(char.escape_default()),
            false => printable.push(char),
        }
        printable
    });
    printable.into()
}

/// Whether a character is a control character, separates lines, or changes the direction of a text.
fn is_command(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn json_line(line: &mut String, time: &str, record: &Record<'_>, message: &str) {
    line.push('{');
    let level = record.level().as_str().to_ascii_lowercase();
    let texts =
        [("time", time), ("level", &level), ("target", record.target()), ("message", message)];
    for (index, (key, text)) in texts.into_iter().enumerate() {
        line.push_str(if index == 0 { "\"" } else { ",\"" });
        line.push_str(key);
        line.push_str("\":");
        push_json(line, text);
    }
    let _ = record.key_values().visit(&mut Fields(line));
    line.push_str("}\n");
}

/// Appends a text as a JSON string. Characters that JSON leaves alone but that can command a
/// terminal are escaped, too.
fn push_json(line: &mut String, text: &str) {
    let json = serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_string());
    for char in json.chars() {
        if is_command(char) {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(char);
        }
    }
}

/// Adds the fields of a record to its JSON object; fields without a value are left out.
struct Fields<'l>(&'l mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), KvError> {
        let mut json = Field(None);
        value.visit(&mut json)?;
        if let Some(json) = json.0 {
            let _ = write!(self.0, ",\"{key}\":{json}");
        }
        Ok(())
    }
}

/// A value as JSON.
struct Field(Option<String>);

impl Field {
    fn put(&mut self, json: String) -> Result<(), KvError> {
        self.0 = Some(json);
        Ok(())
    }
}

impl<'v> VisitValue<'v> for Field {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), KvError> {
        self.visit_str(&value.to_string())
    }

    fn visit_null(&mut self) -> Result<(), KvError> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), KvError> {
        self.put(value.to_string())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), KvError> {
        self.put(value.to_string())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), KvError> {
        self.put(value.to_string())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), KvError> {
        let mut json = String::new();
        push_json(&mut json, value);
        self.put(json)
    }
}

#[cfg(test)]
mod tests {
    use log::{Level, Record};

    use super::{Style, now};
    use crate::config::LogFormat;

    const TIME: &str = "2026-01-02T03:04:05.678Z";

    fn line(style: Style, level: Level) -> String {
        let id = "a\n\x1b[31m\u{9b}\u{202e}";
        let values: [(&str, log::kv::Value<'_>); 4] = [
            ("client_id", id.into()),
            ("reason_code", 0x8d_u8.into()),
            ("user_name", log::kv::Value::null()),
            ("session_present", true.into()),
        ];
        let mut record = Record::builder();
        let record = record.level(level).target("midge_broker").key_values(&values);
        style.line(TIME, &record.args(format_args!("client {id}\" is here")).build())
    }

    #[test]
    fn text_is_on_one_line_and_commands_nothing() {
        let style = Style::default();
        assert_eq!(
            line(style, Level::Info),
            "2026-01-02T03:04:05.678Z INFO  client a\\n\\u{1b}[31m\\u{9b}\\u{202e}\" is here\n"
        );
        assert_eq!(
            line(style, Level::Debug),
            "2026-01-02T03:04:05.678Z DEBUG midge_broker: \
             client a\\n\\u{1b}[31m\\u{9b}\\u{202e}\" is here\n"
        );
        let colour = Style { colour: true, ..style };
        assert!(line(colour, Level::Error).contains("\x1b[1;31mERROR\x1b[0m"));
    }

    #[test]
    fn json_is_one_object_with_fields() {
        let style = Style { format: LogFormat::Json, colour: true, journal: false };
        let text = line(style, Level::Warn);
        assert_eq!(
            text,
            r#"{"time":"2026-01-02T03:04:05.678Z","level":"warn","target":"midge_broker","#
                .to_string()
                + r#""message":"client a\n\u001b[31m\u009b\u202e\" is here","#
                + r#""client_id":"a\n\u001b[31m\u009b\u202e","#
                + "\"reason_code\":141,\"session_present\":true}\n"
        );
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["client_id"], "a\n\u{1b}[31m\u{9b}\u{202e}");
    }

    #[test]
    fn the_journal_is_told_how_grave_it_is() {
        let style = Style { journal: true, ..Style::default() };
        assert!(line(style, Level::Error).starts_with("<3>client a"));
        assert!(line(style, Level::Debug).starts_with("<7>midge_broker: client a"));
        let style = Style { format: LogFormat::Json, ..style };
        assert!(line(style, Level::Warn).starts_with("<4>{\"time\""));
    }

    #[test]
    fn what_was_left_out_is_a_line() {
        let style = Style { format: LogFormat::Json, ..Style::default() };
        let object: serde_json::Value = serde_json::from_str(&style.left_out(7)).unwrap();
        assert_eq!((&object["level"], &object["left_out"]), (&"warn".into(), &7.into()));
    }

    #[test]
    fn times_are_of_rfc_3339() {
        let time = now();
        assert_eq!(time.len(), TIME.len(), "{time}");
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }
}
