//! How texts that others have chosen stand in the log.

/// Returns the text in quotes, with escapes for what would not fit in a line, and cut.
pub(crate) fn quoted(text: &str) -> String {
    const CHARACTERS_MAX: usize = 48;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"ä".repeat(49)), format!("\"{}\"...", "ä".repeat(48)));
    }
}
