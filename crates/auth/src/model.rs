//! Registered clients, groups of them, topic spaces, and which group may do what in which space:
//! plain values, and a check of them.
//!
//! The model of Azure Event Grid. Whoever reads a configuration fills these values in; nothing here
//! reads a file, and nothing here decides about a Client (`bindings` and `groups` do).

use std::collections::{HashMap, HashSet};
use std::fmt;

use midge_core::{UserAttribute, UserAttributes};

use crate::query::Query;
use crate::template::Template;

/// The group that all Clients belong to, also anonymous ones. It is always there.
pub const ALL_CLIENTS: &str = "$all";

/// What is registered and bound. [`Model::check`] says what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The clients that something is known of. Others may connect, too, if authentication lets
    /// them.
    pub clients: Vec<RegisteredClient>,
    /// The groups of clients, besides [`ALL_CLIENTS`].
    pub groups: Vec<ClientGroup>,
    /// The topic spaces.
    pub topic_spaces: Vec<TopicSpace>,
    /// Who may do what.
    pub bindings: Vec<Binding>,
}

/// A client that something is known of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredClient {
    /// The name of its user, as authentication establishes it. Case counts.
    pub user_name: Box<str>,
    /// Facts about it, which go before those of the same name that authentication finds out.
    pub attributes: UserAttributes,
    /// Whether it may do anything at all.
    pub is_enabled: bool,
    /// The only Client Identifiers that this user may have; absent: any.
    pub client_ids: Option<Vec<Box<str>>>,
}

/// A group of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientGroup {
    /// Its name.
    pub name: Box<str>,
    /// Which Clients belong to it, besides those of whom authentication says so; absent: no others.
    pub query: Option<Query>,
}

/// A set of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpace {
    /// Its name.
    pub name: Box<str>,
    /// The topics, for each Client its own.
    pub templates: Vec<Template>,
}

/// A permission: the Clients of a group may publish to, or subscribe to, a topic space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The name of the group.
    pub group: Box<str>,
    /// The name of the topic space.
    pub topic_space: Box<str>,
    /// What the group may do there.
    pub permission: Permission,
}

/// What a group may do in a topic space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Publish.
    Publisher,
    /// Subscribe, and receive.
    Subscriber,
}

/// A mistake in a [`Model`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    /// The object, such as ``group `sensors` ``.
    pub object: String,
    /// What is wrong with it, and what would be right.
    pub detail: String,
}

impl Model {
    /// The most registered clients.
    pub const CLIENTS_MAX: usize = 1_000_000;
    /// The most groups.
    pub const GROUPS_MAX: usize = 100_000;
    /// The most topic spaces.
    pub const TOPIC_SPACES_MAX: usize = 100_000;
    /// The most templates of one topic space.
    pub const TEMPLATES_MAX: usize = 1_000;
    /// The most bindings.
    pub const BINDINGS_MAX: usize = 1_000_000;
    /// The most templates of all bindings together, each of which counts those of its topic space.
    pub const BOUND_TEMPLATES_MAX: usize = 5_000_000;
    /// The most bytes that names and values of a client's attributes may have together.
    pub const ATTRIBUTES_BYTES_MAX: usize = 4096;

    /// Returns an empty model.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a client.
    #[must_use]
    pub fn client(mut self, client: RegisteredClient) -> Self {
        self.clients.push(client);
        self
    }

    /// Adds a group.
    #[must_use]
    pub fn group(mut self, name: &str, query: Option<Query>) -> Self {
        self.groups.push(ClientGroup { name: name.into(), query });
        self
    }

    /// Adds a topic space.
    #[must_use]
    pub fn topic_space(mut self, name: &str, templates: Vec<Template>) -> Self {
        self.topic_spaces.push(TopicSpace { name: name.into(), templates });
        self
    }

    /// Adds a binding.
    #[must_use]
    pub fn binding(mut self, group: &str, topic_space: &str, permission: Permission) -> Self {
        let (group, topic_space) = (group.into(), topic_space.into());
        self.bindings.push(Binding { group, topic_space, permission });
        self
    }

    /// Returns whether the model has a group of this name, or it is [`ALL_CLIENTS`].
    pub fn has_group(&self, name: &str) -> bool {
        name == ALL_CLIENTS || self.groups.iter().any(|group| &*group.name == name)
    }

