//! mosquitto's `dynamic-security.json`, with the meaning that it has for mosquitto 2.1.
//!
//! The roles of a Client come first, then those of its groups; each by priority, and then by name.
//! In a role, the rules are asked by priority. The first one that is about what happens decides. If
//! none is, `defaultACLAccess` may still allow it, but nothing below `$CONTROL`.
//!
//! The file also has the users and the hashes of their passwords: [`DynamicSecurity::users`]. This
//! module must never look at a password.

mod document;
mod role;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use midge_core::Identity;

use crate::policy_file::{self, PolicyFileError};
use crate::rule_source::{Action, Judge, Opinion, RuleSource};
use crate::topic_filter;
use document::{Defaults, Document, RoleOfClient};
use role::{Entry, Role, Topic};

/// What mosquitto's plugin for dynamic security knows.
#[derive(Clone, Debug)]
pub struct DynamicSecurity {
    name: Box<str>,
    roles: Arc<[Role]>,
    defaults: Defaults,
    /// The roles of each user, in the order in which they are asked.
    users: HashMap<Box<str>, Arc<[usize]>>,
    /// The same for anonymous Clients.
    anonymous: Arc<[usize]>,
    accounts: Arc<[DynamicUser]>,
    /// What each rule is.
    rules: Arc<[Box<str>]>,
}

/// A user of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct DynamicUser {
    /// The user name.
    pub name: Box<str>,
    /// The hash of the password, as in a `password_file` of mosquitto (`$7$...`); absent if nobody
    /// can log in with a password.
    pub password_hash: Option<Box<str>>,
    /// Whether nobody may log in as this user.
    pub is_disabled: bool,
    /// The only Client Identifier that the user may have.
    pub client_id: Option<Box<str>>,
}

/// Shows no hash.
impl fmt::Debug for DynamicUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicUser")
            .field("name", &self.name)
            .field("is_disabled", &self.is_disabled)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The numbers of `defaultACLAccess`.
const PUBLISH_DEFAULT: u32 = 0;
const RECEIVE_DEFAULT: u32 = 1;
const SUBSCRIBE_DEFAULT: u32 = 2;

/// The texts of these rules.
const DEFAULTS: [&str; 3] = [
    "defaultACLAccess: publishClientSend",
    "defaultACLAccess: publishClientReceive",
    "defaultACLAccess: subscribe",
];

impl DynamicSecurity {
    /// The most bytes that a file may have.
    pub const BYTES_MAX: usize = 64 * 1024 * 1024;

    /// Reads a file. A reload is another `load`; if it fails, the old value is as good as before.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or [`DynamicSecurity::parse`] refuses it.
    pub fn load(path: &Path) -> Result<Self, PolicyFileError> {
        Self::parse(&path.to_string_lossy(), &policy_file::read(path, Self::BYTES_MAX)?)
    }

    /// Reads the bytes of a file that has this name.
    ///
    /// # Errors
    ///
    /// It is no such JSON, names a role or a group that it does not have, or has a name twice.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, PolicyFileError> {
        let document = serde_json::from_slice(bytes).map_err(|error| not_json(name, &error))?;
        Self::new(name, document).map_err(|detail| PolicyFileError::whole(name, detail))
    }

    fn new(name: &str, document: Document) -> Result<Self, String> {
        let mut rules: Vec<Box<str>> = DEFAULTS.map(Box::from).into();
        let mut roles = Vec::new();
        let mut indices = HashMap::new();
        for role in &document.roles {
            let describe = |text: String| {
                rules.push(text.into());
                u32::try_from(rules.len() - 1).expect("a rule has more than 16 of BYTES_MAX")
            };
            roles.push(Role::new(role, describe)?);
            if indices.insert(role.name.clone(), indices.len()).is_some() {
                return Err(format!("there are two roles {:?}; remove one", role.name));
            }
        }
        let users = roles_of_users(&document, &indices)?;
        let anonymous = match &document.anonymous_group {
            None => Vec::new(),
            Some(name) => {
                let group = document.groups.iter().find(|group| group.name == *name);
                let missing = || format!("anonymousGroup: there is no group {name:?}");
                by_priority(&group.ok_or_else(missing)?.roles, &indices)?
            }
        };
        Ok(Self {
            name: name.into(),
            roles: roles.into(),
            defaults: document.defaults,
            users: users.into_iter().map(|(name, roles)| (name, roles.into())).collect(),
            anonymous: anonymous.into(),
            accounts: document.clients.into_iter().map(DynamicUser::new).collect(),
            rules: rules.into(),
        })
    }

    /// Returns the users, in the order of the file.
    pub fn users(&self) -> &[DynamicUser] {
        &self.accounts
    }
}

impl DynamicUser {
    fn new(client: document::Client) -> Self {
        let hash_of_parts = || {
            let iterations = client.iterations.filter(|iterations| *iterations > 0)?;
            let (salt, hash) = (client.salt.as_ref()?, client.password.as_ref()?);
            Some(format!("$7${iterations}${salt}${hash}").into())
        };
        let password_hash = client.encoded_password.clone().or_else(hash_of_parts);
        Self {
            password_hash,
            name: client.username,
            is_disabled: client.disabled,
            client_id: client.client_id,
        }
    }
}

