//! Log lines about dropped messages: who, which topic, why, and how many since the last line.
//!
//! The first message that is dropped for a reason, on behalf of a Client, gets a line at once.
//! Further ones are counted, and logged every ten seconds while there is something to log, so that
//! a Client that takes nothing can neither fill a disk nor hold up a worker. The number of lines at
//! one time is bounded; drops without a line of their own are logged as a sum.

use hashbrown::HashMap;
use log::Level;
use midge_core::{Counters, DropNote, DropReason, Timestamp, counted};

/// The drops of one worker that were not logged yet.
#[derive(Debug, Default)]
pub(crate) struct DropLog {
    entries: HashMap<Key, Untold, foldhash::fast::FixedState>,
    /// When the counts are logged.
    tells_at: Option<Timestamp>,
    /// Lines since the last time that everything was logged.
    lines: usize,
}

/// A Client (empty: nobody in particular), whether it is the publisher, and the reason.
type Key = (Box<str>, bool, DropReason);

/// What was dropped since the last line.
#[derive(Debug, Default)]
struct Untold {
    count: u64,
    /// The topic of the last dropped message.
    topic: Box<str>,
    user_name: Option<Box<str>>,
}

impl DropLog {
    const INTERVAL_MS: u64 = 10_000;
    /// Clients and reasons that get lines of their own in one interval.
    const LINES_MAX: usize = 20;
    /// Clients and reasons that are told apart in one interval.
    const ENTRIES_MAX: usize = 1_000;

    /// Takes the notes of a turn.
    pub(crate) fn take(&mut self, notes: &mut Vec<DropNote>, now: Timestamp) {
        for note in notes.drain(..) {
            self.note(note);
            self.tells_at.get_or_insert(now + Self::INTERVAL_MS);
        }
    }

    /// Returns when [`DropLog::look`] has something to do.
    pub(crate) fn next_look(&self) -> Option<Timestamp> {
        self.tells_at
    }

    /// Logs what was counted, if it is time.
    pub(crate) fn look(&mut self, now: Timestamp) {
        if self.tells_at.is_some_and(|at| at <= now) {
            let is_quiet = self.entries.values().all(|untold| untold.count == 0);
            self.tells_at = (!is_quiet).then(|| now + Self::INTERVAL_MS);
            self.tell();
        }
    }

    /// Logs everything that was not logged yet.
    pub(crate) fn tell(&mut self) {
        self.lines = 0;
        let mut entries: Vec<_> = self.entries.drain().filter(|(_, it)| it.count > 0).collect();
        entries.sort_by_key(|(key, untold)| (std::cmp::Reverse(untold.count), key.clone()));
        let mut others = [0; DropReason::ALL.len()];
        for (index, (key, untold)) in entries.into_iter().enumerate() {
            if index < Self::LINES_MAX {
                write(&key, &untold);
                // Later drops are only counted: a line for each would come at once.
                self.entries.insert(key, Untold::default());
            } else {
                others[key.2 as usize] += untold.count;
            }
        }
        for (reason, count) in DropReason::ALL.into_iter().zip(others) {
            if count > 0 {
                let untold = Untold { count, ..Untold::default() };
                write(&(Box::default(), false, reason), &untold);
            }
        }
    }

    fn note(&mut self, note: DropNote) {
        let DropNote { client, is_refusal, topic, reason, count } = note;
        let name = client.as_ref().map(|client| client.client_id.clone()).unwrap_or_default();
        let mut key = (name, is_refusal, reason);
        if self.entries.len() >= Self::ENTRIES_MAX && !self.entries.contains_key(&key) {
            key.0 = Box::default();
        }
        let user_name = client.and_then(|client| client.user_name.clone());
        let is_new = !self.entries.contains_key(&key);
        let untold = self.entries.entry(key.clone()).or_default();
        untold.count += count;
        (untold.topic, untold.user_name) = (topic, user_name);
        if is_new && self.lines < Self::LINES_MAX {
            self.lines += 1;
            write(&key, &std::mem::take(untold));
        }
    }
}

