//! Numbers with their nouns, as people read them in logs, errors and answers of commands:
//! "1 message", "2 messages". It knows regular plurals only.

use std::fmt;

/// A number of things. See [`counted`].
#[derive(Clone, Copy, Debug)]
pub struct Counted<'n, N> {
    count: N,
    noun: &'n str,
}

/// Joins `count` and `noun`, which is given in the singular. Any count but 1 adds an "s" to it.
pub fn counted<N>(count: N, noun: &str) -> Counted<'_, N> {
    Counted { count, noun }
}

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Counted<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, noun } = self;
        let end = if *count == N::from(1) { "" } else { "s" };
        write!(f, "{count} {noun}{end}")
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_singular_and_all_others_are_plural() {
        let texts = [0_u64, 1, 2].map(|count| counted(count, "queued message").to_string());
        assert_eq!(texts, ["0 queued messages", "1 queued message", "2 queued messages"]);
        assert_eq!(counted(1_usize, "place").to_string(), "1 place");
    }
}
