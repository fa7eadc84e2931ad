//! What two ends of a link say to each other, as bytes.
//!
//! A frame is a head of fixed size, and a payload behind it if it carries one. All numbers are
//! little-endian. The version comes first, and kinds are never used again: an unknown one is an
//! error, and so are bytes that are missing or left over. No bytes make this module panic or
//! allocate.

use std::fmt;
use std::num::NonZeroU64;

/// The incarnation of a process. The later one of two incarnations has the larger epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(NonZeroU64);

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The other end speaks a version that this one does not know.
    UnknownVersion(u8),
    /// There is no such kind of frame in this version.
    UnknownKind(u8),
    /// It ends in the middle.
    Truncated,
    /// It says something that cannot be.
    Invalid(&'static str),
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    pub(crate) from: Epoch,
    /// Absent if the sender knows of no incarnation of the receiver.
    pub(crate) to: Option<Epoch>,
    /// The sender has taken the receiver's payloads up to this number.
    pub(crate) taken: u64,
    /// The sender has kept the receiver's payloads up to this number.
    pub(crate) kept: u64,
    pub(crate) kind: Kind<'b>,
}

/// What a frame is sent for, besides what its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'b> {
    /// The receiver is to answer.
    Hello,
    /// Nothing else.
    Acknowledgement,
    Payload {
        number: u64,
        payload: &'b [u8],
    },
    /// The sender has given up this incarnation of the receiver.
    End,
}

impl Epoch {
    /// Returns the epoch with this number; `None` for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns its number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl Frame<'_> {
    /// The bytes in front of a payload.
    pub(crate) const HEAD_BYTES: usize = 2 + 5 * 8;
    const VERSION: u8 = 1;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, number, payload) = match self.kind {
            Kind::Hello => (1, 0, &[][..]),
            Kind::Acknowledgement => (2, 0, &[][..]),
            Kind::Payload { number, payload } => (3, number, payload),
            Kind::End => (4, 0, &[][..]),
        };
        let mut bytes = Vec::with_capacity(Self::HEAD_BYTES + payload.len());
        bytes.extend([Self::VERSION, kind]);
        let to = self.to.map_or(0, Epoch::get);
        for field in [self.from.get(), to, self.taken, self.kept, number] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
        let (&version, _) = bytes.split_first().ok_or(FrameError::Truncated)?;
        if version != Self::VERSION {
            return Err(FrameError::UnknownVersion(version));
        }
        let head = bytes.split_at_checked(Self::HEAD_BYTES);
        let (head, payload) = head.ok_or(FrameError::Truncated)?;
        let mut fields = head[2..]
            .chunks_exact(8)
            .map(|field| field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)));
        let mut field = || fields.next().unwrap_or(0);
        let (from, to) = (Epoch::new(field()), Epoch::new(field()));
        let (taken, kept, number) = (field(), field(), field());
        let kind = match head[1] {
            1 => Kind::Hello,
            2 => Kind::Acknowledgement,
            3 => Kind::Payload { number, payload },
            4 => Kind::End,
            kind => return Err(FrameError::UnknownKind(kind)),
        };
        let from = from.ok_or(FrameError::Invalid("it comes from no incarnation"))?;
        if kept > taken {
            return Err(FrameError::Invalid("more is kept than was taken"));
        }
        match kind {
            Kind::Payload { number: 0, .. } => {
                return Err(FrameError::Invalid("its payload has no number"));
            }
            Kind::Payload { .. } => (),
            _ if number > 0 || !payload.is_empty() => {
                return Err(FrameError::Invalid("it has a payload of no use"));
            }
            _ => (),
        }
        Ok(Frame { from, to, taken, kept, kind })
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(version) => write!(f, "version {version} is not known"),
            Self::UnknownKind(kind) => write!(f, "kind {kind} is not known"),
            Self::Truncated => f.write_str("it ends in the middle"),
            Self::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Epoch, Frame, FrameError, Kind};

    const FRAME: Frame<'_> = Frame {
        from: Epoch(std::num::NonZeroU64::MIN),
        to: None,
        taken: 0x0102,
        kept: 1,
        kind: Kind::Payload { number: 9, payload: b"p" },
    };

    /// Nodes of different versions have to understand each other.
    #[test]
    fn a_frame_has_the_bytes_that_it_has_always_had() {
        let eight = |low: [u8; 2]| [&low[..], &[0; 6]].concat();
        let numbers = [[1, 0], [0, 0], [2, 1], [1, 0], [9, 0]].map(eight).concat();
        assert_eq!(FRAME.encode(), [&[1, 3], &numbers[..], b"p"].concat());
        let none = eight([0, 0]);
        for (kind, number) in [(Kind::Hello, 1), (Kind::Acknowledgement, 2), (Kind::End, 4)] {
            let bytes = [&[1, number], &numbers[..32], &none].concat();
            assert_eq!(Frame { kind, ..FRAME }.encode(), bytes);
            assert_eq!(Frame::decode(&bytes), Ok(Frame { kind, ..FRAME }));
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error_with_a_name() {
        let bytes = FRAME.encode();
        for length in 0..Frame::HEAD_BYTES {
            assert_eq!(Frame::decode(&bytes[..length]), Err(FrameError::Truncated));
        }
        let with = |at: usize, byte| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            Frame::decode(&bytes).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(0, 2), FrameError::UnknownVersion(2));
        assert_eq!(with(1, 5), FrameError::UnknownKind(5));
        let invalid = [(2, 0), (27, 77), (34, 0), (1, 2)];
        for (at, byte) in invalid {
            let error = with(at, byte);
            assert!(matches!(error, FrameError::Invalid(_)), "{at}: {error}");
            assert!(!error.to_string().is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(mut bytes: Vec<u8>, kind in 1..5_u8) {
            if let [version, kind_byte, ..] = &mut bytes[..] {
                (*version, *kind_byte) = (1, kind);
            }
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), bytes);
            }
        }

        #[test]
        fn frames_come_back(
            epochs: (u64, u64),
            kept: u32,
            more: u32,
            number in 1..u64::MAX,
            payload: Vec<u8>,
        ) {
            let (from, to) = (Epoch::new(epochs.0.max(1)).unwrap(), Epoch::new(epochs.1));
            let (kept, taken) = (u64::from(kept), u64::from(kept) + u64::from(more));
            let kind = Kind::Payload { number, payload: &payload };
            let frame = Frame { from, to, taken, kept, kind };
            let bytes = frame.encode();
            prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
        }
    }
}
