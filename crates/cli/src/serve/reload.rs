//! SIGHUP: reads the configuration again, puts into effect what can be, and names the rest. It also
//! logs what has become of the certificates, which the broker itself reads again.

use std::collections::BTreeMap;
use std::io;
use std::path::{PathBuf, absolute};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;

use log::LevelFilter;
use midge_broker::{BrokerHandle, ListenError, Listener, ListenerChange, Renewal, Settings};

use super::access::AccessFiles;
use super::descriptors;
use super::listeners::{DefaultListeners, ShownListener};
use crate::config::{Configuration, Effective, Loaded, Sources, Value};

/// How a section that does not exist is shown.
const ABSENT: &str = "not there";

/// Knows the configuration that is in effect.
pub(crate) struct Reloader {
    /// As they were found at the start: a file that is gone is an error, not another configuration.
    sources: Sources,
    broker: BrokerHandle,
    in_effect: Vec<Effective>,
    default_listeners: DefaultListeners,
    files: AccessFiles,
}

/// Reloads on a thread of its own: a name server or a file system may be slow, and the signals that
/// end the broker must not wait for them.
pub(crate) struct Reloads(SyncSender<()>);

/// A key whose value in the file is not the one in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    name: String,
    before: String,
    now: String,
    live: bool,
}

