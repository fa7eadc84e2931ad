//! The lines of a password file, to be changed: everything else stays as it is, byte for byte.

use std::collections::HashMap;
use std::fmt;

use super::password_hash::PasswordHash;
use super::user_line::{LineError, UserLine, numbered_lines, without_line_end};

/// The lines of a password file. `Debug` shows how many there are.
pub struct PasswordLines {
    /// Each with its line end.
    lines: Vec<Vec<u8>>,
    /// The index of a user's line.
    users: HashMap<String, usize>,
}

impl PasswordLines {
    /// Takes a file apart in which there may still be passwords in plain text.
    ///
    /// # Errors
    ///
    /// A line is neither `USER:SOMETHING` nor a comment, or a user stands there twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        let mut this = Self { lines: Vec::new(), users: HashMap::new() };
        for (number, line) in numbered_lines(bytes) {
            if let Some(found) = UserLine::parse(number, without_line_end(line))?
                && let Some(first) = this.users.insert(found.user.into(), number - 1)
            {
                let detail = format!("this user stands in line {} already", first + 1);
                return Err(found.error_at_user(detail));
            }
            this.lines.push(line.into());
        }
        Ok(this)
    }

    /// Replaces a user's hash in its place, or adds the user at the end. Returns whether there
    /// was one. `user` has passed [`super::check_user_name`].
    pub fn set(&mut self, user: &str, hash: &PasswordHash) -> bool {
        let line = format!("{user}:{hash}\n").into_bytes();
        if let Some(&index) = self.users.get(user) {
            self.lines[index] = line;
            return true;
        }
        if let Some(last) =
            self.lines.last_mut().filter(|last| !last.is_empty() && !last.ends_with(b"\n"))
        {
            last.push(b'\n');
        }
        self.users.insert(user.into(), self.lines.len());
        self.lines.push(line);
        false
    }

    /// Removes a user's line. Returns whether there was one.
    pub fn remove(&mut self, user: &str) -> bool {
        let Some(index) = self.users.remove(user) else { return false };
        // An empty line end would be a line: it is left out when the file is written.
        self.lines[index].clear();
        true
    }

    /// Replaces passwords in plain text by hashes; lines that have a hash stay. `derive` makes a
    /// hash, or says why it cannot. Returns how many were replaced.
    ///
    /// # Errors
    ///
    /// A line looks like a hash and is none, or `derive` has failed.
    pub fn upgrade(
        &mut self,
        mut derive: impl FnMut(&[u8]) -> Result<PasswordHash, String>,
    ) -> Result<usize, LineError> {
        let mut count = 0;
        for (index, line) in self.lines.iter_mut().enumerate() {
            let text = without_line_end(line);
            let Some(found) = UserLine::parse(index + 1, text)? else { continue };
            if looks_like_hash(found.secret) {
                let hash = PasswordHash::parse(found.secret);
                hash.map_err(|error| found.error_in_secret(error.offset, error.detail))?;
                continue;
            }
            let hash = derive(found.secret.as_bytes());
            let hash = hash.map_err(|detail| found.error_in_secret(0, detail))?;
            let line_end = line[text.len()..].to_vec();
            let text = format!("{}:{hash}", found.user);
            *line = [text.into_bytes(), line_end].concat();
            count += 1;
        }
        Ok(count)
    }

    /// Returns the content of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.concat()
    }
}

