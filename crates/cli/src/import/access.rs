//! What a mosquitto.conf says of who may connect and do what.
//!
//! Where Midge cannot tell listeners apart, what it gets is never more open than any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Value;

use super::meaning::{PLUGIN_REMEDY, is_plugin};
use super::source::Line;

/// What is said of access.
#[derive(Debug, Default)]
pub(super) struct Access {
    is_per_listener: bool,
    /// By the listener whose line it is.
    anonymous: BTreeMap<usize, bool>,
    password_files: BTreeMap<usize, String>,
    acl_files: BTreeMap<usize, String>,
    /// The plugin that options are for.
    plugin: Option<Plugin>,
    /// Whether that plugin is for all listeners.
    is_for_all: bool,
    has_unknown_plugin: bool,
}

/// In the place of a listener: all of them.
const ALL: usize = usize::MAX;

/// A plugin of mosquitto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    PasswordFile,
    AclFile,
    Other,
}

impl Access {
    /// Adds a line; the error says what to do instead.
    pub(super) fn add(&mut self, line: &Line) -> Result<(), String> {
        let value = &*line.value;
        match &*line.key {
            "per_listener_settings" => {
                self.is_per_listener = matches!(value, "true" | "1");
                Ok(())
            }
            "allow_anonymous" => match value {
                "true" | "1" => {
                    self.anonymous.insert(line.listener, true);
                    Ok(())
                }
                "false" | "0" => {
                    self.anonymous.insert(line.listener, false);
                    Ok(())
                }
                _ => {
                    self.anonymous.insert(line.listener, false);
                    Err("it is neither true nor false; mosquitto refuses it, too".into())
                }
            },
            "password_file" => {
                self.password_files.insert(line.listener, value.to_owned());
                Ok(())
            }
            "acl_file" => {
                self.acl_files.insert(line.listener, value.to_owned());
                Ok(())
            }
            key if is_plugin(key) => {
                // One that is loaded for the use of some is taken for all.
                self.is_for_all = matches!(key, "global_plugin" | "plugin_load");
                self.add_plugin(value)
            }
            "plugin_use" => self.expect_known(),
            key => self.add_option(line, key),
        }
    }

    fn add_plugin(&mut self, value: &str) -> Result<(), String> {
        // `plugin_load` has a name in front of the path.
        let path = value.rsplit(' ').next().unwrap_or_default();
        let name = Path::new(path).file_stem().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default().replace('-', "_");
        let plugin = if name.contains("password_file") {
            Plugin::PasswordFile
        } else if name.contains("acl_file") {
            Plugin::AclFile
        } else {
            Plugin::Other
        };
        self.plugin = Some(plugin);
        self.expect_known()
    }

    fn expect_known(&mut self) -> Result<(), String> {
        if self.plugin == Some(Plugin::Other) || self.plugin.is_none() {
            self.has_unknown_plugin = true;
            return Err(PLUGIN_REMEDY.into());
        }
        Ok(())
    }

    fn add_option(&mut self, line: &Line, key: &str) -> Result<(), String> {
        let option = key.strip_prefix("plugin_opt_").unwrap_or(key);
        let listener = if self.is_for_all { ALL } else { line.listener };
        match (self.plugin, option) {
            (Some(Plugin::PasswordFile), "password_file") => {
                self.password_files.insert(listener, line.value.clone());
                Ok(())
            }
            (Some(Plugin::AclFile), "acl_file") => {
                self.acl_files.insert(listener, line.value.clone());
                Ok(())
            }
            _ => Err(PLUGIN_REMEDY.into()),
        }
    }

    /// Returns the keys, by section, and what has to be said about them. `listeners` are those that
    /// the file has; without any, only this machine can connect, and everybody may. `is_shut`: none
    /// of them is open, so nobody comes in anonymously.
    pub(super) fn keys(&self, listeners: &[usize], is_shut: bool) -> (Keys, Vec<&'static str>) {
        let mut remarks = Vec::new();
        if is_shut {
            remarks.push("As no listener is left, nobody comes in without a user name.");
        }
        let anonymous = !is_shut && self.lets_anonymous(listeners, &mut remarks);
        let mut keys: Keys = vec![("authentication", "anonymous", anonymous.into())];
        match self.one_of(&self.password_files, listeners) {
            Files::None => {}
            Files::One(file) => keys.push(("authentication", "password_file", file.into())),
            Files::Several => remarks.push(
                "Listeners have different password files, or some have none. Merge them into one \
                 and name it in [authentication] password_file.",
            ),
        }
        let mut default = "deny";
        match self.one_of(&self.acl_files, listeners) {
            _ if self.has_unknown_plugin => remarks.push(
                "A plugin decided about access. Nothing is allowed until [authorization] says so.",
            ),
            Files::None => default = "allow",
            Files::One(file) => keys.push(("authorization", "acl_file", file.into())),
            Files::Several => remarks.push(
                "Listeners have different access files, or some have none. Merge them into one and \
                 name it in [authorization] acl_file; until then nothing is allowed.",
            ),
        }
        keys.push(("authorization", "default", default.into()));
        (keys, remarks)
    }

    fn lets_anonymous(&self, listeners: &[usize], remarks: &mut Vec<&'static str>) -> bool {
        if listeners.is_empty() {
            return true;
        }
        if !self.is_per_listener {
            // The last line counts, wherever it stands.
            return self.anonymous.values().next_back().copied().unwrap_or(false);
        }
        let is_open = |listener: &usize| self.anonymous.get(listener).copied().unwrap_or(false);
        let open = listeners.iter().filter(|listener| is_open(listener)).count();
        if open > 0 && open < listeners.len() {
            remarks
                .push("Some listeners let anonymous clients in, and some do not. Here, none does.");
        }
        open == listeners.len()
    }

    /// Returns the files that these listeners have together.
    fn one_of<'a>(&self, files: &'a BTreeMap<usize, String>, listeners: &[usize]) -> Files<'a> {
        let found: BTreeSet<Option<&String>> = if self.is_per_listener && !listeners.is_empty() {
            let of_all = files.get(&ALL);
            let of_one = listeners.iter().map(|listener| files.get(listener));
            match of_all {
                Some(_) => of_one.flatten().map(Some).chain([of_all]).collect(),
                None => of_one.collect(),
            }
        } else {
            files.values().map(Some).collect()
        };
        match found.into_iter().collect::<Vec<_>>()[..] {
            [None] | [] => Files::None,
            [Some(file)] => Files::One(file),
            _ => Files::Several,
        }
    }
}

/// Keys with their sections.
pub(super) type Keys = Vec<(&'static str, &'static str, Value)>;

/// Which files the listeners have.
enum Files<'a> {
    None,
    One(&'a str),
    /// Different ones, or only some have one.
    Several,
}
