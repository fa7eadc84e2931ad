//! The fields of a hash's text, which `$` separates, and the place of each.
//!
//! An error says what belongs into a field, and never repeats its text: it may be a password.

use std::ops::RangeInclusive;

use base64ct::{Base64, Base64Unpadded, Encoding};

use super::password_hash::HashError;

/// The rest of a hash's text.
pub(super) struct Fields<'a> {
    text: &'a str,
    /// The begin of the next field; absent after the last one.
    next: Option<usize>,
}

/// A field, or a part of one.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) text: &'a str,
    offset: usize,
}

impl<'a> Fields<'a> {
    /// The fields behind the first byte of `text`, which is a `$`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, next: Some(1) }
    }

    /// Takes the next field. `expected` names it, and the form of the whole.
    pub(super) fn next(&mut self, expected: &str) -> Result<Field<'a>, HashError> {
        let Some(offset) = self.next else {
            return Err(HashError::new(self.text.len(), format!("it ends before {expected}")));
        };
        let rest = &self.text[offset..];
        let text = rest.split('$').next().unwrap_or(rest);
        let end = offset + text.len();
        self.next = (end < self.text.len()).then_some(end + 1);
        Ok(Field { text, offset })
    }

    /// Says that there is no further field.
    pub(super) fn end(&self) -> Result<(), HashError> {
        match self.next {
            None => Ok(()),
            Some(next) => Err(HashError::new(next - 1, "nothing follows the hash")),
        }
    }
}

impl<'a> Field<'a> {
    /// An error at the field's begin.
    pub(super) fn error(self, detail: impl Into<String>) -> HashError {
        HashError::new(self.offset, detail)
    }

    /// Splits at the first `separator`, if there is one.
    pub(super) fn split(self, separator: char) -> (Self, Option<Self>) {
        match self.text.split_once(separator) {
            None => (self, None),
            Some((first, rest)) => {
                let offset = self.offset + first.len() + separator.len_utf8();
                (Self { text: first, ..self }, Some(Self { text: rest, offset }))
            }
        }
    }

    /// Reads a number behind `prefix`. `what` is the number's name.
    pub(super) fn number(
        self,
        prefix: &str,
        what: &str,
        range: RangeInclusive<u32>,
    ) -> Result<u32, HashError> {
        let digits = self.text.strip_prefix(prefix).unwrap_or_default();
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let number = is_plain.then(|| digits.parse().ok()).flatten();
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (min, max) = range.into_inner();
            let prefix = if prefix.is_empty() { "" } else { &format!("`{prefix}` and ") };
            self.error(format!("{what} belong here: {prefix}a number from {min} to {max}"))
        })
    }

    /// Decodes base64 with padding, as mosquitto writes it.
    pub(super) fn base64(
        self,
        what: &str,
        bytes: RangeInclusive<usize>,
    ) -> Result<Box<[u8]>, HashError> {
        self.decoded(Base64::decode_vec(self.text).ok(), what, "", bytes)
    }

    /// Decodes base64 without padding, as the strings of the Password Hashing Competition have it.
    pub(super) fn base64_unpadded(
        self,
        what: &str,
        bytes: RangeInclusive<usize>,
    ) -> Result<Box<[u8]>, HashError> {
        self.decoded(Base64Unpadded::decode_vec(self.text).ok(), what, ", without `=`", bytes)
    }

    fn decoded(
        self,
        decoded: Option<Vec<u8>>,
        what: &str,
        how: &str,
        bytes: RangeInclusive<usize>,
    ) -> Result<Box<[u8]>, HashError> {
        let good = decoded.filter(|decoded| bytes.contains(&decoded.len()));
        good.map(Vec::into_boxed_slice).ok_or_else(|| {
            let (min, max) = bytes.into_inner();
            let length = if min == max { max.to_string() } else { format!("{min} to {max}") };
            self.error(format!("{what} belongs here: base64{how} of {length} bytes"))
        })
    }
}
