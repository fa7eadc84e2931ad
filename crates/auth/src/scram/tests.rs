//! Logins by SCRAM-SHA-256, with a Client that keeps to the standard and some that do not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64ct::{Base64, Encoding as _};
use midge_core::User;
use proptest::prelude::*;

use super::exchange::{Claimed, ScramExchange};
use super::message::ClientFirst;
use super::*;
use crate::login::Login;
use crate::member::{Exchange, Member, Step, Verdict};

const PASSWORD: &str = "canary pencil";

/// Some users, who all have the same password.
struct TestUsers;

impl Verifiers for TestUsers {
    fn verifier(&self, name: &str) -> Result<Option<ScramVerifier>, String> {
        match name {
            "broken" => Err("the file of users is away".into()),
            "ann" | "bob" | "a,b=c" | "IX" => {
                let salt = [name.as_bytes()[0]; ScramVerifier::SALT_BYTES];
                Ok(Some(ScramVerifier::derive(PASSWORD, &salt, iterations()).unwrap()))
            }
            _ => Ok(None),
        }
    }
}

fn iterations() -> NonZeroU32 {
    NonZeroU32::new(4096).unwrap()
}

/// Counts, so that no nonce comes twice.
#[derive(Default)]
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) -> bool {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
        true
    }
}

fn member() -> ScramMember {
    let random = Arc::new(Counting::default());
    ScramMember::new(ScramConfig::default(), Arc::new(TestUsers), [5; 32], random)
}

fn login(first: &[u8]) -> Login {
    Login {
        client_id: "c".into(),
        method: Some("SCRAM-SHA-256".into()),
        data: Some(first.into()),
        ..Login::default()
    }
}

/// The broker's first message, and what goes on.
fn begun(member: &ScramMember, login: &Login) -> (String, Box<dyn Exchange>) {
    match member.begin(login) {
        Step::Continue(data, exchange) => (String::from_utf8(data.into()).unwrap(), exchange),
        other => panic!("{other:?}"),
    }
}

fn refused(step: Step) -> String {
    match step {
        Step::Done { verdict: Verdict::Deny(text) | Verdict::Failed(text), data: None } => {
            assert!(!text.contains("canary") && !text.contains("v="), "{text}");
            text
        }
        other => panic!("{other:?}"),
    }
}

/// What a Client answers, and what it expects then.
fn proof(header: &str, bare: &str, server_first: &str, password: &str) -> (String, String) {
    let mut parts = server_first.split(',');
    let mut part = |name: &str| parts.next().unwrap().strip_prefix(name).unwrap();
    let (nonce, salt) = (part("r="), Base64::decode_vec(part("s=")).unwrap());
    let iterations = part("i=").parse().unwrap();
    let hmac = |key: &[u8], message: &[u8]| -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().into()
    };
    let mut salted = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut salted);
    let client_key = hmac(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let without_proof = format!("c={},r={nonce}", Base64::encode_string(header.as_bytes()));
    let message = format!("{bare},{server_first},{without_proof}");
    let signature = hmac(stored_key.as_ref(), message.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(one, other)| one ^ other).collect();
    let server_key = hmac(&salted, b"Server Key");
    let expected = format!("v={}", Base64::encode_string(&hmac(&server_key, message.as_bytes())));
    (format!("{without_proof},p={}", Base64::encode_string(&proof)), expected)
}

/// A whole login; returns the name of the user.
fn logged_in(header: &str, bare: &str, password: &str) -> Result<String, String> {
    let (answer, exchange) = begun(&member(), &login(format!("{header}{bare}").as_bytes()));
    let (last, expected) = proof(header, bare, &answer, password);
    match exchange.go_on(last.as_bytes()) {
        Step::Done { verdict: Verdict::Allow(user), data: Some(data) } => {
            assert_eq!(&*data, expected.as_bytes(), "the broker proves itself, too");
            Ok(user.name.unwrap().into())
        }
        step => Err(refused(step)),
    }
}

