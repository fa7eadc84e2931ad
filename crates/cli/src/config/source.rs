//! Where the configuration is read from: which file, and which other sources.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::environment::{self, FILE_VARIABLE, Variables};
use super::flags::Flags;
use super::problem::{File, Report};
use super::{Loaded, load};

/// Files to look for if none is named; the first one that exists is read.
const PLACES: &[&str] = &["midge.toml", "/etc/midge/midge.toml"];

/// Largest configuration file in bytes.
const FILE_BYTES_MAX: u64 = 1_048_576;

/// Everything that a configuration is made from. It is kept, so that it can be read again.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    flags: Flags,
    variables: Variables,
    /// The file, and whether somebody named it.
    path: Option<PathBuf>,
    is_named: bool,
}

impl Sources {
    /// Returns the sources of this process.
    pub(crate) fn of_process(flags: &Flags) -> Self {
        let variables = environment::of_process();
        let variable = variables.iter().find(|(name, _)| name == FILE_VARIABLE);
        let of_variable = variable.and_then(|(_, value)| value.as_deref());
        let of_variable = of_variable.filter(|path| !path.is_empty()).map(PathBuf::from);
        let named = flags.config.clone().or(of_variable);
        let is_named = named.is_some();
        let found = || PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
        let path = named.or_else(found);
        Self { flags: flags.clone(), variables, path, is_named }
    }

    /// Returns the file that is read, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether the file was found at one of the usual places, rather than named.
    pub(crate) fn is_found(&self) -> bool {
        self.path.is_some() && !self.is_named
    }

    /// Reads the file and puts all sources together.
    ///
    /// # Errors
    ///
    /// Returns all problems that were found, if there are any.
    pub(crate) fn load(&self) -> Result<Loaded, Report> {
        let file = self.path.as_deref().map(read).transpose()?;
        load(file, &self.variables, &self.flags)
    }
}

fn read(path: &Path) -> Result<File, Report> {
    let shown = path.display().to_string();
    let unreadable = |message: String| Report::unreadable(&shown, &message);
    let mut bytes = Vec::new();
    let result =
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = result {
        return Err(unreadable(format!("the configuration cannot be read: {error}")));
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("the configuration is larger than {FILE_BYTES_MAX} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File { path: shown, text }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count() + 1;
            Err(unreadable(format!("line {line} is not UTF-8")))
        }
    }
}
