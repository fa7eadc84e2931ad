//! The authentication chain: members are asked in turn until one of them decides.
//!
//! A login that is nobody's is refused. A member that cannot decide ends the chain: nobody is let
//! in because the one that would have refused was away.

use std::fmt;
use std::sync::Arc;

use midge_codec::ReasonCode;
use midge_core::{AuthAnswer, Identity, User};

use crate::login::Login;
use crate::member::{Exchange, Member, Step, Verdict};

/// Members in the order in which they are asked.
#[derive(Clone, Default)]
pub struct Chain {
    members: Vec<Arc<dyn Member>>,
    lets_anonymous_in: bool,
}

/// What the chain says of a login.
#[derive(Debug)]
pub struct Outcome {
    /// The answer for the Client.
    pub answer: AuthAnswer,
    /// What the next AUTH goes on with, if the answer is [`AuthAnswer::Continue`].
    pub exchange: Option<Box<MemberExchange>>,
    /// What the log says of a refusal. It holds no secret.
    pub refusal: Option<String>,
}

/// An enhanced authentication that a member has begun.
#[derive(Debug)]
pub struct MemberExchange {
    member: Box<str>,
    exchange: Box<dyn Exchange>,
}

impl Chain {
    /// A chain of these members. `lets_anonymous_in`: whether a Client that shows nothing is let in
    /// as nobody in particular.
    pub fn new(members: Vec<Arc<dyn Member>>, lets_anonymous_in: bool) -> Self {
        Self { members, lets_anonymous_in }
    }

    /// Returns whether the chain has no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns whether Clients that show nothing come in.
    pub fn lets_anonymous_in(&self) -> bool {
        self.lets_anonymous_in
    }

    /// Decides about a login if that costs next to nothing, so that it need not wait for others.
    pub fn decide_quickly(&self, login: &Login) -> Option<Outcome> {
        if self.members.is_empty() || login.method.is_none() && login.shows_nothing() {
            return Some(self.decide(login));
        }
        if login.method.is_some() {
            return None;
        }
        for member in &self.members {
            match member.recall(login)? {
                Verdict::NotMine => {}
                verdict => return Some(Outcome::of_verdict(member.name(), verdict, None, login)),
            }
        }
        Some(self.nobodys(login))
    }

    /// Returns whether the member that has let a Client in still would: its user is there. A Client
    /// whose member is not in the chain any more has to go, too.
    pub fn still_knows(&self, client: &Identity) -> bool {
        let Some(name) = client.facts.as_ref().and_then(|facts| facts.member.as_deref()) else {
            return self.lets_anonymous_in || client.user_name.is_some();
        };
        let member = self.members.iter().find(|member| member.name() == name);
        member.is_some_and(|member| member.still_knows(client))
    }

    /// Returns how much memory a decision may need, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.members.iter().map(|member| member.memory_bytes()).max().unwrap_or(0)
    }

    /// Decides about a login, or begins an enhanced authentication. May take its time.
    pub fn decide(&self, login: &Login) -> Outcome {
        if login.method.is_some() {
            return self.begin(login);
        }
        if login.shows_nothing() {
            return match self.lets_anonymous_in {
                true => Outcome::of(AuthAnswer::allow(None)),
                false => Outcome::refuse(ReasonCode::NotAuthorized, "anonymous".into()),
            };
        }
        for member in &self.members {
            match member.authenticate(login) {
                Verdict::NotMine => {}
                verdict => return Outcome::of_verdict(member.name(), verdict, None, login),
            }
        }
        self.nobodys(login)
    }

    /// Returns what becomes of a login that no member knows.
    fn nobodys(&self, login: &Login) -> Outcome {
        if self.members.is_empty() && self.lets_anonymous_in {
            // There is nobody who could check its name.
            return Outcome::of(AuthAnswer::allow(None));
        }
        let refusal = "no member of the chain knows it".to_string();
        Outcome::refuse(denied(login), refusal)
    }

    fn begin(&self, login: &Login) -> Outcome {
        for member in &self.members {
            match member.begin(login) {
                Step::Done { verdict: Verdict::NotMine, .. } => {}
                step => return Outcome::of_step(member.name().into(), step, login),
            }
        }
        let refusal = "nobody knows its Authentication Method".to_string();
        Outcome::refuse(ReasonCode::BadAuthenticationMethod, refusal) // [MQTT-4.12.0-1]
    }
}

