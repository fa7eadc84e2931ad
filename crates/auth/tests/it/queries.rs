//! Queries are evaluated as if there were three truth values: what is absent or of another type is
//! unknown, `NOT` leaves it unknown, and an unknown query is false.

use std::fmt;
use std::sync::Arc;

use midge_auth::Query;
use midge_core::{Identity, UserAttribute, UserFacts};
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Debug)]
enum Tree {
    Equal(&'static str, Value),
    Unequal(&'static str, Value),
    In(&'static str, Vec<Value>),
    Less(&'static str, i64),
    AtLeast(&'static str, i64),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

#[derive(Clone, Debug)]
enum Value {
    Text(&'static str),
    Number(i64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(name, value) => write!(f, "attributes.{name} = {value}"),
            Self::Unequal(name, value) => write!(f, "attributes.{name} <> {value}"),
            Self::In(name, values) => {
                let values: Vec<_> = values.iter().map(Value::to_string).collect();
                write!(f, "attributes.{name} IN [{}]", values.join(", "))
            }
            Self::Less(name, bound) => write!(f, "attributes.{name} < {bound}"),
            Self::AtLeast(name, bound) => write!(f, "attributes.{name} >= {bound}"),
            Self::Not(tree) => write!(f, "NOT ({tree})"),
            Self::And(one, other) => write!(f, "({one}) AND ({other})"),
            Self::Or(one, other) => write!(f, "({one}) or ({other})"),
        }
    }
}

impl Tree {
    fn truth(&self, client: &Identity) -> Option<bool> {
        let found = |name: &str| client.facts.as_ref().unwrap().attributes.get(name);
        let equal = |name: &str, value: &Value| match (found(name)?, value) {
            (UserAttribute::Text(text), Value::Text(value)) => Some(**text == **value),
            (UserAttribute::Number(number), Value::Number(value)) => Some(number == value),
            (UserAttribute::List(texts), Value::Text(value)) => {
                Some(texts.iter().any(|text| **text == **value))
            }
            _ => None,
        };
        let number = |name: &str| match found(name)? {
            UserAttribute::Number(number) => Some(*number),
            _ => None,
        };
        match self {
            Self::Equal(name, value) => equal(name, value),
            Self::Unequal(name, value) => equal(name, value).map(|it| !it),
            Self::In(name, values) => {
                values.iter().map(|value| equal(name, value)).reduce(or).flatten()
            }
            Self::Less(name, bound) => number(name).map(|it| it < *bound),
            Self::AtLeast(name, bound) => number(name).map(|it| it >= *bound),
            Self::Not(tree) => tree.truth(client).map(|it| !it),
            Self::And(one, other) => {
                let not = |truth: Option<bool>| truth.map(|it| !it);
                not(or(not(one.truth(client)), not(other.truth(client))))
            }
            Self::Or(one, other) => or(one.truth(client), other.truth(client)),
        }
    }
}

/// Kleene's.
fn or(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let name = || select(&["a", "b", "c", "d"][..]);
    let text = || select(&["x", "y", "it's"][..]).prop_map(Value::Text);
    let number = || (0..3_i64).prop_map(Value::Number);
    let value = || prop_oneof![text(), number()];
    let list =
        prop_oneof![prop::collection::vec(text(), 1..3), prop::collection::vec(number(), 1..3)];
    let leaf = prop_oneof![
        (name(), value()).prop_map(|(name, value)| Tree::Equal(name, value)),
        (name(), value()).prop_map(|(name, value)| Tree::Unequal(name, value)),
        (name(), list).prop_map(|(name, values)| Tree::In(name, values)),
        (name(), 0..3_i64).prop_map(|(name, bound)| Tree::Less(name, bound)),
        (name(), 0..3_i64).prop_map(|(name, bound)| Tree::AtLeast(name, bound)),
    ];
    leaf.prop_recursive(5, 24, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|tree| Tree::Not(Box::new(tree))),
            two.clone().prop_map(|(one, other)| Tree::And(Box::new(one), Box::new(other))),
            two.prop_map(|(one, other)| Tree::Or(Box::new(one), Box::new(other))),
        ]
    })
}

fn client() -> impl Strategy<Value = Identity> {
    let value = prop_oneof![
        select(&["x", "y", "it's"][..]).prop_map(|it| UserAttribute::Text(it.into())),
        (0..3_i64).prop_map(UserAttribute::Number),
        prop::collection::vec(select(&["x", "y"][..]), 0..3)
            .prop_map(|it| UserAttribute::List(it.into_iter().map(Box::from).collect())),
    ];
    let name = select(&["a", "b", "c"][..]).prop_map(Box::from);
    prop::collection::btree_map(name, value, 0..4).prop_map(|attributes| Identity {
        facts: Some(Arc::new(UserFacts { attributes, ..UserFacts::default() })),
        ..Identity::new("c".into(), None)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_query_is_true_if_it_is_known_to_be(tree in tree(), client in client()) {
        let query = Query::parse(&tree.to_string()).unwrap();
        prop_assert_eq!(query.matches(&client), tree.truth(&client) == Some(true), "{}", query);
    }
}