/// Returns whether this begins as hashes do, with a name between two `$`.
fn looks_like_hash(secret: &str) -> bool {
    let name = secret.strip_prefix('$').and_then(|rest| rest.split_once('$'));
    name.is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

impl fmt::Debug for PasswordLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordLines").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::password::PasswordFile;
    use crate::password::password_hash::tests::quick;

    fn parse(text: &str) -> PasswordLines {
        PasswordLines::parse(text.as_bytes()).unwrap()
    }

    fn text(lines: &PasswordLines) -> String {
        String::from_utf8(lines.to_bytes()).unwrap()
    }

    #[test]
    fn one_line_changes_and_all_others_stay() {
        let hash = quick(b"x", 1);
        let before = format!("# users\r\n\n alice :{hash}\r\n  \nbob:{hash}");
        let mut lines = parse(&before);
        assert_eq!(text(&lines), before);
        let new = quick(b"y", 2);
        assert!(lines.set("alice", &new));
        assert!(!lines.set("carol", &new));
        let expected = format!("# users\r\n\nalice:{new}\n  \nbob:{hash}\ncarol:{new}\n");
        assert_eq!(text(&lines), expected);
        assert!(lines.remove("bob") && !lines.remove("bob"));
        let expected = format!("# users\r\n\nalice:{new}\n  \ncarol:{new}\n");
        assert_eq!(text(&lines), expected);
        assert!(lines.remove("carol"));
        lines.set("dave", &new);
        assert_eq!(text(&lines), format!("# users\r\n\nalice:{new}\n  \ndave:{new}\n"));
        assert_eq!(PasswordFile::parse(&lines.to_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn passwords_in_plain_text_become_hashes() {
        let hash = quick(b"x", 1);
        let before = format!("# c:d\nalice: a b:c \r\nbob:{hash}\ncarol:$ecret\ndave:$$\n");
        let mut lines = parse(&before);
        let mut seen = Vec::new();
        let count = lines.upgrade(|password| {
            seen.push(String::from_utf8(password.to_vec()).unwrap());
            Ok(quick(password, 3))
        });
        assert_eq!(count, Ok(3));
        assert_eq!(seen, ["a b:c", "$ecret", "$$"]);
        let [alice, carol, dave] = ["a b:c", "$ecret", "$$"].map(|it| quick(it.as_bytes(), 3));
        let expected = format!("# c:d\nalice:{alice}\r\nbob:{hash}\ncarol:{carol}\ndave:{dave}\n");
        assert_eq!(text(&lines), expected);
        assert_eq!(lines.upgrade(|_| panic!("there is none left")), Ok(0));
    }

    #[test]
    fn a_broken_hash_is_not_taken_for_a_password() {
        for secret in ["$7$101$broken", "$2y$10$x", "$argon2id$", "$1$"] {
            let mut lines = parse(&format!("bob:hunter2\n alice:{secret}\n"));
            let error = lines.upgrade(|password| Ok(quick(password, 1))).unwrap_err();
            assert_eq!(error.line, 2, "{secret}");
            assert!(error.column >= 8, "{secret}: {error}");
        }
        let error = parse("a:x\n").upgrade(|_| Err("it is too weak".into())).unwrap_err();
        assert_eq!(error.to_string(), "line 1, column 3: it is too weak");
    }

    #[test]
    fn malformed_lines_are_told() {
        for (text, line, column) in [("a:b\nx\n", 2, 1), ("a:b\na:c\n", 2, 1), ("a:\n", 1, 3)] {
            let error = PasswordLines::parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text}");
        }
        assert_eq!(format!("{:?}", parse("a:b\n")), "PasswordLines { lines: 1, .. }");
    }
    fn nearly_a_file() -> impl Strategy<Value = String> {
        let pieces = ["a:x", "b:x", "c:x", "ä:x", "#", "\n", "\r\n", " ", "\t"];
        let pieces = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12);
        pieces.prop_map(|pieces| pieces.concat())
    }

    /// The lines that are not about `b`.
    fn others(text: &str) -> Vec<String> {
        let user = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
        text.lines().filter(|line| user(line) != "b").map(str::to_owned).collect()
    }

    proptest! {
        /// Only the line in question changes, in any file.
        #[test]
        fn all_other_bytes_stay(before in nearly_a_file()) {
            let Ok(mut lines) = PasswordLines::parse(before.as_bytes()) else { return Ok(()) };
            prop_assert_eq!(&text(&lines), &before);
            let has = lines.set("b", &quick(b"x", 1));
            prop_assert_eq!(has, parse(&before).remove("b"));
            prop_assert_eq!(others(&text(&lines)), others(&before));
            prop_assert_eq!(text(&lines).matches("b:$argon2id$").count(), 1);
            prop_assert!(lines.remove("b"));
            prop_assert_eq!(others(&text(&lines)), others(&before));
        }
    }
}
