//! A password file that no other `midge passwd` changes meanwhile, and how it is replaced.
//!
//! The new content is written beside the file, to the disk, and then renamed: a reader sees the
//! old content or the new one. The file must never be readable by more users than
//! before, not for a moment.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use midge_auth::password::PasswordFile;

const MODE_OF_NEW_FILES: u32 = 0o600;

/// A file that exists or not, as it was when it was opened.
pub(super) struct LockedFile {
    /// As the user has written it.
    name: PathBuf,
    /// The file that symbolic links have led to.
    target: PathBuf,
    /// Holds the lock: that of the file itself would go with the file when it is replaced.
    directory: File,
    content: Vec<u8>,
    metadata: Option<Metadata>,
}

impl LockedFile {
    /// Waits until nobody else changes a file in the same directory, and reads the file.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |what: &str, error: &io::Error| format!("{what} {}: {error}", path.display());
        let target = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => {
                fs::canonicalize(path).map_err(|error| failed("cannot follow the link", &error))?
            }
            _ => path.to_path_buf(),
        };
        if target.file_name().is_none() {
            return Err(format!("{} is no name of a file", path.display()));
        }
        let directory = File::open(directory_of(&target)).map_err(|error| {
            let of = directory_of(&target).display();
            format!("cannot open the directory {of} of the password file: {error}")
        })?;
        // Some file systems know no locks; then two commands at once are the user's own affair.
        let _ = directory.lock();
        let metadata = match fs::metadata(&target) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed("cannot read", &error)),
        };
        let mut content = Vec::new();
        if let Some(metadata) = &metadata {
            if !metadata.is_file() {
                return Err(format!("{} is not a regular file", path.display()));
            }
            if metadata.len() > PasswordFile::BYTES_MAX {
                return Err(format!("{} is too large for a password file", path.display()));
            }
            content = fs::read(&target).map_err(|error| failed("cannot read", &error))?;
        }
        Ok(Self { name: path.into(), target, directory, content, metadata })
    }

    /// Returns the name that the user has given.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Returns whether the file was there.
    pub(super) fn exists(&self) -> bool {
        self.metadata.is_some()
    }

    /// Says that the file was there.
    pub(super) fn check_exists(&self) -> Result<(), String> {
        match self.exists() {
            true => Ok(()),
            false => Err(format!("there is no password file {}", self.name.display())),
        }
    }

    /// Puts a file with this content in its place, of the same owner and mode.
    pub(super) fn replace(&self, content: &[u8]) -> Result<(), String> {
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.target.with_file_name(format!(".{name}.{}", std::process::id()));
        // If one is left of a process that had this number, nobody needs it.
        let _ = fs::remove_file(&aside);
        let written = self.write_aside(&aside, content);
        written.and_then(|()| fs::rename(&aside, &self.target)).map_err(|error| {
            let _ = fs::remove_file(&aside);
            format!("cannot write {}: {error}; nothing was changed", self.name.display())
        })?;
        self.directory.sync_all().map_err(|error| {
            let name = self.name.display();
            format!("{name} is written, but a power cut now may bring the old one back: {error}")
        })
    }

    fn write_aside(&self, aside: &Path, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(MODE_OF_NEW_FILES);
        let mut file = options.open(aside).map_err(|error| {
            let message = format!("cannot make a new file in its directory ({error})");
            io::Error::new(error.kind(), message)
        })?;
        file.write_all(content)?;
        if let Some(old) = &self.metadata {
            give_to_owner_of(old, &file)?;
            file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        }
        file.sync_all()
    }
}

/// Gives a file to the owner of the one that it replaces: otherwise a broker of another user could
/// read it no more.
fn give_to_owner_of(old: &Metadata, file: &File) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(file, Some(old.uid()), Some(old.gid())).map_err(|error| {
        let (user, group) = (old.uid(), old.gid());
        let message = format!(
            "it belongs to user {user} and group {group}, to whom you cannot give a file \
             ({error}); call this as that user or as root"
        );
        io::Error::new(error.kind(), message)
    })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
