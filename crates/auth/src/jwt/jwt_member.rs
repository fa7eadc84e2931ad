//! The member of the authentication chain that decides about tokens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use midge_core::User;

use super::algorithm::{Algorithm, AlgorithmSet};
use super::claims::Times;
use super::compact::{Claims, Compact, CompactError};
use super::config::{JwtConfig, OtherIssuers, TokenPlace};
use super::key_source::KeySource;
use super::quoting::quoted;
use crate::clock::Clock;
use crate::login::{Login, looks_like_token};
use crate::member::{Member, Step, Verdict};

/// The member of the authentication chain that decides about tokens.
pub struct JwtMember {
    config: JwtConfig,
    algorithms: AlgorithmSet,
    keys: Box<dyn KeySource>,
    clock: Arc<dyn Clock>,
}

impl JwtMember {
    /// A member that lets in who has a token that is signed with one of `keys`, by one of
    /// `algorithms`.
    pub fn new(
        config: JwtConfig,
        algorithms: AlgorithmSet,
        keys: Box<dyn KeySource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { config, algorithms, keys, clock }
    }

    /// Does what is due with the keys; see [`KeySource::maintain`].
    pub fn maintain(&self) {
        self.keys.maintain();
    }

    /// Says what keeps the member from having the newest keys.
    pub fn problem(&self) -> Option<String> {
        self.keys.problem()
    }

    fn decide(&self, token: &[u8], login: &Login) -> Verdict {
        if token.len() > self.config.token_bytes_max {
            let max = self.config.token_bytes_max;
            return match looks_like_token(token) {
                true => Verdict::Deny(format!("the token has more than {max} bytes")),
                false => Verdict::NotMine,
            };
        }
        let token = match Compact::parse(token) {
            Ok(token) => token,
            Err(CompactError::NoToken) => return Verdict::NotMine,
            Err(CompactError::Refused(text)) => return Verdict::Deny(text.into()),
        };
        if !self.is_of_issuer(&token.claims) {
            return match self.config.other_issuers {
                OtherIssuers::NotMine => Verdict::NotMine,
                OtherIssuers::Refused => Verdict::Deny("the token is of another issuer".into()),
            };
        }
        let Some(algorithm) = self.allowed(&token.algorithm) else {
            return Verdict::Deny(format!(
                "the token is signed with {}, allowed are {}",
                quoted(&token.algorithm),
                self.algorithms
            ));
        };
        let keys = match self.keys.keys(token.key_id.as_deref()) {
            Ok(keys) => keys,
            Err(text) => return Verdict::Failed(text),
        };
        let verified =
            keys.verify(algorithm, token.key_id.as_deref(), token.signed, &token.signature);
        match verified.and_then(|()| self.user(&token.claims, login)) {
            Ok(user) => Verdict::Allow(Box::new(user)),
            Err(text) => Verdict::Deny(text),
        }
    }

    fn allowed(&self, algorithm: &str) -> Option<Algorithm> {
        Algorithm::named(algorithm).filter(|it| self.algorithms.contains(*it))
    }

    fn is_of_issuer(&self, claims: &Claims) -> bool {
        match &self.config.issuer {
            Some(issuer) => claims.get("iss").is_some_and(|it| it == &**issuer),
            None => true,
        }
    }

    /// Checks the claims of a token whose signature is right.
    fn user(&self, claims: &Claims, login: &Login) -> Result<User, String> {
        let config = &self.config;
        let times = Times { requires_expiry: config.requires_expiry, leeway: config.leeway };
        let now = self.clock.since_1970();
        let ends = times.check(claims, now)?;
        config.audience.check(claims)?;
        let mut user = config.claims.user(claims, &login.client_id)?;
        if let Some(present) = &login.present_user
            && user.name.as_ref() != Some(present)
        {
            return Err(format!("the token is not for the user {} that it is", quoted(present)));
        }
        user.facts.expires_at = ends;
        user.valid_for = ends.map(|ends| Duration::from_secs(ends).saturating_sub(now));
        Ok(user)
    }
}

impl Member for JwtMember {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn authenticate(&self, login: &Login) -> Verdict {
        let token = match self.config.token_place {
            TokenPlace::Password => login.password.as_deref(),
            TokenPlace::UserName => login.user_name.as_deref().map(str::as_bytes),
        };
        token.map_or(Verdict::NotMine, |token| self.decide(token, login))
    }

    fn begin(&self, login: &Login) -> Step {
        let method = login.method.as_deref();
        let is_mine = method.is_some_and(|it| self.config.methods.iter().any(|own| **own == *it));
        let verdict = match (is_mine, login.data.as_deref()) {
            (false, _) => Verdict::NotMine,
            (true, None) => Verdict::Deny("there is no Authentication Data".into()),
            (true, Some(token)) => match self.decide(token, login) {
                // Another issuer's, which another member may know, or no token at all.
                Verdict::NotMine if Compact::parse(token).is_err() => {
                    Verdict::Deny("the Authentication Data is no token".into())
                }
                verdict => verdict,
            },
        };
        Step::Done { verdict, data: None }
    }
}

impl fmt::Debug for JwtMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtMember")
            .field("config", &self.config)
            .field("algorithms", &format_args!("{}", self.algorithms))
            .finish_non_exhaustive()
    }
}