impl Reloads {
    /// Starts the thread. It ends after this `Reloads` is dropped, and nobody waits for it.
    pub(crate) fn start(mut reloader: Reloader) -> io::Result<Self> {
        let (wanted, requests) = mpsc::sync_channel(1);
        let serve = move || {
            loop {
                let request = match reloader.files.has_files() {
                    true => requests.recv_timeout(AccessFiles::PERIOD),
                    false => requests.recv().map_err(RecvTimeoutError::from),
                };
                match request {
                    Ok(()) => {
                        reloader.reload();
                        reloader.tell_certificates(&reloader.broker.reload_certificates());
                    }
                    Err(RecvTimeoutError::Timeout) => reloader.files.look(&reloader.broker),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        thread::Builder::new().name("midge-reload".into()).spawn(serve)?;
        Ok(Self(wanted))
    }

    /// Asks for the configuration to be read again.
    pub(crate) fn request(&self) {
        // If a request waits already, it will find the configuration that is there now.
        let _ = self.0.try_send(());
    }
}

impl Reloader {
    pub(crate) fn new(
        sources: Sources,
        broker: BrokerHandle,
        in_effect: Vec<Effective>,
        default_listeners: DefaultListeners,
        files: AccessFiles,
    ) -> Self {
        Self { sources, broker, in_effect, default_listeners, files }
    }

    /// Logs the result of reading the listeners' certificates again: whether there are new ones.
    fn tell_certificates(&self, renewals: &[Renewal]) {
        let listeners = self.broker.listeners();
        for renewal in renewals {
            let is_it = |it: &&Listener| usize::from(it.number) == renewal.listener;
            let Some(listener) = listeners.iter().find(is_it).map(ShownListener::new) else {
                continue;
            };
            match &renewal.result {
                Ok(true) => log::info!("{listener}: the certificates were renewed"),
                Ok(false) => log::info!("{listener}: the certificates have not changed"),
                Err(error) => {
                    log::error!("{listener}: the certificates in effect stay: {error}");
                }
            }
        }
    }

    /// Reads the configuration again. A configuration with errors changes nothing.
    fn reload(&mut self) {
        match self.sources.load() {
            Ok(loaded) => self.take(&loaded),
            Err(report) => {
                report.lines().for_each(|line| log::error!("{line}"));
                log::error!("the configuration has errors; the one in effect stays");
            }
        }
    }

    fn take(&mut self, loaded: &Loaded) {
        if let Err(error) = self.files.reload(&loaded.configuration.access, &self.broker) {
            log::error!("{error}");
            log::error!("nothing has changed; the configuration in effect stays");
            return;
        }
        let found = changes(&self.in_effect, &loaded.effective);
        if found.is_empty() {
            log::info!("the configuration was read again; nothing in it has changed");
        }
        if found.iter().any(|change| change.live)
            && let Err(error) = self.put_into_effect(loaded)
        {
            log::error!("{error}");
            log::error!("nothing has changed; the configuration in effect stays");
            return;
        }
        // The other live changes could not be carried out, and that was logged.
        let left = changes(&self.in_effect, &loaded.effective);
        for Change { name, before, now, live } in found {
            if live && left.iter().any(|change| change.name == name) {
                continue;
            }
            match (live, before == ABSENT, now == ABSENT) {
                (true, true, _) => log::info!("{name} is new, and in effect: {now}"),
                (true, _, true) => log::info!("{name} is gone: {before}"),
                (true, ..) => log::info!("{name} is {now} now, no longer {before}"),
                (false, true, _) => {
                    log::warn!("{name} has its default until the next start; then it is {now}");
                }
                (false, _, true) => {
                    log::warn!("{name} is {before} until the next start; then it has its default");
                }
                (false, ..) => {
                    log::warn!("{name} is {before} until the next start; then it is {now}");
                }
            }
        }
    }

    fn put_into_effect(&mut self, loaded: &Loaded) -> Result<(), ListenError> {
        let configuration = &loaded.configuration;
        let listeners = self.default_listeners.or_configured(configuration);
        let changes = self.broker.reconfigure_with(settings(configuration), &listeners)?;
        self.broker.trace_client(configuration.trace_client.as_deref());
        let level: LevelFilter = configuration.log_level;
        log::set_max_level(level);
        changes.iter().for_each(tell_listener);
        let live = loaded.effective.iter().filter(|line| line.live);
        let mut in_effect: Vec<_> = live.cloned().collect();
        for change in &changes {
            if let ListenerChange::SocketStays { listener, .. } = change {
                let address = listener.settings.listen.address.to_string();
                keep_socket(&mut in_effect, &self.in_effect, &address);
            }
        }
        self.in_effect.retain(|line| !line.live);
        self.in_effect.append(&mut in_effect);
        Ok(())
    }
}

/// Leaves the keys of a listener's Unix socket at their previous values, because the socket stays
/// as it is. The next reload then finds again that the file has other values.
fn keep_socket(in_effect: &mut [Effective], before: &[Effective], address: &str) {
    let table = Some(format!("listener[{}]", written(address, before)));
    let kept: BTreeMap<_, _> = named(before, before)
        .iter()
        .filter(|it| it.table == table && it.line.key.starts_with("unix."))
        .map(|it| (it.line.key, it.line.clone()))
        .collect();
    let is_of_it: Vec<_> = named(in_effect, before).iter().map(|it| it.table == table).collect();
    for (line, _) in in_effect.iter_mut().zip(is_of_it).filter(|(_, is_of_it)| *is_of_it) {
        if let Some(old) = kept.get(line.key) {
            (line.value, line.origin) = (old.value.clone(), old.origin.clone());
        }
    }
}

fn tell_listener(change: &ListenerChange) {
    match change {
        ListenerChange::Added(listener) => {
            let shown = ShownListener::new(listener);
            let (listener, url) = (&*shown.address, &*shown.to_string());
            log::info!(listener, url; "{shown}: listens from now on");
            if !shown.is_local && !shown.needs_certificate {
                log::warn!(listener, url; "{shown}: whoever reaches it can connect");
            }
        }
        ListenerChange::Changed(listener) => {
            let shown = ShownListener::new(listener);
            log::info!(
                listener = &*shown.address, url = &*shown.to_string();
                "{shown}: other settings are in effect for connections from now on; those that \
                 stand keep the old ones"
            );
        }
        ListenerChange::Removed(listener) => {
            let shown = ShownListener::new(listener);
            log::info!(
                listener = &*shown.address, url = &*shown.to_string();
                "{shown}: listens no longer; its connections end (0x98 Administrative action), \
                 their sessions stay"
            );
        }
        ListenerChange::SocketStays { listener, reason } => {
            let shown = ShownListener::new(listener);
            log::error!(
                listener = &*shown.address, url = &*shown.to_string();
                "{shown}: its owner, group and mode stay as they were, until SIGHUP comes again: \
                 {reason}"
            );
        }
    }
}

fn settings(configuration: &Configuration) -> Settings {
    let mut limits = configuration.limits.clone();
    descriptors::provide(&mut limits);
    let topic_durabilities = configuration.topic_durabilities.iter();
    Settings {
        limits: Arc::new(limits),
        topics: Arc::new(configuration.topics.clone()),
        durability: configuration.durability,
        topic_durabilities: topic_durabilities
            .map(|(filter, durability)| (filter.as_str().into(), *durability))
            .collect(),
        response_prefix: configuration.response_prefix.as_deref().map(Into::into),
    }
}

fn changes(before: &[Effective], now: &[Effective]) -> Vec<Change> {
    let (before, now) = (named(before, before), named(now, before));
    let (tables_before, tables_now) = (tables(&before), tables(&now));
    // A section that is in both is compared key by key, any other one as a whole.
    let is_in = |tables: &BTreeMap<String, String>, line: &Named<'_>| {
        line.table.as_ref().is_none_or(|name| tables.contains_key(name))
    };
    let in_both = |line: &&Named<'_>| is_in(&tables_before, line) && is_in(&tables_now, line);
    let by_name = |lines: &[Named<'_>]| -> BTreeMap<String, (String, bool)> {
        let lines = lines.iter().filter(in_both);
        lines.map(|line| (line.name(), (value(line.line), line.line.live))).collect()
    };
    let mut changes = differences(&by_name(&before), &by_name(&now), "not set");
    // All keys of a section that can be repeated take effect alike.
    let is_live = |name: &str| {
        let mut lines = before.iter().chain(&now);
        lines.any(|it| it.line.live && it.table.as_deref() == Some(name))
    };
    let whole = |tables: &BTreeMap<String, String>, others: &BTreeMap<String, String>| {
        let tables = tables.iter().filter(|(name, _)| !others.contains_key(*name));
        tables.map(|(name, value)| (name.clone(), (value.clone(), is_live(name)))).collect()
    };
    let gone: BTreeMap<_, _> = whole(&tables_before, &tables_now);
    changes.extend(differences(&gone, &whole(&tables_now, &tables_before), ABSENT));
    changes.sort_by(|one, other| one.name.cmp(&other.name));
    changes
}

/// A line with the name of its section, if that section can be repeated.
struct Named<'l> {
    table: Option<String>,
    line: &'l Effective,
}

impl Named<'_> {
    fn name(&self) -> String {
        match &self.table {
            Some(table) => format!("{table}.{}", self.line.key),
            None => self.line.name(),
        }
    }
}