/// Puts the roles of each user in the order in which they are asked.
fn roles_of_users(
    document: &Document,
    indices: &HashMap<Box<str>, usize>,
) -> Result<HashMap<Box<str>, Vec<usize>>, String> {
    let mut users = HashMap::new();
    for client in &document.clients {
        let name = &client.username;
        if users.insert(name.clone(), by_priority(&client.roles, indices)?).is_some() {
            return Err(format!("there are two clients {name:?}; remove one"));
        }
    }
    let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut members: HashMap<&str, Vec<(i64, &str)>> = HashMap::new();
    for group in &document.groups {
        let roles = by_priority(&group.roles, indices)?;
        if groups.insert(&group.name, roles).is_some() {
            return Err(format!("there are two groups {:?}; remove one", group.name));
        }
        for client in &group.clients {
            members.entry(&client.username).or_default().push((client.priority, &group.name));
        }
    }
    for (user, mut memberships) in members {
        // A user who is in no other list is none.
        let Some(roles) = users.get_mut(user) else { continue };
        memberships.sort_by_key(|(priority, name)| (Reverse(*priority), *name));
        roles.extend(memberships.iter().flat_map(|(_, name)| &groups[name]));
    }
    Ok(users)
}

/// Returns the numbers of roles, the one with the highest priority first.
fn by_priority(
    roles: &[RoleOfClient],
    indices: &HashMap<Box<str>, usize>,
) -> Result<Vec<usize>, String> {
    let mut roles: Vec<_> = roles.iter().collect();
    roles.sort_by_key(|role| (Reverse(role.priority), &role.name));
    let find = |role: &RoleOfClient| {
        let index = indices.get(&role.name).copied();
        index.ok_or_else(|| format!("there is no role {:?}; add it, or do not name it", role.name))
    };
    roles.into_iter().map(find).collect()
}

fn not_json(name: &str, error: &serde_json::Error) -> PolicyFileError {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let detail = text.strip_suffix(&place).unwrap_or(&text);
    PolicyFileError {
        place: Some((error.line(), error.column().max(1))),
        ..PolicyFileError::whole(name, format!("{detail}; a dynamic-security.json is expected"))
    }
}

impl RuleSource for DynamicSecurity {
    fn judge(&self, client: &Identity) -> Option<Box<dyn Judge>> {
        let order = match &client.user_name {
            Some(name) => self.users.get(name)?,
            None => &self.anonymous,
        };
        let variable = order.iter().flat_map(|&role| self.roles[role].variable());
        let fill = |(rule, template): (u32, &crate::Template)| {
            Some((rule, template.resolve(client)?.into_boxed_str()))
        };
        Some(Box::new(ClientRules {
            roles: self.roles.clone(),
            order: order.clone(),
            defaults: self.defaults,
            filled: variable.filter_map(fill).collect(),
        }))
    }

    fn describe(&self, rule: u32) -> String {
        let text = usize::try_from(rule).ok().and_then(|rule| self.rules.get(rule));
        format!("{}, {}", self.name, text.map_or("no rule", |text| text))
    }
}

/// The rules for one Client.
struct ClientRules {
    roles: Arc<[Role]>,
    order: Arc<[usize]>,
    defaults: Defaults,
    /// The Topic Filters of rules with variables that the Client has values for.
    filled: HashMap<u32, Box<str>>,
}

impl ClientRules {
    /// Asks the roles one after the other.
    fn ask(&self, ask: impl Fn(&Role) -> Option<Opinion>) -> Option<Opinion> {
        self.order.iter().find_map(|&role| ask(&self.roles[role]))
    }

    /// Returns what the first rule says whose Topic Filter fits.
    fn first(&self, entries: &[Entry], fits: impl Fn(&str) -> bool) -> Option<Opinion> {
        let entry = entries.iter().find(|entry| match &entry.topic {
            Topic::Constant(filter) => fits(filter),
            Topic::Variable(_) => self.filled.get(&entry.rule).is_some_and(|filter| fits(filter)),
        })?;
        Some(Opinion { allows: entry.allows, rule: entry.rule })
    }

    fn subscribe(&self, role: &Role, filter: &str) -> Option<Opinion> {
        if filter.contains(['+', '#'])
            && let Some(rule) = role.no_wildcards
        {
            return Some(Opinion { allows: false, rule });
        }
        let literal = self.first(&role.literal, |literal| literal == filter);
        literal
            .or_else(|| self.first(&role.pattern, |pattern| topic_filter::covers(pattern, filter)))
    }
}

impl Judge for ClientRules {
    fn opinion(&self, action: Action<'_>) -> Option<Opinion> {
        let (opinion, topic, default, rule) = match action {
            Action::Publish { topic, .. } => {
                let fits = |filter: &str| topic_filter::matches(filter, topic);
                let opinion = self.ask(|role| self.first(&role.publish, fits));
                (opinion, topic, self.defaults.publish_client_send, PUBLISH_DEFAULT)
            }
            Action::Receive { topic } => {
                let fits = |filter: &str| topic_filter::matches(filter, topic);
                let opinion = self.ask(|role| self.first(&role.receive, fits));
                (opinion, topic, self.defaults.publish_client_receive, RECEIVE_DEFAULT)
            }
            Action::Subscribe { filter, .. } => {
                let opinion = self.ask(|role| self.subscribe(role, filter));
                (opinion, filter, self.defaults.subscribe, SUBSCRIBE_DEFAULT)
            }
        };
        let is_default = default && !topic.starts_with("$CONTROL");
        opinion.or_else(|| is_default.then_some(Opinion { allows: true, rule }))
    }
}

#[cfg(test)]
mod tests;
