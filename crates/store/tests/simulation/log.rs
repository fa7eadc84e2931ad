//! What happened in a run, for whoever has to understand a failure. Nothing is recorded unless a
//! run is replayed: the same seed does the same again.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::ledger::MessageId;

/// The log that everything in a run shares, and whoever started the run keeps.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    is_enabled: bool,
    step: u64,
    events: Vec<Event>,
    failed: Option<Concerned>,
}

/// The Client or message that an event is about. An event about neither concerns everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Concerned {
    pub(crate) client: Option<usize>,
    pub(crate) message: Option<MessageId>,
}

struct Event {
    step: u64,
    concerned: Concerned,
    text: String,
}

impl Concerned {
    pub(crate) fn client(client: usize) -> Self {
        Self { client: Some(client), message: None }
    }

    pub(crate) fn message(message: MessageId) -> Self {
        Self { client: None, message: Some(message) }
    }

    pub(crate) fn both(client: usize, message: MessageId) -> Self {
        Self { client: Some(client), message: Some(message) }
    }

    /// Returns whether an event about `other` helps to understand this one.
    fn is_touched_by(self, other: Self) -> bool {
        let is_general = other == Self::default();
        let by_message = self.message.is_some() && self.message == other.message;
        let by_client =
            self.client.is_some() && self.client == other.client && other.message.is_none();
        is_general || by_message || by_client || self == Self::default()
    }
}

impl fmt::Display for Concerned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(client) = self.client {
            write!(f, " c{client}")?;
        }
        match self.message {
            Some(message) => write!(f, " m{message}"),
            None => Ok(()),
        }
    }
}

impl Log {
    pub(crate) fn enable(&self) {
        self.0.borrow_mut().is_enabled = true;
    }

    pub(crate) fn set_step(&self, step: u64) {
        self.0.borrow_mut().step = step;
    }

    pub(crate) fn note(&self, concerned: Concerned, text: impl FnOnce() -> String) {
        let mut inner = self.0.borrow_mut();
        if inner.is_enabled {
            let (step, text) = (inner.step, text());
            inner.events.push(Event { step, concerned, text });
        }
    }

    /// Fails the run.
    pub(crate) fn fail(&self, concerned: Concerned, text: &str) -> ! {
        let step = {
            let mut inner = self.0.borrow_mut();
            inner.failed = Some(concerned);
            inner.step
        };
        panic!("step {step}:{concerned} {text}");
    }

    /// Returns the last `count` events that are related to the failure, or all events.
    pub(crate) fn story(&self, count: Option<usize>) -> String {
        let inner = self.0.borrow();
        let failed = count.and(inner.failed).unwrap_or_default();
        let events: Vec<_> =
            inner.events.iter().filter(|event| failed.is_touched_by(event.concerned)).collect();
        let skipped = count.map_or(0, |count| events.len().saturating_sub(count));
        let lines = events[skipped..]
            .iter()
            .map(|event| format!("{:>6}{}: {}\n", event.step, event.concerned, event.text));
        lines.collect()
    }
}
