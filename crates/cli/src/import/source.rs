//! The lines of a mosquitto.conf and of the files that it includes, in mosquitto's order.
//!
//! This file knows only the keys that say where lines belong: `listener` and `include_dir`.

use std::fs;
use std::path::Path;
use std::rc::Rc;

/// How deep files may include others.
const DEPTH_MAX: usize = 10;

/// The most lines of all files together.
const LINES_MAX: usize = 100_000;

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Rc<str>,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A line with a key.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) key: String,
    /// Without white space around it; empty if there is none.
    pub(super) value: String,
    /// Which listener it belongs to, if it is about one: 0 is what stands before the first one.
    pub(super) listener: usize,
}

impl Line {
    /// The line behind its place.
    pub(super) fn with_place(&self) -> String {
        format!("{}:{}: {}", self.place.file, self.place.line, self.text())
    }

    /// The line as it stands. A secret stays where it is.
    pub(super) fn text(&self) -> String {
        let value = if is_secret(&self.key) { "(not shown)" } else { &self.value };
        format!("{} {value}", self.key).trim_end().to_owned()
    }
}

/// Whether the value of a key is a secret, or may be one: options of plugins are anybody's.
fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 5] = ["pass", "secret", "token", "psk", "key"];
    let is_option = key.starts_with("plugin_opt_") || key.starts_with("auth_opt_");
    let has_word = WORDS.iter().any(|word| key.contains(word)) && !key.ends_with("_file");
    let is_named = ["password", "remote_password", "local_password", "bridge_psk"].contains(&key);
    is_named || key == "tls_engine_kpass_sha1" || is_option && has_word
}

/// Reads a file and those that it includes.
///
/// # Errors
///
/// A file or a directory cannot be read, or is no such text.
pub(super) fn read(path: &Path) -> Result<Vec<Line>, String> {
    let mut reader = Reader { lines: Vec::new(), listeners: 0 };
    reader.read_file(path, 0)?;
    Ok(reader.lines)
}

struct Reader {
    lines: Vec<Line>,
    listeners: usize,
}

impl Reader {
    fn read_file(&mut self, path: &Path, depth: usize) -> Result<(), String> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: Rc<str> = path.to_string_lossy().into();
        // Each file begins where none of its listeners has begun.
        let mut listener = 0;
        for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let place = Place { file: file.clone(), line: index + 1 };
            let Some((key, value)) = split(bytes, &place)? else { continue };
            if self.lines.len() == LINES_MAX {
                return Err(format!("{file}: there are more than {LINES_MAX} lines"));
            }
            if key == "listener" {
                self.listeners += 1;
                listener = self.listeners;
            }
            let is_include = key == "include_dir";
            self.lines.push(Line { place, key, value: value.clone(), listener });
            if is_include {
                self.include(Path::new(&value), depth)?;
            }
        }
        Ok(())
    }

    fn include(&mut self, directory: &Path, depth: usize) -> Result<(), String> {
        let failed =
            |error: &dyn ToString| format!("{}: {}", directory.display(), error.to_string());
        if depth == DEPTH_MAX {
            return Err(failed(&"files include one another without end"));
        }
        let entries = fs::read_dir(directory).map_err(|error| failed(&error))?;
        let entries: Result<Vec<_>, _> = entries.collect();
        let entries = entries.map_err(|error| failed(&error))?;
        let paths = entries.into_iter().map(|entry| entry.path());
        let mut paths: Vec<_> = paths.filter(|path| is_included(path)).collect();
        paths.sort_by_key(|path| {
            let name = path.to_string_lossy().into_owned();
            (name.to_ascii_uppercase(), name)
        });
        paths.iter().try_for_each(|path| self.read_file(path, depth + 1))
    }
}

fn is_included(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.len() > ".conf".len() && name.ends_with(".conf"))
}

/// Takes a line apart; `None` if it is empty or a comment.
fn split(bytes: &[u8], place: &Place) -> Result<Option<(String, String)>, String> {
    if bytes.first() == Some(&b'#') {
        return Ok(None);
    }
    let Ok(line) = std::str::from_utf8(bytes) else {
        return Err(format!(
            "{}:{}: it is not UTF-8; save the file in UTF-8",
            place.file, place.line
        ));
    };
    let line = line.trim();
    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
    let is_empty = key.is_empty() || key.starts_with('#');
    Ok((!is_empty).then(|| (key.to_owned(), value.trim().to_owned())))
}
