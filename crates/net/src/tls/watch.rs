//! Tells whether files have changed, by what the file system says about them. Reads none of them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the file system says about some files at one time. Two of these differ if a file was
/// written, replaced, removed or brought back in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks(Vec<Option<Mark>>);

/// One file. Links are followed: a directory of secrets is often replaced by changing a link.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Marks {
    pub(super) fn of<'p>(files: impl IntoIterator<Item = &'p Path>) -> Self {
        Self(files.into_iter().map(mark).collect())
    }
}

fn mark(file: &Path) -> Option<Mark> {
    let metadata = std::fs::metadata(file).ok()?;
    Some(Mark {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
