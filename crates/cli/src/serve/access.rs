//! Who comes in and what Clients may do: made from the settings and the files that they name, and
//! made anew when these change.
//!
//! What cannot be used never replaces what is in force, so a mistake opens nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use midge_auth::password::{FileVersion, ReloadingPasswordFile};
use midge_auth::{AccessPolicy, AclFile, Chain, DefaultAccess, Member, Model, RuleSource};
use midge_broker::{Access, BrokerHandle, ClientCursor, ReasonCode};

use crate::config::AccessSettings;

/// The settings and files that are in force.
pub(crate) struct AccessFiles {
    settings: AccessSettings,
    passwords: Option<Arc<ReloadingPasswordFile>>,
    acl: Option<WatchedFile>,
}

/// A file that was read, as it was then.
struct WatchedFile {
    path: PathBuf,
    read: Option<FileVersion>,
    seen: Option<Option<FileVersion>>,
    /// How many looks in a row have found another version than the one that was read.
    looks: u32,
}

impl AccessFiles {
    /// How often files are looked at.
    pub(crate) const PERIOD: Duration = Duration::from_secs(1);

    /// Reads everything.
    ///
    /// # Errors
    ///
    /// What cannot be used, in words.
    pub(crate) fn open(settings: &AccessSettings) -> Result<(Self, Access), String> {
        let passwords = settings.password_file.as_deref().map(open_passwords).transpose()?;
        let acl = settings.acl_file.clone().map(WatchedFile::new);
        let files = Self { settings: settings.clone(), passwords, acl };
        let access = files.access()?;
        Ok((files, access))
    }

    /// Returns whether there are files that may change.
    pub(crate) fn has_files(&self) -> bool {
        self.passwords.is_some() || self.acl.is_some()
    }

    /// Reads everything anew, by these settings. If that fails, everything stays as it is.
    ///
    /// # Errors
    ///
    /// What cannot be used, in words.
    pub(crate) fn reload(
        &mut self,
        settings: &AccessSettings,
        broker: &BrokerHandle,
    ) -> Result<(), String> {
        let (files, access) = Self::open(settings)?;
        let before = self.passwords.as_ref().map(|it| it.current());
        let now = files.passwords.as_ref().map(|it| it.current());
        *self = files;
        broker.set_access(access);
        if let (Some(before), Some(now)) = (before, now) {
            disconnect(broker, |user| before.hash_of(user) != now.hash_of(user));
        }
        Ok(())
    }

    /// Reads files anew that have changed, and says in the log what has become of that.
    pub(crate) fn look(&mut self, broker: &BrokerHandle) {
        if let Some(passwords) = self.passwords.clone().filter(|it| it.is_changed()) {
            match passwords.reload() {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => {
                    log::info!(
                        "the password file was read again: users added {}, changed {}, removed {}",
                        changes.added.len(),
                        changes.changed.len(),
                        changes.removed.len()
                    );
                    broker.policy_changed();
                    disconnect(broker, |user| changes.changed.iter().any(|it| **it == *user));
                }
                Err(error) => log::error!("{error}; the users in force stay"),
            }
        }
        if self.acl.as_mut().is_some_and(WatchedFile::is_changed) {
            match self.access() {
                Ok(access) => {
                    broker.set_access(access);
                    log::info!("the rules of the acl_file were read again, and are in force");
                }
                Err(error) => log::error!("{error}; the rules in force stay"),
            }
        }
    }

    fn access(&self) -> Result<Access, String> {
        let members = self.passwords.iter().map(|it| Arc::clone(it) as Arc<dyn Member>);
        let members: Vec<_> = members.collect();
        let lets_anonymous_in = self.settings.anonymous.unwrap_or(members.is_empty());
        let mut sources: Vec<Box<dyn RuleSource>> = Vec::new();
        if let Some(file) = &self.acl {
            sources.push(Box::new(AclFile::load(&file.path).map_err(|error| error.to_string())?));
        }
        let default = match self.settings.allows_by_default {
            true => DefaultAccess::Allow,
            false => DefaultAccess::Deny,
        };
        let has_rules = !sources.is_empty() || default == DefaultAccess::Deny;
        let policy = AccessPolicy::new(Model::default(), sources, default, seconds_since_1970());
        let policy = policy.map_err(|errors| format!("{errors:?}"))?;
        let policy = has_rules.then_some(policy);
        Ok(Access { chain: Chain::new(members, lets_anonymous_in), policy })
    }
}

fn open_passwords(path: &Path) -> Result<Arc<ReloadingPasswordFile>, String> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| format!("there is no randomness: {error}"))?;
    ReloadingPasswordFile::open(path, key).map(Arc::new).map_err(|error| error.to_string())
}

fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Disconnects all Clients of some users: their passwords are not the same any more.
fn disconnect(broker: &BrokerHandle, is_one: impl Fn(&str) -> bool) {
    let mut next = Some(ClientCursor::default());
    while let Some(cursor) = next {
        let Ok((page, following)) = broker.list_clients(cursor, ClientCursor::PAGE).wait() else {
            return; // the broker has stopped
        };
        for client in page {
            if client.version.is_some() && client.user_name.as_deref().is_some_and(&is_one) {
                // It may have gone meanwhile.
                let _ = broker.disconnect(&client.client_id, ReasonCode::NotAuthorized).wait();
            }
        }
        next = following;
    }
}

impl WatchedFile {
    /// A file that changes all the time is read after so many looks.
    const LOOKS_MAX: u32 = 5;

    fn new(path: PathBuf) -> Self {
        let read = FileVersion::of(&path).ok();
        Self { path, read, seen: None, looks: 0 }
    }

    /// Returns whether there is a version that was not read yet. It counts when it is seen twice in
    /// a row, when whoever writes the file has probably finished, or after some looks.
    fn is_changed(&mut self) -> bool {
        let now = FileVersion::of(&self.path).ok();
        if now == self.read {
            (self.seen, self.looks) = (None, 0);
            return false;
        }
        self.looks += 1;
        let is_ready = self.seen.replace(now) == Some(now) || self.looks >= Self::LOOKS_MAX;
        if is_ready {
            (self.read, self.looks) = (now, 0);
        }
        is_ready
    }
}
