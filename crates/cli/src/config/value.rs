//! The kinds of values that keys take, and how a value is checked.
//!
//! A kind does not know where a value came from: a file gives typed values, the environment and the
//! command line give text, and all of them pass the same check here.

use std::borrow::Cow;
use std::fmt;

use midge_codec::{TopicFilter, TopicName};

use super::complaint::Complaint;
use super::nearest::nearest;
use super::{address, filters, listener_texts};

/// What a key accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number, both bounds included.
    Integer { min: u64, max: u64 },
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `ADDRESS:PORT` or `unix:PATH`.
    Address,
    /// A Topic Filter without `$share` and the like.
    Filter,
    /// A Topic Filter of a subscription: shared or exclusive too, with `${client_id}`.
    SubscriptionFilter,
    /// A Topic Name or Topic Filter that may hold `$1`, `$2`...
    Target,
    /// The start of a Topic Name, or nothing.
    TopicPrefix,
    /// A directory; it need not exist.
    Directory,
    /// A file; it need not exist.
    File,
    /// One or more files; they need not exist.
    Files,
    /// Web origins, or none.
    Origins,
    /// Networks, or none.
    Networks,
    /// Versions of MQTT, at least one.
    Versions,
    /// The path of a URL.
    UrlPath,
    /// A Client Identifier.
    ClientIdentifier,
    /// A user or a group.
    Account,
    /// Permissions of a file, in octal digits.
    Mode,
}

/// Versions of MQTT, as they are written.
pub(crate) const VERSIONS: [&str; 3] = ["3.1", "3.1.1", "5.0"];

/// A value that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(u64),
    Boolean(bool),
    Text(Cow<'static, str>),
    /// The value of a kind that takes one text or a list of texts.
    List(Vec<String>),
}

