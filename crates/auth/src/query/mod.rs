//! The language of client groups: which Clients a group has, by what is known of them.
//!
//! A comparison with something that a Client does not have, or that is of another type, is false,
//! also under `NOT` and with `!=`: nobody gets into a group because nothing is known of them. So
//! `NOT` is carried to the comparisons when a query is read, and evaluation knows only true and
//! false. Nothing here may allocate while it evaluates.

mod parser;

use std::fmt;

use midge_core::{Identity, UserAttribute};

use crate::template::Variable;

/// A condition on what is known of a Client, such as
/// `attributes.type = 'sensor' AND attributes.floor IN [1, 2]`.
///
/// | written | true if the Client's value |
/// | --- | --- |
/// | `attributes.a = 'x'`, `attributes.a = 5` | is this text or whole number |
/// | `attributes.a != 'x'`, `<>` | is another one of the same type |
/// | `attributes.a < 5`, `<=`, `>`, `>=` | is a number of which this holds |
/// | `attributes.a IN ['x', 'y']`, `(1, 2)` | is one of these; `NOT IN`: another one |
/// | `'x' IN attributes.a` | the same as `attributes.a = 'x'` |
///
/// A list of texts (an attribute may be one) counts as equal to each text in it.
/// `authenticationName` (or `client.username`) is the name of the user, `client.id` the Client
/// Identifier. `AND` goes before `OR`, `NOT` before both; parentheses group; words may be in any
/// case. Texts stand in single or double quotes, and a quote inside of them is written twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    text: Box<str>,
    condition: Condition,
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// Where in the text, in bytes.
    pub offset: usize,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// A condition without negations.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    All(Box<[Condition]>),
    Any(Box<[Condition]>),
    Comparison(Variable, Comparison),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    /// The value is (or is not) one of these texts, which are sorted.
    Texts {
        values: Box<[Box<str>]>,
        is_negated: bool,
    },
    /// The value is (or is not) one of these numbers, which are sorted.
    Numbers {
        values: Box<[i64]>,
        is_negated: bool,
    },
    Order(Order, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value that a Client has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(i64),
    List(&'a [Box<str>]),
}

/// A text or a number that a Client must have to fulfil a query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    Text(Box<str>),
    Number(i64),
}

impl Query {
    /// The most bytes that a query may have.
    pub const BYTES_MAX: usize = 4096;
    /// How deep parentheses and `NOT` may be nested.
    pub const DEPTH_MAX: usize = 32;
    /// The most comparisons and words `AND`, `OR`, `NOT` that a query may have.
    pub const OPERATORS_MAX: usize = 256;

    /// Reads a query.
    ///
    /// # Errors
    ///
    /// The text is no query, or it is too long, too deep, or has too many operators.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Ok(Self { text: text.into(), condition: parser::parse(text)? })
    }

    /// Returns whether the query is true for this Client.
    pub fn matches(&self, client: &Identity) -> bool {
        self.condition.holds(client)
    }

    /// Returns pairs of which a Client must have at least one to fulfil the query; `None` if there
    /// are no such pairs.
    pub(crate) fn necessary(&self) -> Option<Vec<(Variable, Key)>> {
        self.condition.necessary()
    }
}

impl Condition {
    fn holds(&self, client: &Identity) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|it| it.holds(client)),
            Self::Any(conditions) => conditions.iter().any(|it| it.holds(client)),
            Self::Comparison(variable, comparison) => {
                Value::of(variable, client).is_some_and(|value| comparison.holds(value))
            }
        }
    }

    fn necessary(&self) -> Option<Vec<(Variable, Key)>> {
        match self {
            Self::All(conditions) => {
                conditions.iter().filter_map(Self::necessary).min_by_key(Vec::len)
            }
            Self::Any(conditions) => {
                let all: Option<Vec<_>> = conditions.iter().map(Self::necessary).collect();
                all.map(|all| all.into_iter().flatten().collect())
            }
            Self::Comparison(variable, comparison) => {
                let keys: Vec<_> = match comparison {
                    Comparison::Texts { values, is_negated: false } => {
                        values.iter().cloned().map(Key::Text).collect()
                    }
                    Comparison::Numbers { values, is_negated: false } => {
                        values.iter().copied().map(Key::Number).collect()
                    }
                    _ => return None,
                };
                Some(keys.into_iter().map(|key| (variable.clone(), key)).collect())
            }
        }
    }
}

