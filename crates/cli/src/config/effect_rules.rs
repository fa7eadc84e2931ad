//! Keys that would have no effect because of what another section, or another rule, says.
//!
//! Such a key is an error: whoever wrote it relies on it. A value of a file that a variable or a
//! flag overrides is none.

use super::filters::{covers, is_reserved};
use super::problem::{Origin, Problem};
use super::settings::{Setting, Settings, Table};
use super::value::Value;

/// Checks the sections against each other.
pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    check_in_memory(settings, problems);
    check_interval(settings, problems);
    check_shared_backlog(settings, problems);
    check_receive_maximum(settings, problems);
    check_response_prefix(settings, problems);
    check_prefixes(settings.tables("rewrite"), "from", problems);
    check_prefixes(settings.tables("durability"), "filter", problems);
    for table in settings.tables("rewrite") {
        check_rewrite(table, problems);
    }
    check_order(settings.tables("rewrite"), "from", have_the_same_kinds, problems);
    check_order(settings.tables("durability"), "filter", |_, _| true, problems);
    check_twice(settings.tables("auto_subscribe"), problems);
}

/// Which source goes above which.
fn rank(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::File(_) => 1,
        Origin::Environment(_) => 2,
        Origin::Flag(_) => 3,
    }
}

/// The name by which the user knows a value.
fn name_of(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::Flag(flag) => format!("`{flag}`"),
        Origin::Environment(variable) => format!("`{variable}`"),
        _ => format!("`{key}`"),
    }
}

fn one<'s>(settings: &'s Settings, section: &str, key: &str) -> Option<&'s Setting> {
    settings.tables(section).first()?.get(key)
}

/// A broker that keeps nothing on disk needs to know nothing about the disk.
fn check_in_memory(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(in_memory) = one(settings, "storage", "in_memory") else { return };
    if in_memory.value != Value::Boolean(true) {
        return;
    }
    let keys = ["path", "durability", "interval_ms", "segment_bytes"];
    let storage = keys.map(|key| (key, one(settings, "storage", key)));
    let limit = [("store_bytes_max", one(settings, "limits", "store_bytes_max"))];
    let listeners = settings.tables("listener").iter();
    let listeners = listeners.map(|table| ("durability", table.get("durability")));
    let rules = settings.tables("durability").iter().map(|table| ("level", table.get("level")));
    for (key, setting) in storage.into_iter().chain(limit).chain(listeners).chain(rules) {
        let Some(setting) = setting else { continue };
        let is_memory = setting.value == Value::Text("memory".into());
        if is_memory || rank(&setting.origin) < rank(&in_memory.origin) {
            continue;
        }
        let (name, cause) =
            (name_of(key, &setting.origin), name_of("in_memory", &in_memory.origin));
        let message = format!("{name} has no effect, as {cause} is true: nothing is kept on disk");
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("leave out the one or the other"));
    }
}

/// An interval that nothing is promised for.
fn check_interval(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(interval) = one(settings, "storage", "interval_ms") else { return };
    let is_interval = |table: &Table, key: &str| match table.text(key) {
        Some(level) => level == "interval",
        None => table.has(key), // a wrong one was told
    };
    let sections = [("storage", "durability"), ("listener", "durability"), ("durability", "level")];
    let mut levels = sections.into_iter().flat_map(|(section, key)| {
        settings.tables(section).iter().map(move |table| is_interval(table, key))
    });
    let in_memory = one(settings, "storage", "in_memory");
    if levels.any(|is_interval| is_interval) || in_memory.is_some() {
        return;
    }
    let message = "`interval_ms` has no effect, as no durability is \"interval\"";
    let problem = Problem::new(interval.origin.clone(), message);
    problems.push(problem.help("write durability = \"interval\", or leave it out"));
}

fn check_shared_backlog(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(backlog) = one(settings, "shared_subscriptions", "backlog") else { return };
    if backlog.value != Value::Boolean(false) {
        return;
    }
    for key in ["shared_backlog_messages_max", "shared_backlog_bytes_max"] {
        let setting = one(settings, "limits", key);
        let Some(setting) = setting.filter(|it| rank(&it.origin) >= rank(&backlog.origin)) else {
            continue;
        };
        let message = format!(
            "`{key}` has no effect, as `backlog` of [shared_subscriptions] is false: shared \
             subscriptions keep nothing"
        );
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("leave out the one or the other"));
    }
}

/// A Client that keeps to the announced Receive Maximum must not be disconnected for it.
fn check_receive_maximum(settings: &Settings, problems: &mut Vec<Problem>) {
    let defaults = midge_core::Limits::default();
    let number = |key: &str, default: u16| match one(settings, "limits", key) {
        Some(Setting { value: Value::Integer(number), .. }) => *number,
        _ => u64::from(default),
    };
    let receive = number("receive_maximum", defaults.receive_maximum);
    let release = number("awaiting_release_max", defaults.awaiting_release_max);
    if release >= receive {
        return;
    }
    let given = ["awaiting_release_max", "receive_maximum"];
    let Some(setting) = given.into_iter().find_map(|key| one(settings, "limits", key)) else {
        return;
    };
    let message = format!(
        "`awaiting_release_max` ({release}) is below `receive_maximum` ({receive}): a Client that \
         may have {receive} messages under way would be disconnected for it"
    );
    let help = "make `awaiting_release_max` at least as large as `receive_maximum`";
    problems.push(Problem::new(setting.origin.clone(), message).help(help));
}