impl Login {
    /// Returns whether there is nothing that could say who the Client is. The Client Identifier
    /// does not.
    pub fn shows_nothing(&self) -> bool {
        self.user_name.is_none()
            && self.password.is_none()
            && self.certificates.is_empty()
            && self.proxy_common_name.is_none()
    }
}

impl MemberExchange {
    /// Goes on with the Authentication Data of the AUTH that `login` came with.
    pub fn go_on(self, login: &Login) -> Outcome {
        let step = self.exchange.go_on(login.data.as_deref().unwrap_or_default());
        Outcome::of_step(self.member, step, login)
    }
}

impl Outcome {
    fn of(answer: AuthAnswer) -> Self {
        Self { answer, exchange: None, refusal: None }
    }

    fn refuse(code: ReasonCode, refusal: String) -> Self {
        Self { answer: AuthAnswer::Refuse(code), exchange: None, refusal: Some(refusal) }
    }

    /// The outcome of an authentication for which there was no time or no room.
    pub fn busy(refusal: &str) -> Self {
        Self::refuse(ReasonCode::ServerBusy, refusal.into())
    }

    fn of_step(member: Box<str>, step: Step, login: &Login) -> Self {
        match step {
            Step::Continue(data, exchange) => Self {
                exchange: Some(Box::new(MemberExchange { member, exchange })),
                ..Self::of(AuthAnswer::Continue(Some(data)))
            },
            Step::Done { verdict, data } => Self::of_verdict(&member, verdict, data, login),
        }
    }

    fn of_verdict(member: &str, verdict: Verdict, data: Option<Box<[u8]>>, login: &Login) -> Self {
        match verdict {
            Verdict::Allow(user) => {
                let mut user: User = *user;
                user.facts.member = Some(member.into());
                Self::of(AuthAnswer::Allow { user, data })
            }
            Verdict::Deny(refusal) => Self::refuse(denied(login), format!("{member}: {refusal}")),
            Verdict::NotMine => Self::refuse(denied(login), format!("{member}: it is not mine")),
            Verdict::Failed(refusal) => {
                let refusal = format!("{member} cannot decide: {refusal}");
                Self::refuse(ReasonCode::ServerUnavailable, refusal)
            }
        }
    }
}

