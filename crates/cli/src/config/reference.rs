//! The reference of the configuration, made from the schema: `docs/midge.toml`, a file that sets
//! everything to its default, and `docs/configuration.md`.

use std::fmt::Write;

use super::environment::variable;
use super::schema::{Default, Key, Schema, Section};

const TOML_INTRODUCTION: &str = "\
# The configuration of Midge: every section and every key, with its default.
#
# A broker needs none of it. Take what you want to change into a file of your own, midge.toml, and
# try it: midge config check midge.toml
#
# Environment variables go above the file, flags above both. This file was written by
# `midge config reference`. The pages that it names are in docs/ of the sources of Midge.
";

const MARKDOWN_INTRODUCTION: &str = include_str!("introduction.md");

/// Writes the reference as a configuration file.
pub(crate) fn toml(schema: &Schema) -> String {
    let mut text = TOML_INTRODUCTION.to_string();
    for section in &schema.sections {
        text.push('\n');
        push_comment(&mut text, section.doc);
        // A section that can be repeated has an effect by being there.
        let mark = if section.repeated { "#" } else { "" };
        push_line(&mut text, &format!("{mark}{}", section.header()));
        for key in &section.keys {
            text.push('\n');
            push_comment(&mut text, key.doc);
            push_comment(&mut text, &format!("Allowed: {}.{}", key.kind, default_in_words(key)));
            push_line(&mut text, &format!("#{} = {}", key.name, example(key)));
        }
    }
    text
}

fn push_comment(text: &mut String, doc: &str) {
    for line in doc.lines() {
        push_line(text, &format!("# {}", line.trim()));
    }
}

/// Appends a line. Writing to a string cannot fail.
fn push_line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}

fn default_in_words(key: &Key) -> String {
    match &key.default {
        Default::Value(_) => String::new(),
        Default::Required(_) => " Has to be given.".to_string(),
        Default::Absent { meaning, .. } => format!(" Default: {meaning}."),
    }
}

/// Returns the default, or an example if there is none.
fn example(key: &Key) -> String {
    match &key.default {
        Default::Value(value) | Default::Absent { example: value, .. } => value.to_string(),
        Default::Required(example) => (*example).to_string(),
    }
}

/// Writes the reference as a page of the documentation.
pub(crate) fn markdown(schema: &Schema) -> String {
    let mut text = MARKDOWN_INTRODUCTION.to_string();
    for section in &schema.sections {
        push_section(&mut text, section);
    }
    text
}

