//! The only method of enhanced authentication that the broker inside the test process knows.
//!
//! The specification leaves the methods to the Server, so a statement about their course can only
//! be tested with a method that both sides know. This one protects nothing: the Client begins, the
//! broker sends a challenge, and one answer is right.

use std::env;

use midge_broker::{
    AuthAnswer, AuthReply, AuthRequest, EnhancedStep, Hook, Peer, ReasonCode, User,
};

use crate::connect::{Connect, v5};
use crate::packet::Disconnected;
use crate::property::{AUTHENTICATION_DATA, AUTHENTICATION_METHOD, Properties, binary, text};
use crate::request::Auth;
use crate::target::ADDRESS_VARIABLE;

const NAME: &str = "MIDGE-TEST";
const BEGIN: &[u8] = b"begin";
const CHALLENGE: &[u8] = b"\x00challenge\xFF";
const RIGHT_ANSWER: &[u8] = b"\xFFanswer\x00";
const WRONG_ANSWER: &[u8] = b"wrong";
const WELCOME: &[u8] = b"welcome";

/// The method, for a test that may rely on the broker knowing it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ToyMethod;

/// Returns the method. If the broker under test is an external one, which cannot know it, the test
/// has nothing to show: then prints so on standard error and returns `None`.
#[allow(clippy::print_stderr, reason = "who runs the tests has to know which were left out")]
pub fn needs_toy_method() -> Option<ToyMethod> {
    if env::var_os(ADDRESS_VARIABLE).is_some() {
        eprintln!("not tested: the broker of {ADDRESS_VARIABLE} does not know the method {NAME}");
        return None;
    }
    Some(ToyMethod)
}

impl ToyMethod {
    /// Returns a CONNECT that begins with the method.
    pub fn connect(self) -> Connect {
        self.connect_with(BEGIN)
    }

    /// Returns a CONNECT that gives the right answer without being asked.
    pub fn connect_answering(self) -> Connect {
        self.connect_with(RIGHT_ANSWER)
    }

    /// Returns a CONNECT with data that the broker refuses.
    pub fn connect_wrongly(self) -> Connect {
        self.connect_with(WRONG_ANSWER)
    }

    fn connect_with(self, data: &[u8]) -> Connect {
        v5().with(text(AUTHENTICATION_METHOD, NAME)).with(binary(AUTHENTICATION_DATA, data))
    }

    /// Returns an AUTH that begins with the method.
    pub fn begin(self, reason: u8) -> Auth {
        self.auth(reason, BEGIN)
    }

    /// Returns an AUTH with the right answer to the challenge.
    pub fn right_answer(self, reason: u8) -> Auth {
        self.auth(reason, RIGHT_ANSWER)
    }

    /// Returns an AUTH with an answer that the broker refuses.
    pub fn wrong_answer(self, reason: u8) -> Auth {
        self.auth(reason, WRONG_ANSWER)
    }

    /// Returns an AUTH that gives the right answer under another method's name.
    pub fn right_answer_of_another(self, reason: u8) -> Auth {
        let method = text(AUTHENTICATION_METHOD, "midge-test");
        Auth::new(reason).with(method).with(binary(AUTHENTICATION_DATA, RIGHT_ANSWER))
    }

    /// Expects an AUTH with this Reason Code and the challenge.
    pub fn expect_challenge(self, auth: &Disconnected, reason: u8) {
        assert_eq!(auth.reason, reason);
        Self::expect(&auth.properties, CHALLENGE);
    }

    /// Expects the properties of a CONNACK or AUTH that completes the method successfully.
    pub fn expect_welcome(self, properties: &Properties) {
        Self::expect(properties, WELCOME);
    }

    fn expect(properties: &Properties, data: &[u8]) {
        assert_eq!(properties.text(AUTHENTICATION_METHOD), Some(NAME));
        assert_eq!(properties.binary(AUTHENTICATION_DATA), Some(data));
    }

    fn auth(self, reason: u8, data: &[u8]) -> Auth {
        let method = text(AUTHENTICATION_METHOD, NAME);
        Auth::new(reason).with(method).with(binary(AUTHENTICATION_DATA, data))
    }
}

/// The broker's side of the method: anonymous clients are still admitted.
pub(crate) struct ToyHook;

impl Hook for ToyHook {
    fn authenticate(&self, request: AuthRequest, _: &Peer, reply: AuthReply) {
        match &request.enhanced {
            None => reply.allow(None),
            Some(step) => reply.answer(answer(step)),
        }
    }
}

fn answer(step: &EnhancedStep) -> AuthAnswer {
    if &*step.method != NAME {
        return AuthAnswer::Refuse(ReasonCode::BadAuthenticationMethod);
    }
    match step.data.as_deref() {
        Some(BEGIN) => AuthAnswer::Continue(Some(CHALLENGE.into())),
        Some(RIGHT_ANSWER) => {
            AuthAnswer::Allow { user: User::default(), data: Some(WELCOME.into()) }
        }
        _ => AuthAnswer::Refuse(ReasonCode::NotAuthorized),
    }
}