/// A value as a source gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given<'v> {
    /// Text from a file, where values have types.
    Text(&'v str),
    Boolean(bool),
    /// `None`: beyond what a number of 128 bits can hold.
    Integer(Option<i128>),
    List(Vec<Given<'v>>),
    /// Another type, with the name that the user knows it by.
    Other(&'static str),
    /// Text from the environment or the command line, which may stand for a value of any type. The
    /// items of a list are separated by commas.
    Untyped(&'v str),
}

impl Kind {
    /// Checks a value.
    pub(crate) fn check(self, given: &Given<'_>) -> Result<Value, Complaint> {
        match self {
            Self::Integer { min, max } => self.check_integer(given, min, max),
            Self::Boolean => self.check_boolean(given),
            Self::Files | Self::Origins | Self::Networks | Self::Versions => self.check_list(given),
            _ => {
                let (Given::Text(text) | Given::Untyped(text)) = given else {
                    return Err(self.wrong_type(given));
                };
                self.check_text(text).map(|()| Value::Text(Cow::Owned((*text).to_string())))
            }
        }
    }

    fn check_integer(self, given: &Given<'_>, min: u64, max: u64) -> Result<Value, Complaint> {
        let number = match given {
            Given::Integer(number) => *number,
            Given::Untyped(text) => match text.replace('_', "").parse::<i128>() {
                Ok(number) => Some(number),
                Err(_) => return Err(self.wrong_type(given)),
            },
            _ => return Err(self.wrong_type(given)),
        };
        let in_range = number.and_then(|number| u64::try_from(number).ok());
        match in_range.filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Value::Integer(number)),
            None => {
                let number = number.map_or("out of range".to_string(), |number| number.to_string());
                Err(Complaint::new(format!("must be {self}, but is {number}")))
            }
        }
    }

    fn check_boolean(self, given: &Given<'_>) -> Result<Value, Complaint> {
        match given {
            Given::Boolean(value) => Ok(Value::Boolean(*value)),
            Given::Untyped("true") => Ok(Value::Boolean(true)),
            Given::Untyped("false") => Ok(Value::Boolean(false)),
            _ => Err(self.wrong_type(given)),
        }
    }

    fn check_list(self, given: &Given<'_>) -> Result<Value, Complaint> {
        let one = |given: &Given<'_>| match given {
            Given::Text(text) | Given::Untyped(text) => self.check_item(text),
            _ => Err(self.wrong_type(given)),
        };
        let items = match given {
            Given::List(items)
                if items.is_empty() && matches!(self, Self::Files | Self::Versions) =>
            {
                return Err(self.wrong_type(given));
            }
            Given::List(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(index, item)| {
                    one(item).map_err(|complaint| Complaint { item: Some(index), ..complaint })
                });
                items.collect::<Result<_, _>>()?
            }
            Given::Untyped("") => return Err(self.wrong_type(given)),
            Given::Untyped(text) => text
                .split(',')
                .map(|item| self.check_item(item.trim()))
                .collect::<Result<_, _>>()?,
            _ => vec![one(given)?],
        };
        Ok(Value::List(items))
    }

    /// Checks one item of a list, and returns it as it is kept.
    fn check_item(self, text: &str) -> Result<String, Complaint> {
        match self {
            Self::Origins => listener_texts::origin(text),
            Self::Networks => listener_texts::network(text).map(|_| text.to_string()),
            Self::Versions => self.check_word(text, &VERSIONS).map(|()| text.to_string()),
            _ if text.is_empty() => Err(Complaint::new("must name a file")),
            _ => Ok(text.to_string()),
        }
    }

    fn check_text(self, text: &str) -> Result<(), Complaint> {
        let complain =
            |what: &str, rule: &str| Complaint::new(format!("is not a valid {what}: {rule}"));
        match self {
            Self::Choice(words) => self.check_word(text, words),
            Self::Address => address::parse(text)
                .map(|_| ())
                .map_err(|message| Complaint::new(message).help(format!("allowed: {self}"))),
            Self::Filter => match TopicFilter::parse(text) {
                Ok(_) => Ok(()),
                Err(rule) => Err(complain("Topic Filter", rule.description())),
            },
            Self::SubscriptionFilter => {
                filters::check_variables(text)
                    .map_err(|(message, help)| Complaint::new(message).help(help))?;
                check_subscription_filter(text)
                    .map_err(|rule| complain("Topic Filter", rule.description()))
            }
            Self::Target => match TopicFilter::parse(text) {
                Ok(_) => Ok(()),
                Err(rule) => Err(complain("topic", rule.description())),
            },
            Self::Directory if text.is_empty() => Err(Complaint::new("must name a directory")),
            Self::File if text.is_empty() => Err(Complaint::new("must name a file")),
            Self::Directory | Self::File => Ok(()),
            Self::TopicPrefix if text.is_empty() => Ok(()),
            Self::TopicPrefix => match TopicName::new(text) {
                Ok(_) => Ok(()),
                Err(rule) => Err(complain("start of a Topic Name", rule.description())),
            },
            Self::UrlPath => listener_texts::url_path(text),
            Self::ClientIdentifier if text.is_empty() => {
                Err(Complaint::new("must name a Client; leave it out for all of them"))
            }
            Self::ClientIdentifier => Ok(()),
            Self::Account => listener_texts::account(text),
            Self::Mode => listener_texts::mode(text).map(|_| ()),
            Self::Integer { .. }
            | Self::Boolean
            | Self::Files
            | Self::Origins
            | Self::Networks
            | Self::Versions => unreachable!("checked as what they are"),
        }
    }

    fn check_word(self, text: &str, words: &'static [&'static str]) -> Result<(), Complaint> {
        if words.contains(&text) {
            return Ok(());
        }
        let complaint = Complaint::new(format!("must be {self}, but is {text:?}"));
        Err(match nearest(text, words.iter().copied()) {
            Some(word) => complaint.help(format!("the nearest is \"{word}\"")),
            None => complaint,
        })
    }

    fn wrong_type(self, given: &Given<'_>) -> Complaint {
        let complaint = Complaint::new(format!("must be {self}, but is {given}"));
        match (self, given) {
            (Self::Integer { .. }, Given::Text(text)) if text.parse::<u64>().is_ok() => {
                complaint.help(format!("write it without quotes: {text}"))
            }
            (Self::Boolean, Given::Text(text @ ("true" | "false"))) => {
                complaint.help(format!("write it without quotes: {text}"))
            }
            (Self::Mode, Given::Integer(_)) => {
                complaint.help("write it in quotes, such as \"0660\"")
            }
            (Self::Account, Given::Integer(Some(number))) => {
                complaint.help(format!("write it in quotes: \"{number}\""))
            }
            _ => complaint,
        }
    }
}

