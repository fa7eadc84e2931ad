//! SASLprep (RFC 4013): names and passwords that look alike are made alike.

use std::borrow::Cow;

/// Prepares a name or a password; `None` if it is empty, or has characters that are forbidden.
pub(crate) fn prepare(text: &str) -> Option<Cow<'_, str>> {
    // The library's error would quote a character.
    stringprep::saslprep(text).ok().filter(|prepared| !prepared.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4013 section 3.
    #[test]
    fn the_examples_of_the_standard_are_right() {
        for (text, expected) in [
            ("I\u{AD}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{AA}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}\u{31}", None),
            ("", None),
            ("\u{AD}", None),
            ("a\u{A0}b", Some("a b")),
        ] {
            assert_eq!(prepare(text).as_deref(), expected, "{text:?}");
        }
    }
}
