//! The data representations of MQTT 5.0 section 1.5, read from a slice and written to a sink.
//!
//! A packet describes its bytes once, to a [`Sink`]. A first pass counts them, a second one writes
//! them, so the length is known before the first byte is written and nothing is copied in between.

use crate::error::Rule;
use crate::types::{PacketIdentifier, ProtocolVersion};

/// The longest Remaining Length, and the longest Property Length.
pub(crate) const VARIABLE_MAX: usize = 268_435_455;

/// Reads fields one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

/// Where a packet's bytes go.
pub(crate) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    #[inline]
    fn byte(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    #[inline]
    fn two_bytes(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    #[inline]
    fn four_bytes(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes Binary Data or a UTF-8 Encoded String: a two-byte length and the bytes.
    #[inline]
    fn prefixed(&mut self, bytes: &[u8]) {
        self.two_bytes(bytes.len() as u16);
        self.bytes(bytes);
    }

    /// Writes a Variable Byte Integer in the fewest bytes that hold it [MQTT-1.5.5-1].
    #[inline]
    fn variable(&mut self, value: usize) {
        let mut rest = value;
        while rest >= 128 {
            self.byte((rest % 128) as u8 | 128);
            rest /= 128;
        }
        self.byte(rest as u8);
    }
}

/// What follows a fixed header, and the flags in that header.
pub(crate) trait Body {
    fn flags(&self) -> u8 {
        0
    }

    /// Writes the variable header and the payload to a sink. Called twice: see [`Sink`].
    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink);
}

/// The sink of the first pass. It counts bytes, and notes whether a field does not fit its length
/// field.
#[derive(Debug, Default)]
pub(crate) struct Length {
    pub(crate) bytes: usize,
    pub(crate) has_overlong_field: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Checks that the packet ends here: nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Rule> {
        if self.is_empty() { Ok(()) } else { Err(Rule::TrailingBytes) }
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Rule> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Rule::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Rule> {
        let (&first, rest) = self.bytes.split_first().ok_or(Rule::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }

    #[inline]
    pub(crate) fn two_bytes(&mut self) -> Result<u16, Rule> {
        let (&bytes, rest) = self.bytes.split_first_chunk().ok_or(Rule::Truncated)?;
        self.bytes = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    /// Reads a Packet Identifier [MQTT-2.2.1-3].
    #[inline]
    pub(crate) fn packet_identifier(&mut self) -> Result<PacketIdentifier, Rule> {
        PacketIdentifier::new(self.two_bytes()?).ok_or(Rule::PacketIdentifierZero)
    }

    pub(crate) fn four_bytes(&mut self) -> Result<u32, Rule> {
        let (&bytes, rest) = self.bytes.split_first_chunk().ok_or(Rule::Truncated)?;
        self.bytes = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Rule> {
        let length = self.two_bytes()?;
        self.take(usize::from(length))
    }

    /// Reads a UTF-8 Encoded String [MQTT-1.5.4-1] [MQTT-1.5.4-2].
    pub(crate) fn text(&mut self) -> Result<&'a str, Rule> {
        let text = utf8(self.binary()?)?;
        if text.as_bytes().contains(&0) { Err(Rule::NullCharacter) } else { Ok(text) }
    }

    /// Reads a Variable Byte Integer of at most four bytes, in its shortest form.
    #[inline]
    pub(crate) fn variable(&mut self) -> Result<usize, Rule> {
        match read_variable(self.bytes)? {
            Some((value, length)) => {
                self.bytes = &self.bytes[length..];
                Ok(value)
            }
            None => Err(Rule::Truncated),
        }
    }
}

/// Returns bytes as text if they are well-formed UTF-8, which has no surrogates [MQTT-1.5.4-1].
#[inline]
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Rule> {
    std::str::from_utf8(bytes).map_err(|_| Rule::IllFormedUtf8)
}

/// Reads a Variable Byte Integer at the start of `bytes`. Returns its value and its length, or
/// `None` if it is cut off.
#[inline]
pub(crate) fn read_variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, Rule> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 127) << (7 * index);
        if byte & 128 == 0 {
            if byte == 0 && index > 0 {
                return Err(Rule::NonMinimalLength); // [MQTT-1.5.5-1]
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Rule::MalformedLength) } else { Ok(None) }
}

/// Returns how many bytes a Variable Byte Integer takes.
#[inline]
pub(crate) fn variable_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn byte(&mut self, value: u8) {
        self.push(value);
    }
}

impl Sink for Length {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }

    #[inline]
    fn prefixed(&mut self, bytes: &[u8]) {
        self.bytes += 2 + bytes.len();
        self.has_overlong_field |= bytes.len() > usize::from(u16::MAX);
    }

    #[inline]
    fn variable(&mut self, value: usize) {
        self.bytes += variable_len(value);
        self.has_overlong_field |= value > VARIABLE_MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::{Sink, read_variable, variable_len};
    use crate::error::Rule;

    #[test]
    fn variable_byte_integers_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut bytes = Vec::new();
            bytes.variable(value);
            assert_eq!(bytes.len(), variable_len(value));
            assert_eq!(read_variable(&bytes), Ok(Some((value, bytes.len()))));
            assert_eq!(read_variable(&bytes[..bytes.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn only_the_shortest_form_of_at_most_four_bytes_is_taken() {
        assert_eq!(read_variable(&[0x80, 0x00]), Err(Rule::NonMinimalLength));
        assert_eq!(read_variable(&[0xFF, 0xFF, 0xFF, 0x80, 0x01]), Err(Rule::MalformedLength));
    }
}
