//! The one method of enhanced authentication that the broker inside the test process knows.
//!
//! The specification leaves the methods to the Server, so a statement about their course can only
//! be tested with a method that both sides know. This one protects nothing: the Client begins, the
//! broker challenges, and one answer is right.

use std::env;

use midge_broker::{AuthAnswer, AuthReply, AuthRequest, EnhancedStep, Hook, Peer, ReasonCode};

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

/// The method, in the hands of a test that may count on the broker to know it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ToyMethod;

/// The method, unless the broker under test is one of its own that cannot know it: then the test
/// has nothing to show, and standard error says so.
#[allow(clippy::print_stderr, reason = "who runs the tests has to know which were left out")]
pub fn needs_toy_method() -> Option<ToyMethod> {
    if env::var_os(ADDRESS_VARIABLE).is_some() {
        eprintln!("not tested: the broker of {ADDRESS_VARIABLE} does not know the method {NAME}");
        return None;
    }
    Some(ToyMethod)
}

impl ToyMethod {
    /// A CONNECT that begins with the method.
    pub fn connect(self) -> Connect {
        self.connect_with(BEGIN)
    }

    /// A CONNECT that gives the right answer without being asked.
    pub fn connect_answering(self) -> Connect {
        self.connect_with(RIGHT_ANSWER)
    }

    /// A CONNECT with data that are refused.
    pub fn connect_wrongly(self) -> Connect {
        self.connect_with(WRONG_ANSWER)
    }

    fn connect_with(self, data: &[u8]) -> Connect {
        v5().with(text(AUTHENTICATION_METHOD, NAME)).with(binary(AUTHENTICATION_DATA, data))
    }

    /// An AUTH that begins with the method.
    pub fn begin(self, reason: u8) -> Auth {
        self.auth(reason, BEGIN)
    }

    /// An AUTH with the right answer to the challenge.
    pub fn right_answer(self, reason: u8) -> Auth {
        self.auth(reason, RIGHT_ANSWER)
    }

    /// An AUTH with an answer that is refused.
    pub fn wrong_answer(self, reason: u8) -> Auth {
        self.auth(reason, WRONG_ANSWER)
    }

    /// An AUTH that gives the right answer by another method's name.
    pub fn right_answer_of_another(self, reason: u8) -> Auth {
        let method = text(AUTHENTICATION_METHOD, "midge-test");
        Auth::new(reason).with(method).with(binary(AUTHENTICATION_DATA, RIGHT_ANSWER))
    }

    /// Expects an AUTH with this Reason Code and the challenge.
    pub fn expect_challenge(self, auth: &Disconnected, reason: u8) {
        assert_eq!(auth.reason, reason);
        Self::expect(&auth.properties, CHALLENGE);
    }

    /// Expects the properties of the CONNACK or AUTH that ends the method well.
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

/// The broker's side: anonymous clients are let in as ever.
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
        Some(RIGHT_ANSWER) => AuthAnswer::Allow { user_name: None, data: Some(WELCOME.into()) },
        _ => AuthAnswer::Refuse(ReasonCode::NotAuthorized),
    }
}
