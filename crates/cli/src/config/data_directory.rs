//! Where data is kept if nothing else is configured: where the platform's convention puts it.

use std::env;
use std::path::PathBuf;

/// Returns the data directory of this user, or of this service.
pub(crate) fn default() -> PathBuf {
    of_process().0
}

/// Says why the data directory is that one.
pub(super) fn reason() -> &'static str {
    of_process().1
}

fn of_process() -> (PathBuf, &'static str) {
    choose(|name| env::var(name).ok().filter(|value| !value.is_empty()), cfg!(target_os = "macos"))
}

fn choose(variable: impl Fn(&str) -> Option<String>, is_macos: bool) -> (PathBuf, &'static str) {
    // systemd names the directory that it has made for the service; colons separate several of
    // them.
    if let Some(state) = variable("STATE_DIRECTORY") {
        let first = state.split(':').next().unwrap_or_default();
        return (PathBuf::from(first), "$STATE_DIRECTORY");
    }
    let home = variable("HOME").map(PathBuf::from);
    match (is_macos, variable("XDG_DATA_HOME"), home) {
        (true, _, Some(home)) => (home.join("Library/Application Support/midge"), "in $HOME"),
        (false, Some(data), _) => (PathBuf::from(data).join("midge"), "in $XDG_DATA_HOME"),
        (false, None, Some(home)) => (home.join(".local/share/midge"), "in $HOME"),
        (_, _, None) => (PathBuf::from("/var/lib/midge"), "there is no $HOME"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::choose;

    #[test]
    fn the_platforms_convention_is_followed() {
        let of = |pairs: &'static [(&str, &str)], is_macos| {
            let find = |name: &str| {
                let pair = pairs.iter().find(|(key, _)| *key == name);
                pair.map(|(_, value)| (*value).to_string())
            };
            choose(find, is_macos).0
        };
        let home = &[("HOME", "/users/me")];
        assert_eq!(of(home, false), PathBuf::from("/users/me/.local/share/midge"));
        let mac = PathBuf::from("/users/me/Library/Application Support/midge");
        assert_eq!(of(home, true), mac);
        let xdg = &[("HOME", "/users/me"), ("XDG_DATA_HOME", "/data")];
        assert_eq!(of(xdg, false), PathBuf::from("/data/midge"));
        let service = &[("HOME", "/"), ("STATE_DIRECTORY", "/var/lib/broker:/x")];
        assert_eq!(of(service, false), PathBuf::from("/var/lib/broker"));
        assert_eq!(of(&[], false), PathBuf::from("/var/lib/midge"));
    }
}
