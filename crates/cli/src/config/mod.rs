//! The configuration: file, environment and flags in, a checked [`Configuration`] out, or a
//! [`Report`] of everything that is wrong with it.
//!
//! The sources write their [`settings`] one over the other: defaults, the file, environment
//! variables, flags. All of them know only the keys of the [`schema`], from which the reference is
//! made, too. Nothing here starts anything: a broker is started with a whole configuration or not
//! at all.

mod access_rules;
mod accounts;
mod address;
mod certificates;
pub(crate) mod command;
mod complaint;
mod condition;
mod configuration;
mod data_directory;
mod document;
mod effect_rules;
mod effect_warnings;
mod effective;
mod environment;
mod filters;
mod flags;
mod listener;
mod listener_rules;
mod listener_texts;
mod nearest;
mod problem;
mod reference;
mod resolved;
mod rules;
mod schema;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod value;
mod values;

pub(crate) use command::{EXIT_WRONG_CONFIGURATION, print_report};
pub(crate) use configuration::{AccessSettings, Configuration, LogFormat, Users};
pub(crate) use effective::Effective;
pub(crate) use environment::Variables;
pub(crate) use flags::Flags;
pub(crate) use problem::{File, Report, printable};
pub(crate) use source::Sources;
pub(crate) use value::Value;

use problem::Origin;
use schema::Schema;
use settings::Settings;

/// A configuration without errors, and what it was made from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) configuration: Configuration,
    /// The file that was read, if there is one.
    pub(crate) file: Option<File>,
    /// Every key that means something, with its value and origin.
    pub(crate) effective: Vec<Effective>,
}

impl Loaded {
    /// Returns whether the file says where the broker listens.
    pub(crate) fn listens_by_file(&self) -> bool {
        let mut lines = self.effective.iter().filter(|line| line.section == "listener");
        lines.any(|line| matches!(line.origin, Origin::File(_)))
    }

    /// Says where a value comes from, to stand before what is said of it.
    fn place(&self, origin: &Origin) -> String {
        match (origin, &self.file) {
            (Origin::File(span), Some(file)) => {
                let position = file.position(span.start);
                format!("{}:{}:{}: ", file.path, position.line, position.column)
            }
            (Origin::Environment(name), _) => format!("{name}: "),
            (Origin::Flag(name), _) => format!("{name}: "),
            _ => String::new(),
        }
    }

    /// Returns where a key of the listener with this number stands.
    fn origin_of_listener(&self, index: usize, key: &str) -> Origin {
        self.origin_of("listener", Some(index), key)
    }

    fn origin_of(&self, section: &str, index: Option<usize>, key: &str) -> Origin {
        let mut lines = self.effective.iter();
        let line =
            lines.find(|line| line.section == section && line.index == index && line.key == key);
        line.map_or(Origin::Default, |line| line.origin.clone())
    }
}

/// Puts the sources together and checks them.
///
/// # Errors
///
/// Returns all problems that were found, if there are any.
pub(crate) fn load(
    file: Option<File>,
    variables: &Variables,
    flags: &Flags,
) -> Result<Loaded, Report> {
    let schema = Schema::new();
    let mut problems = Vec::new();
    let text = file.as_ref().map(|file| &*file.text);
    let mut settings =
        text.map_or(Settings::default(), |text| document::read(text, &schema, &mut problems));
    environment::apply(variables, &schema, &mut settings, &mut problems);
    flags::apply(flags, &schema, &mut settings, &mut problems);
    rules::check(&schema, &settings, &mut problems);
    if !problems.is_empty() {
        return Err(Report::new(file, problems));
    }
    let configuration = Configuration::new(&schema, &settings);
    Ok(Loaded { configuration, file, effective: effective::effective(&settings, &schema) })
}