impl Comparison {
    fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Texts { values, is_negated }, Value::Text(text)) => {
                contains(values, text) != *is_negated
            }
            (Self::Texts { values, is_negated }, Value::List(texts)) => {
                texts.iter().any(|text| contains(values, text)) != *is_negated
            }
            (Self::Numbers { values, is_negated }, Value::Number(number)) => {
                values.binary_search(&number).is_ok() != *is_negated
            }
            (Self::Order(order, bound), Value::Number(number)) => match order {
                Order::Less => number < *bound,
                Order::LessOrEqual => number <= *bound,
                Order::Greater => number > *bound,
                Order::GreaterOrEqual => number >= *bound,
            },
            _ => false,
        }
    }
}

fn contains(sorted: &[Box<str>], text: &str) -> bool {
    sorted.binary_search_by(|it| (**it).cmp(text)).is_ok()
}

impl<'a> Value<'a> {
    /// Returns the value that `client` has for `variable`.
    pub(crate) fn of(variable: &Variable, client: &'a Identity) -> Option<Self> {
        match variable {
            Variable::ClientId => Some(Self::Text(&client.client_id)),
            Variable::UserName => client.user_name.as_deref().map(Self::Text),
            Variable::Attribute(name) => {
                client.facts.as_ref()?.attributes.get(name).map(Self::of_attribute)
            }
        }
    }

    /// Returns an attribute as a value.
    pub(crate) fn of_attribute(attribute: &'a UserAttribute) -> Self {
        match attribute {
            UserAttribute::Text(text) => Self::Text(text),
            UserAttribute::Number(number) => Self::Number(*number),
            UserAttribute::List(texts) => Self::List(texts),
        }
    }
}

/// As it was read.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.detail, self.offset)
    }
}

impl std::error::Error for QueryError {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use midge_core::UserFacts;
    use proptest::prelude::*;

    use super::*;

    fn client() -> Identity {
        let attributes = [
            ("type", UserAttribute::Text("sensor".into())),
            ("floor", UserAttribute::Number(3)),
            ("room", UserAttribute::Text("3".into())),
            ("tags", UserAttribute::List(["motion".into(), "light".into()].into())),
            ("quoted", UserAttribute::Text("it's \"x\"".into())),
        ];
        let attributes = attributes.map(|(name, value)| (name.into(), value)).into();
        let facts = UserFacts { attributes, ..UserFacts::default() };
        let identity = Identity::new("c1".into(), Some("u1".into()));
        Identity { facts: Some(Arc::new(facts)), ..identity }
    }

