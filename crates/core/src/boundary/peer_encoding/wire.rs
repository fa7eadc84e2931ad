//! The building blocks of the encoding: numbers of variable length (LEB128), bytes and texts with
//! their length in front, lists with their count in front. A [`Reader`] never reads beyond its
//! bytes and allocates for no more entries than there can be.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use super::PeerDecodeError;
use crate::base::time::Timestamp;

/// Something with a fixed place in the encoding.
pub(super) trait Wire: Sized {
    fn write(&self, writer: &mut Writer<'_>);

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError>;
}

/// Appends to bytes.
pub(super) struct Writer<'o> {
    now: Timestamp,
    out: &'o mut Vec<u8>,
}

/// Takes from bytes.
pub(super) struct Reader<'b> {
    now: Timestamp,
    bytes: &'b [u8],
}

impl<'o> Writer<'o> {
    pub(super) fn new(now: Timestamp, out: &'o mut Vec<u8>) -> Self {
        Self { now, out }
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
}

impl<'b> Reader<'b> {
    pub(super) fn new(now: Timestamp, bytes: &'b [u8]) -> Self {
        Self { now, bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, PeerDecodeError> {
        let (&first, rest) = self.bytes.split_first().ok_or(PeerDecodeError::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }

    /// Takes a number in its shortest form: any other is refused, so that each message has only one
    /// encoding.
    pub(super) fn number(&mut self) -> Result<u64, PeerDecodeError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                let is_shortest = byte > 0 || shift == 0;
                return is_shortest
                    .then_some(number)
                    .ok_or(PeerDecodeError::Invalid("a number is longer than it has to be"));
            }
        }
        Err(PeerDecodeError::Invalid("a number is too large"))
    }

    pub(super) fn take(&mut self, length: u64) -> Result<&'b [u8], PeerDecodeError> {
        let length = usize::try_from(length).map_err(|_| PeerDecodeError::Truncated)?;
        let split = self.bytes.split_at_checked(length);
        let (taken, rest) = split.ok_or(PeerDecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], PeerDecodeError> {
        let length = self.number()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'b str, PeerDecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| PeerDecodeError::Invalid("a text is not UTF-8"))
    }

    /// Takes a count of entries that take at least a byte each.
    pub(super) fn count(&mut self) -> Result<usize, PeerDecodeError> {
        let count = self.number()?;
        let count = usize::try_from(count).ok().filter(|&count| count <= self.left());
        count.ok_or(PeerDecodeError::Truncated)
    }
}

impl Wire for u64 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        reader.number()
    }
}

impl Wire for u32 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(u64::from(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let number = u32::try_from(reader.number()?);
        number.map_err(|_| PeerDecodeError::Invalid("a number is too large"))
    }
}

impl Wire for NonZeroU64 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(self.get());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Self::new(reader.number()?).ok_or(PeerDecodeError::Invalid("a number is 0"))
    }
}

impl Wire for NonZeroU32 {
    fn write(&self, writer: &mut Writer<'_>) {
        self.get().write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Self::new(u32::read(reader)?).ok_or(PeerDecodeError::Invalid("a number is 0"))
    }
}

impl Wire for i64 {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(((self << 1) ^ (self >> 63)) as u64);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let number = reader.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

impl Wire for bool {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.byte(u8::from(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(PeerDecodeError::UnknownTag("the truth value", u64::from(other))),
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, writer: &mut Writer<'_>) {
        self.is_some().write(writer);
        if let Some(present) = self {
            present.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        bool::read(reader)?.then(|| T::read(reader)).transpose()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.number(self.len() as u64);
        self.iter().for_each(|entry| entry.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let count = reader.count()?;
        // Entries may be larger than their bytes, so the list grows with what there is.
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(T::read(reader)?);
        }
        Ok(list)
    }
}

impl Wire for Box<str> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Ok(reader.text()?.into())
    }
}

impl Wire for Arc<str> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        Ok(reader.text()?.into())
    }
}

/// A moment that has not come: how many milliseconds are left. One that has passed is now.
impl Wire for Timestamp {
    fn write(&self, writer: &mut Writer<'_>) {
        let left = *self - writer.now;
        writer.number(left);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
        let left = reader.number()?;
        let at = reader.now + left;
        let is_in_time = at - reader.now == left;
        is_in_time.then_some(at).ok_or(PeerDecodeError::Invalid("a moment is beyond all time"))
    }
}
