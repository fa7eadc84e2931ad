//! What becomes of a mosquitto.conf: the keys of a midge.toml, and what is left.
//!
//! [`Draft::add`] takes line after line; what lines mean together is worked out in
//! [`super::listener`] and [`super::access`].

use std::collections::BTreeMap;

use toml::Value;

use super::access::Access;
use super::listener::Listener;
use super::meaning::{Form, LOG_REMEDY, Meaning};
use super::source::{Line, Place};

/// A midge.toml in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The first one is what stands before the first `listener`.
    pub(super) listeners: Vec<Listener>,
    /// By section and key.
    pub(super) keys: BTreeMap<(&'static str, &'static str), Value>,
    pub(super) access: Access,
    /// What closes all listeners.
    pub(super) closed: Vec<String>,
    /// TCP_NODELAY, for all listeners.
    pub(super) no_delay: Option<Value>,
    /// What `log_type` asks for, as the index of a level; absent if there is none.
    log_level: Option<usize>,
    logs_nowhere: bool,
    pub(super) notes: Vec<Note>,
    /// How many lines have become keys.
    pub(super) carried: usize,
}

/// Something to say about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) place: Place,
    /// The line.
    pub(super) text: String,
    pub(super) kind: NoteKind,
    pub(super) why: String,
}

/// What a note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoteKind {
    /// Midge does without the line.
    Unneeded,
    /// The line has no equivalent.
    Left,
    /// The line has no equivalent; it belongs to a bridge.
    Bridge,
}

/// The levels of `[log] level`, the least first, as far as `log_type` asks for them.
const LEVELS: [&str; 5] = ["off", "error", "warn", "info", "debug"];

/// Sections in the order in which they are written, with their order in the reference.
pub(super) const SECTIONS: [&str; 5] = ["storage", "capabilities", "limits", "sys_topics", "log"];

/// With less memory, the configuration would be refused.
const MEMORY_BYTES_MIN: u64 = 8 << 20;

/// Where Debian's mosquitto keeps its data. It belongs to mosquitto's own user.
const DEBIANS_LOCATION: &str = "/var/lib/mosquitto";

/// What mosquitto adds to a payload, at most: the longest topic and the fixed header.
const OVERHEAD_BYTES: u64 = 65_535 + 16;

