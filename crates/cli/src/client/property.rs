//! The properties of `-D COMMAND NAME VALUE`: MQTT 5.0 properties for the packets a command sends.
//!
//! One table says which property is allowed where and what its value is. This module must never
//! let a property through that would make the packet malformed.

use std::collections::BTreeMap;

use midge_codec::{UserProperties, UserPropertiesBuf};

/// The properties for each packet that a client command sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties {
    pub(crate) connect: PropertySet,
    pub(crate) will: PropertySet,
    pub(crate) publish: PropertySet,
    pub(crate) subscribe: PropertySet,
    pub(crate) unsubscribe: PropertySet,
    pub(crate) disconnect: PropertySet,
}

/// The properties for one packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct PropertySet {
    values: BTreeMap<&'static str, Value>,
    user_properties: UserPropertiesBuf,
    has_user_properties: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u32),
    Text(String),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A number from the first to the second.
    Number(u32, u32),
    /// A UTF-8 String, or Binary Data, which the command line also gives as text.
    Text,
    /// Two UTF-8 Strings, any number of times.
    Pair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Connect,
    Will,
    Publish,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

use Command::{Connect, Disconnect, Publish, Subscribe, Unsubscribe, Will};

const COMMANDS: [(&str, Command); 6] = [
    ("connect", Connect),
    ("will", Will),
    ("publish", Publish),
    ("subscribe", Subscribe),
    ("unsubscribe", Unsubscribe),
    ("disconnect", Disconnect),
];

const U16_MAX: u32 = u16::MAX as u32;
const USER_PROPERTY: &str = "user-property";

/// The properties that a Client may send (table 2-4 of MQTT 5.0), in the order of the error
/// messages.
const PROPERTIES: [(&str, Kind, &[Command]); 18] = [
    ("authentication-data", Kind::Text, &[Connect]),
    ("authentication-method", Kind::Text, &[Connect]),
    ("content-type", Kind::Text, &[Publish, Will]),
    ("correlation-data", Kind::Text, &[Publish, Will]),
    ("maximum-packet-size", Kind::Number(1, u32::MAX), &[Connect]),
    ("message-expiry-interval", Kind::Number(0, u32::MAX), &[Publish, Will]),
    ("payload-format-indicator", Kind::Number(0, 1), &[Publish, Will]),
    ("reason-string", Kind::Text, &[Disconnect]),
    ("receive-maximum", Kind::Number(1, U16_MAX), &[Connect]),
    ("request-problem-information", Kind::Number(0, 1), &[Connect]),
    ("request-response-information", Kind::Number(0, 1), &[Connect]),
    ("response-topic", Kind::Text, &[Publish, Will]),
    ("session-expiry-interval", Kind::Number(0, u32::MAX), &[Connect, Disconnect]),
    ("subscription-identifier", Kind::Number(1, 268_435_455), &[Subscribe]),
    ("topic-alias", Kind::Number(1, U16_MAX), &[Publish]),
    ("topic-alias-maximum", Kind::Number(0, U16_MAX), &[Connect]),
    (USER_PROPERTY, Kind::Pair, &[Connect, Will, Publish, Subscribe, Unsubscribe, Disconnect]),
    ("will-delay-interval", Kind::Number(0, u32::MAX), &[Will]),
];

impl Properties {
    /// Reads the values of all `-D` in their order, each `COMMAND NAME VALUE`, or
    /// `COMMAND user-property NAME VALUE`.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let mut properties = Self::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(command) = words.next() {
            let command = parse_command(command)?;
            let name = words.next().ok_or("-D takes COMMAND NAME VALUE")?;
            let (name, kind) = parse_name(command, name)?;
            let value = words.next().ok_or_else(|| format!("-D: no value for {name}"))?;
            let set = properties.of_mut(command);
            if let Kind::Pair = kind {
                let text = words.next().ok_or("-D: user-property takes a name and a value")?;
                set.push_user_property(value, text)?;
            } else {
                set.insert(name, parse_value(name, kind, value)?)?;
            }
        }
        Ok(properties)
    }

    fn of_mut(&mut self, command: Command) -> &mut PropertySet {
        match command {
            Connect => &mut self.connect,
            Will => &mut self.will,
            Publish => &mut self.publish,
            Subscribe => &mut self.subscribe,
            Unsubscribe => &mut self.unsubscribe,
            Disconnect => &mut self.disconnect,
        }
    }
}

impl PropertySet {
    /// Whether there is no property at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && !self.has_user_properties
    }

    /// Returns a property that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        match self.values.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Sets a property, in place of a value that was there before.
    pub(crate) fn set_number(&mut self, name: &'static str, number: u32) {
        self.values.insert(name, Value::Number(number));
    }

    /// Sets a property, in place of a value that was there before.
    pub(crate) fn set_text(&mut self, name: &'static str, text: &str) {
        self.values.insert(name, Value::Text(text.to_owned()));
    }

    /// Returns a property that is a number of two bytes.
    pub(crate) fn short(&self, name: &str) -> Option<u16> {
        self.number(name).and_then(|number| u16::try_from(number).ok())
    }

    /// Returns a property that is 0 or 1.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.number(name).map(|number| number != 0)
    }

    /// Returns a property that is text or binary data.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the User Properties in their order.
    pub(crate) fn user_properties(&self) -> UserProperties<'_> {
        self.user_properties.view()
    }

    fn insert(&mut self, name: &'static str, value: Value) -> Result<(), String> {
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(format!("-D: {name} is given twice; a packet holds it once")),
        }
    }

    fn push_user_property(&mut self, name: &str, value: &str) -> Result<(), String> {
        check_length(USER_PROPERTY, name)?;
        check_length(USER_PROPERTY, value)?;
        self.user_properties.push(name, value);
        self.has_user_properties = true;
        Ok(())
    }
}