/// The Reason Code for a login that is refused, whether or not there is such a user.
fn denied(login: &Login) -> ReasonCode {
    match login.user_name.is_some() || login.password.is_some() {
        true => ReasonCode::BadUserNameOrPassword,
        false => ReasonCode::NotAuthorized,
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.members.iter().map(|member| member.name());
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same of every login.
    struct Always(&'static str, Verdict);

    impl Member for Always {
        fn name(&self) -> &str {
            self.0
        }

        fn authenticate(&self, _: &Login) -> Verdict {
            self.1.clone()
        }
    }

    /// Wants the word `two` after the word `one`.
    #[derive(Debug)]
    struct TwoWords;

    impl Member for TwoWords {
        fn name(&self) -> &str {
            "words"
        }

        fn authenticate(&self, _: &Login) -> Verdict {
            Verdict::NotMine
        }

        fn begin(&self, login: &Login) -> Step {
            match login.method.as_deref() == Some("WORDS") {
                true => Step::Continue(b"next".as_slice().into(), Box::new(Self)),
                false => Step::Done { verdict: Verdict::NotMine, data: None },
            }
        }
    }

    impl Exchange for TwoWords {
        fn go_on(self: Box<Self>, data: &[u8]) -> Step {
            let verdict = match data {
                b"two" => Verdict::Allow(Box::new(User::named("w"))),
                _ => Verdict::Deny("it said something else".into()),
            };
            Step::Done { verdict, data: Some(b"end".as_slice().into()) }
        }
    }

    fn chain(verdicts: &[Verdict]) -> Chain {
        let members = verdicts.iter().map(|it| Arc::new(Always("m", it.clone())) as _);
        Chain::new(members.collect(), false)
    }

    fn login() -> Login {
        Login { client_id: "c".into(), user_name: Some("u".into()), ..Login::default() }
    }

    fn decided(verdicts: &[Verdict]) -> AuthAnswer {
        chain(verdicts).decide(&login()).answer
    }

    fn allow() -> Verdict {
        Verdict::Allow(Box::new(User::named("u")))
    }

    #[test]
    fn the_first_member_that_knows_a_login_decides() {
        let deny = || Verdict::Deny("no".into());
        let refused = AuthAnswer::Refuse(ReasonCode::BadUserNameOrPassword);
        assert!(matches!(decided(&[Verdict::NotMine, allow(), deny()]), AuthAnswer::Allow { .. }));
        assert_eq!(decided(&[Verdict::NotMine, deny(), allow()]), refused);
        assert_eq!(decided(&[Verdict::NotMine]), refused, "nobody knows it");
        assert_eq!(decided(&[]), refused);
    }

    #[test]
    fn a_member_that_has_failed_ends_the_chain() {
        let failed = || Verdict::Failed("away".into());
        let answer = AuthAnswer::Refuse(ReasonCode::ServerUnavailable);
        assert_eq!(decided(&[failed(), allow()]), answer);
        assert_eq!(decided(&[Verdict::NotMine, failed(), allow()]), answer);
    }

    #[test]
    fn who_shows_nothing_is_let_in_only_if_that_is_said() {
        let nothing = Login { client_id: "c".into(), ..Login::default() };
        let decided = |lets_in| Chain::new(Vec::new(), lets_in).decide(&nothing).answer;
        assert_eq!(decided(true), AuthAnswer::allow(None));
        assert_eq!(decided(false), AuthAnswer::Refuse(ReasonCode::NotAuthorized));
        // A name that nobody has checked is no name.
        let named = |members| Chain::new(members, true).decide(&login()).answer;
        assert_eq!(named(Vec::new()), AuthAnswer::allow(None));
        let refused = AuthAnswer::Refuse(ReasonCode::BadUserNameOrPassword);
        assert_eq!(named(vec![Arc::new(Always("m", Verdict::NotMine))]), refused);
    }

    /// Knows some logins without asking anybody.
    struct Recalls(Option<Verdict>);

    impl Member for Recalls {
        fn name(&self) -> &str {
            "recalls"
        }

        fn authenticate(&self, _: &Login) -> Verdict {
            panic!("it is not asked on this thread")
        }

        fn recall(&self, _: &Login) -> Option<Verdict> {
            self.0.clone()
        }
    }

    #[test]
    fn what_every_member_can_recall_is_decided_quickly() {
        let quickly = |recalled: &[Option<Verdict>]| {
            let members = recalled.iter().map(|it| Arc::new(Recalls(it.clone())) as _);
            let chain = Chain::new(members.collect(), false);
            chain.decide_quickly(&login()).map(|outcome| outcome.answer)
        };
        let refused = Some(AuthAnswer::Refuse(ReasonCode::BadUserNameOrPassword));
        let not_mine = || Some(Verdict::NotMine);
        assert!(matches!(quickly(&[not_mine(), Some(allow())]), Some(AuthAnswer::Allow { .. })));
        assert_eq!(quickly(&[not_mine(), None, Some(allow())]), None, "its turn comes first");
        assert_eq!(quickly(&[not_mine()]), refused);
        let with_method = Login { method: Some("M".into()), ..login() };
        let chain = Chain::new(vec![Arc::new(Recalls(Some(allow())))], false);
        assert!(chain.decide_quickly(&with_method).is_none());
    }

    #[test]
    fn a_user_is_remembered_with_the_member_that_let_it_in() {
        let AuthAnswer::Allow { user, .. } = decided(&[allow()]) else {
            panic!("it is allowed");
        };
        assert_eq!(user.facts.member.as_deref(), Some("m"));
    }

    #[test]
    fn an_enhanced_authentication_goes_on_with_its_member() {
        let chain = Chain::new(vec![Arc::new(Always("m", allow())), Arc::new(TwoWords)], false);
        let login = |method: &str, data: &[u8]| Login {
            method: Some(method.into()),
            data: Some(data.into()),
            ..Login::default()
        };
        let go_on = |data: &[u8]| {
            let outcome = chain.decide(&login("WORDS", b"one"));
            assert_eq!(outcome.answer, AuthAnswer::Continue(Some(b"next".as_slice().into())));
            outcome.exchange.unwrap().go_on(&login("WORDS", data))
        };
        assert!(matches!(go_on(b"two").answer, AuthAnswer::Allow { data: Some(_), .. }));
        assert_eq!(go_on(b"to").answer, AuthAnswer::Refuse(ReasonCode::NotAuthorized));
        let unknown = chain.decide(&login("OTHER", b"one")).answer;
        assert_eq!(unknown, AuthAnswer::Refuse(ReasonCode::BadAuthenticationMethod));
    }
}