impl Draft {
    /// Makes a draft of all lines.
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut draft = Self { listeners: vec![Listener::default()], ..Self::default() };
        lines.iter().for_each(|line| draft.add(line));
        if draft.logs_nowhere {
            draft.log_level = Some(0);
        }
        if let Some(level) = draft.log_level {
            draft.set("log", "level", LEVELS[level]);
        }
        draft
    }

    fn add(&mut self, line: &Line) {
        while self.listeners.len() <= line.listener {
            self.listeners.push(Listener::default());
        }
        let Some(meaning) = Meaning::of(&line.key) else {
            let why = "mosquitto 2.0 and 2.1 have no such key; look whether it is misspelt";
            return self.leave(line, why);
        };
        if meaning.is_of_listener(&line.key) {
            self.listeners[line.listener].lines.push(line.clone());
        }
        match meaning {
            Meaning::Broker(section, key, form) => match form.value(&line.value) {
                Ok(Some(value)) => {
                    self.set(section, key, value);
                    self.carried += 1;
                }
                Ok(None) => self.carried += 1,
                Err(why) => self.leave(line, &why),
            },
            Meaning::Listener(key, form) => {
                let set = self.listeners[line.listener].set(key, form, &line.value);
                self.count(line, set);
            }
            Meaning::Bridge => {
                self.note(line, NoteKind::Bridge, "there are no bridges yet; keep it for later");
            }
            Meaning::Access => {
                let note = self.access.add(line);
                self.count(line, note);
            }
            Meaning::Together => self.add_special(line),
            Meaning::Unneeded(why) => self.note(line, NoteKind::Unneeded, why),
            Meaning::Missing(why) => self.leave(line, why),
            Meaning::Closes(why) => {
                self.leave(line, why);
                if line.key == "clientid_prefixes" {
                    self.closed.push(line.with_place());
                } else {
                    self.listeners[line.listener].close(line);
                }
            }
        }
    }

    /// Adds a line that is no entry of the table on its own.
    fn add_special(&mut self, line: &Line) {
        let result = match &*line.key {
            "persistence" => self.add_persistence(line),
            "persistence_location" if line.value.trim_end_matches('/') == DEBIANS_LOCATION => {
                let why = "this is Debian's default, and Midge has another one; [storage] path";
                return self.note(line, NoteKind::Unneeded, why);
            }
            "persistence_location" => {
                // mosquitto.db stays beside it.
                let path = format!("{}/midge", line.value.trim_end_matches('/'));
                self.set("storage", "path", path);
                Ok(())
            }
            "persistent_client_expiration" => expiry(&line.value).map(|seconds| {
                self.set("limits", "session_expiry_seconds_max", seconds);
            }),
            "max_inflight_messages" => self.add_inflight(line),
            "memory_limit" => number(&line.value).map(|bytes| {
                if bytes > 0 {
                    let bytes = integer(bytes.max(MEMORY_BYTES_MIN));
                    self.set("limits", "memory_bytes_max", bytes);
                }
            }),
            "message_size_limit" => number(&line.value).map(|bytes| {
                if bytes > 0 {
                    let bytes = bytes.saturating_add(OVERHEAD_BYTES).min(u32::MAX.into());
                    self.set("limits", "packet_bytes_max", integer(bytes));
                }
            }),
            "max_topic_alias" => number(&line.value).map(|aliases| {
                let aliases = integer(aliases.min(65_535));
                let key = ("limits", "topic_alias_maximum");
                // One number is for all listeners.
                let most = self.keys.get(&key).and_then(Value::as_integer).unwrap_or(0);
                self.set(key.0, key.1, most.max(aliases));
            }),
            "allow_zero_length_clientid" => Form::Boolean.value(&line.value).map(|value| {
                let key = ("capabilities", "assigned_client_identifiers");
                // If one listener refuses them, all do.
                if self.keys.get(&key) != Some(&Value::Boolean(false)) {
                    self.keys.extend(value.map(|value| (key, value)));
                }
            }),
            "queue_qos0_messages" => match &*line.value {
                "false" | "0" => Ok(()),
                _ => Err("messages of QoS 0 wait for nobody; publish with QoS 1".into()),
            },
            "set_tcp_nodelay" => Form::Boolean.value(&line.value).map(|value| {
                self.no_delay = value;
            }),
            "log_dest" => self.add_log_destination(line),
            "log_type" => self.add_log_type(line),
            _ => self.listeners[line.listener].add(line),
        };
        self.count(line, result);
    }

    fn add_persistence(&mut self, line: &Line) -> Result<(), String> {
        let is_on = Form::Boolean.value(&line.value)?;
        if is_on == Some(Value::Boolean(false)) {
            self.set("storage", "in_memory", true);
        } else {
            self.keys.remove(&("storage", "in_memory"));
        }
        Ok(())
    }

    fn add_inflight(&mut self, line: &Line) -> Result<(), String> {
        let messages = match number(&line.value)? {
            0 => 65_535,
            messages => integer(messages.min(65_535)),
        };
        for key in ["receive_maximum", "inflight_messages_max", "inflight_messages_mqtt3_max"] {
            self.set("limits", key, messages);
        }
        Ok(())
    }

    fn add_log_destination(&mut self, line: &Line) -> Result<(), String> {
        match &*line.value {
            "stderr" => Ok(()),
            "none" => {
                self.logs_nowhere = true;
                Ok(())
            }
            _ => Err(LOG_REMEDY.into()),
        }
    }

    fn add_log_type(&mut self, line: &Line) -> Result<(), String> {
        let level = match &*line.value {
            "none" => 0,
            "error" => 1,
            "warning" => 2,
            "notice" | "information" => 3,
            "debug" | "all" => 4,
            _ => return Err("[log] level debug shows such lines".into()),
        };
        self.log_level = self.log_level.max(Some(level));
        Ok(())
    }

    fn set(&mut self, section: &'static str, key: &'static str, value: impl Into<Value>) {
        self.keys.insert((section, key), value.into());
    }

    /// Counts a line as carried over, or leaves it.
    fn count(&mut self, line: &Line, result: Result<(), String>) {
        match result {
            Ok(()) => self.carried += 1,
            Err(why) => self.leave(line, &why),
        }
    }

    pub(super) fn leave(&mut self, line: &Line, why: &str) {
        self.note(line, NoteKind::Left, why);
    }

    fn note(&mut self, line: &Line, kind: NoteKind, why: &str) {
        let note = Note { place: line.place.clone(), text: line.text(), kind, why: why.into() };
        self.notes.push(note);
    }
}

impl Form {
    /// Returns what becomes of a value; `None` if nothing has to be said.
    pub(super) fn value(self, value: &str) -> Result<Option<Value>, String> {
        if value.is_empty() {
            return Err("the value is missing; mosquitto refuses it, too".into());
        }
        Ok(match self {
            Self::Boolean => match value {
                "true" | "1" => Some(true.into()),
                "false" | "0" => Some(false.into()),
                _ => return Err("it is neither true nor false; mosquitto refuses it, too".into()),
            },
            Self::Text => Some(value.into()),
            Self::List => Some(vec![value].into()),
            Self::Number { max, zero } => match number(value)? {
                0 => zero.map(|zero| integer(zero).into()),
                number => Some(integer(number.min(max)).into()),
            },
        })
    }
}

/// Reads a number; what is below 0 is 0.
pub(super) fn number(value: &str) -> Result<u64, String> {
    let number = value.split(' ').next().unwrap_or_default().parse::<i64>();
    let number = number.map_err(|_| "it is no number; write one".to_owned())?;
    Ok(u64::try_from(number).unwrap_or(0))
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a time such as `2w` in seconds.
fn expiry(value: &str) -> Result<i64, String> {
    const UNITS: [(char, u64); 5] =
        [('h', 3600), ('d', 86_400), ('w', 604_800), ('m', 2_592_000), ('y', 31_536_000)];
    let wrong = || "it is no time such as 12h, 5d, 2w, 1m or 1y".to_owned();
    let unit = value.chars().last().ok_or_else(wrong)?;
    let (_, seconds) = UNITS.iter().find(|(letter, _)| *letter == unit).ok_or_else(wrong)?;
    match number(&value[..value.len() - 1]).map_err(|_| wrong())? {
        0 => Err(wrong()),
        count => Ok(integer(count.saturating_mul(*seconds).min(u32::MAX.into()))),
    }
}
