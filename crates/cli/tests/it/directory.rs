//! A directory for one test, with the files that it needs; removed at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed when the test ends.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes a directory in which `midge.toml` has this text.
    pub(crate) fn with_configuration(text: &str) -> Self {
        let directory = Self::empty();
        directory.write(text);
        directory
    }

    pub(crate) fn empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-it-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes `midge.toml`.
    pub(crate) fn write(&self, text: &str) {
        fs::write(self.0.join("midge.toml"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