/// RFC 7677 section 3.
#[test]
fn the_example_of_the_standard_is_right() {
    let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = ScramVerifier::derive("pencil", &salt, iterations()).unwrap();
    assert_eq!(
        verifier.to_string(),
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=\
         :wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    );
    let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
    let claimed = Claimed { name: "user".into(), is_known: true, verifiers: Arc::new(TestUsers) };
    let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let (exchange, answer) = ScramExchange::begin(&first, nonce, verifier, claimed);
    assert_eq!(
        answer,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    match Box::new(exchange).go_on(last) {
        Step::Done { verdict: Verdict::Allow(user), data: Some(data) } => {
            assert_eq!(user.name.as_deref(), Some("user"));
            assert_eq!(&*data, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_knows_the_password_is_let_in() {
    for (header, bare, name) in [
        ("n,,", "n=ann,r=abc", "ann"),
        ("y,,", "n=ann,r=abc,x=extension", "ann"),
        ("n,a=ann,", "n=ann,r=abc", "ann"),
        ("n,a=a=2Cb=3Dc,", "n=a=2Cb=3Dc,r=abc", "a,b=c"),
        // Prepared by SASLprep.
        ("n,,", "n=I\u{AD}X,r=abc", "IX"),
    ] {
        assert_eq!(logged_in(header, bare, PASSWORD).as_deref(), Ok(name), "{bare}");
    }
}

#[test]
fn who_does_not_is_refused() {
    for password in ["", "canary", "Canary pencil", "canary pencil "] {
        assert_eq!(logged_in("n,,", "n=ann,r=abc", password).unwrap_err(), "the password is wrong");
    }
    assert_eq!(logged_in("n,,", "n=nobody,r=a", PASSWORD).unwrap_err(), "there is no such user");
}

/// Otherwise the time that it takes to find out would tell that there is such a user.
#[test]
fn nothing_more_is_found_out_about_a_user_before_the_proof() {
    struct Ann(AtomicU8);
    impl Verifiers for Ann {
        fn verifier(&self, name: &str) -> Result<Option<ScramVerifier>, String> {
            TestUsers.verifier(name)
        }

        fn user(&self, name: &str) -> User {
            self.0.fetch_add(1, Ordering::Relaxed);
            User { valid_for: Some(Duration::from_secs(9)), ..User::named(name) }
        }
    }
    let (users, random) = (Arc::new(Ann(AtomicU8::new(0))), Arc::new(Counting::default()));
    let member = ScramMember::new(ScramConfig::default(), Arc::clone(&users) as _, [5; 32], random);
    for (password, asked) in [("wrong", 0), (PASSWORD, 1)] {
        let (answer, exchange) = begun(&member, &login(b"n,,n=ann,r=abc"));
        let step = exchange.go_on(proof("n,,", "n=ann,r=abc", &answer, password).0.as_bytes());
        if let Step::Done { verdict: Verdict::Allow(user), .. } = step {
            assert_eq!(user.valid_for, Some(Duration::from_secs(9)));
        }
        assert_eq!(users.0.load(Ordering::Relaxed), asked);
    }
}

#[test]
fn a_name_that_nobody_has_looks_like_any_other() {
    let answer = |name: &str| {
        let (answer, _) = begun(&member(), &login(format!("n,,n={name},r=abc").as_bytes()));
        answer
    };
    let (known, unknown) = (answer("ann"), answer("nobody"));
    assert_eq!(unknown, answer("nobody"), "the salt stays the same");
    assert_ne!(unknown, answer("somebody"));
    assert_eq!(known.len(), unknown.len());
    let without_salt = |answer: &str| {
        let (before, salt) = answer.split_once(",s=").unwrap();
        assert_eq!(Base64::decode_vec(&salt[..24]).unwrap().len(), 16);
        format!("{before}{}", &salt[24..])
    };
    assert_eq!(without_salt(&known), without_salt(&unknown));
    // Another secret makes up another salt.
    let random = Arc::new(Counting::default());
    let other = ScramMember::new(ScramConfig::default(), Arc::new(TestUsers), [6; 32], random);
    assert_ne!(unknown, begun(&other, &login(b"n,,n=nobody,r=abc")).0);
}

#[test]
fn first_messages_that_are_refused() {
    let member = member();
    for first in [
        "p=tls-exporter,,n=ann,r=abc",
        "n,a=bob,n=ann,r=abc",
        "n,,n=\u{7},r=abc",
        "n,,n=\u{AD},r=abc",
        "c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "",
    ] {
        refused(member.begin(&login(first.as_bytes())));
    }
    refused(member.begin(&Login { data: None, ..login(b"") }));
    let named = |name: &str| Login { user_name: Some(name.into()), ..login(b"n,,n=ann,r=a") };
    refused(member.begin(&named("bob")));
    begun(&member, &named("ann"));
    match member.begin(&login(b"n,,n=broken,r=a")) {
        Step::Done { verdict: Verdict::Failed(_), data: None } => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_methods_and_passwords_are_for_other_members() {
    let member = member();
    for method in [None, Some("SCRAM-SHA-1"), Some("SCRAM-SHA-256-PLUS"), Some("scram-sha-256")] {
        let login = Login { method: method.map(Into::into), ..login(b"n,,n=ann,r=abc") };
        let step = member.begin(&login);
        assert!(matches!(step, Step::Done { verdict: Verdict::NotMine, data: None }), "{step:?}");
    }
    let password = Login { password: Some(PASSWORD.as_bytes().into()), ..Login::default() };
    assert_eq!(member.authenticate(&password), Verdict::NotMine);
}

#[test]
fn who_authenticates_anew_stays_the_same_user() {
    let member = member();
    let anew =
        |present: &str| Login { present_user: Some(present.into()), ..login(b"n,,n=ann,r=a") };
    begun(&member, &anew("ann"));
    refused(member.begin(&anew("bob")));
    refused(member.begin(&anew("")));
}

#[test]
fn a_proof_is_good_for_one_login_only() {
    let (member, bare) = (member(), "n=ann,r=abc");
    let first = login(b"n,,n=ann,r=abc");
    let (answer, exchange) = begun(&member, &first);
    let (last, _) = proof("n,,", bare, &answer, PASSWORD);
    let allowed = exchange.go_on(last.as_bytes());
    assert!(matches!(allowed, Step::Done { verdict: Verdict::Allow(_), .. }));
    // The same messages again.
    let (other_answer, exchange) = begun(&member, &first);
    assert_ne!(answer, other_answer);
    assert_eq!(refused(exchange.go_on(last.as_bytes())), "the nonce is not the one of this login");
    // With the new nonce, but the old proof.
    let (other_answer, exchange) = begun(&member, &first);
    let nonce = |of: &str| of.split(',').next().unwrap().to_string();
    let renewed = last.replace(&nonce(&answer), &nonce(&other_answer));
    assert_ne!(renewed, last);
    assert_eq!(refused(exchange.go_on(renewed.as_bytes())), "the password is wrong");
}

#[test]
fn messages_in_another_order_are_refused() {
    let member = member();
    let first = b"n,,n=ann,r=abc";
    let (_, exchange) = begun(&member, &login(first));
    refused(exchange.go_on(first));
    let (answer, exchange) = begun(&member, &login(first));
    refused(exchange.go_on(answer.as_bytes()));
    let (answer, _) = begun(&member, &login(first));
    let (last, _) = proof("n,,", "n=ann,r=abc", &answer, PASSWORD);
    refused(member.begin(&login(last.as_bytes())));
    let (_, exchange) = begun(&member, &login(first));
    refused(exchange.go_on(b""));
}

/// A Client that could bind the channel must notice if somebody in between has said it cannot.
#[test]
fn a_header_that_was_changed_on_the_way_is_noticed() {
    let (answer, exchange) = begun(&member(), &login(b"n,,n=ann,r=abc"));
    let (last, _) = proof("y,,", "n=ann,r=abc", &answer, PASSWORD);
    let text = refused(exchange.go_on(last.as_bytes()));
    assert!(text.contains("header"), "{text}");
}

#[test]
fn without_random_numbers_nobody_logs_in() {
    struct Empty;
    impl Random for Empty {
        fn fill(&self, _: &mut [u8]) -> bool {
            false
        }
    }
    let verifiers = Arc::new(TestUsers);
    let member = ScramMember::new(ScramConfig::default(), verifiers, [5; 32], Arc::new(Empty));
    match member.begin(&login(b"n,,n=ann,r=abc")) {
        Step::Done { verdict: Verdict::Failed(_), data: None } => {}
        other => panic!("{other:?}"),
    }
    let mut bytes = [0; 32];
    assert!(SystemRandom.fill(&mut bytes) && bytes != [0; 32]);
}

#[test]
fn nothing_of_a_password_is_shown() {
    let member = member();
    let (_, exchange) = begun(&member, &login(b"n,,n=ann,r=abc"));
    let shown = format!("{member:?} {exchange:?}");
    for secret in ["canary", "abc", "5, 5", "stored_key"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic_or_let_somebody_in(
        first: Vec<u8>, last: Vec<u8>, name in "[a-c=,]{1,3}",
    ) {
        let member = member();
        let _ = member.begin(&login(&first));
        for first in ["n,,n=ann,r=a".to_string(), format!("n,,n={name},r=a")] {
            if let Step::Continue(_, exchange) = member.begin(&login(first.as_bytes())) {
                refused(exchange.go_on(&last));
            }
        }
    }

    #[test]
    fn a_message_that_was_changed_is_never_accepted(place: prop::sample::Index, byte: u8) {
        let (answer, exchange) = begun(&member(), &login(b"n,,n=ann,r=abc"));
        let mut last = proof("n,,", "n=ann,r=abc", &answer, PASSWORD).0.into_bytes();
        let place = place.index(last.len());
        prop_assume!(last[place] != byte);
        last[place] = byte;
        refused(exchange.go_on(&last));
    }
}
