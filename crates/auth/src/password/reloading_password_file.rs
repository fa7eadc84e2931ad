//! A password file that may change while the broker runs.
//!
//! A new version is in force only if it is wholly good; otherwise the old one stays
//! (CVE-2017-7652). Nothing here watches the file: the owner asks once in a while whether it has
//! changed, calls for a reload, and revokes the Network Connections of the users it is told.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use midge_core::{Identity, User};

use super::file_version::FileVersion;
use super::password_file::{PasswordFile, PasswordFileError, credentials};
use super::verified_logins::VerifiedLogins;
use crate::login::Login;
use crate::member::{Member, Verdict};

/// The password file at a path, and the logins that it has found right. `Debug` shows the path and
/// how many users there are.
pub struct ReloadingPasswordFile {
    path: PathBuf,
    current: RwLock<Arc<PasswordFile>>,
    watch: Mutex<Watch>,
    verified: VerifiedLogins,
}

/// The file on the disk, as far as it is known. `None` for a version: there was no file.
struct Watch {
    /// The version that was last read, good or not.
    read: Option<FileVersion>,
    /// The other version that [`ReloadingPasswordFile::is_changed`] saw last.
    seen: Option<Option<FileVersion>>,
    /// How many looks in a row have found another version than the one that was read.
    looks: u32,
}

/// The effect of a reload. The names are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Users who are new in the file.
    pub added: Vec<Box<str>>,
    /// Users who have another hash now.
    pub changed: Vec<Box<str>>,
    /// Users who are no longer in the file.
    pub removed: Vec<Box<str>>,
}

impl ReloadingPasswordFile {
    /// How often a login is verified anew because the user's line changed meanwhile.
    const ATTEMPTS_MAX: usize = 4;
    /// A file that changes all the time is read after so many looks.
    const LOOKS_MAX: u32 = 5;

    /// Reads the file at `path`. `key` protects the memory of logins that were right: it comes from
    /// a cryptographic random source.
    ///
    /// # Errors
    ///
    /// The file cannot be used.
    pub fn open(path: &Path, key: [u8; 32]) -> Result<Self, PasswordFileError> {
        let (file, version) = PasswordFile::load_version(path)?;
        Ok(Self {
            path: path.into(),
            current: RwLock::new(Arc::new(file)),
            watch: Mutex::new(Watch { read: Some(version), seen: None, looks: 0 }),
            verified: VerifiedLogins::new(key),
        })
    }

    /// Returns the file in force.
    pub fn current(&self) -> Arc<PasswordFile> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether the file is not the one that was last read, to be asked once a second.
    ///
    /// A version counts only when two calls in a row have seen it: by then, a program that writes
    /// into the file instead of replacing it (`mosquitto_passwd` does) has probably finished. A
    /// version that could not be used does not count again.
    pub fn is_changed(&self) -> bool {
        let now = FileVersion::of(&self.path).ok();
        let mut watch = self.watch();
        if now == watch.read {
            (watch.seen, watch.looks) = (None, 0);
            return false;
        }
        watch.looks += 1;
        watch.seen.replace(now) == Some(now) || watch.looks >= Self::LOOKS_MAX
    }

