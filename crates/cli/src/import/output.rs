//! The midge.toml and the summary of a draft.

use std::fmt::Write as _;

use midge_core::counted;
use serde_json::json;
use toml::Value;

use super::draft::{Draft, Note, NoteKind, SECTIONS};
use super::listener::Listener;
use super::without_effect;

/// What an import has come to.
#[derive(Debug)]
pub(super) struct Imported {
    /// The midge.toml.
    pub(super) toml: String,
    pub(super) carried: usize,
    pub(super) notes: Vec<Note>,
    /// Listeners that are opened.
    opened: usize,
    /// Listeners that are in comments.
    closed: usize,
}

impl Imported {
    /// Writes a draft down. `source` is the file that it was made of.
    pub(super) fn of(mut draft: Draft, source: &str) -> Self {
        leave_default_listener(&mut draft);
        without_effect::drop_keys(&mut draft);
        let mut toml = format!("# Made by `midge import` of {}.\n", one_line(source));
        let left = draft.notes.iter().filter(|note| note.kind != NoteKind::Unneeded).count();
        if left > 0 {
            let lines = counted(left, "line");
            let _ = writeln!(toml, "# {lines} without an equivalent: see the end.");
        }
        let (opened, closed) = write_listeners(&draft, &mut toml);
        write_access(&draft, opened == 0 && closed > 0, &mut toml);
        write_sections(&draft, &mut toml);
        write_notes(&draft.notes, &mut toml);
        Self { toml, carried: draft.carried, notes: draft.notes, opened, closed }
    }

    /// Returns how many lines have no equivalent.
    pub(super) fn left(&self) -> usize {
        self.notes.len() - self.unneeded()
    }

    fn unneeded(&self) -> usize {
        self.notes.iter().filter(|note| note.kind == NoteKind::Unneeded).count()
    }

    /// Says in one line what has become of the file.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} carried over, {} not needed, {} without an equivalent",
            counted(self.carried, "line"),
            self.unneeded(),
            self.left(),
        )
    }

    /// Says the same, and what each note is, to programs. The midge.toml is part of it unless it
    /// went to a file.
    pub(super) fn json(&self, output: Option<&str>) -> serde_json::Value {
        let note = |note: &Note| {
            let kind = match note.kind {
                NoteKind::Unneeded => "unneeded",
                NoteKind::Left | NoteKind::Bridge => "left",
            };
            json!({
                "file": &*note.place.file,
                "line": note.place.line,
                "text": note.text,
                "kind": kind,
                "why": note.why,
            })
        };
        json!({
            "output": output,
            "toml": output.is_none().then_some(&self.toml),
            "carried": self.carried,
            "unneeded": self.unneeded(),
            "left": self.left(),
            "listeners": self.opened,
            "closed_listeners": self.closed,
            "notes": self.notes.iter().map(note).collect::<Vec<_>>(),
        })
    }
}

/// Leaves the lines of mosquitto's default listener if others have taken its place.
fn leave_default_listener(draft: &mut Draft) {
    if draft.listeners[0].place.is_some() || draft.listeners.len() == 1 {
        return;
    }
    let why = "it stands before the first `listener`, where it is about mosquitto's own one on \
               port 1883; write it into the [[listener]] that it is meant for";
    for line in std::mem::take(&mut draft.listeners[0].lines) {
        if !draft.notes.iter().any(|note| note.place == line.place) {
            draft.carried -= 1;
            draft.leave(&line, why);
        }
    }
    draft.listeners[0] = Listener::default();
}

/// Writes the listeners; returns how many of them are opened, and how many are not.
fn write_listeners(draft: &Draft, toml: &mut String) -> (usize, usize) {
    let (mut opened, mut closed) = (0, 0);
    for listener in &draft.listeners {
        if !listener.is_there() {
            continue;
        }
        let mut reasons = listener.closed();
        reasons.extend(draft.closed.iter().cloned());
        let _ = match &listener.place {
            Some(place) => writeln!(toml, "\n# {}:{}", one_line(&place.file), place.line),
            None => writeln!(toml, "\n# The listener that mosquitto has without any."),
        };
        if reasons.is_empty() {
            opened += 1;
        } else {
            closed += 1;
            toml.push_str("# It is not opened, as it would let in more than it did, because of\n");
            for reason in &reasons {
                let _ = writeln!(toml, "#   {}", one_line(reason));
            }
        }
        if listener.is_websocket {
            toml.push_str(
                "# mosquitto takes any path; this listener only websocket.path, /mqtt.\n",
            );
        }
        let sign = if reasons.is_empty() { "" } else { "#" };
        for table in listener.tables(draft.no_delay.as_ref()) {
            let _ = writeln!(toml, "{sign}[[listener]]");
            for (key, value) in table {
                let _ = writeln!(toml, "{sign}{key} = {value}");
            }
        }
    }
    if opened == 0 && closed > 0 {
        toml.push_str(
            "\n# No listener is left: Midge listens on port 1883 of this machine only.\n",
        );
    }
    (opened, closed)
}

/// `is_shut`: no listener of the file is open, and the one that takes their place would be more
/// open than they were.
fn write_access(draft: &Draft, is_shut: bool, toml: &mut String) {
    let listeners = draft.listeners.iter().enumerate();
    let listeners = listeners.filter(|(_, listener)| listener.place.is_some());
    let listeners: Vec<_> = listeners.map(|(index, _)| index).collect();
    let (keys, remarks) = draft.access.keys(&listeners, is_shut);
    let mut last = "";
    toml.push('\n');
    for remark in remarks {
        let _ = writeln!(toml, "# {remark}");
    }
    for (section, key, value) in keys {
        if section != last {
            let separator = if last.is_empty() { "" } else { "\n" };
            let _ = writeln!(toml, "{separator}[{section}]");
            last = section;
        }
        let _ = writeln!(toml, "{key} = {value}");
    }
}

fn write_sections(draft: &Draft, toml: &mut String) {
    for section in SECTIONS {
        let mut keys = draft.keys.iter().filter(|((of, _), _)| *of == section).peekable();
        if keys.peek().is_some() {
            let _ = writeln!(toml, "\n[{section}]");
        }
        for ((_, key), value) in keys {
            let _ = writeln!(toml, "{key} = {}", Value::to_string(value));
        }
    }
}

fn write_notes(notes: &[Note], toml: &mut String) {
    let titles = [
        (NoteKind::Left, "Lines without an equivalent, and what to do instead:"),
        (NoteKind::Unneeded, "Lines that Midge does without:"),
        (NoteKind::Bridge, "Lines of bridges, which Midge does not have yet. Keep them for later:"),
    ];
    for (kind, title) in titles {
        let mut notes = notes.iter().filter(|note| note.kind == kind).peekable();
        if notes.peek().is_some() {
            let _ = writeln!(toml, "\n# {title}\n#");
        }
        for note in notes {
            let (place, text) = (&note.place, one_line(&note.text));
            let _ = writeln!(toml, "# {}:{}: {text}", one_line(&place.file), place.line);
            if kind != NoteKind::Bridge {
                let _ = writeln!(toml, "#   {}", one_line(&note.why));
            }
        }
    }
}

/// Makes a text fit for a comment: nothing in it ends the line.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
