//! Users and groups of this machine that the file of a socket can be given to. Never changes
//! anything.

use std::io::{self, ErrorKind};

use nix::unistd::{Group, User};

use crate::listen::UnixOptions;

/// An account that a listener's socket is to be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAccount {
    /// The user who owns the file.
    Owner,
    /// The group of the file.
    Group,
}

impl UnixOptions {
    /// Returns the accounts that cannot be found on this machine, each with the reason: a listener
    /// with these options cannot be made here.
    pub fn missing_accounts(&self) -> Vec<(SocketAccount, io::Error)> {
        let owner = self.owner.as_deref().and_then(|user| user_number(user).err());
        let group = self.group.as_deref().and_then(|group| group_number(group).err());
        let owner = owner.map(|error| (SocketAccount::Owner, error));
        let group = group.map(|error| (SocketAccount::Group, error));
        owner.into_iter().chain(group).collect()
    }
}

/// Returns the number of a user, as `chown` finds it: by name first, and as a number if nobody has
/// that name.
pub(super) fn user_number(user: &str) -> io::Result<u32> {
    let found = User::from_name(user)?.map(|found| found.uid.as_raw());
    found.or_else(|| user.parse().ok()).ok_or_else(|| {
        io::Error::new(ErrorKind::NotFound, format!("there is no user '{user}' on this machine"))
    })
}

pub(super) fn group_number(group: &str) -> io::Result<u32> {
    let found = Group::from_name(group)?.map(|found| found.gid.as_raw());
    found.or_else(|| group.parse().ok()).ok_or_else(|| {
        io::Error::new(ErrorKind::NotFound, format!("there is no group '{group}' on this machine"))
    })
}

#[cfg(test)]
mod tests {
    use super::{SocketAccount, UnixOptions};

    #[test]
    fn accounts_that_do_not_exist_are_named() {
        let options = |owner: &str, group: &str| UnixOptions {
            owner: Some(owner.into()),
            group: Some(group.into()),
            ..UnixOptions::default()
        };
        assert!(options("root", "0").missing_accounts().is_empty());
        assert!(UnixOptions::default().missing_accounts().is_empty());
        let missing = options("nobody-of-this-name", "none-of-this-name").missing_accounts();
        let [(owner, why_owner), (group, why_group)] = &missing[..] else {
            panic!("{missing:?}");
        };
        assert_eq!((*owner, *group), (SocketAccount::Owner, SocketAccount::Group));
        assert!(why_owner.to_string().contains("no user 'nobody-of-this-name'"), "{why_owner}");
        assert!(why_group.to_string().contains("no group 'none-of-this-name'"), "{why_group}");
    }
}
