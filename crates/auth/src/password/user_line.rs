//! A line of a password file: `USER:HASH`, a comment, or nothing.
//!
//! The format is that of `mosquitto_passwd`: blanks around a user name or a hash do not count, and
//! a `#` at the very begin makes a comment. Lines that mosquitto skips in silence are errors here.

use std::fmt;

/// The reason for which a password file is refused, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The line, from 1 on.
    pub line: usize,
    /// The column in characters, from 1 on.
    pub column: usize,
    /// The mistake and its remedy. It has no password and no hash in it.
    pub detail: String,
}

/// The most bytes that MQTT has room for in a User Name.
const USER_NAME_BYTES_MAX: usize = 65_535;

/// A line about a user.
#[derive(Clone, Copy)]
pub(super) struct UserLine<'a> {
    line: usize,
    text: &'a str,
    pub(super) user: &'a str,
    /// The text behind the colon.
    pub(super) secret: &'a str,
}

impl<'a> UserLine<'a> {
    /// Reads the line of this number, without its line end. `None`: it is a comment, or nothing.
    pub(super) fn parse(line: usize, bytes: &'a [u8]) -> Result<Option<Self>, LineError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let (good, _) = bytes.split_at(error.valid_up_to());
            let column = String::from_utf8_lossy(good).chars().count() + 1;
            LineError { line, column, detail: "a password file is UTF-8".into() }
        })?;
        let this = Self { line, text, user: "", secret: "" };
        if text.starts_with('\u{feff}') {
            let detail = "there is a byte order mark; save the file as UTF-8 without one";
            return Err(this.error_at(text, detail));
        }
        if text.starts_with('#') || text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let Some((user, secret)) = text.split_once(':') else {
            let detail = "a line is `USER:HASH`, but there is no `:`; a comment begins with `#`";
            return Err(this.error_at(text, detail));
        };
        let (user, secret) = (user.trim_ascii(), secret.trim_ascii());
        check_user_name(user).map_err(|detail| this.error_at(user, detail))?;
        if secret.is_empty() {
            let detail = "a hash follows the colon; `midge passwd FILE USER` makes one";
            return Err(this.error_at(secret, detail));
        }
        Ok(Some(Self { user, secret, ..this }))
    }

    /// An error in the secret.
    pub(super) fn error_in_secret(&self, offset: usize, detail: impl Into<String>) -> LineError {
        self.error_at(&self.secret[offset..], detail)
    }

    /// An error at the user name.
    pub(super) fn error_at_user(&self, detail: impl Into<String>) -> LineError {
        self.error_at(self.user, detail)
    }

    /// An error at the begin of `part`, which is a part of the line.
    fn error_at(&self, part: &str, detail: impl Into<String>) -> LineError {
        let before = part.as_ptr().addr() - self.text.as_ptr().addr();
        let column = self.text[..before].chars().count() + 1;
        LineError { line: self.line, column, detail: detail.into() }
    }
}

/// Returns the lines of a file with their numbers, each with its line end.
pub(super) fn numbered_lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes.split_inclusive(|&byte| byte == b'\n').enumerate().map(|(index, line)| (index + 1, line))
}

/// Returns a line without its line end.
pub(super) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Says whether a user of this name can stand in a password file.
///
/// # Errors
///
/// Says why not.
pub fn check_user_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the user name is empty");
    }
    if name.len() > USER_NAME_BYTES_MAX {
        return Err("the user name is too long; MQTT has room for 65535 bytes");
    }
    if name.contains(':') {
        return Err("a user name has no `:`, which ends it in a password file");
    }
    if name.contains(char::is_control) {
        return Err("a user name has no control characters, such as tabs or line ends");
    }
    if name.starts_with('#') {
        return Err("a user name does not begin with `#`, which makes a comment");
    }
    if name.trim_ascii() != name {
        return Err("a user name has no blanks at its ends, where they do not count");
    }
    if name.starts_with('\u{feff}') {
        return Err("a user name does not begin with a byte order mark");
    }
    Ok(())
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.detail)
    }
}

impl std::error::Error for LineError {}
