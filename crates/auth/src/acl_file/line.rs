//! A line of an access file. It knows nothing of other lines.

use midge_codec::TopicFilter;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// It is empty, or a comment.
    Nothing,
    /// The lines `topic` that follow are about this user.
    User(&'a str),
    /// A rule for the user of the last `User`.
    Topic(Access, &'a str),
    /// A rule for all.
    Pattern(Access, &'a str),
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    ReadWrite,
    Deny,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where in the line, in bytes.
    pub(super) offset: usize,
    pub(super) detail: String,
}

/// What C's `isspace` takes for white space.
const WHITE: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// What an editor may put in front of a text in UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

impl Access {
    /// Returns what the word means.
    fn of_word(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "readwrite" => Some(Self::ReadWrite),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }

    /// The word of the file.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "readwrite",
            Self::Deny => "deny",
        }
    }
}

/// Reads a line, without its line feed.
///
/// Blanks separate words; white space at the end does not count, and neither do blanks at the
/// start. A comment has its `#` at the very start. A topic goes to the end of the line.
pub(super) fn read(bytes: &[u8]) -> Result<Line<'_>, Mistake> {
    // A comment may be in any encoding.
    if bytes.first() == Some(&b'#') {
        return Ok(Line::Nothing);
    }
    let line = std::str::from_utf8(bytes).map_err(|error| Mistake {
        offset: error.valid_up_to(),
        detail: "it is not UTF-8; save the file in UTF-8".into(),
    })?;
    let line = line.trim_end_matches(WHITE);
    if let Some(offset) = line.find('\0') {
        return mistake(offset, "there is a U+0000; the file has to be a text");
    }
    let (start, word, rest) = next_word(line, 0);
    match word {
        "" => Ok(Line::Nothing),
        "topic" => read_rule(line, rest).map(|(access, topic)| Line::Topic(access, topic)),
        "pattern" => read_rule(line, rest).map(|(access, topic)| Line::Pattern(access, topic)),
        "user" => match line[rest..].trim_start_matches(WHITE) {
            "" => mistake(line.len(), "the name is missing; write `user NAME`"),
            name => Ok(Line::User(name)),
        },
        _ if line.starts_with(BYTE_ORDER_MARK) => {
            mistake(0, "there is a byte order mark; save the file without one")
        }
        _ if word.starts_with('#') => {
            mistake(start, "a comment has its `#` at the very start of the line")
        }
        _ => mistake(start, "a line begins with `user`, `topic`, `pattern` or `#`, then a blank"),
    }
}

/// Reads what follows `topic` or `pattern`.
fn read_rule(line: &str, offset: usize) -> Result<(Access, &str), Mistake> {
    let (start, word, rest) = next_word(line, offset);
    if word.is_empty() {
        let detail = "the topic is missing; write `[read|write|readwrite|deny] TOPIC`";
        return mistake(line.len(), detail);
    }
    // With one word, it is the topic, even if it is `read`.
    let topic = line[rest..].trim_start_matches(WHITE);
    let (access, topic) = if topic.is_empty() {
        (Access::ReadWrite, word)
    } else if let Some(access) = Access::of_word(word) {
        (access, topic)
    } else {
        let detail = format!(
            "`{}` is not `read`, `write`, `readwrite` or `deny`; one of them has to stand before \
             a topic with blanks",
            word.escape_debug()
        );
        return mistake(start, detail);
    };
    if TopicFilter::parse(topic).is_err() {
        let detail = "this is no Topic Filter: `+` and `#` are levels of their own, and `#` is \
                      the last one";
        return mistake(line.len() - topic.len(), detail);
    }
    Ok((access, topic))
}

/// Returns the next word from `offset` on, where it starts, and where what follows its blank does.
fn next_word(line: &str, offset: usize) -> (usize, &str, usize) {
    let start = line.len() - line[offset..].trim_start_matches(' ').len();
    let word = line[start..].split(' ').next().unwrap_or_default();
    (start, word, line.len().min(start + word.len() + 1))
}

fn mistake<T>(offset: usize, detail: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake { offset, detail: detail.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_they_mean_to_mosquitto() {
        for (line, expected) in [
            ("", Line::Nothing),
            (" \t\r", Line::Nothing),
            ("#topic a", Line::Nothing),
            ("user bob", Line::User("bob")),
            ("  user \t bob ross \t\r", Line::User("bob ross")),
            ("topic a", Line::Topic(Access::ReadWrite, "a")),
            ("topic   a/b ", Line::Topic(Access::ReadWrite, "a/b")),
            ("topic read", Line::Topic(Access::ReadWrite, "read")),
            ("topic read read", Line::Topic(Access::Read, "read")),
            ("topic write \t my topic \t", Line::Topic(Access::Write, "my topic")),
            ("topic a\tb", Line::Topic(Access::ReadWrite, "a\tb")),
            ("pattern deny %c/#", Line::Pattern(Access::Deny, "%c/#")),
        ] {
            assert_eq!(read(line.as_bytes()), Ok(expected), "{line:?}");
        }
        assert_eq!(read(b"# caf\xe9"), Ok(Line::Nothing));
    }

    #[test]
    fn a_mistake_has_a_place_and_a_remedy() {
        for (line, offset, remedy) in [
            ("user", 4, "user NAME"),
            ("topic", 5, "[read|write|readwrite|deny] TOPIC"),
            ("topic my topic", 6, "before a topic with blanks"),
            ("topic READ a", 6, "`readwrite`"),
            ("topic read a+", 11, "levels of their own"),
            ("topic a/#/b", 6, "`#` is the last one"),
            ("pattern +%c", 8, "levels of their own"),
            ("\ttopic a", 0, "begins with"),
            ("topic\ta", 0, "then a blank"),
            (" # x", 1, "very start"),
            ("\u{feff}topic a", 0, "byte order mark"),
            ("topic a\0b", 7, "U+0000"),
        ] {
            let mistake = read(line.as_bytes()).unwrap_err();
            assert_eq!(mistake.offset, offset, "{line:?}");
            assert!(mistake.detail.contains(remedy), "{line:?}: {}", mistake.detail);
        }
        assert_eq!(read(b"topic \xe9").unwrap_err().offset, 6);
    }
}
