//! Where a record of the journal stands: the segment's number and the offset in its file, packed
//! into one number that is never 0. It says nothing about whether the record is still there.

use std::fmt;
use std::num::NonZeroU64;

/// The place of a record in the journal. Later records have larger places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(NonZeroU64);

impl Location {
    /// The place at `offset` bytes in a segment; `None` for segment 0, which does not exist.
    pub const fn new(segment: u32, offset: u32) -> Option<Self> {
        if segment == 0 {
            return None;
        }
        Self::from_u64((segment as u64) << 32 | offset as u64)
    }

    /// The number of the segment, from 1.
    pub const fn segment(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// The offset of the record's frame in the segment's file, in bytes.
    pub const fn offset(self) -> u32 {
        self.0.get() as u32
    }

    /// Both as one number: `segment << 32 | offset`.
    pub const fn to_u64(self) -> u64 {
        self.0.get()
    }

    /// The same number as [`Self::to_u64`].
    pub(crate) const fn to_non_zero(self) -> NonZeroU64 {
        self.0
    }

    /// Returns the place `bytes` bytes further on in the same segment.
    pub(crate) const fn plus(self, bytes: u32) -> Self {
        Self(self.0.saturating_add(bytes as u64))
    }

    /// The place at `offset` in the segment with the next number.
    pub(crate) const fn next_segment(self, offset: u32) -> Self {
        let next = (self.0.get() >> 32).saturating_add(1);
        Self(NonZeroU64::MIN.saturating_add((next << 32 | offset as u64) - 1))
    }

    /// Returns the place that [`Self::to_u64`] turns into this number; `None` if there is none.
    pub const fn from_u64(packed: u64) -> Option<Self> {
        if packed >> 32 == 0 {
            return None;
        }
        match NonZeroU64::new(packed) {
            Some(packed) => Some(Self(packed)),
            None => None,
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn a_location_survives_packing() {
        let location = Location::new(7, 0xFFFF_FFFF).unwrap();
        assert_eq!((location.segment(), location.offset()), (7, 0xFFFF_FFFF));
        assert_eq!(Location::from_u64(location.to_u64()), Some(location));
        assert!(Location::new(8, 0).unwrap() > location);
    }

    #[test]
    fn there_is_no_location_in_segment_0() {
        assert_eq!(Location::new(0, 64), None);
        assert_eq!(Location::from_u64(0), None);
        assert_eq!(Location::from_u64(64), None);
    }
}
