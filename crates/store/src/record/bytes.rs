//! The building blocks of the records: varints, fixed numbers and length-prefixed bytes. A
//! [`Reader`] never reads beyond its input, never panics, and allocates only for several
//! Subscription Identifiers.

use std::num::NonZeroU32;

use midge_core::Identifiers;

/// A record whose bytes check but mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRecord(pub(crate) &'static str);

/// Appends an unsigned LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of the bytes, then the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the number of Subscription Identifiers, then the identifiers.
pub(crate) fn put_identifiers(out: &mut Vec<u8>, identifiers: &Identifiers) {
    let list = match identifiers {
        Identifiers::None => &[][..],
        Identifiers::One(one) => std::slice::from_ref(one),
        Identifiers::Many(many) => many,
    };
    put_varint(out, list.len() as u64);
    for identifier in list {
        put_varint(out, u64::from(identifier.get()));
    }
}

/// Maps small positive and negative differences to small numbers.
pub(crate) fn zigzag(difference: i64) -> u64 {
    ((difference << 1) ^ (difference >> 63)) as u64
}

/// Reverses [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads a record from its start to its end.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn byte(&mut self) -> Result<u8, BadRecord> {
        let (first, rest) = self.0.split_first().ok_or(BadRecord("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, BadRecord> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(BadRecord("a number is too large"))
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32, BadRecord> {
        u32::try_from(self.varint()?).map_err(|_| BadRecord("a number is too large"))
    }

    pub(crate) fn fixed_u64(&mut self) -> Result<u64, BadRecord> {
        let bytes = self.take(8)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| BadRecord("it ends too early"))
    }

    pub(crate) fn fixed_u32(&mut self) -> Result<u32, BadRecord> {
        let bytes = self.take(4)?;
        bytes.try_into().map(u32::from_le_bytes).map_err(|_| BadRecord("it ends too early"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], BadRecord> {
        let len = self.varint()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, BadRecord> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadRecord("a text is not UTF-8"))
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], BadRecord> {
        let (taken, rest) =
            self.0.split_at_checked(len).ok_or(BadRecord("a length exceeds the record"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn identifiers(&mut self) -> Result<Identifiers, BadRecord> {
        let count = self.varint()?;
        if count > self.remaining() as u64 {
            return Err(BadRecord("a length exceeds the record"));
        }
        if count == 0 {
            return Ok(Identifiers::None);
        }
        let one = self.identifier()?;
        if count == 1 {
            return Ok(Identifiers::One(one));
        }
        let mut many = vec![one];
        for _ in 1..count {
            many.push(self.identifier()?);
        }
        Ok(Identifiers::Many(many))
    }

    fn identifier(&mut self) -> Result<NonZeroU32, BadRecord> {
        NonZeroU32::new(self.varint_u32()?).ok_or(BadRecord("a Subscription Identifier is 0"))
    }

    /// Checks that the record was read to its end.
    pub(crate) fn finish(self) -> Result<(), BadRecord> {
        if self.0.is_empty() { Ok(()) } else { Err(BadRecord("bytes follow its end")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reader, put_varint, unzigzag, zigzag};

    proptest! {
        #[test]
        fn varints_come_back(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn differences_come_back(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]);
        assert!(reader.varint().is_err());
        let mut reader = Reader::new(&[0xff; 11]);
        assert!(reader.varint().is_err());
    }
}
