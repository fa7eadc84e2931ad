//! Which data directory a subcommand works on: the one that is named, or the one that a broker
//! started here would use.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::config::{Flags, Sources, print_report};

/// Flags of all subcommands.
#[derive(Args, Clone, Debug)]
pub(super) struct DataArgs {
    /// The data directory [default: the one that a broker started here would use].
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// The configuration file that names it; without it as with `midge serve`.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
}

impl DataArgs {
    /// Returns the data directory, which may not exist.
    pub(super) fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.data {
            return Ok(directory.clone());
        }
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        match Sources::of_process(&flags).load() {
            Ok(loaded) => {
                let storage = loaded.configuration.storage;
                let directory = storage.as_ref().and_then(|storage| storage.directory());
                directory.map(Path::to_owned).ok_or_else(|| {
                    Failure::new(
                        &"a broker with this configuration keeps nothing on disk: name a data \
                          directory with --data",
                    )
                })
            }
            Err(report) => {
                print_report(&report, "; nothing was done");
                Err(Failure::Configuration)
            }
        }
    }
}
