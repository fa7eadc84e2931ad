//! A login that has begun: the broker has sent its salt, and the Client has to prove itself.
//!
//! An exchange takes one message and is over. Its nonce is in no other one, so that a proof that
//! somebody has overheard is good for nothing.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use midge_core::User;

use super::message::{ClientFinal, ClientFirst};
use super::scram_member::Verifiers;
use super::verifier::ScramVerifier;
use crate::member::{Exchange, Step, Verdict};

/// Who a Client says that it is.
pub(crate) struct Claimed {
    pub(crate) name: Box<str>,
    /// Whether there is such a user.
    pub(crate) is_known: bool,
    /// Asked for the user only when the Client has proven to be it: otherwise the time that it
    /// takes would tell that there is one.
    pub(crate) verifiers: Arc<dyn Verifiers>,
}

/// A login that has begun.
pub(crate) struct ScramExchange {
    claimed: Claimed,
    verifier: ScramVerifier,
    /// The header of the first message, in base64.
    channel_binding: String,
    nonce: String,
    /// The first message without its header, a comma, the broker's message, a comma.
    auth_message: String,
}

impl ScramExchange {
    /// Answers a first message. `server_nonce` is the broker's part of the nonce.
    pub(crate) fn begin(
        first: &ClientFirst<'_>,
        server_nonce: &str,
        verifier: ScramVerifier,
        claimed: Claimed,
    ) -> (Self, String) {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let salt = Base64::encode_string(&verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let auth_message = format!("{},{answer},", first.bare);
        let channel_binding = Base64::encode_string(first.gs2_header.as_bytes());
        (Self { claimed, verifier, channel_binding, nonce, auth_message }, answer)
    }

    fn finish(mut self, data: &[u8]) -> Result<(User, String), &'static str> {
        let last = ClientFinal::parse(data)?;
        if last.channel_binding != self.channel_binding {
            return Err("the header of the first message is not the one of the last message");
        }
        if last.nonce != self.nonce {
            return Err("the nonce is not the one of this login");
        }
        self.auth_message.push_str(last.without_proof);
        let message = self.auth_message.as_bytes();
        let is_proven = self.verifier.accepts(&last.proof, message);
        let signature = self.verifier.server_signature(message);
        let Claimed { name, is_known, verifiers } = self.claimed;
        match (is_proven, is_known) {
            (true, true) => {
                let answer = format!("v={}", Base64::encode_string(&signature));
                Ok((verifiers.user(&name), answer))
            }
            (false, true) => Err("the password is wrong"),
            (_, false) => Err("there is no such user"),
        }
    }
}

impl Exchange for ScramExchange {
    fn go_on(self: Box<Self>, data: &[u8]) -> Step {
        match self.finish(data) {
            Ok((user, answer)) => Step::Done {
                verdict: Verdict::Allow(Box::new(user)),
                data: Some(answer.into_bytes().into()),
            },
            Err(text) => Step::Done { verdict: Verdict::Deny(text.into()), data: None },
        }
    }
}

/// Shows nothing that a proof is made of.
impl fmt::Debug for ScramExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramExchange").finish_non_exhaustive()
    }
}