/// Checks `$share/NAME/FILTER`, `$queue/FILTER`, `$exclusive/FILTER` or a plain filter, with
/// variables.
fn check_subscription_filter(text: &str) -> Result<(), midge_codec::Rule> {
    let text = text.replace("${client_id}", "c").replace("${user_name}", "u");
    if let Some(shared) = TopicFilter::parse_shared(&text) {
        return shared.map(|_| ());
    }
    let filter = text.strip_prefix("$queue/").or_else(|| text.strip_prefix("$exclusive/"));
    TopicFilter::parse(filter.unwrap_or(&text)).map(|_| ())
}

impl fmt::Display for Kind {
    /// Writes what is allowed, to follow "must be".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max: u64::MAX } => write!(f, "an integer of at least {min}"),
            Self::Integer { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Boolean => f.write_str("true or false"),
            Self::Choice(words) => one_of(f, words),
            Self::Address => f.write_str(
                "\"ADDRESS:PORT\", such as \"0.0.0.0:1883\" or \"[::]:1883\", or \"unix:PATH\"",
            ),
            Self::Filter | Self::SubscriptionFilter => {
                f.write_str("a Topic Filter, such as \"sensors/+/data\"")
            }
            Self::Target => f.write_str("a topic, such as \"devices/$1\""),
            Self::Directory => f.write_str("a directory, such as \"/var/lib/midge\""),
            Self::File => f.write_str("a file, such as \"passwd\""),
            Self::TopicPrefix => f.write_str("the start of a Topic Name, such as \"responses\""),
            Self::Files => f.write_str("a file, such as \"server.pem\", or a list of files"),
            Self::Origins => {
                f.write_str("a list of Web origins, such as [\"https://example.org\"]")
            }
            Self::Networks => f.write_str("a list of networks, such as [\"10.0.0.0/8\"]"),
            Self::Versions => f.write_str("a list with some of \"3.1\", \"3.1.1\" and \"5.0\""),
            Self::UrlPath => f.write_str("the path of a URL, such as \"/mqtt\""),
            Self::ClientIdentifier => f.write_str("a Client Identifier"),
            Self::Account => f.write_str("a name or a number, such as \"midge\" or \"1000\""),
            Self::Mode => f.write_str("octal digits in quotes, such as \"0660\""),
        }
    }
}

fn one_of(f: &mut fmt::Formatter<'_>, words: &[&str]) -> fmt::Result {
    for (index, word) in words.iter().enumerate() {
        let separator = match index {
            0 => "",
            _ if index + 1 == words.len() => " or ",
            _ => ", ",
        };
        write!(f, "{separator}\"{word}\"")?;
    }
    Ok(())
}

impl fmt::Display for Given<'_> {
    /// Writes what was given, to follow "but is".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("a string"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(_) => f.write_str("an integer"),
            Self::List(items) if items.is_empty() => f.write_str("an empty list"),
            Self::List(_) => f.write_str("a list"),
            Self::Other(name) => f.write_str(name),
            Self::Untyped("") => f.write_str("empty"),
            Self::Untyped(text) => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Display for Value {
    /// Writes the value as TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "{}", quoted(text)),
            // A list of one item is written as the item alone.
            Self::List(items) if items.len() == 1 => write!(f, "{}", quoted(&items[0])),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| quoted(item).to_string()).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> toml::Value {
    toml::Value::String(text.to_string())
}
