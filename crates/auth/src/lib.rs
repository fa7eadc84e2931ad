//! Who a Client is, and what it may do.
//!
//! Members of the authentication chain ([`Member`]) decide about a [`Login`]; sources of rules
//! ([`RuleSource`]) have opinions on what an authenticated Client does ([`Action`]). This crate
//! must never know a socket, a worker, or how a Control Packet is encoded.
//!
//! The way of a decision: a configuration becomes a [`Model`] (registered clients, groups by
//! [`Query`], topic spaces of [`Template`]s, bindings) and [`Rule`]s, both plain values. An
//! [`AccessPolicy`] compiles them and whatever other sources there are. It judges a Client when it
//! connects and when the policy changes; the [`ClientPolicy`] that comes out decides about each
//! message. `docs/access-model.md` says what it means to people.

mod acl_file;
mod ban;
mod bindings;
mod bounded_map;
mod chain;
#[cfg(feature = "jwt")]
mod clock;
mod credential;
mod dynamic_security;
mod flapping;
mod forwarded;
mod groups;
mod host_network;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "jwt")]
pub mod jwt;
mod login;
mod member;
mod model;
#[cfg(feature = "passwords")]
pub mod password;
mod pattern;
mod policy;
mod policy_file;
mod pool;
mod query;
mod rule;
mod rule_set;
mod rule_source;
#[cfg(feature = "scram")]
pub mod scram;
mod statements;
mod template;
mod throttle;
pub mod topic_filter;
mod tree;
#[cfg(feature = "http")]
mod webhook;

pub use acl_file::AclFile;
pub use ban::{Ban, BanSubject, BanTextError, Bans, TooManyBans};
pub use chain::{Chain, MemberExchange, Outcome};
#[cfg(feature = "jwt")]
pub use clock::{Clock, SystemClock};
pub use dynamic_security::{DynamicSecurity, DynamicUser};
pub use flapping::{Flapping, FlappingTerms};
pub use forwarded::{ForwardedHeader, TrustedProxies};
pub use host_network::HostNetwork;
#[cfg(feature = "http")]
pub use http::{
    HttpAnswer, HttpClient, HttpError, HttpHeaders, HttpOptions, HttpProblem, HttpSetupError,
    HttpUrl,
};
pub use login::Login;
pub use member::{Exchange, Member, Step, Verdict};
pub use model::{
    ALL_CLIENTS, Binding, ClientGroup, Model, ModelError, Permission, RegisteredClient, TopicSpace,
};
pub use policy::{AccessPolicy, ClientPolicy, DecidedBy, Decision, DefaultAccess};
pub use policy_file::PolicyFileError;
pub use pool::{JobTerms, Pool, PoolFigures, PoolOptions, Unanswered};
pub use query::{Query, QueryError};
pub use rule::{QosSet, Rule, RuleError, TopicPattern, Who};
pub use rule_set::RuleSet;
pub use rule_source::{Action, Judge, Opinion, RuleSource};
pub use template::{Part, Template, TemplateError, TemplateLevel, Variable};
pub use throttle::{Attempt, Slowing, Throttle, ThrottleFigures, ThrottleTerms};
#[cfg(feature = "http")]
pub use webhook::{
    Webhook, WebhookCache, WebhookCredentials, WebhookDialect, WebhookFigures, WebhookOptions,
};
