//! How tokens are checked, and what their claims say about the user.

use std::time::Duration;

use super::claims::{Audience, ClaimPath};

/// Where a Client puts its token. With the methods of [`JwtConfig::methods`] it is always in the
/// Authentication Data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenPlace {
    /// In the Password.
    #[default]
    Password,
    /// In the User Name.
    UserName,
}

/// What becomes of a token whose `iss` is not the one that is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherIssuers {
    /// The next member of the chain is asked.
    #[default]
    NotMine,
    /// It is refused.
    Refused,
}

/// How tokens are checked.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// The member's name.
    pub name: Box<str>,
    /// Where the token is.
    pub token_place: TokenPlace,
    /// The Authentication Methods of an enhanced authentication with a token.
    pub methods: Vec<Box<str>>,
    /// The issuer; absent: anybody who has a key.
    pub issuer: Option<Box<str>>,
    /// What becomes of tokens of other issuers.
    pub other_issuers: OtherIssuers,
    /// For whom a token may be.
    pub audience: Audience,
    /// Whether a token without an end is refused.
    pub requires_expiry: bool,
    /// How much the clocks of the issuer and of this machine may differ.
    pub leeway: Duration,
    /// The most bytes of a token.
    pub token_bytes_max: usize,
    /// What the claims say about the user.
    pub claims: ClaimNames,
}

/// Which claims say what about the user.
#[derive(Clone, Debug)]
pub struct ClaimNames {
    /// The name of the user: a text.
    pub user_name: ClaimPath,
    /// The Client Identifier that the Client must have: a text. Absent: it may have any.
    pub client_id: Option<ClaimPath>,
    /// Attributes by name: texts, whole numbers, truth values and lists of texts. They win over
    /// those of `client_attributes`.
    pub attributes: Vec<(Box<str>, ClaimPath)>,
    /// An object that is all attributes.
    pub client_attributes: Option<ClaimPath>,
    /// The groups: a list of texts.
    pub groups: Option<ClaimPath>,
    /// Whether the user may do everything: a truth value.
    pub superuser: Option<ClaimPath>,
    /// Permissions, see [`super::acl::rules`].
    pub acl: Option<ClaimPath>,
    /// The most permissions of a token.
    pub rules_max: usize,
    /// The most attributes of a user.
    pub attributes_max: usize,
    /// The most groups of a user.
    pub groups_max: usize,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            name: "jwt".into(),
            token_place: TokenPlace::default(),
            methods: ["OAUTH2-JWT", "CUSTOM-JWT"].map(Into::into).into(),
            issuer: None,
            other_issuers: OtherIssuers::default(),
            audience: Audience::Unnamed,
            requires_expiry: true,
            leeway: Duration::from_secs(30),
            token_bytes_max: 8192,
            claims: ClaimNames::default(),
        }
    }
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            user_name: ClaimPath::of_name("sub"),
            client_id: None,
            attributes: Vec::new(),
            client_attributes: Some(ClaimPath::of_name("client_attrs")),
            groups: None,
            superuser: None,
            acl: Some(ClaimPath::of_name("acl")),
            rules_max: 100,
            attributes_max: 64,
            groups_max: 64,
        }
    }
}
