//! Users who show a token: JSON Web Tokens (RFC 7519) that an issuer has signed.
//!
//! A token is taken apart (`compact`), its signature is checked with a key of the issuer
//! (`key_source`), then its claims (`claims`), and only then they say who the user is (`user`).
//! This module must never show a token or a key in a text, and never open a socket: [`Fetch`] is
//! for that.

pub mod acl;
mod algorithm;
mod claims;
mod compact;
mod config;
#[cfg(feature = "http")]
mod http_fetch;
mod jwk;
mod jwks_url;
mod jwt_member;
mod key;
mod key_file;
mod key_set;
mod key_source;
mod placeholder;
mod quoting;
#[cfg(test)]
mod tests;
mod user;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use claims::{Audience, ClaimPath};
pub use config::{ClaimNames, JwtConfig, OtherIssuers, TokenPlace};
pub use jwks_url::{Document, Fetch, JwksUrl, JwksUrlConfig};
pub use jwt_member::JwtMember;
pub use key::{Key, KeyError};
pub use key_file::{KeyFile, KeyFormat};
pub use key_set::KeySet;
pub use key_source::KeySource;