fn write((name, is_refusal, reason): &Key, untold: &Untold) {
    let level = if reason.is_ordinary() { Level::Info } else { Level::Warn };
    if !log::log_enabled!(level) {
        return;
    }
    let Untold { count, topic, user_name } = untold;
    let who = match (name.as_ref(), user_name) {
        ("", _) => "several clients".to_string(),
        (name, None) => format!("{name:?}"),
        (name, Some(user)) => format!("{name:?} (user {user:?})"),
    };
    let direction = if *is_refusal { "from" } else { "for" };
    let messages = counted(*count, "message");
    let last = match (topic.as_ref(), count) {
        ("", _) => String::new(),
        (topic, 1) => format!(", topic {topic:?}"),
        (topic, _) => format!(", the last one of topic {topic:?}"),
    };
    let (word, explanation) = (reason.name(), reason.explanation());
    let client_id = Some(name.as_ref()).filter(|name| !name.is_empty());
    let topic = Some(topic.as_ref()).filter(|topic| !topic.is_empty());
    log::log!(
        level,
        client_id = client_id, user_name = user_name.as_deref(), topic = topic,
        reason = word, count = *count;
        "{messages} {direction} {who} dropped{last}: {explanation} ({word})"
    );
}

/// Returns in words what was dropped since the start; `None` if nothing was.
pub(crate) fn sum_in_words(counters: &Counters) -> Option<String> {
    let reasons = DropReason::ALL.into_iter().filter(|reason| reason.is_loss());
    let counts = reasons.map(|reason| (reason.name(), counters.dropped_for(reason)));
    let counts = counts.filter(|(_, count)| *count > 0);
    let words: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    (!words.is_empty()).then(|| format!("{} ({})", counters.lost(), words.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use midge_core::{DropNote, DropReason, Identity, Timestamp};

    use super::DropLog;

    fn note(client_id: &str, count: u64) -> DropNote {
        let client_id = client_id.into();
        DropNote {
            client: Some(Arc::new(Identity::new(client_id, None))),
            is_refusal: false,
            topic: "t".into(),
            reason: DropReason::QueueFull,
            count,
        }
    }

    fn untold(log: &DropLog) -> u64 {
        log.entries.values().map(|untold| untold.count).sum()
    }

    #[test]
    fn the_first_has_a_line_and_the_others_are_told_in_time() {
        let (mut log, start) = (DropLog::default(), Timestamp::from_millis(1_000));
        log.take(&mut vec![note("a", 3)], start);
        assert_eq!((untold(&log), log.lines), (0, 1));
        log.take(&mut vec![note("a", 4), note("b", 5), note("a", 1)], start + 5);
        assert_eq!((untold(&log), log.lines), (5, 2));
        let at = log.next_look().unwrap();
        log.look(at);
        assert_eq!(untold(&log), 0);
        let again = log.next_look().unwrap();
        assert_eq!(again, at + DropLog::INTERVAL_MS);
        log.look(again);
        assert_eq!((log.next_look(), log.entries.len()), (None, 0), "it is quiet");
    }

    #[test]
    fn lines_and_memory_are_bounded_and_nothing_is_lost() {
        let (mut log, start) = (DropLog::default(), Timestamp::from_millis(1_000));
        let mut notes: Vec<_> = (0..5_000).map(|index| note(&index.to_string(), 1)).collect();
        log.take(&mut notes, start);
        assert!(log.entries.len() <= DropLog::ENTRIES_MAX + 1, "{}", log.entries.len());
        assert_eq!(log.lines, DropLog::LINES_MAX);
        assert_eq!(untold(&log) as usize, 5_000 - DropLog::LINES_MAX);
    }

    #[test]
    fn the_documentation_names_every_reason() {
        let page = include_str!("../../../docs/logging.md");
        for reason in DropReason::ALL.into_iter().filter(|reason| reason.is_loss()) {
            let level = if reason.is_ordinary() { "info" } else { "warn" };
            let (name, explanation) = (reason.name(), reason.explanation());
            let row = format!("| `{name}` | {level} | {explanation} |\n");
            assert!(page.contains(&row), "docs/logging.md lacks: {row}");
        }
    }
}
