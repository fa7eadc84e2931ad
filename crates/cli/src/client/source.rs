//! Where `midge pub` gets its next message from: one payload several times, or lines.

use std::time::{Duration, Instant};

use midge_codec::QoS;

use super::error::ClientError;
use super::lines::{Line, Lines};
use super::session::Publication;

/// The messages that are to be published, in their order.
pub(crate) struct Source {
    publication: Publication,
    kind: Kind,
    is_first: bool,
}

enum Kind {
    Repeated { left: u64, delay: Duration, next_at: Option<Instant> },
    Lines(Lines),
}

/// What [`Source::next`] found.
pub(crate) enum Next {
    Message(Publication),
    /// Nothing until something happens: a line arrives, or a message is delivered.
    Pending,
    /// Nothing until this time.
    At(Instant),
    End,
}

impl Source {
    /// Gives `publication` `count` times, each `delay` after the delivery of the one before.
    pub(crate) fn repeated(publication: Publication, count: u64, delay: Duration) -> Self {
        let kind = Kind::Repeated { left: count, delay, next_at: None };
        Self { publication, kind, is_first: true }
    }

    /// Gives `publication` with each line as its payload.
    pub(crate) fn lines(publication: Publication, lines: Lines) -> Self {
        Self { publication, kind: Kind::Lines(lines), is_first: true }
    }

    pub(crate) fn qos(&self) -> QoS {
        self.publication.qos
    }

    /// Returns the next message. `settled` says whether all messages so far have been delivered.
    pub(crate) fn next(&mut self, settled: bool, now: Instant) -> Result<Next, ClientError> {
        match &mut self.kind {
            Kind::Repeated { left: 0, .. } => return Ok(Next::End),
            Kind::Repeated { left, delay, next_at } => {
                if !self.is_first && !delay.is_zero() {
                    if !settled {
                        return Ok(Next::Pending);
                    }
                    let time = *next_at.get_or_insert(now + *delay);
                    if now < time {
                        return Ok(Next::At(time));
                    }
                    *next_at = None;
                }
                *left -= 1;
            }
            Kind::Lines(lines) => match lines.next() {
                Ok(Line::Whole(line)) => self.publication.payload = line.into(),
                Ok(Line::Pending) => return Ok(Next::Pending),
                Ok(Line::End) => return Ok(Next::End),
                Err(error) => {
                    let text = format!("cannot read standard input: {error}");
                    return Err(ClientError::Refused(text));
                }
            },
        }
        self.is_first = false;
        Ok(Next::Message(self.publication.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    fn publication() -> Publication {
        Publication {
            topic: "t".into(),
            payload: Rc::from(&b"x"[..]),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Rc::default(),
        }
    }

    #[test]
    fn repeats_at_once_without_a_delay() {
        let mut source = Source::repeated(publication(), 3, Duration::ZERO);
        let now = Instant::now();
        for _ in 0..3 {
            assert!(matches!(source.next(false, now), Ok(Next::Message(_))));
        }
        assert!(matches!(source.next(false, now), Ok(Next::End)));
    }

    #[test]
    fn waits_after_each_delivery() {
        let delay = Duration::from_secs(1);
        let mut source = Source::repeated(publication(), 2, delay);
        let start = Instant::now();
        assert!(matches!(source.next(true, start), Ok(Next::Message(_))));
        assert!(matches!(source.next(false, start), Ok(Next::Pending)));
        let delivered = start + delay;
        assert!(
            matches!(source.next(true, delivered), Ok(Next::At(at)) if at == start + 2 * delay)
        );
        assert!(matches!(source.next(true, start + 2 * delay), Ok(Next::Message(_))));
        assert!(matches!(source.next(true, start + 2 * delay), Ok(Next::End)));
    }
}