/// Names lines. A listener is known by its address and not by its place in the file, because the
/// place changes as soon as an earlier listener is removed. A Unix socket that is in `before`, too,
/// has the name that it has there, however its path is written now.
fn named<'l>(lines: &'l [Effective], before: &[Effective]) -> Vec<Named<'l>> {
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (table, address) in binds(lines) {
        let address = written(address, before);
        let count = counts.entry(address.to_string()).or_default();
        *count += 1;
        let nth = if *count > 1 { format!(" ({count})") } else { String::new() };
        places.insert(table, format!("listener[{address}{nth}]"));
    }
    let named = |line| {
        let table = Effective::table(line);
        let table = table.map(|table| places.get(&table).cloned().unwrap_or(table));
        Named { table, line }
    };
    lines.iter().map(named).collect()
}

/// Returns the listeners' sections, each with its address.
fn binds(lines: &[Effective]) -> impl Iterator<Item = (String, &str)> {
    let binds = lines.iter().filter(|line| line.section == "listener" && line.key == "bind");
    binds.filter_map(|line| match &line.value {
        Some(Value::Text(address)) => Some((line.table()?, &**address)),
        _ => None,
    })
}

/// Returns an address as it was written `before`, if it was there.
fn written<'a>(address: &'a str, before: &'a [Effective]) -> &'a str {
    let Some(path) = path_of(address) else { return address };
    let mut earlier = binds(before).map(|(_, address)| address);
    earlier.find(|earlier| path_of(earlier).as_ref() == Some(&path)).unwrap_or(address)
}

/// Returns the absolute path of a Unix socket.
fn path_of(address: &str) -> Option<PathBuf> {
    absolute(address.strip_prefix("unix:")?).ok()
}

/// Finds the names whose values differ. A key that means nothing on one side has no value there.
fn differences(
    before: &BTreeMap<String, (String, bool)>,
    now: &BTreeMap<String, (String, bool)>,
    absent: &str,
) -> Vec<Change> {
    let value = |lines: &BTreeMap<String, (String, bool)>, name: &str| {
        lines.get(name).map_or(absent.to_string(), |(value, _)| value.clone())
    };
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let changes = names.into_iter().map(|name| Change {
        name: name.clone(),
        before: value(before, name),
        now: value(now, name),
        live: now.get(name).or_else(|| before.get(name)).is_some_and(|(_, live)| *live),
    });
    changes.filter(|change| change.before != change.now).collect()
}

fn value(line: &Effective) -> String {
    line.value.as_ref().map_or("not set".to_string(), ToString::to_string)
}