/// The part of the help that lists the properties, packet by packet.
pub(crate) fn help() -> String {
    let mut help =
        "Properties for -D, by packet (user-property NAME VALUE goes with all):\n".to_owned();
    for (packet, command) in COMMANDS {
        let names: Vec<_> = names_of(command).filter(|name| *name != USER_PROPERTY).collect();
        if !names.is_empty() {
            help.push_str(&format!("  {packet}: {}\n", names.join(", ")));
        }
    }
    help
}

fn names_of(command: Command) -> impl Iterator<Item = &'static str> {
    PROPERTIES.iter().filter(move |entry| entry.2.contains(&command)).map(|entry| entry.0)
}

fn parse_command(word: &str) -> Result<Command, String> {
    let lower = word.to_ascii_lowercase();
    let found = COMMANDS.iter().find(|(name, _)| *name == lower);
    found.map(|(_, command)| *command).ok_or_else(|| {
        let names = COMMANDS.map(|(name, _)| name).join(", ");
        format!("-D: '{word}' is not a packet that takes properties here (these do: {names})")
    })
}

fn parse_name(command: Command, word: &str) -> Result<(&'static str, Kind), String> {
    let lower = word.to_ascii_lowercase();
    let found = PROPERTIES.iter().find(|entry| entry.0 == lower && entry.2.contains(&command));
    found.map(|entry| (entry.0, entry.1)).ok_or_else(|| {
        let packet = COMMANDS.iter().find(|entry| entry.1 == command).map_or("", |entry| entry.0);
        let names: Vec<_> = names_of(command).collect();
        format!("-D: {packet} has no property '{word}' (it has: {})", names.join(", "))
    })
}

fn parse_value(name: &str, kind: Kind, word: &str) -> Result<Value, String> {
    let Kind::Number(least, most) = kind else {
        check_length(name, word)?;
        return Ok(Value::Text(word.to_owned()));
    };
    // As for -x, this is mosquitto's way to say "never expires".
    let word = if name == "session-expiry-interval" && word == "-1" { "4294967295" } else { word };
    match word.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Value::Number(number)),
        _ => Err(format!("-D: {name} is a number from {least} to {most}, not '{word}'")),
    }
}

fn check_length(name: &str, text: &str) -> Result<(), String> {
    if text.len() <= usize::from(u16::MAX) {
        return Ok(());
    }
    Err(format!("-D: {name} has {} bytes; MQTT allows 65535", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Properties, String> {
        Properties::parse(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_every_property_of_the_table() {
        for (name, kind, commands) in PROPERTIES {
            for command in commands {
                let packet = COMMANDS.iter().find(|entry| entry.1 == *command).unwrap().0;
                let value = match kind {
                    Kind::Number(..) => "1",
                    Kind::Text => "text",
                    Kind::Pair => "name value",
                };
                let mut properties = parse(&format!("{packet} {name} {value}")).unwrap();
                let set = properties.of_mut(*command);
                assert!(!set.is_empty(), "{packet} {name}");
                match kind {
                    Kind::Number(..) => assert_eq!(set.number(name), Some(1)),
                    Kind::Text => assert_eq!(set.text(name), Some("text")),
                    Kind::Pair => {
                        let pairs: Vec<_> = set.user_properties().iter().collect();
                        assert_eq!(pairs, [("name", "value")]);
                    }
                }
            }
        }
    }

    #[test]
    fn keeps_several_properties_apart() {
        let properties = parse(
            "publish user-property a 1 PUBLISH User-Property b 2 will content-type c \
             connect session-expiry-interval -1",
        )
        .unwrap();
        let pairs: Vec<_> = properties.publish.user_properties().iter().collect();
        assert_eq!(pairs, [("a", "1"), ("b", "2")]);
        assert_eq!(properties.will.text("content-type"), Some("c"));
        assert_eq!(properties.connect.number("session-expiry-interval"), Some(u32::MAX));
        assert!(properties.subscribe.is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        for (words, part) in [
            ("puback user-property a b", "connect, will, publish"),
            ("publish receive-maximum 5", "it has: content-type"),
            ("connect receive-maximum 0", "from 1 to 65535"),
            ("connect receive-maximum many", "'many'"),
            ("subscribe subscription-identifier 268435456", "268435455"),
            ("publish payload-format-indicator 2", "from 0 to 1"),
            ("publish content-type", "no value"),
            ("publish", "COMMAND NAME VALUE"),
            ("publish user-property a", "a name and a value"),
            ("will content-type a will content-type b", "twice"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(part), "{words}: {error}");
        }
        let long = ["publish", "content-type", &"x".repeat(65_536)].map(str::to_owned);
        assert!(Properties::parse(&long).unwrap_err().contains("65536 bytes"));
    }
}
