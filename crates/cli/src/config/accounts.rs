//! Whether the users and groups exist that a configuration gives Unix sockets to. A missing one is
//! only a warning, because the configuration may be meant for another machine.

use midge_net::SocketAccount;

use super::Loaded;

/// Returns a warning for each user and group that this machine does not have.
pub(super) fn warnings(loaded: &Loaded) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, listener) in loaded.configuration.listeners.iter().enumerate() {
        for (account, error) in listener.listen.unix.missing_accounts() {
            let key = match account {
                SocketAccount::Owner => "unix.owner",
                SocketAccount::Group => "unix.group",
            };
            let place = loaded.place(&loaded.origin_of_listener(index, key));
            warnings.push(format!("{place}`{key}`: {error}: a broker would not start here"));
        }
    }
    warnings
}