    /// Checks names, references and limits.
    ///
    /// # Errors
    ///
    /// All mistakes, in the order of the objects.
    pub fn check(&self) -> Result<(), Vec<ModelError>> {
        let mut errors = Vec::new();
        for (what, count, max) in [
            ("clients", self.clients.len(), Self::CLIENTS_MAX),
            ("groups", self.groups.len(), Self::GROUPS_MAX),
            ("topic spaces", self.topic_spaces.len(), Self::TOPIC_SPACES_MAX),
            ("bindings", self.bindings.len(), Self::BINDINGS_MAX),
        ] {
            if count > max {
                let detail = format!("there are {count}, at most {max} are possible");
                errors.push(ModelError { object: what.into(), detail });
            }
        }
        let mut user_names = HashSet::new();
        for client in &self.clients {
            let is_new = user_names.insert(&*client.user_name);
            client.check(is_new, &mut errors);
        }
        let mut groups = HashSet::from([ALL_CLIENTS]);
        for group in &self.groups {
            let object = format!("group `{}`", group.name);
            let is_new = groups.insert(&group.name);
            check_name(&group.name, is_new, &object, &mut errors);
        }
        self.check_spaces_and_bindings(&groups, &mut errors);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn check_spaces_and_bindings(&self, groups: &HashSet<&str>, errors: &mut Vec<ModelError>) {
        let mut spaces = HashMap::new();
        for space in &self.topic_spaces {
            let is_new = spaces.insert(&*space.name, space.templates.len()).is_none();
            space.check(is_new, errors);
        }
        let (mut bindings, mut bound_templates) = (HashSet::new(), 0);
        for binding in &self.bindings {
            let mut error =
                |detail| errors.push(ModelError { object: binding.to_string(), detail });
            if !groups.contains(&*binding.group) {
                error(format!("there is no group `{}`: declare it, or use `$all`", binding.group));
            }
            match spaces.get(&*binding.topic_space) {
                Some(templates) => bound_templates += templates,
                None => {
                    let space = &binding.topic_space;
                    error(format!("there is no topic space `{space}`: declare it"));
                }
            }
            if !bindings.insert(binding) {
                error("it is there twice: leave one out".into());
            }
        }
        if bound_templates > Self::BOUND_TEMPLATES_MAX {
            let max = Self::BOUND_TEMPLATES_MAX;
            let detail =
                format!("they bind {bound_templates} templates, at most {max} are possible");
            errors.push(ModelError { object: "bindings".into(), detail });
        }
    }
}

impl RegisteredClient {
    /// Returns an enabled client without attributes.
    pub fn new(user_name: &str) -> Self {
        Self {
            user_name: user_name.into(),
            attributes: UserAttributes::new(),
            is_enabled: true,
            client_ids: None,
        }
    }

    /// Gives the client an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: UserAttribute) -> Self {
        self.attributes.insert(name.into(), value);
        self
    }

    fn check(&self, is_new: bool, errors: &mut Vec<ModelError>) {
        let object = format!("client `{}`", self.user_name);
        let mut error = |detail: String| errors.push(ModelError { object: object.clone(), detail });
        if !(1..=NAME_CHARACTERS_MAX).contains(&self.user_name.chars().count()) {
            error(format!("a user name has 1 to {NAME_CHARACTERS_MAX} characters"));
        }
        if !is_new {
            error("it is there twice: leave one out".into());
        }
        for name in self.attributes.keys() {
            if !is_attribute_name(name) {
                error(format!("the attribute `{name}`: a name has only A-Z, a-z, 0-9 and `_`"));
            }
        }
        let bytes: usize = self.attributes.iter().map(|it| it.0.len() + value_bytes(it.1)).sum();
        if bytes > Model::ATTRIBUTES_BYTES_MAX {
            let max = Model::ATTRIBUTES_BYTES_MAX;
            error(format!(
                "its attributes have {bytes} bytes together, at most {max} are possible"
            ));
        }
        match &self.client_ids {
            Some(client_ids) if client_ids.is_empty() => {
                error("no Client Identifier is allowed: leave the list out to allow all".into());
            }
            Some(client_ids) if client_ids.iter().any(|it| it.is_empty()) => {
                error("a Client Identifier is empty: write what the client connects with".into());
            }
            _ => {}
        }
    }
}

impl TopicSpace {
    fn check(&self, is_new: bool, errors: &mut Vec<ModelError>) {
        let object = format!("topic space `{}`", self.name);
        check_name(&self.name, is_new, &object, errors);
        let count = self.templates.len();
        if !(1..=Model::TEMPLATES_MAX).contains(&count) {
            let max = Model::TEMPLATES_MAX;
            let detail = format!("it has {count} templates; 1 to {max} are possible");
            errors.push(ModelError { object, detail });
        }
    }
}

/// The most characters that names may have.
const NAME_CHARACTERS_MAX: usize = 128;

/// The fewest characters that names of groups and topic spaces may have.
const NAME_CHARACTERS_MIN: usize = 3;

/// Checks the name of a group or a topic space.
fn check_name(name: &str, is_new: bool, object: &str, errors: &mut Vec<ModelError>) {
    let mut error = |detail| errors.push(ModelError { object: object.into(), detail });
    if name == ALL_CLIENTS {
        return error("it is always there and has all clients: leave it out".into());
    }
    let is_allowed = |it: char| it.is_ascii_alphanumeric() || it == '-';
    let length = NAME_CHARACTERS_MIN..=NAME_CHARACTERS_MAX;
    if !length.contains(&name.chars().count()) || !name.chars().all(is_allowed) {
        error(format!(
            "a name has {NAME_CHARACTERS_MIN} to {NAME_CHARACTERS_MAX} characters, only A-Z, a-z, \
             0-9 and `-`"
        ));
    }
    if !is_new {
        error("it is there twice: leave one out, or give it another name".into());
    }
}