    /// Reads the file again, and puts it in force if it is wholly good. The caller then revokes the
    /// Network Connections of the users that have changed or are removed, those that are being
    /// authenticated included.
    ///
    /// # Errors
    ///
    /// The file cannot be used; the old one stays in force.
    pub fn reload(&self) -> Result<Changes, PasswordFileError> {
        let mut watch = self.watch();
        (watch.seen, watch.looks) = (None, 0);
        watch.read = FileVersion::of(&self.path).ok();
        let (file, version) = PasswordFile::load_version(&self.path)?;
        watch.read = Some(version);
        let changes = Changes::between(&self.current(), &file);
        let new = Arc::new(file);
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, new)
        };
        // Giving back many users takes its time, and no login waits for that.
        drop(old);
        for user in changes.changed.iter().chain(&changes.removed) {
            self.verified.forget(user);
        }
        Ok(changes)
    }

    /// Decides about a login if that takes microseconds: there are no credentials in it, it was
    /// right before, or its user has a generated secret. May be called on any thread.
    pub fn recall(&self, login: &Login) -> Option<Verdict> {
        let Some((user, password)) = credentials(login) else {
            return Some(Verdict::NotMine);
        };
        self.recall_by(&self.current(), user, password)
    }

    fn recall_by(&self, file: &PasswordFile, user: &str, password: &[u8]) -> Option<Verdict> {
        let hash = file.hash_of(user)?;
        if hash.is_fast() {
            return Some(file.verify(user, password));
        }
        let is_known = self.verified.knows(user, password, hash);
        is_known.then(|| Verdict::Allow(Box::new(User::named(user))))
    }

    fn verify_by(&self, file: &PasswordFile, user: &str, password: &[u8]) -> Verdict {
        if let Some(verdict) = self.recall_by(file, user, password) {
            return verdict;
        }
        let verdict = file.verify(user, password);
        if let (Verdict::Allow(_), Some(hash)) = (&verdict, file.hash_of(user)) {
            self.verified.remember(user, password, hash);
        }
        verdict
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member for ReloadingPasswordFile {
    fn name(&self) -> &str {
        PasswordFile::NAME
    }

    fn recall(&self, login: &Login) -> Option<Verdict> {
        ReloadingPasswordFile::recall(self, login)
    }

    fn memory_bytes(&self) -> u64 {
        self.current().memory_bytes() as u64
    }

    fn still_knows(&self, client: &Identity) -> bool {
        self.current().still_knows(client)
    }

    fn authenticate(&self, login: &Login) -> Verdict {
        let Some((user, password)) = credentials(login) else {
            return Verdict::NotMine;
        };
        let mut file = self.current();
        for _ in 0..Self::ATTEMPTS_MAX {
            let verdict = self.verify_by(&file, user, password);
            // The file may have been replaced meanwhile, and the user's connections been revoked.
            let now = self.current();
            if file.hash_of(user) == now.hash_of(user) {
                return verdict;
            }
            file = now;
        }
        Verdict::Failed("the user's line in the password file changes all the time".into())
    }
}

impl Changes {
    /// Returns whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    fn between(old: &PasswordFile, new: &PasswordFile) -> Self {
        let mut changes = Self::default();
        for (user, hash) in old.users() {
            match new.hash_of(user) {
                None => changes.removed.push(user.into()),
                Some(found) if found != hash => changes.changed.push(user.into()),
                Some(_) => {}
            }
        }
        let is_new = |user: &&str| old.hash_of(user).is_none();
        changes.added = new.users().map(|(user, _)| user).filter(is_new).map(Box::from).collect();
        for names in [&mut changes.added, &mut changes.changed, &mut changes.removed] {
            names.sort_unstable();
        }
        changes
    }
}

