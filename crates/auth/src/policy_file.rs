//! A file that says who may do what: how it is read, and what is wrong with one that is refused.
//!
//! A file is taken as a whole or not at all, so that a mistake never opens what the rest of the
//! file closes. Nothing here keeps a file open or looks at it again.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFileError {
    /// The file.
    pub file: Box<str>,
    /// Where in it, counted from 1: the line, and the character in the line. Absent if the file as
    /// a whole is meant.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl PolicyFileError {
    /// An error that is about a file as a whole.
    pub(crate) fn whole(file: &str, detail: impl Into<String>) -> Self {
        Self { file: file.into(), place: None, detail: detail.into() }
    }
}

impl fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.detail),
            None => write!(f, "{}: {}", self.file, self.detail),
        }
    }
}

impl std::error::Error for PolicyFileError {}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
///
/// It cannot be read, or has more bytes.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, PolicyFileError> {
    let error = |detail: String| PolicyFileError::whole(&path.to_string_lossy(), detail);
    let read = || -> io::Result<Vec<u8>> {
        // Opening something else, such as a named pipe, might wait for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|failure| error(format!("it cannot be read: {failure}")))?;
    if bytes.len() > bytes_max {
        return Err(error(format!("it has more than {bytes_max} bytes, the most that are read")));
    }
    Ok(bytes)
}
