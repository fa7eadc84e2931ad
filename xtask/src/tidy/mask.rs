//! Rust source with everything but code blanked, so that a rule never trips over prose.
//!
//! [`mask`] is a small lexer, not a parser. It knows comments (nested), string, raw string, byte
//! string and character literals, and tells a lifetime from a character. Lines and columns stay.

/// Blanks comments and literals; the code that is left stays at its original line and column.
#[must_use]
pub fn mask(text: &str) -> String {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, out: String::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.out
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Lexer {
    fn step(&mut self) {
        match self.chars[self.at] {
            '/' if self.peek(1) == Some('/') => self.blank_line_comment(),
            '/' if self.peek(1) == Some('*') => self.blank_block_comment(),
            '"' => self.blank_string(),
            '\'' if self.is_character_literal() => self.blank_character(),
            'r' if !self.follows_word() || self.follows_literal_prefix() => self.raw_or_code(),
            _ => self.keep(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn follows_word(&self) -> bool {
        self.at > 0 && is_word(self.chars[self.at - 1])
    }

    /// Whether the character before is the `b` of `br"` or the `c` of `cr"`, standing alone.
    fn follows_literal_prefix(&self) -> bool {
        let alone = self.at < 2 || !is_word(self.chars[self.at - 2]);
        self.at > 0 && matches!(self.chars[self.at - 1], 'b' | 'c') && alone
    }

    fn keep(&mut self) {
        self.out.push(self.chars[self.at]);
        self.at += 1;
    }

    fn blank(&mut self) {
        self.out.push(if self.chars[self.at] == '\n' { '\n' } else { ' ' });
        self.at += 1;
    }

    fn blank_line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.blank();
        }
    }

    fn blank_block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            let step = match (self.chars[self.at], self.peek(1)) {
                ('/', Some('*')) => 1,
                ('*', Some('/')) => -1,
                _ => 0,
            };
            depth += step;
            if step != 0 {
                self.blank();
            }
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    fn blank_string(&mut self) {
        self.blank();
        while let Some(c) = self.peek(0) {
            if c == '\\' && self.peek(1).is_some() {
                self.blank();
            }
            self.blank();
            if c == '"' {
                return;
            }
        }
    }

    fn is_character_literal(&self) -> bool {
        self.peek(1) == Some('\\') || self.peek(2) == Some('\'')
    }

    fn blank_character(&mut self) {
        self.blank();
        if self.peek(0) == Some('\\') {
            self.blank();
        }
        self.blank();
        while self.peek(0).is_some_and(|c| c != '\'' && c != '\n') {
            self.blank();
        }
        if self.peek(0) == Some('\'') {
            self.blank();
        }
    }

    /// Blanks a raw string if `r` is followed by hashes and a quote; otherwise keeps the `r`, which
    /// then belongs to a word or a raw identifier.
    fn raw_or_code(&mut self) {
        let hashes = self.chars[self.at + 1..].iter().take_while(|c| **c == '#').count();
        if self.peek(1 + hashes) != Some('"') {
            return self.keep();
        }
        for _ in 0..hashes + 2 {
            self.blank();
        }
        while let Some(c) = self.peek(0) {
            let closing = (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            self.blank();
            if c == '"' && closing {
                for _ in 0..hashes {
                    self.blank();
                }
                return;
            }
        }
    }
}

/// Whether `c` may stand in an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y") g"#, "f(      ) g"),
            (r##"f(r#"x"y"#) g"##, "f(        ) g"),
            (r#"f(br"x") g"#, "f(b    ) g"),
            ("f('{') g", "f(   ) g"),
            (r"f('\'') g", "f(    ) g"),
            (r"f('\u{7f}') g", "f(        ) g"),
            ("f::<'a>(x) 'b: loop", "f::<'a>(x) 'b: loop"),
            ("r#type = for_r", "r#type = for_r"),
        ] {
            assert_eq!(mask(text), code, "{text}");
        }
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "\"one\ntwo\" /* three\nfour */ five";
        assert_eq!(mask(text).lines().count(), text.lines().count());
    }
}
