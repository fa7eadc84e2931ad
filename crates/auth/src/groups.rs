//! Which groups of the model a Client belongs to, without asking every query.
//!
//! Most queries cannot be true without a certain value of a certain attribute. They are found by
//! the values that a Client has; only the others are asked for every Client.

use std::collections::HashMap;

use midge_core::Identity;

use crate::model::ClientGroup;
use crate::query::{Key, Query, Value};
use crate::template::Variable;

/// The groups of a model, found by the values of a Client.
#[derive(Debug, Default)]
pub(crate) struct GroupIndex {
    groups: Box<[(Box<str>, Query)]>,
    by_client_id: HashMap<Key, Vec<u32>>,
    by_user_name: HashMap<Key, Vec<u32>>,
    by_attribute: HashMap<Box<str>, HashMap<Key, Vec<u32>>>,
    /// Those that any Client may belong to.
    others: Vec<u32>,
}

impl GroupIndex {
    pub(crate) fn new(groups: &[ClientGroup]) -> Self {
        let with_query = groups.iter().filter_map(|group| {
            group.query.as_ref().map(|query| (group.name.clone(), query.clone()))
        });
        let mut index = Self { groups: with_query.collect(), ..Self::default() };
        for number in 0..index.groups.len() as u32 {
            match index.groups[number as usize].1.necessary() {
                None => index.others.push(number),
                Some(pairs) => {
                    for (variable, key) in pairs {
                        index.keys_of(variable).entry(key).or_default().push(number);
                    }
                }
            }
        }
        index
    }

    fn keys_of(&mut self, variable: Variable) -> &mut HashMap<Key, Vec<u32>> {
        match variable {
            Variable::ClientId => &mut self.by_client_id,
            Variable::UserName => &mut self.by_user_name,
            Variable::Attribute(name) => self.by_attribute.entry(name).or_default(),
        }
    }

    /// Returns the names of the groups that `client` belongs to by their queries.
    pub(crate) fn groups_of(&self, client: &Identity) -> Vec<&str> {
        let mut candidates = self.others.clone();
        let mut find = |keys: &HashMap<Key, Vec<u32>>, value| {
            let mut find_key = |key| candidates.extend(keys.get(&key).into_iter().flatten());
            match value {
                Value::Text(text) => find_key(Key::Text(text.into())),
                Value::Number(number) => find_key(Key::Number(number)),
                Value::List(texts) => texts.iter().for_each(|it| find_key(Key::Text(it.clone()))),
            }
        };
        if !self.by_client_id.is_empty() {
            find(&self.by_client_id, Value::Text(&client.client_id));
        }
        if let Some(name) = client.user_name.as_deref().filter(|_| !self.by_user_name.is_empty()) {
            find(&self.by_user_name, Value::Text(name));
        }
        let attributes = client.facts.iter().flat_map(|facts| &facts.attributes);
        for (name, value) in attributes {
            if let Some(keys) = self.by_attribute.get(name) {
                find(keys, Value::of_attribute(value));
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        let groups = candidates.iter().map(|number| &self.groups[*number as usize]);
        groups.filter(|(_, query)| query.matches(client)).map(|(name, _)| &**name).collect()
    }

    /// Returns how many queries are asked for every Client.
    #[cfg(test)]
    fn asked_always(&self) -> usize {
        self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use midge_core::{UserAttribute, UserFacts};

    use super::*;

    fn group(name: &str, query: &str) -> ClientGroup {
        ClientGroup { name: name.into(), query: Some(Query::parse(query).unwrap()) }
    }

    #[test]
    fn a_client_is_found_by_its_values() {
        let index = GroupIndex::new(&[
            group("sensors", "attributes.type = 'sensor' AND attributes.floor > 2"),
            group("pumps", "attributes.type IN ['pump', 'valve']"),
            group("third", "attributes.floor = 3"),
            group("tagged", "'x' IN attributes.tags OR authenticationName = 'v'"),
            group("named", "authenticationName = 'u' OR client.id = 'd'"),
            group("high", "attributes.floor >= 3"),
            group("others", "attributes.type != 'pump'"),
            ClientGroup { name: "declared".into(), query: None },
        ]);
        assert_eq!(index.asked_always(), 2);
        let attributes = [
            ("type", UserAttribute::Text("sensor".into())),
            ("floor", UserAttribute::Number(3)),
            ("tags", UserAttribute::List(["x".into(), "y".into()].into())),
        ];
        let attributes = attributes.map(|(name, value)| (name.into(), value)).into();
        let facts = Some(Arc::new(UserFacts { attributes, ..UserFacts::default() }));
        let client = Identity { facts, ..Identity::new("c".into(), Some("u".into())) };
        let expected = ["sensors", "third", "tagged", "named", "high", "others"];
        assert_eq!(index.groups_of(&client), expected);
        let anonymous = Identity::new("d".into(), None);
        assert_eq!(index.groups_of(&anonymous), ["named"]);
    }
}
