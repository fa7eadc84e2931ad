//! What was found in a store, as text and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use midge_core::counted;
use midge_store::tools::{Checked, Content};
use midge_store::{Damage, Report};
use serde_json::{Value, json};

/// What was found, for people.
pub(super) fn text(directory: &Path, checked: &Checked) -> String {
    let mut text = String::new();
    push_report(&mut text, "", &checked.damage);
    push_report(&mut text, "lost: ", &checked.lost);
    let verdict = if !checked.is_sound() {
        format!("damaged in {}, {}", counted(count(&checked.damage), "place"), losses(checked))
    } else if checked.damage.damage.is_empty() {
        "not damaged".to_owned()
    } else {
        "not damaged; what was being written when the broker ended does not count".to_owned()
    };
    let _ = writeln!(text, "{}: {verdict}", directory.display());
    for (name, value) in lines(&checked.content) {
        let _ = writeln!(text, "  {name:<22} {value}");
    }
    for name in &checked.content.set_aside {
        let _ = writeln!(text, "  set aside as damaged   {name}");
    }
    text
}

/// What was found, for scripts: one line.
pub(super) fn json(directory: &Path, checked: &Checked) -> String {
    let content = &checked.content;
    let value = json!({
        "directory": directory.display().to_string(),
        "sound": checked.is_sound(),
        "damage": all(&checked.damage),
        "damage_unlisted": checked.damage.damage_unlisted,
        "lost": all(&checked.lost),
        "lost_unlisted": checked.lost.damage_unlisted,
        "passed_by": checked.damage.passed_by,
        "content": {
            "sessions": content.sessions,
            "wills": content.wills,
            "subscriptions": content.subscriptions,
            "awaiting_release": content.awaiting_release,
            "groups": content.groups,
            "queued_messages": content.queued_messages,
            "queued_bytes": content.queued_bytes,
            "taken_messages": content.taken_messages,
            "retained_messages": content.retained_messages,
            "delayed_messages": content.delayed_messages,
            "segments": content.segments,
            "checkpoints": content.checkpoints,
            "bytes_on_disk": content.bytes_on_disk,
            "bytes_alive": content.bytes_alive,
            "set_aside": content.set_aside,
        },
    });
    format!("{value}\n")
}

/// Adds one line for each damage, each with `prefix` before it.
pub(super) fn push_report(text: &mut String, prefix: &str, report: &Report) {
    for damage in &report.damage {
        let note = if damage.kind.is_harmless() { " (harmless)" } else { "" };
        let _ = writeln!(text, "{prefix}{damage}{note}");
    }
    if report.damage_unlisted > 0 {
        let _ = writeln!(text, "{prefix}{} more are not listed", report.damage_unlisted);
    }
}

/// Counts the damage that is more than the trace of an interruption. Damage that is not listed
/// counts, too.
fn count(report: &Report) -> u64 {
    let listed = report.damage.iter().filter(|damage| !damage.kind.is_harmless()).count();
    listed as u64 + report.damage_unlisted
}

/// Says how much is lost, as an exact number only where it is known.
fn losses(checked: &Checked) -> String {
    let known = count(&checked.lost);
    let passed_by = checked.damage.passed_by;
    match (known, passed_by) {
        (0, 0) => "nothing lost that is still needed".to_owned(),
        (_, 0) => format!("{} lost", counted(known, "thing")),
        _ => format!(
            "at least {} lost (records in {} cannot be read, and nothing tells what they were)",
            counted(known + passed_by, "thing"),
            counted(passed_by, "place")
        ),
    }
}

fn lines(content: &Content) -> [(&'static str, String); 14] {
    [
        ("Sessions", content.sessions.to_string()),
        ("Will Messages", content.wills.to_string()),
        ("subscriptions", content.subscriptions.to_string()),
        ("awaited PUBRELs", content.awaiting_release.to_string()),
        ("shared subscriptions", content.groups.to_string()),
        ("queued messages", content.queued_messages.to_string()),
        ("their bytes", content.queued_bytes.to_string()),
        ("awaited PUBCOMPs", content.taken_messages.to_string()),
        ("retained messages", content.retained_messages.to_string()),
        ("delayed messages", content.delayed_messages.to_string()),
        ("segments", content.segments.to_string()),
        ("checkpoints", content.checkpoints.to_string()),
        ("bytes on disk", content.bytes_on_disk.to_string()),
        ("of them needed, about", content.bytes_alive.to_string()),
    ]
}

fn all(report: &Report) -> Vec<Value> {
    let one = |damage: &Damage| {
        json!({
            "file": damage.file,
            "byte": damage.offset,
            "kind": damage.kind.phrase(),
            "harmless": damage.kind.is_harmless(),
            "meaning": damage.detail,
        })
    };
    report.damage.iter().map(one).collect()
}
