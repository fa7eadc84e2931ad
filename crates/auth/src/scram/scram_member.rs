//! The member of the authentication chain that decides about SCRAM-SHA-256.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use midge_core::User;

use super::exchange::{Claimed, ScramExchange};
use super::message::{ClientFirst, Digest};
use super::preparing::prepare;
use super::random::Random;
use super::verifier::{ScramVerifier, hmac};
use crate::login::Login;
use crate::member::{Member, Step, Verdict};

/// Knows the users.
pub trait Verifiers: Send + Sync {
    /// Returns what is kept of a user's password; `None` if there is no such user. `name` is
    /// prepared by SASLprep.
    ///
    /// # Errors
    ///
    /// A text for the log: it cannot be found out now.
    fn verifier(&self, name: &str) -> Result<Option<ScramVerifier>, String>;

    /// Returns what is known of a user. Called when a Client has proven to be it.
    fn user(&self, name: &str) -> User {
        User::named(name)
    }
}

/// How a [`ScramMember`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramConfig {
    /// The member's name.
    pub name: Box<str>,
    /// The iterations that are named for users who do not exist. Those of all users should be the
    /// same.
    pub iterations: NonZeroU32,
}

impl Default for ScramConfig {
    fn default() -> Self {
        let iterations = NonZeroU32::new(ScramVerifier::ITERATIONS_MIN).unwrap_or(NonZeroU32::MIN);
        Self { name: "scram".into(), iterations }
    }
}

/// The member of the authentication chain that decides about SCRAM-SHA-256. There can be one in a
/// chain, because to Clients it knows every name.
pub struct ScramMember {
    config: ScramConfig,
    verifiers: Arc<dyn Verifiers>,
    secret: Digest,
    random: Arc<dyn Random>,
}

impl ScramMember {
    /// A member that lets in who proves to be one of the users. `secret` makes up salts for names
    /// that nobody has; it must be the same after a restart, and on each node.
    pub fn new(
        config: ScramConfig,
        verifiers: Arc<dyn Verifiers>,
        secret: [u8; 32],
        random: Arc<dyn Random>,
    ) -> Self {
        Self { config, verifiers, secret, random }
    }

    fn answer(&self, login: &Login) -> Result<Step, Verdict> {
        let refused = |text: &str| Verdict::Deny(text.into());
        let Some(data) = login.data.as_deref() else {
            return Err(refused("there is no Authentication Data: the Client has to begin"));
        };
        let first = ClientFirst::parse(data).map_err(refused)?;
        let name = prepare(&first.name).ok_or_else(|| refused("SASLprep forbids the name"))?;
        let is_name = |other: &str| prepare(other).is_some_and(|other| other == name);
        if first.authorization_id.as_deref().is_some_and(|other| !is_name(other)) {
            return Err(refused("the Client wants to act for another user"));
        }
        if login.user_name.as_deref().is_some_and(|other| !is_name(other)) {
            return Err(refused("the User Name is not the name of the SCRAM message"));
        }
        if login.present_user.as_deref().is_some_and(|present| *present != *name) {
            return Err(refused("the name is not that of the user that the Client is"));
        }
        // Made up for each name, so that it takes as long whether or not there is such a user.
        let made_up = self.made_up(&name);
        let found = self.verifiers.verifier(&name).map_err(Verdict::Failed)?;
        let (is_known, verifiers) = (found.is_some(), Arc::clone(&self.verifiers));
        let claimed = Claimed { name: name.into(), is_known, verifiers };
        let verifier = found.unwrap_or(made_up);
        let (exchange, answer) = ScramExchange::begin(&first, &self.nonce()?, verifier, claimed);
        Ok(Step::Continue(answer.into_bytes().into(), Box::new(exchange)))
    }

    /// The verifier of a name that nobody has. It is always the same, and accepts nothing.
    fn made_up(&self, name: &str) -> ScramVerifier {
        let made_of = |what: &str| hmac(&self.secret, format!("{what}\0{name}").as_bytes());
        ScramVerifier {
            iterations: self.config.iterations,
            salt: made_of("salt")[..ScramVerifier::SALT_BYTES].into(),
            stored_key: made_of("stored key"),
            server_key: made_of("server key"),
        }
    }

    /// The broker's part of the nonce.
    fn nonce(&self) -> Result<String, Verdict> {
        let mut bytes = [0; 18];
        match self.random.fill(&mut bytes) {
            true => Ok(Base64::encode_string(&bytes)),
            false => Err(Verdict::Failed("the machine has no random numbers".into())),
        }
    }
}

impl Member for ScramMember {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn authenticate(&self, _: &Login) -> Verdict {
        Verdict::NotMine
    }

    fn begin(&self, login: &Login) -> Step {
        if login.method.as_deref() != Some(ScramVerifier::MECHANISM) {
            return Step::Done { verdict: Verdict::NotMine, data: None };
        }
        self.answer(login).unwrap_or_else(|verdict| Step::Done { verdict, data: None })
    }
}

impl fmt::Debug for ScramMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramMember").field("config", &self.config).finish_non_exhaustive()
    }
}
