//! A password file: the users who may come in, and the hashes of their passwords.
//!
//! Reading one has no effect; its owner puts it in force. As a member of the authentication chain
//! it must never tell by its time whether a user is in the file: an unknown user takes as long as
//! a wrong password.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use midge_core::{Identity, User};

use super::file_version::FileVersion;
use super::password_hash::{PasswordHash, Shape};
use super::user_line::{LineError, UserLine, numbered_lines, without_line_end};
use crate::login::Login;
use crate::member::{Member, Verdict};

/// The users of a password file. `Debug` shows how many there are.
pub struct PasswordFile {
    users: HashMap<Box<str>, PasswordHash>,
    /// Takes as long to verify as most hashes of the file; absent if there is nobody in it.
    decoy: Option<PasswordHash>,
    memory_bytes: usize,
}

/// A password file cannot be used.
#[derive(Debug)]
pub struct PasswordFileError {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub fault: FileFault,
}

/// The reason for which a password file is refused.
#[derive(Debug)]
pub enum FileFault {
    /// It does not exist, or cannot be read.
    Unreadable(io::Error),
    /// It is a directory, a device or the like.
    NotAFile,
    /// It is larger than [`PasswordFile::BYTES_MAX`].
    TooLarge,
    /// Somebody wrote to it while it was read.
    Changing,
    /// A line is wrong.
    Line(LineError),
}

impl PasswordFile {
    /// The most bytes that a file may have.
    pub const BYTES_MAX: u64 = 64 << 20;
    /// The most lines that a file may have.
    pub const LINES_MAX: usize = 500_000;
    /// The name of this kind of member.
    pub const NAME: &str = "password_file";

    /// Reads a file. One in which nobody stands is good, and lets nobody in.
    ///
    /// # Errors
    ///
    /// It cannot be read, is too large, or one of its lines is wrong.
    pub fn load(path: &Path) -> Result<Self, PasswordFileError> {
        Self::load_version(path).map(|(file, _)| file)
    }

    pub(super) fn load_version(path: &Path) -> Result<(Self, FileVersion), PasswordFileError> {
        let error = |fault| PasswordFileError { path: path.into(), fault };
        let (bytes, version) = read(path).map_err(error)?;
        let file = Self::parse(&bytes).map_err(|fault| error(FileFault::Line(fault)))?;
        Ok((file, version))
    }

    /// Reads the content of a file.
    ///
    /// # Errors
    ///
    /// A line is wrong, a user stands there twice, or there are too many lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        let mut users: HashMap<Box<str>, PasswordHash> = HashMap::new();
        let mut lines_of_users: HashMap<&str, usize> = HashMap::new();
        for (number, line) in numbered_lines(bytes) {
            if number > Self::LINES_MAX {
                let detail = format!("a password file has at most {} lines", Self::LINES_MAX);
                return Err(LineError { line: number, column: 1, detail });
            }
            let Some(line) = UserLine::parse(number, without_line_end(line))? else { continue };
            if let Some(first) = lines_of_users.insert(line.user, number) {
                let detail = format!(
                    "this user stands in line {first} already; keep the line with the right hash"
                );
                return Err(line.error_at_user(detail));
            }
            let hash = PasswordHash::parse(line.secret);
            let hash = hash.map_err(|error| line.error_in_secret(error.offset, error.detail))?;
            users.insert(line.user.into(), hash);
        }
        let decoy = most_common_shape(&users).map(PasswordHash::decoy);
        let memory_bytes = users.values().map(PasswordHash::memory_bytes).max().unwrap_or(0);
        Ok(Self { users, decoy, memory_bytes })
    }

    /// Returns how many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Returns whether nobody stands in the file.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Returns the hash of a user's password.
    pub fn hash_of(&self, user: &str) -> Option<&PasswordHash> {
        self.users.get(user)
    }

    /// Returns the most memory that a verification needs, for any user.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(super) fn users(&self) -> impl Iterator<Item = (&str, &PasswordHash)> {
        self.users.iter().map(|(user, hash)| (&**user, hash))
    }

    /// Verifies a password, or spends the time of a verification.
    pub(super) fn verify(&self, user: &str, password: &[u8]) -> Verdict {
        let known = self.users.get(user);
        let Some(hash) = known.or(self.decoy.as_ref()) else {
            return Verdict::NotMine;
        };
        match (hash.verify(password), known) {
            (Err(error), _) => Verdict::Failed(error.to_string()),
            (Ok(_), None) => Verdict::NotMine,
            (Ok(true), Some(_)) => Verdict::Allow(Box::new(User::named(user))),
            (Ok(false), Some(_)) => Verdict::Deny("the password is wrong".into()),
        }
    }
}

