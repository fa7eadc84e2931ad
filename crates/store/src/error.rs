//! The errors of the store as a whole: why it cannot be opened, and why it does not take what it is
//! given. Damage that it can work around is not an error, see [`crate::report`].

use std::error::Error;
use std::{fmt, io};

/// Why a store cannot be opened. Nothing in its directory has been lost by trying.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has the directory open.
    Locked {
        /// The data directory.
        directory: String,
    },
    /// An import or a backup into the directory is under way or was interrupted; nothing was
    /// changed.
    Unfinished {
        /// The data directory.
        directory: String,
    },
    /// The directory contains other files and no store; nothing was changed.
    Foreign {
        /// The directory.
        directory: String,
        /// The name of one of the files.
        name: String,
    },
    /// The directory contains no store.
    NoStore,
    /// The data directory does not exist.
    NotThere {
        /// Its path.
        directory: String,
    },
    /// A file was written by a newer version; nothing was changed.
    NewerFormat {
        /// The file's name.
        file: String,
        /// The version of its format.
        version: u32,
    },
    /// The file system refuses.
    Io {
        /// The file, or the directory.
        file: String,
        /// What the file system says.
        error: io::Error,
    },
}

impl OpenError {
    /// Makes an error of the file system's refusal, with the name of the file.
    pub fn io(file: &str, error: io::Error) -> Self {
        Self::Io { file: file.to_owned(), error }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { directory } => write!(
                f,
                "the data directory {directory} is used by another broker: stop that one, or give \
                 this one a directory of its own"
            ),
            Self::Unfinished { directory } => write!(
                f,
                "{directory} has only a part of a store: the import or backup into it was not \
                 finished: repeat it, which begins anew"
            ),
            Self::Foreign { directory, name } => write!(
                f,
                "{directory} is not a data directory: {name} is in it, but no store. Name a \
                 directory that is empty or does not exist, such as {directory}/midge; nothing was \
                 changed"
            ),
            Self::NoStore => f.write_str(
                "there is no store in it: name the data directory of a broker with --data",
            ),
            Self::NotThere { directory } => write!(
                f,
                "{directory} does not exist: name the data directory of a broker with --data"
            ),
            Self::NewerFormat { file, version } => write!(
                f,
                "{file} was written by a newer version of the broker (format {version}): start \
                 that version, or restore a backup; nothing was changed"
            ),
            Self::Io { file, error } => {
                write!(f, "cannot open the store: {file}: {} ({error})", io_words(error.kind()))
            }
        }
    }
}

/// Returns what the file system's refusal means here, and what to do about it.
fn io_words(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind;

    match kind {
        ErrorKind::PermissionDenied => {
            "the broker's user may not read and write it: give it to that user, or name another \
             data directory"
        }
        ErrorKind::NotADirectory => {
            "it is not a directory: name one that is empty or does not exist"
        }
        // A symbolic link is in the way as a file is, if nothing is where it leads.
        ErrorKind::AlreadyExists => {
            "it is a file, or a link that leads nowhere: name a directory that is empty or does \
             not exist"
        }
        ErrorKind::NotFound => "it cannot be made: does its parent directory exist?",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the device is full: make room there, or name a data directory on another one"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: make it writable, or name another data directory"
        }
        _ => "the system refuses: check the device; `midge store check` looks at the directory",
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why the store does not take what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The device is full (or no more files can be open). Nothing is lost, and it can be tried
    /// again when there is room.
    Full,
    /// It is unknown what is on the device: the store refuses everything from now on.
    Fatal(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the device of the data directory is full: make room there"),
            Self::Fatal(what) => write!(
                f,
                "the data directory cannot be written any more ({what}): check the device, then \
                 restart the broker"
            ),
        }
    }
}

impl Error for StoreError {}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::OpenError;

    #[test]
    fn each_refusal_says_what_to_do() {
        let cases = [
            (ErrorKind::PermissionDenied, "give it to that user"),
            (ErrorKind::NotADirectory, "not a directory: name one"),
            (ErrorKind::NotFound, "parent directory"),
            (ErrorKind::StorageFull, "make room"),
            (ErrorKind::ReadOnlyFilesystem, "make it writable"),
            (ErrorKind::Other, "check the device"),
        ];
        for (kind, advice) in cases {
            let text = OpenError::io("/data", Error::from(kind)).to_string();
            assert!(text.starts_with("cannot open the store: /data: "), "{text}");
            assert!(text.contains(advice), "{text}");
        }
    }
}