/// The sections that can be repeated, each with what was given in it.
fn tables(lines: &[Named<'_>]) -> BTreeMap<String, String> {
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    for Named { table, line } in lines {
        let Some(name) = table.clone() else { continue };
        let given = tables.entry(name).or_default();
        if line.is_given() {
            let separator = if given.is_empty() { "" } else { ", " };
            given.push_str(&format!("{separator}{} = {}", line.key, value(line)));
        }
    }
    tables.into_iter().map(|(name, given)| (name, format!("{{ {given} }}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Change, Effective, changes, keep_socket};
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
            "listener[127.0.0.1:1]: not there -> { bind = \"127.0.0.1:1\" }",
            "log.level: \"warn\" -> \"debug\"",
        ];
        assert_eq!(lines, expected);
        assert_eq!(changes.iter().filter(|change| change.live).count(), 2);
    }

    #[test]
    fn a_key_that_comes_to_mean_something_is_a_change() {
        let listener = "[[listener]]\nbind = '127.0.0.1:1'\n";
        let before = effective(listener);
        let now = effective(&format!("{listener}protocol = 'websocket'\n"));
        let lines: Vec<String> = changes(&before, &now)
            .iter()
            .map(|change| format!("{}: {} -> {}", change.name, change.before, change.now))
            .collect();
        let expected = [
            "listener[127.0.0.1:1].handshakes_max: not set -> 4096",
            "listener[127.0.0.1:1].protocol: \"mqtt\" -> \"websocket\"",
            "listener[127.0.0.1:1].websocket.origins: not set -> []",
            "listener[127.0.0.1:1].websocket.path: not set -> \"/mqtt\"",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_listener_is_known_by_its_address() {
        let listener =
            |port: u16, rest: &str| format!("[[listener]]\nbind = '127.0.0.1:{port}'\n{rest}\n");
        // There may be several listeners at any free port.
        let any = listener(0, "");
        let before = effective(&format!("{}{any}{any}", listener(1, "")));
        let now = effective(&format!("{any}{}{}", listener(0, "tcp.backlog = 7"), listener(3, "")));
        let changes = changes(&before, &now);
        assert!(changes.iter().all(|change| change.live));
        let lines: Vec<String> = changes
            .iter()
            .map(|change| format!("{}: {} -> {}", change.name, change.before, change.now))
            .collect();
        let expected = [
            "listener[127.0.0.1:0 (2)].tcp.backlog: 4096 -> 7",
            "listener[127.0.0.1:1]: { bind = \"127.0.0.1:1\" } -> not there",
            "listener[127.0.0.1:3]: not there -> { bind = \"127.0.0.1:3\" }",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_unix_socket_is_known_by_its_path_however_it_is_written() {
        let listener = |path: &str| effective(&format!("[[listener]]\nbind = 'unix:{path}'\n"));
        let absolute = std::env::current_dir().unwrap().join("s");
        let (before, now) = (listener("s"), listener(absolute.to_str().unwrap()));
        let changes = changes(&before, &now);
        let names: Vec<_> = changes.iter().map(|change| change.name.as_str()).collect();
        assert_eq!(names, ["listener[unix:s].bind"]);
        assert_eq!(changes[0].now, format!("\"unix:{}\"", absolute.display()));
    }

    #[test]
    fn what_a_socket_could_not_get_is_found_again() {
        let listener = |mode: &str, more: &str| {
            let other = "[[listener]]\nbind = 'unix:/o'\nunix.mode = '0600'\n";
            let text = format!("[[listener]]\nbind = 'unix:/s'\nunix.mode = '{mode}'\n{more}");
            effective(&format!("{other}{text}"))
        };
        let before = listener("0600", "");
        let now = listener("0666", "connections_max = 7\n");
        let mut in_effect = now.clone();
        keep_socket(&mut in_effect, &before, "unix:/s");
        let names = |changes: Vec<Change>| -> Vec<_> {
            changes.into_iter().map(|change| change.name).collect()
        };
        assert_eq!(names(changes(&in_effect, &now)), ["listener[unix:/s].unix.mode"]);
        let done = names(changes(&before, &in_effect));
        assert_eq!(done, ["listener[unix:/s].connections_max"]);
    }

    #[test]
    fn another_place_of_the_same_value_is_no_change() {
        let before = effective("[limits]\nreceive_maximum = 64\n");
        assert!(changes(&before, &effective("# nothing")).is_empty());
    }
}