/// Returns the shape of most hashes; of those that are equally common, any.
fn most_common_shape(users: &HashMap<Box<str>, PasswordHash>) -> Option<Shape> {
    let mut counts: HashMap<Shape, usize> = HashMap::new();
    for hash in users.values() {
        *counts.entry(hash.shape()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|&(_, count)| count).map(|(shape, _)| shape)
}

/// Reads the whole of a file that nobody writes to meanwhile.
fn read(path: &Path) -> Result<(Vec<u8>, FileVersion), FileFault> {
    // Opening something else, such as a named pipe, might wait for ever.
    if !std::fs::metadata(path).map_err(FileFault::Unreadable)?.is_file() {
        return Err(FileFault::NotAFile);
    }
    let file = File::open(path).map_err(FileFault::Unreadable)?;
    let version = || file.metadata().map(|metadata| FileVersion::from(&metadata));
    let before = version().map_err(FileFault::Unreadable)?;
    let mut bytes = Vec::new();
    let mut limited = (&file).take(PasswordFile::BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(FileFault::Unreadable)?;
    if bytes.len() as u64 > PasswordFile::BYTES_MAX {
        return Err(FileFault::TooLarge);
    }
    if version().map_err(FileFault::Unreadable)? != before {
        return Err(FileFault::Changing);
    }
    Ok((bytes, before))
}

/// The user name and the password of a login that has both.
pub(super) fn credentials(login: &Login) -> Option<(&str, &[u8])> {
    login.user_name.as_deref().zip(login.password.as_deref())
}

impl Member for PasswordFile {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn memory_bytes(&self) -> u64 {
        PasswordFile::memory_bytes(self) as u64
    }

    fn still_knows(&self, client: &Identity) -> bool {
        client.user_name.as_deref().is_some_and(|user| self.hash_of(user).is_some())
    }

    fn authenticate(&self, login: &Login) -> Verdict {
        match credentials(login) {
            None => Verdict::NotMine,
            Some((user, password)) => self.verify(user, password),
        }
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for PasswordFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            FileFault::Unreadable(error) => {
                write!(f, "cannot read the password file {path}: {error}")
            }
            FileFault::NotAFile => {
                write!(f, "{path} is not a regular file, as a password file must be")
            }
            FileFault::TooLarge => {
                let max = PasswordFile::BYTES_MAX >> 20;
                write!(f, "{path} is too large for a password file, which has at most {max} MiB")
            }
            FileFault::Changing => {
                write!(
                    f,
                    "{path} was written to while it was read; write a new file and rename it, as \
                     `midge passwd` does"
                )
            }
            FileFault::Line(LineError { line, column, detail }) => {
                write!(f, "{path}:{line}:{column}: {detail}")
            }
        }
    }
}

impl std::error::Error for PasswordFileError {}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::password::password_hash::tests::{SHA512_OF_HUNTER2, quick};
    use crate::password::{Algorithm, Argon2Cost};

    fn login(user: Option<&str>, password: Option<&[u8]>) -> Login {
        let (user_name, password) = (user.map(Into::into), password.map(Into::into));
        Login { user_name, password, ..Login::default() }
    }

    fn alice_and_bob() -> PasswordFile {
        let text = format!("alice:{}\nbob:{}\n", quick(b"of alice", 1), quick(b"of bob", 2));
        PasswordFile::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn it_decides_about_its_users_only() {
        let file = alice_and_bob();
        let allowed = |name: &str| Verdict::Allow(Box::new(User::named(name)));
        let denied = Verdict::Deny("the password is wrong".into());
        for (user, password, expected) in [
            (Some("alice"), Some(&b"of alice"[..]), allowed("alice")),
            (Some("bob"), Some(b"of bob"), allowed("bob")),
            (Some("alice"), Some(b"of bob"), denied.clone()),
            (Some("alice"), Some(b""), denied),
            (Some("Alice"), Some(b"of alice"), Verdict::NotMine),
            (Some("carol"), Some(b"of alice"), Verdict::NotMine),
            (Some("carol"), Some(b""), Verdict::NotMine),
            (Some(""), Some(b"of alice"), Verdict::NotMine),
            (Some("alice"), None, Verdict::NotMine),
            (None, Some(b"of alice"), Verdict::NotMine),
            (None, None, Verdict::NotMine),
        ] {
            assert_eq!(file.authenticate(&login(user, password)), expected, "{user:?}");
        }
        assert_eq!(file.name(), "password_file");
    }

    #[test]
    fn the_lines_of_mosquitto_are_read() {
        let hash = SHA512_OF_HUNTER2;
        let text =
            format!("# a comment: x\n\n  \t\nalice:{hash}\r\n b ob :\t{hash} \nälice:{hash}");
        let file = PasswordFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.len(), 3);
        for user in ["alice", "b ob", "älice"] {
            let verdict = file.authenticate(&login(Some(user), Some(b"hunter2")));
            assert!(matches!(verdict, Verdict::Allow(_)), "{user}");
        }
    }

    #[test]
    fn a_file_without_users_lets_nobody_in() {
        for text in ["", "\n", "# nobody\n"] {
            let file = PasswordFile::parse(text.as_bytes()).unwrap();
            assert!(file.is_empty());
            assert_eq!(file.memory_bytes(), 0);
            for user in ["alice", "", "# nobody"] {
                let verdict = file.authenticate(&login(Some(user), Some(b"hunter2")));
                assert_eq!(verdict, Verdict::NotMine);
            }
        }
    }

    /// S15: a line that is wrong must not make a user, nor leave the others in force.
    #[test]
    fn one_wrong_line_is_told_and_refuses_the_file() {
        let good = SHA512_OF_HUNTER2;
        for (line, column, part) in [
            ("alice".into(), 1, "there is no `:`"),
            ("hunter2".into(), 1, "there is no `:`"),
            ("alice:".into(), 7, "a hash follows"),
            ("alice: \t ".into(), 10, "a hash follows"),
            (format!(":{good}"), 1, "the user name is empty"),
            (format!(" \t:{good}"), 3, "the user name is empty"),
            ("alice:hunter2".into(), 7, "plain text"),
            ("alice:  hunter2".into(), 9, "plain text"),
            ("älice:$7$101$hunter2".into(), 14, "the salt belongs here"),
            (format!("alice:{good}:hunter2"), 27, "base64 of 64 bytes"),
            (format!("al\tice:{good}"), 1, "no control characters"),
            (format!("al\u{7f}ice:{good}"), 1, "no control characters"),
            (format!(" # alice:{good}"), 2, "does not begin with `#`"),
            (format!("{}:{good}", "x".repeat(65_536)), 1, "too long"),
            (format!("bob:{good}"), 1, "stands in line 2 already"),
            (format!("\u{feff}alice:{good}"), 1, "byte order mark"),
        ] {
            let text = format!("# users\nbob:{good}\n{line}\ncarol:{good}\n");
            let error = PasswordFile::parse(text.as_bytes()).unwrap_err();
            assert_eq!((error.line, error.column), (3, column), "{line}: {error}");
            assert!(error.detail.contains(part), "{line}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains(&good[20..]), "{shown}");
        }
        let error = PasswordFile::parse(b"a\xc3\xa4\xff:x\n").unwrap_err();
        assert_eq!((error.line, error.column), (1, 3));
    }

    #[test]
    fn lines_are_limited() {
        let mut text = "#\n".repeat(PasswordFile::LINES_MAX);
        assert!(PasswordFile::parse(text.as_bytes()).is_ok());
        text.push('#');
        let error = PasswordFile::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.line, PasswordFile::LINES_MAX + 1);
    }

    #[test]
    fn the_decoy_is_of_the_most_common_kind() {
        let quick = quick(b"x", 1);
        let slow = "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQ$\
                    CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let text = format!("a:{quick}\nb:{slow}\nc:{slow}\nd:{SHA512_OF_HUNTER2}\n");
        let file = PasswordFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.decoy.as_ref().unwrap().memory_bytes(), 1 << 20);
        assert_eq!(file.memory_bytes(), 1 << 20);
    }

    /// Nobody can tell by the time whether a user is in the file. A tenth would show that a
    /// verification is left out, and no machine is so busy that it takes so long by accident.
    #[test]
    fn an_unknown_user_costs_a_verification() {
        let cost = Argon2Cost::new(4096, 1, 1).unwrap();
        let hash = PasswordHash::derive(Algorithm::Argon2id(cost), b"x", [1; 16]).unwrap();
        let file = PasswordFile::parse(format!("alice:{hash}").as_bytes()).unwrap();
        let least = |user| {
            let login = login(Some(user), Some(b"hunter2"));
            let times = (0..5).map(|_| {
                let begin = Instant::now();
                file.authenticate(&login);
                begin.elapsed()
            });
            times.min().unwrap()
        };
        let [known, unknown] = ["alice", "bob"].map(least);
        assert!(10 * unknown > known && 10 * known > unknown, "{known:?} {unknown:?}");
    }

    #[test]
    fn directories_and_large_or_missing_files_are_errors() {
        let directory = std::env::temp_dir();
        let load = |path: &Path| PasswordFile::load(path).unwrap_err();
        assert!(matches!(load(&directory).fault, FileFault::NotAFile));
        let error = load(&directory.join("midge-there-is-no-such-file"));
        assert!(error.to_string().starts_with("cannot read the password file "), "{error}");
        assert!(matches!(error.fault, FileFault::Unreadable(_)));
        let path = directory.join(format!("midge-large-{}", std::process::id()));
        File::create(&path).unwrap().set_len(PasswordFile::BYTES_MAX + 1).unwrap();
        assert!(matches!(load(&path).fault, FileFault::TooLarge));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nothing_is_shown_but_how_many_there_are() {
        let text = format!("alice:{SHA512_OF_HUNTER2}");
        let file = PasswordFile::parse(text.as_bytes()).unwrap();
        assert_eq!(format!("{file:?}"), "PasswordFile { users: 1, .. }");
    }

    fn nearly_a_file() -> impl Strategy<Value = Vec<u8>> {
        let pieces = ["alice", "bob", ":", "\n", "\r\n", "#", " ", "\t", "x", "\u{feff}", "$7$"];
        let pieces = pieces.map(|piece| piece.as_bytes().to_vec()).into_iter();
        let pieces = pieces.chain([SHA512_OF_HUNTER2.into(), vec![0xff]]).collect::<Vec<_>>();
        prop::collection::vec(prop::sample::select(pieces), 0..20)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// A file is refused, or its users are those of the lines that a naive reader sees.
        #[test]
        fn parsing_never_panics_nor_invents_users(bytes in nearly_a_file()) {
            let Ok(file) = PasswordFile::parse(&bytes) else { return Ok(()) };
            let text = std::str::from_utf8(&bytes).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains(':'));
            let users: Vec<_> = lines.map(|line| line.split(':').next().unwrap().trim()).collect();
            prop_assert_eq!(users.len(), file.len());
            prop_assert!(users.iter().all(|user| file.hash_of(user).is_some()));
        }

        #[test]
        fn any_bytes_are_a_file_or_none(bytes in any::<Vec<u8>>()) {
            let _ = PasswordFile::parse(&bytes);
        }
    }
}