/// A rewrite that can never be applied.
fn check_rewrite(table: &Table, problems: &mut Vec<Problem>) {
    let flag = |key: &str| table.boolean(key).unwrap_or(true);
    let (publish, subscribe) = (flag("publish"), flag("subscribe"));
    let is_wrong = |key: &str| table.has(key) && table.get(key).is_none();
    if is_wrong("publish") || is_wrong("subscribe") {
        return;
    }
    if !publish && !subscribe {
        let message = "this rule has no effect: `publish` and `subscribe` are both false";
        let problem = Problem::new(table.origin.clone(), message);
        return problems.push(problem.help("make one of them true, or leave the rule out"));
    }
    let (Some(to), Some(setting)) = (table.text("to"), table.get("to")) else { return };
    let mut complain = |message: String, help: &str| {
        problems.push(Problem::new(setting.origin.clone(), message).help(help));
    };
    if publish && to.split('/').any(|level| matches!(level, "+" | "#")) {
        let message = "`to` has a wildcard: no Topic Name can be rewritten to that".to_string();
        complain(message, "write $1, $2... for what `from` matches, or publish = false");
    }
    let kinds = ["$share/", "$queue/", "$exclusive/"];
    if let Some(kind) = kinds.into_iter().find(|kind| to.starts_with(kind)) {
        let message = format!(
            "`to` begins with {kind}: a rule cannot make a subscription shared or \
                               exclusive, so it would never be applied"
        );
        complain(message, "write the topic only; a shared subscription keeps its $share/NAME/");
    }
    if publish && is_reserved(to) {
        let message = "`to` is a topic of the broker's own: whatever is published there is refused";
        complain(message.to_string(), "choose another topic, or write publish = false");
    }
    if to.starts_with("$delayed/") {
        let message = "`to` begins with $delayed/: a rule cannot delay a message";
        complain(message.to_string(), "write the topic only; a delay stays as the Client asked");
    }
    if to.contains("${") {
        let message = "`to` has ${...}, but there are no variables here".to_string();
        complain(message, "$1, $2... stand for what the wildcards of `from` match");
    }
}

/// What Response Information names has to be a topic that Clients can publish to.
fn check_response_prefix(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(setting) = one(settings, "requests", "response_prefix") else { return };
    let Value::Text(prefix) = &setting.value else { return };
    if prefix.starts_with('$') {
        let message = format!(
            "`response_prefix` is {prefix:?}, but topics that begin with $ are the broker's: \
             nobody could answer there"
        );
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("for example: response_prefix = \"response\""));
    }
}

/// Filters of rules are compared with topics as they are published or subscribed to, without
/// prefixes.
fn check_prefixes(tables: &[Table], key: &str, problems: &mut Vec<Problem>) {
    for table in tables {
        let (Some(filter), Some(setting)) = (table.text(key), table.get(key)) else { continue };
        let prefixes = ["$share/", "$queue/", "$exclusive/", "$delayed/"];
        if let Some(prefix) = prefixes.into_iter().find(|prefix| filter.starts_with(prefix)) {
            let message = format!("this rule is never applied: no topic begins with {prefix}");
            let problem = Problem::new(setting.origin.clone(), message);
            problems.push(problem.help("write the topic behind it"));
        }
    }
}

/// Whether `earlier` rewrites everything that `later` does, names and filters.
fn have_the_same_kinds(earlier: &Table, later: &Table) -> bool {
    ["publish", "subscribe"]
        .into_iter()
        .all(|key| earlier.boolean(key).unwrap_or(true) || !later.boolean(key).unwrap_or(true))
}

/// Of several rules the first one that matches counts: one behind a rule that matches all of its
/// topics is never reached.
fn check_order(
    tables: &[Table],
    key: &str,
    counts: impl Fn(&Table, &Table) -> bool,
    problems: &mut Vec<Problem>,
) {
    for (index, later) in tables.iter().enumerate() {
        let (Some(filter), Some(setting)) = (later.text(key), later.get(key)) else { continue };
        let mut earlier = tables[..index].iter().filter(|earlier| counts(earlier, later));
        let above =
            earlier.find_map(|earlier| earlier.text(key).filter(|earlier| covers(earlier, filter)));
        if let Some(above) = above {
            let message = format!(
                "this rule is never reached: the rule for {above:?} above it matches all topics of \
                 {filter:?}"
            );
            let problem = Problem::new(setting.origin.clone(), message);
            problems.push(problem.help("put it above that rule, or leave it out"));
        }
    }
}

/// A second subscription to a filter replaces the first one.
fn check_twice(tables: &[Table], problems: &mut Vec<Problem>) {
    for (index, table) in tables.iter().enumerate() {
        let (Some(filter), Some(setting)) = (table.text("filter"), table.get("filter")) else {
            continue;
        };
        if tables[..index].iter().any(|earlier| earlier.text("filter") == Some(filter)) {
            let message = format!("{filter:?} is subscribed to twice; only the last one counts");
            problems.push(Problem::new(setting.origin.clone(), message));
        }
    }
}