    fn is_true(query: &str) -> bool {
        Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).matches(&client())
    }

    #[test]
    fn queries_compare_what_is_known_of_a_client() {
        for query in [
            "attributes.type = 'sensor' AND attributes.floor IN [1,3]",
            "attributes.floor IN (1, 3)",
            "attributes.type in [\"sensor\"]",
            "attributes.floor<=3 and attributes.floor>=3 and attributes.floor<4 and \
             attributes.floor>-1",
            "attributes.type <> 'pump'",
            "attributes.type != 'pump'",
            "attributes.type NOT IN ['pump', 'lamp']",
            "authenticationName = 'u1'",
            "client.username = 'u1' And client.authenticationName IN ['u1']",
            "client.id = 'c1'",
            "client.attributes.type = 'sensor'",
            "attributes.tags = 'motion'",
            "attributes.tags IN ['light', 'heat']",
            "'light' IN attributes.tags",
            "attributes.tags != 'heat'",
            "attributes.quoted = 'it''s \"x\"'",
            "attributes.quoted = \"it's \"\"x\"\"\"",
            "NOT attributes.type = 'pump'",
            "NOT (attributes.type = 'pump' OR attributes.floor > 3)",
            "NOT NOT attributes.floor = 3",
        ] {
            assert!(is_true(query), "{query}");
        }
        for query in [
            "attributes.tags != 'motion'",
            "attributes.type = 'Sensor'",
            "attributes.floor < 3",
            "NOT 'light' IN attributes.tags",
            "'sensors' IN attributes.type",
            "attributes.floor NOT IN (1, 3)",
        ] {
            assert!(!is_true(query), "{query}");
        }
    }

    #[test]
    fn and_goes_before_or() {
        let (yes, no) = ("client.id = 'c1'", "client.id = 'c2'");
        assert!(is_true(&format!("{yes} OR {no} AND {no}")));
        assert!(!is_true(&format!("({yes} OR {no}) AND {no}")));
        assert!(is_true(&format!("NOT {no} AND {yes}")));
        assert!(!is_true(&format!("NOT ({yes}) OR {no}")));
    }

    #[test]
    fn what_is_absent_or_of_another_type_is_neither_equal_nor_different() {
        for comparison in [
            "attributes.absent = 1",
            "attributes.absent != 1",
            "attributes.absent < 1",
            "attributes.absent IN ['a']",
            "attributes.absent NOT IN ['a']",
            "attributes.room = 3",
            "attributes.room != 4",
            "attributes.room < 4",
            "attributes.floor = '3'",
            "attributes.floor != '4'",
            "attributes.tags != 4",
        ] {
            assert!(!is_true(comparison), "{comparison}");
            assert!(!is_true(&format!("NOT ({comparison})")), "{comparison}");
            assert!(!is_true(&format!("NOT NOT ({comparison})")), "{comparison}");
        }
        // The name of an anonymous Client is absent, too.
        let anonymous = Identity::new("c1".into(), None);
        for query in ["authenticationName != 'u1'", "NOT authenticationName = 'u1'"] {
            assert!(!Query::parse(query).unwrap().matches(&anonymous));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (query, offset) in [
            ("", 0),
            ("   ", 3),
            ("attributes.a", 12),
            ("attributes.a =", 14),
            ("attributes.a = x", 15),
            ("attributes.a = 'x", 15),
            ("attributes.a = 'x' attributes.b = 1", 19),
            ("attributes.a < 'x'", 15),
            ("attributes. = 1", 0),
            ("attributes.a.b = 1", 0),
            ("color = 'red'", 0),
            ("Attributes.a = 1", 0),
            ("authenticationName = 5", 21),
            ("client.id < 5", 10),
            ("attributes.a IN []", 17),
            ("attributes.a IN [1,]", 19),
            ("attributes.a IN [1 2]", 19),
            ("attributes.a IN [1)", 18),
            ("attributes.a IN [1,'x']", 19),
            ("attributes.a IN 5", 16),
            ("attributes.a NOT = 5", 17),
            ("(attributes.a = 1", 17),
            ("attributes.a = 1)", 16),
            ("attributes.a == 1", 14),
            ("attributes.a = 9223372036854775808", 15),
            ("attributes.a = 1.5", 15),
            ("attributes.a = 1 AND", 20),
            ("AND", 0),
            ("'x' = attributes.a", 4),
            ("attributes.a = 1; drop", 16),
            ("attributes.ä = 1", 0),
        ] {
            let error = Query::parse(query).expect_err(query);
            assert_eq!(error.offset, offset, "{query}: {error}");
        }
    }

    #[test]
    fn queries_have_limits() {
        let nested = |depth| format!("{}client.id = 'c1'{}", "(".repeat(depth), ")".repeat(depth));
        assert!(is_true(&nested(Query::DEPTH_MAX)));
        assert!(Query::parse(&nested(Query::DEPTH_MAX + 1)).is_err());
        assert!(Query::parse(&format!("{}client.id = 'c1'", "NOT ".repeat(33))).is_err());
        let chain = |count| vec!["client.id='c1'"; count].join(" OR ");
        assert!(is_true(&chain(Query::OPERATORS_MAX / 2)));
        assert!(Query::parse(&chain(Query::OPERATORS_MAX / 2 + 1)).is_err());
        let long = format!("client.id = '{}'", "x".repeat(Query::BYTES_MAX));
        assert_eq!(Query::parse(&long).unwrap_err().offset, Query::BYTES_MAX);
    }

    #[test]
    fn a_query_knows_what_it_cannot_do_without() {
        let necessary = |query: &str| Query::parse(query).unwrap().necessary().map(|it| it.len());
        assert_eq!(necessary("attributes.a = 1"), Some(1));
        assert_eq!(necessary("attributes.a IN [1,2] AND attributes.b = 'x'"), Some(1));
        assert_eq!(necessary("attributes.a IN [1,2] AND attributes.b > 1"), Some(2));
        assert_eq!(necessary("attributes.a = 1 OR attributes.b = 1"), Some(2));
        assert_eq!(necessary("attributes.a = 1 OR attributes.b > 1"), None);
        assert_eq!(necessary("attributes.a != 1"), None);
        assert_eq!(necessary("NOT (attributes.a != 1)"), Some(1));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            drop(Query::parse(&text));
        }

        #[test]
        fn parsing_words_of_the_language_never_panics(
            words in prop::collection::vec(prop::sample::select(&[
                "attributes.a", "client.id", "AND", "OR", "NOT", "IN", "(", ")", "[", "]", ",", "=",
                "!=", "<>", "<", "'x'", "\"", "1", "-", "é",
            ][..]), 0..12),
        ) {
            drop(Query::parse(&words.join(" ")));
            drop(Query::parse(&words.concat()));
        }
    }
}
