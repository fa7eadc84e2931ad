//! How messages are told apart: a topic with a number, a number in the payload, and then bytes that
//! follow from both, so that a change to a message is noticed.

use std::fmt;

/// Identifies a message: topic `KIND/INDEX`, and a number that its publisher never uses again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) index: u32,
    /// The number, from 1; 0 is the empty payload.
    pub(crate) number: u32,
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Traffic, on `t/PUBLISHER`.
    Traffic,
    /// Retained messages, on `r/TOPIC`.
    Retained,
    /// Messages that show that a subscription is there, on `s/FILTER`.
    Probe,
    /// Will Messages, on `w/ROUND`.
    Will,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Traffic => 't',
            Self::Retained => 'r',
            Self::Probe => 's',
            Self::Will => 'w',
        }
    }

    fn of_letter(letter: &str) -> Option<Self> {
        let kinds = [Self::Traffic, Self::Retained, Self::Probe, Self::Will];
        kinds.into_iter().find(|kind| letter == kind.letter().to_string())
    }
}

impl Key {
    pub(crate) fn new(kind: Kind, index: u32, number: u32) -> Self {
        Self { kind, index, number }
    }

    pub(crate) fn topic(self) -> String {
        format!("{}/{}", self.kind.letter(), self.index)
    }

    /// Returns the number, followed by bytes that only this message has.
    pub(crate) fn payload(self) -> Vec<u8> {
        let mut hash = u64::from(self.number) << 32 | u64::from(self.index) << 8;
        hash = (hash | self.kind as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 29;
        // Most payloads are small. Some are larger than others read at once, but none is larger
        // than a CONNECT may be.
        let length = if hash.is_multiple_of(61) { hash % 12_000 } else { hash % 100 };
        let mut payload = format!("{} ", self.number).into_bytes();
        payload.extend((0..length).map(|place| b'a' + (hash.rotate_left(place as u32) % 26) as u8));
        payload
    }

    /// Returns the message of a PUBLISH, if it is exactly as it was sent.
    pub(crate) fn of(topic: &str, payload: &[u8]) -> Option<Self> {
        let (letter, index) = topic.split_once('/')?;
        let (kind, index) = (Kind::of_letter(letter)?, index.parse().ok()?);
        if payload.is_empty() {
            return Some(Self::new(kind, index, 0));
        }
        let digits = payload.split(|&byte| byte == b' ').next()?;
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let key = Self::new(kind, index, number);
        (key.payload() == payload).then_some(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.topic(), self.number)
    }
}
