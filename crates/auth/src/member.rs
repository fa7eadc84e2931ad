//! A member of the authentication chain.

use std::fmt;

use midge_core::{Identity, User};

use crate::login::Login;

/// A member of the authentication chain: it decides about logins that are its own.
pub trait Member: Send + Sync {
    /// The member's name in the configuration, in logs and in what is stored with a Session.
    fn name(&self) -> &str;

    /// Decides about a login. Called on a thread on which it may take its time.
    fn authenticate(&self, login: &Login) -> Verdict;

    /// Decides about a login if that takes microseconds, on any thread; `None` if it does not.
    fn recall(&self, login: &Login) -> Option<Verdict> {
        let _ = login;
        None
    }

    /// Returns how much memory a decision may need for its time, in bytes.
    fn memory_bytes(&self) -> u64 {
        0
    }

    /// Returns whether a user that the member has let in before may still come in. Asked when what
    /// the member knows has changed.
    fn still_knows(&self, client: &Identity) -> bool {
        let _ = client;
        true
    }

    /// Begins an enhanced authentication (MQTT 5.0 section 4.12). Called for each
    /// [`Login::method`]; a method that is not the member's own is [`Verdict::NotMine`]. `login`
    /// has the first Authentication Data.
    fn begin(&self, login: &Login) -> Step {
        let _ = login;
        Step::Done { verdict: Verdict::NotMine, data: None }
    }
}

/// What a member says of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The Client is this user.
    Allow(Box<User>),
    /// The Client is not who it says. The text is for the log, and holds no secret.
    Deny(String),
    /// Another member has to decide.
    NotMine,
    /// The member cannot decide now: nobody is let in, and no other member is asked. The text is
    /// for the log, and holds no secret.
    Failed(String),
}

/// What follows in an enhanced authentication.
#[derive(Debug)]
pub enum Step {
    /// The Client gets this Authentication Data and goes on.
    Continue(Box<[u8]>, Box<dyn Exchange>),
    /// It is decided. `data`: Authentication Data for the CONNACK or AUTH if the Client is allowed.
    Done {
        /// The decision.
        verdict: Verdict,
        /// Authentication Data.
        data: Option<Box<[u8]>>,
    },
}

/// An enhanced authentication that has begun.
pub trait Exchange: Send + fmt::Debug {
    /// Goes on with the Authentication Data of the next AUTH.
    fn go_on(self: Box<Self>, data: &[u8]) -> Step;
}