fn push_section(text: &mut String, section: &Section) {
    push_line(text, &format!("\n## `{}`\n", section.header()));
    push_line(text, &section.doc.replace('\n', " "));
    if let Some(key) = section.keys.first() {
        push_line(text, &format!("Variables: `{}` and so on.\n", variable(section, key)));
    }
    push_line(text, "| key | default | allowed | meaning |");
    push_line(text, "| --- | --- | --- | --- |");
    for key in &section.keys {
        let default = match &key.default {
            Default::Value(value) => format!("`{value}`"),
            Default::Required(_) => "has to be given".to_string(),
            Default::Absent { meaning, .. } => (*meaning).to_string(),
        };
        let live = if key.live { " *live*" } else { "" };
        let doc: Vec<&str> = key.doc.lines().map(str::trim).collect();
        let cells = [&format!("`{}`", key.name), &default, &key.kind.to_string(), &doc.join(" ")];
        let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|")).into();
        push_line(text, &format!("| {}{live} |", cells.join(" | ")));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use clap::Args;

    use super::{MARKDOWN_INTRODUCTION, Schema, markdown, toml};
    use crate::config::environment::Variables;
    use crate::config::flags::Flags;
    use crate::config::problem::File;
    use crate::config::value::Kind;
    use crate::config::{Effective, Loaded, load};

    /// Set to write the files instead of comparing them.
    const WRITE_VARIABLE: &str = "MIDGE_TEST_WRITE_REFERENCE";

    fn load_text(text: String) -> Loaded {
        let file = File { path: "midge.toml".into(), text };
        // Examples of listeners do not say who comes in.
        let name = "MIDGE_AUTHENTICATION_ANONYMOUS".to_string();
        let variables = Variables::from_iter([(name, Some("true".to_string()))]);
        load(Some(file), &variables, &Flags::default()).unwrap_or_else(|report| panic!("{report}"))
    }

    fn assert_file(name: &str, expected: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        if std::env::var_os(WRITE_VARIABLE).is_some() {
            std::fs::write(&path, expected).unwrap();
        }
        let is = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            is == expected,
            "docs/{name} is not what the keys of this build are; write it anew with \
             {WRITE_VARIABLE}=1 cargo test -p midge reference"
        );
    }

    #[test]
    fn the_reference_in_the_repository_is_that_of_the_schema() {
        let schema = Schema::new();
        assert_file("midge.toml", &toml(&schema));
        assert_file("configuration.md", &markdown(&schema));
    }

    #[test]
    fn the_introduction_names_every_flag() {
        let command = Flags::augment_args(clap::Command::new("midge"));
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(MARKDOWN_INTRODUCTION.contains(&format!("`--{flag}")), "--{flag}");
        }
    }

    #[test]
    fn descriptions_say_what_true_does() {
        for section in Schema::new().sections {
            for key in &section.keys {
                let name = format!("{} {}", section.header(), key.name);
                assert!(!key.doc.starts_with("Whether"), "{name}");
                let is_boolean = matches!(key.kind, Kind::Boolean);
                assert!(!is_boolean || key.doc.starts_with("true: "), "{name}");
            }
        }
    }

    #[test]
    fn the_examples_of_the_documentation_are_right() {
        for page in ["access.md", "configuration.md", "listeners.md"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
            let text = std::fs::read_to_string(path).unwrap();
            let examples = text.split("```toml\n").skip(1);
            for example in examples.filter_map(|rest| rest.split("```").next()) {
                let is_part = !example.contains("[[listener]]");
                let listener = if is_part { "[[listener]]\nbind = '[::]:0'\n" } else { "" };
                load_text(format!("{listener}{example}"));
            }
        }
    }

    #[test]
    fn the_reference_changes_nothing_as_it_is() {
        let loaded = load_text(toml(&Schema::new()));
        let nothing = load_text(String::new());
        assert_eq!(loaded.effective, nothing.effective);
    }

    /// Loads the reference without comment marks, adapted to one kind of listener.
    fn uncommented(changes: &[(&str, &str)], left_out: &[&str]) -> Loaded {
        let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let text = toml(&Schema::new());
        let lines = text.lines().filter(|line| *line != "#");
        let lines = lines.map(|line| if is_setting(&line) { &line[1..] } else { line });
        let lines = lines.filter(|line| left_out.iter().all(|key| !line.starts_with(key)));
        let text = lines.collect::<Vec<_>>().join("\n");
        let change = |text: String, (from, to): &(&str, &str)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        };
        // A Client is traced only at this level.
        let level = ("level = \"info\"", "level = \"trace\"");
        load_text(changes.iter().chain([&level]).fold(text, change))
    }

    #[test]
    fn the_reference_is_right_without_its_comment_marks() {
        const PLAIN: &str = "protocol = \"mqtt\"";
        const NO_PROXY: &str = "proxy_protocol = \"off\"";
        const QUIC_HAS_NOT: &[&str] = &["websocket.", "unix.", "tcp.", "tls.version_min"];
        let unix = ("bind = \"0.0.0.0:1883\"", "bind = \"unix:/run/midge.sock\"");
        let proxy = (NO_PROXY, "proxy_protocol = \"required\"");
        // No listener has all keys, but each key belongs to some listener.
        let kinds = [
            uncommented(&[proxy], &["websocket.", "quic.", "unix."]),
            uncommented(&[(PLAIN, "protocol = \"websocket\"")], &["quic.", "unix."]),
            uncommented(&[(PLAIN, "protocol = \"quic\"")], QUIC_HAS_NOT),
            uncommented(&[unix, proxy], &["websocket.", "quic.", "tcp."]),
        ];
        let named: BTreeSet<String> = kinds
            .iter()
            .flat_map(|loaded| &loaded.effective)
            .filter(|line| line.is_given())
            .map(Effective::name)
            .collect();
        let keys: usize = Schema::new().sections.iter().map(|section| section.keys.len()).sum();
        assert_eq!(named.len(), keys);
        let nothing = load_text(String::new());
        for line in &nothing.effective {
            let mut lines = kinds[0].effective.iter();
            let given = lines.find(|given| given.name() == line.name()).unwrap();
            let is_right = given.value == line.value || line.name() == "log.level";
            assert!(line.value.is_none() || is_right, "{}", line.name());
        }
    }
}
