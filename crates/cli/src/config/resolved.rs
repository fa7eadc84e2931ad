//! Settings that depend on the machine or the working directory, as they turn out for a broker that
//! is started here: the data directory and the number of workers. They are only shown; a broker is
//! started with the [`Configuration`](super::Configuration).

use std::path::{Path, absolute};

use midge_broker::{BrokerBuilder, Storage};

use super::effective::Effective;
use super::problem::Origin;
use super::value::Value;
use super::{Loaded, data_directory};

/// How a setting turns out.
#[derive(Debug)]
pub(super) struct Resolved {
    /// `None`: the key has no effect.
    pub(super) value: Option<Value>,
    /// Where the setting comes from.
    pub(super) origin: Origin,
    /// Why the value is this one, if the origin alone does not tell.
    pub(super) remark: Option<&'static str>,
}

impl Resolved {
    pub(super) fn of(line: &Effective, loaded: &Loaded) -> Self {
        match (line.section, line.key, &line.value) {
            ("storage", "path", _) => data(line, loaded),
            ("broker", "workers", None) => Self {
                value: Some(Value::Integer(BrokerBuilder::workers_default() as u64)),
                origin: line.origin.clone(),
                remark: Some("one for each processor"),
            },
            (_, _, value) => {
                Self { value: value.clone(), origin: line.origin.clone(), remark: None }
            }
        }
    }
}

fn data(line: &Effective, loaded: &Loaded) -> Resolved {
    let storage = loaded.configuration.storage.as_ref();
    let Some(directory) = storage.and_then(Storage::directory) else {
        let origin = loaded.origin_of("storage", None, "in_memory");
        return Resolved { value: None, origin, remark: Some("all data is in memory") };
    };
    let remark = match line.value {
        None => Some(data_directory::reason()),
        Some(_) if directory.is_relative() => Some("below the working directory"),
        Some(_) => None,
    };
    Resolved { value: Some(in_full(directory)), origin: line.origin.clone(), remark }
}

fn in_full(directory: &Path) -> Value {
    let directory = absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    Value::Text(directory.to_string_lossy().into_owned().into())
}