/// Returns whether an attribute may have this name.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

fn value_bytes(value: &UserAttribute) -> usize {
    match value {
        UserAttribute::Text(text) => text.len(),
        UserAttribute::Number(_) => 8,
        UserAttribute::List(texts) => texts.iter().map(|text| text.len()).sum(),
    }
}

/// As in ``the binding of group `sensors` to topic space `telemetry` as publisher``.
impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, topic_space, permission } = self;
        write!(f, "binding of group `{group}` to topic space `{topic_space}` as {permission}")
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
        })
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.detail)
    }
}

impl std::error::Error for ModelError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(name: &str) -> Model {
        Model::new().topic_space(name, vec![Template::parse("a/#").unwrap()])
    }

    fn only_error(model: &Model) -> String {
        let errors = model.check().expect_err("a mistake");
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors[0].to_string()
    }

    #[test]
    fn a_model_without_mistakes_passes() {
        let query = Query::parse("attributes.type = 'sensor'").unwrap();
        let client = RegisteredClient::new("Zoë @ home")
            .attribute("type", UserAttribute::Text("sensor".into()));
        let model = space("telemetry")
            .client(client)
            .group("sensors", Some(query))
            .group("operators", None)
            .binding("sensors", "telemetry", Permission::Publisher)
            .binding("operators", "telemetry", Permission::Subscriber)
            .binding(ALL_CLIENTS, "telemetry", Permission::Subscriber);
        assert_eq!(model.check(), Ok(()));
        assert!(model.has_group("operators") && model.has_group("$all"));
        assert!(!model.has_group("telemetry"));
    }

    #[test]
    fn bindings_count_the_templates_of_their_spaces() {
        let template = Template::parse("a").unwrap();
        let templates = vec![template; Model::TEMPLATES_MAX];
        let mut model = Model::new().topic_space("large", templates);
        for number in 0..=Model::BOUND_TEMPLATES_MAX / Model::TEMPLATES_MAX {
            let group = format!("group-{number}");
            model = model.group(&group, None).binding(&group, "large", Permission::Publisher);
        }
        assert!(only_error(&model).starts_with("bindings: they bind 5001000 templates"));
        model.bindings.pop();
        assert_eq!(model.check(), Ok(()));
    }

    #[test]
    fn mistakes_name_their_object() {
        let client = RegisteredClient::new("u");
        let odd = client.clone().attribute("a b", UserAttribute::Number(1));
        let large = client.clone().attribute("a", UserAttribute::Text("x".repeat(4096).into()));
        let nowhere = RegisteredClient { client_ids: Some(Vec::new()), ..client.clone() };
        let unnamed = RegisteredClient { client_ids: Some(vec!["".into()]), ..client.clone() };
        for (model, object) in [
            (Model::new().client(client.clone()).client(client), "client `u`: it is there twice"),
            (Model::new().client(odd), "client `u`: the attribute `a b`: a name has only"),
            (Model::new().client(large), "client `u`: its attributes have 4097 bytes together"),
            (Model::new().client(nowhere), "client `u`: no Client Identifier is allowed"),
            (Model::new().client(unnamed), "client `u`: a Client Identifier is empty"),
            (Model::new().client(RegisteredClient::new("")), "client ``: a user name has 1 to"),
            (Model::new().group("ab", None), "group `ab`: a name has 3 to 128 characters"),
            (Model::new().group("a b c", None), "group `a b c`: a name has 3 to"),
            (Model::new().group(&"a".repeat(129), None), "group `aaa"),
            (Model::new().group("$all", None), "group `$all`: it is always there"),
            (Model::new().group("abc", None).group("abc", None), "group `abc`: it is there twice"),
            (Model::new().topic_space("abc", Vec::new()), "topic space `abc`: it has 0 templates"),
            (
                space("abc").binding("xyz", "abc", Permission::Publisher),
                "binding of group `xyz` to topic space `abc` as publisher: there is no group `xyz`",
            ),
            (
                space("abc").binding("$all", "xyz", Permission::Subscriber),
                "binding of group `$all` to topic space `xyz` as subscriber: there is no topic \
                 space `xyz`",
            ),
            (
                space("abc").binding("$all", "abc", Permission::Publisher).binding(
                    "$all",
                    "abc",
                    Permission::Publisher,
                ),
                "binding of group `$all` to topic space `abc` as publisher: it is there twice",
            ),
        ] {
            let error = only_error(&model);
            assert!(error.starts_with(object), "{error}");
        }
    }
}
