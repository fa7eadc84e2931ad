//! The flags of the command line that change the configuration, above all other sources.

use std::path::PathBuf;

use clap::Args;

use super::problem::{Origin, Problem};
use super::schema::Schema;
use super::settings::{Setting, Settings, Table};
use super::value::{Given, Value};

/// Flags of every command that reads the configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Flags {
    /// The configuration file. Without it: the one that MIDGE_CONFIG names, then ./midge.toml, then
    /// /etc/midge/midge.toml, then none.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Listen here, ADDRESS:PORT or unix:PATH, and nowhere else than at each --listen.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// Threads that serve connections [default: one for each processor].
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<String>,
    /// The data directory [default: the platform's].
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "in_memory")]
    pub(crate) data: Option<String>,
    /// Keep nothing on disk: what was acknowledged ends with the broker.
    #[arg(long)]
    pub(crate) in_memory: bool,
    /// The least important log lines to write: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

/// Writes the flags over what all other sources say.
pub(crate) fn apply(
    flags: &Flags,
    schema: &Schema,
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    let mut check = |section: &'static str, key: &'static str, flag: &'static str, text: &str| {
        let key = schema.section(section)?.key(key)?;
        match key.kind.check(&Given::Untyped(text)) {
            Ok(value) => Some(value),
            Err(complaint) => {
                let message = format!("{flag} {}", complaint.message);
                problems.push(Problem {
                    origin: Origin::Flag(flag),
                    message,
                    help: complaint.help,
                });
                None
            }
        }
    };
    if !flags.listen.is_empty() {
        let addresses = flags.listen.iter();
        let addresses =
            addresses.map(|address| check("listener", "bind", "--listen", address)).collect();
        replace_listeners(addresses, schema, settings);
    }
    let in_memory = match (flags.in_memory, &flags.data) {
        (true, _) => Some("true".to_string()),
        (false, Some(_)) => Some("false".to_string()), // whatever the file says
        (false, None) => None,
    };
    let in_memory_flag = if flags.in_memory { "--in-memory" } else { "--data" };
    let singles = [
        ("storage", "path", "--data", &flags.data),
        ("storage", "in_memory", in_memory_flag, &in_memory),
        ("broker", "workers", "--workers", &flags.workers),
        ("log", "level", "--log-level", &flags.log_level),
    ];
    for (section_name, key_name, flag, text) in singles {
        let Some(text) = text else { continue };
        let value = check(section_name, key_name, flag, text);
        let Some(section) = schema.section(section_name) else { continue };
        let Some(key) = section.key(key_name) else { continue };
        let origin = Origin::Flag(flag);
        let setting = value.map(|value| Setting { value, origin: origin.clone() });
        settings.table_mut(section, origin).set(key, setting);
    }
}

fn replace_listeners(addresses: Vec<Option<Value>>, schema: &Schema, settings: &mut Settings) {
    let Some(section) = schema.section("listener") else { return };
    let Some(bind) = section.key("bind") else { return };
    let origin = Origin::Flag("--listen");
    let tables = addresses.into_iter().map(|address| {
        let mut table = Table::new(origin.clone());
        table.set(bind, address.map(|value| Setting { value, origin: origin.clone() }));
        table
    });
    *settings.tables_mut(section) = tables.collect();
}