impl fmt::Debug for ReloadingPasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadingPasswordFile")
            .field("path", &self.path)
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::password::password_hash::tests::quick;
    use crate::password::{FileFault, GeneratedSecret};

    /// A file in force, and its path, which is removed at the end.
    struct Scene {
        file: ReloadingPasswordFile,
        path: PathBuf,
    }

    impl Scene {
        fn new(lines: &[String]) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("midge-passwords-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, lines.concat()).unwrap();
            Self { file: ReloadingPasswordFile::open(&path, [7; 32]).unwrap(), path }
        }

        /// Puts another file there, as programs that rename do.
        fn replace(&self, content: &str) {
            let aside = self.path.with_extension("new");
            fs::write(&aside, content).unwrap();
            fs::rename(&aside, &self.path).unwrap();
        }

        fn authenticate(&self, user: &str, password: &str) -> Verdict {
            self.file.authenticate(&login(user, password))
        }

        fn allows(&self, user: &str, password: &str) -> bool {
            matches!(self.authenticate(user, password), Verdict::Allow(_))
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn login(user: &str, password: &str) -> Login {
        let password = Some(password.as_bytes().into());
        Login { user_name: Some(user.into()), password, ..Login::default() }
    }

    fn line(user: &str, password: &str, salt: u8) -> String {
        format!("{user}:{}\n", quick(password.as_bytes(), salt))
    }

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn a_reload_names_the_users_whose_lines_differ() {
        let [alice, bob] = [line("alice", "a", 1), line("bob", "b", 2)];
        let scene = Scene::new(&[alice.clone(), bob, line("carol", "c", 3)]);
        assert!(scene.allows("bob", "b") && scene.allows("carol", "c"));
        scene.replace(&[line("dave", "d", 5), alice, line("bob", "new", 4)].concat());
        let changes = scene.file.reload().unwrap();
        assert_eq!(changes.added, names(&["dave"]));
        assert_eq!(changes.changed, names(&["bob"]));
        assert_eq!(changes.removed, names(&["carol"]));
        assert!(scene.allows("bob", "new") && scene.allows("alice", "a"));
        assert!(!scene.allows("bob", "b"), "neither by the file nor by an earlier login");
        assert_eq!(scene.authenticate("carol", "c"), Verdict::NotMine);
        assert!(scene.file.reload().unwrap().is_empty());
    }

    /// S04 (CVE-2017-7652): a file that is not wholly good changes nothing, and is told.
    #[test]
    fn a_file_that_is_not_good_leaves_the_old_one_in_force() {
        let alice = line("alice", "a", 1);
        let scene = Scene::new(std::slice::from_ref(&alice));
        let half = &alice[..alice.len() / 2];
        for content in [half, "alice\n", "bob:x\n", &format!("{alice}{alice}"), "\0"] {
            scene.replace(content);
            let error = scene.file.reload().unwrap_err();
            assert!(matches!(error.fault, FileFault::Line(_)), "{error}");
            assert!(error.to_string().contains(&*scene.path.to_string_lossy()), "{error}");
            assert!(scene.allows("alice", "a"));
            assert!(!scene.allows("alice", "b"));
            assert_eq!(scene.authenticate("bob", "x"), Verdict::NotMine);
        }
        fs::remove_file(&scene.path).unwrap();
        scene.file.reload().unwrap_err();
        fs::create_dir(&scene.path).unwrap();
        scene.file.reload().unwrap_err();
        fs::remove_dir(&scene.path).unwrap();
        assert!(scene.allows("alice", "a"));
    }

    #[test]
    fn an_empty_file_lets_nobody_in() {
        let scene = Scene::new(&[line("alice", "a", 1)]);
        assert!(scene.allows("alice", "a"));
        scene.replace("");
        assert_eq!(scene.file.reload().unwrap().removed, names(&["alice"]));
        assert_eq!(scene.authenticate("alice", "a"), Verdict::NotMine);
    }

    #[test]
    fn a_change_counts_when_it_is_seen_twice_and_until_it_is_read() {
        let scene = Scene::new(&[line("alice", "a", 1)]);
        let is_changed = || scene.file.is_changed();
        assert!(!is_changed() && !is_changed());
        scene.replace("");
        assert!(!is_changed() && is_changed() && is_changed());
        scene.file.reload().unwrap();
        assert!(!is_changed() && !is_changed());
        // In the midst of being written.
        fs::write(&scene.path, "#").unwrap();
        assert!(!is_changed());
        fs::write(&scene.path, "##").unwrap();
        assert!(!is_changed());
        fs::write(&scene.path, "bad").unwrap();
        assert!(!is_changed() && is_changed());
        scene.file.reload().unwrap_err();
        assert!(!is_changed() && !is_changed(), "one complaint about a version is enough");
        fs::remove_file(&scene.path).unwrap();
        assert!(!is_changed() && is_changed());
        scene.file.reload().unwrap_err();
        assert!(!is_changed() && !is_changed());
        scene.replace(&line("alice", "new", 1));
        assert!(!is_changed() && is_changed());
        scene.file.reload().unwrap();
        assert!(scene.allows("alice", "new"));
    }

    #[test]
    fn a_file_that_changes_all_the_time_is_read_in_the_end() {
        let scene = Scene::new(&[line("alice", "a", 1)]);
        let looks = (0..ReloadingPasswordFile::LOOKS_MAX).map(|look| {
            fs::write(&scene.path, "#".repeat(look as usize)).unwrap();
            scene.file.is_changed()
        });
        let looks: Vec<_> = looks.collect();
        assert_eq!(looks, [false, false, false, false, true]);
        scene.file.reload().unwrap();
        assert!(!scene.file.is_changed());
    }

    /// It costs nothing, so it never waits for those that do.
    #[test]
    fn a_generated_secret_is_verified_at_once() {
        let secret = GeneratedSecret::from_random([9; 20]);
        let hash = secret.hash([3; 16]);
        let scene = Scene::new(&[format!("pump:{hash}\n")]);
        let recall = |password: &str| scene.file.recall(&login("pump", password));
        assert!(matches!(recall(secret.expose()), Some(Verdict::Allow(_))));
        assert!(matches!(recall("wrong"), Some(Verdict::Deny(_))));
        assert_eq!(scene.file.recall(&login("nobody", "x")), None, "it costs what others cost");
    }

    #[test]
    fn a_right_login_is_recalled_until_the_line_changes() {
        let scene = Scene::new(&[line("alice", "a", 1)]);
        let recall = |password| scene.file.recall(&login("alice", password));
        assert_eq!(recall("a"), None);
        assert!(!scene.allows("alice", "b"));
        assert_eq!(recall("b"), None, "a wrong login is not kept");
        assert!(scene.allows("alice", "a"));
        assert_eq!(recall("a"), Some(Verdict::Allow(Box::new(User::named("alice")))));
        assert_eq!(recall("b"), None);
        assert_eq!(scene.file.recall(&Login::default()), Some(Verdict::NotMine));
        scene.replace(&line("alice", "a", 2));
        assert_eq!(scene.file.reload().unwrap().changed, names(&["alice"]));
        assert_eq!(recall("a"), None, "the same password under another salt is verified anew");
        assert!(scene.allows("alice", "a"));
        scene.replace("");
        scene.file.reload().unwrap();
        assert_eq!(recall("a"), None);
    }

    #[test]
    fn reloads_and_logins_at_the_same_time_let_nobody_in_by_an_old_line() {
        let scene = Scene::new(&[line("alice", "a", 1)]);
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                for round in 0..100 {
                    scene.replace(&line("alice", ["b", "a"][round % 2], 2));
                    scene.file.reload().unwrap();
                }
                scene.replace(&line("alice", "c", 3));
                scene.file.reload().unwrap();
            });
            while !replacing.is_finished() {
                let verdict = scene.authenticate("alice", "a");
                assert!(!matches!(verdict, Verdict::NotMine), "{verdict:?}");
            }
        });
        assert!(!scene.allows("alice", "a") && scene.allows("alice", "c"));
    }

    #[test]
    fn nothing_shows_a_hash_or_a_password() {
        let alice = line("alice", "hunter2", 1);
        let scene = Scene::new(std::slice::from_ref(&alice));
        let verdicts = ["hunter2", "hunter3"].map(|it| scene.authenticate("alice", it));
        scene.replace("alice:hunter2");
        let error = scene.file.reload().unwrap_err();
        let shown = format!("{:?} {verdicts:?} {error} {error:?}", scene.file);
        assert!(!shown.contains("hunter") && !shown.contains("$argon2id"), "{shown}");
    }
}
