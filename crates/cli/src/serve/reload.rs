//! SIGHUP: reads the configuration again, puts into effect what can be, and names the rest.

use std::collections::BTreeMap;

use log::LevelFilter;

use crate::config::{Effective, Flags, Loaded, Sources};

/// Knows the configuration that is in effect.
#[derive(Debug)]
pub(crate) struct Reloader {
    flags: Flags,
    in_effect: Vec<Effective>,
}

/// A key whose value in the file is not the one in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    name: String,
    before: String,
    now: String,
    live: bool,
}

impl Reloader {
    pub(crate) fn new(flags: Flags, in_effect: Vec<Effective>) -> Self {
        Self { flags, in_effect }
    }

    /// Reads the configuration again. A broken one changes nothing.
    pub(crate) fn reload(&mut self) {
        match Sources::of_process(&self.flags).load() {
            Ok(loaded) => self.take(&loaded),
            Err(report) => {
                report.lines().for_each(|line| log::error!("{line}"));
                log::error!("the configuration has errors; the one in effect stays");
            }
        }
    }

    fn take(&mut self, loaded: &Loaded) {
        let changes = changes(&self.in_effect, &loaded.effective);
        if changes.is_empty() {
            log::info!("the configuration was read again; nothing in it has changed");
        }
        for Change { name, before, now, live } in changes {
            if live {
                self.put_into_effect(&name, loaded);
                log::info!("{name} is {now} now, no longer {before}");
            } else {
                log::warn!("{name} is {before} until the next start, and {now} from then on");
            }
        }
    }

    fn put_into_effect(&mut self, name: &str, loaded: &Loaded) {
        let level: LevelFilter = loaded.configuration.log_level;
        log::set_max_level(level);
        let new = loaded.effective.iter().find(|line| line.name() == name);
        let old = self.in_effect.iter_mut().find(|line| line.name() == name);
        if let (Some(old), Some(new)) = (old, new) {
            old.clone_from(new);
        }
    }
}

fn changes(before: &[Effective], now: &[Effective]) -> Vec<Change> {
    let by_name = |lines: &[Effective]| -> BTreeMap<String, (String, bool)> {
        let value = |line: &Effective| match &line.value {
            Some(value) => value.to_string(),
            None => "not set".to_string(),
        };
        lines.iter().map(|line| (line.name(), (value(line), line.live))).collect()
    };
    let (before, now) = (by_name(before), by_name(now));
    let value = |lines: &BTreeMap<String, (String, bool)>, name: &str| {
        lines.get(name).map_or("not there".to_string(), |(value, _)| value.clone())
    };
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let changes = names.into_iter().map(|name| Change {
        name: name.clone(),
        before: value(&before, name),
        now: value(&now, name),
        live: now.get(name).is_some_and(|(_, live)| *live),
    });
    changes.filter(|change| change.before != change.now).collect()
}

#[cfg(test)]
mod tests {
    use super::{Effective, changes};
    use crate::config::{File, Flags, Variables, load};

    fn effective(text: &str) -> Vec<Effective> {
        let file = File { path: "midge.toml".into(), text: text.into() };
        load(Some(file), &Variables::new(), &Flags::default()).unwrap().effective
    }

    #[test]
    fn changes_are_named_with_both_values() {
        let before = effective("[log]\nlevel = 'warn'\n[broker]\nworkers = 2\n");
        let now = effective("[log]\nlevel = 'debug'\n[[listener]]\nbind = '127.0.0.1:1'\n");
        let changes = changes(&before, &now);
        let lines: Vec<String> = changes
            .iter()
            .map(|change| format!("{}: {} -> {}", change.name, change.before, change.now))
            .collect();
        let expected = [
            "broker.workers: 2 -> not set",
            "listener.0.bind: not there -> \"127.0.0.1:1\"",
            "listener.0.durability: not there -> not set",
            "listener.0.protocol: not there -> \"mqtt\"",
            "log.level: \"warn\" -> \"debug\"",
        ];
        assert_eq!(lines, expected);
        assert_eq!(changes.iter().filter(|change| change.live).count(), 1);
    }

    #[test]
    fn another_place_of_the_same_value_is_no_change() {
        let before = effective("[limits]\nreceive_maximum = 64\n");
        assert!(changes(&before, &effective("# nothing")).is_empty());
    }
}
