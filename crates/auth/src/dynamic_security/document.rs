//! The JSON of the file, as it stands. Fields that say nothing about access are left out.

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(default, rename = "defaultACLAccess")]
    pub(super) defaults: Defaults,
    #[serde(default)]
    pub(super) clients: Vec<Client>,
    #[serde(default)]
    pub(super) groups: Vec<Group>,
    #[serde(default)]
    pub(super) roles: Vec<Role>,
    #[serde(rename = "anonymousGroup")]
    pub(super) anonymous_group: Option<Box<str>>,
}

/// What is allowed where no role decides.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Defaults {
    pub(super) publish_client_send: bool,
    pub(super) publish_client_receive: bool,
    pub(super) subscribe: bool,
}

#[derive(Deserialize)]
pub(super) struct Client {
    pub(super) username: Box<str>,
    #[serde(rename = "clientid")]
    pub(super) client_id: Option<Box<str>>,
    #[serde(default)]
    pub(super) disabled: bool,
    pub(super) encoded_password: Option<Box<str>>,
    pub(super) password: Option<Box<str>>,
    pub(super) salt: Option<Box<str>>,
    pub(super) iterations: Option<u32>,
    #[serde(default)]
    pub(super) roles: Vec<RoleOfClient>,
}

#[derive(Deserialize)]
pub(super) struct RoleOfClient {
    #[serde(rename = "rolename")]
    pub(super) name: Box<str>,
    #[serde(default = "lowest")]
    pub(super) priority: i64,
}

#[derive(Deserialize)]
pub(super) struct Group {
    #[serde(rename = "groupname")]
    pub(super) name: Box<str>,
    #[serde(default)]
    pub(super) roles: Vec<RoleOfClient>,
    #[serde(default)]
    pub(super) clients: Vec<ClientOfGroup>,
}

#[derive(Deserialize)]
pub(super) struct ClientOfGroup {
    pub(super) username: Box<str>,
    /// The priority of the group for this Client.
    #[serde(default = "lowest")]
    pub(super) priority: i64,
}

#[derive(Deserialize)]
pub(super) struct Role {
    #[serde(rename = "rolename")]
    pub(super) name: Box<str>,
    #[serde(default = "yes", rename = "allowwildcardsubs")]
    pub(super) allows_wildcards: bool,
    #[serde(default)]
    pub(super) acls: Vec<Acl>,
}

#[derive(Deserialize)]
pub(super) struct Acl {
    pub(super) acltype: Box<str>,
    pub(super) topic: Box<str>,
    #[serde(default)]
    pub(super) priority: i64,
    #[serde(default)]
    pub(super) allow: bool,
}

/// The priority of a role or a group that has none.
fn lowest() -> i64 {
    -1
}

fn yes() -> bool {
    true
}
