//! Logins with tokens: whom they let in, as whom, and for how long.

use midge_core::{User, UserAttribute};

use super::*;
use crate::member::Step;

fn allowed(config: JwtConfig, claims: &Value) -> User {
    match verdict(&member(config), &hs256(claims)) {
        Verdict::Allow(user) => *user,
        other => panic!("{other:?}"),
    }
}

fn path(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

/// The member's decision about an enhanced authentication.
fn begun(member: &JwtMember, login: &Login) -> Verdict {
    match member.begin(login) {
        Step::Done { verdict, data: None } => verdict,
        other => panic!("{other:?}"),
    }
}

fn enhanced(method: &str, data: &str) -> Login {
    Login {
        client_id: "c".into(),
        method: Some(method.into()),
        data: Some(data.as_bytes().into()),
        ..Login::default()
    }
}

#[test]
fn a_token_says_who_the_user_is_and_until_when() {
    let user = allowed(JwtConfig::default(), &claims("ann"));
    assert_eq!(user.name.as_deref(), Some("ann"));
    assert_eq!(user.facts.expires_at, Some(NOW + 3630), "the leeway included");
    assert_eq!(user.valid_for, Some(Duration::from_secs(3630)));
    assert!(!user.facts.is_superuser);
    // A token without end, if that is allowed.
    let endless = json!({"sub": "ann"});
    assert!(is_denied(&verdict(&member(JwtConfig::default()), &hs256(&endless))));
    let config = JwtConfig { requires_expiry: false, ..JwtConfig::default() };
    let user = allowed(config, &endless);
    assert_eq!((user.facts.expires_at, user.valid_for), (None, None));
}

#[test]
fn a_token_ends_when_its_time_is_over() {
    let clock = Arc::new(TestClock::default());
    let keys = Arc::new(KeySet::from_secret(SECRET, false, AlgorithmSet::OF_SECRETS).unwrap());
    let config = JwtConfig::default();
    let member =
        JwtMember::new(config, AlgorithmSet::OF_SECRETS, Box::new(keys), Arc::clone(&clock) as _);
    let token = hs256(&claims("u"));
    clock.advance(3629);
    match verdict(&member, &token) {
        Verdict::Allow(user) => assert_eq!(user.valid_for, Some(Duration::from_secs(1))),
        other => panic!("{other:?}"),
    }
    clock.advance(1);
    assert!(is_denied(&verdict(&member, &token)));
    // Not yet.
    assert!(is_denied(&verdict(&member, &hs256(&claims_and(&json!({"nbf": NOW + 9999}))))));
    assert!(is_denied(&verdict(&member, &hs256(&claims_and(&json!({"iat": NOW + 9999}))))));
}

/// S14: nothing is shown, and nobody is let in.
#[test]
fn s14_a_login_without_token_is_not_the_members() {
    let member = member(JwtConfig::default());
    let nothing = Login { client_id: "c".into(), ..Login::default() };
    assert_eq!(member.authenticate(&nothing), Verdict::NotMine);
    assert_eq!(begun(&member, &nothing), Verdict::NotMine);
    for password in ["", "secret", "a.b.c", ".."] {
        assert_eq!(verdict(&member, password), Verdict::NotMine, "{password}");
    }
    let large = "x".repeat(70_000);
    assert_eq!(verdict(&member, &large), Verdict::NotMine);
}

#[test]
fn a_token_that_is_too_large_is_refused() {
    let large = hs256(&claims_and(&json!({"x": "y".repeat(6200)})));
    assert!(large.len() > 8192);
    assert!(is_denied(&verdict(&member(JwtConfig::default()), &large)));
    let config = JwtConfig { token_bytes_max: large.len(), ..JwtConfig::default() };
    assert!(is_allowed(&verdict(&member(config), &large)));
}

#[test]
fn a_token_of_another_issuer_is_for_another_member() {
    let config = JwtConfig { issuer: Some("us".into()), ..JwtConfig::default() };
    let of = |issuer: Value| hs256(&claims_and(&json!({"iss": issuer})));
    let member_of_us = member(config.clone());
    assert!(is_allowed(&verdict(&member_of_us, &of(json!("us")))));
    for issuer in [json!("them"), json!(null), json!(["us"]), json!("us/"), json!("US")] {
        assert_eq!(verdict(&member_of_us, &of(issuer)), Verdict::NotMine);
    }
    let refusing = member(JwtConfig { other_issuers: OtherIssuers::Refused, ..config });
    assert!(is_denied(&verdict(&refusing, &of(json!("them")))));
    // Of this issuer, but signed by somebody else.
    let forged =
        token_with(&json!({"alg": "HS256"}), &claims_and(&json!({"iss": "us"})), |message| {
            Signer::Secret(b"another").sign(Algorithm::Hs256, message)
        });
    assert!(is_denied(&verdict(&member_of_us, &forged)));
}

#[test]
fn a_token_is_for_this_broker() {
    let for_mqtt = hs256(&claims_and(&json!({"aud": ["web", "mqtt"]})));
    let member_for = |audience| member(JwtConfig { audience, ..JwtConfig::default() });
    let named = Audience::OneOf(vec!["mqtt".into()]);
    assert!(is_allowed(&verdict(&member_for(named.clone()), &for_mqtt)));
    assert!(is_denied(&verdict(&member_for(named), &hs256(&claims("u")))));
    assert!(is_denied(&verdict(&member_for(Audience::Unnamed), &for_mqtt)));
    assert!(is_allowed(&verdict(&member_for(Audience::Any), &for_mqtt)));
}

#[test]
fn a_token_may_be_in_the_user_name() {
    let config = JwtConfig { token_place: TokenPlace::UserName, ..JwtConfig::default() };
    let token = hs256(&claims("ann"));
    let login = Login { user_name: Some(token.as_str().into()), ..with_password(b"x") };
    assert!(is_allowed(&member(config.clone()).authenticate(&login)));
    assert_eq!(verdict(&member(config), &token), Verdict::NotMine);
    assert_eq!(member(JwtConfig::default()).authenticate(&login), Verdict::NotMine);
}

#[test]
fn a_token_is_shown_with_an_authentication_method() {
    let member = member(JwtConfig { issuer: Some("us".into()), ..JwtConfig::default() });
    let token = hs256(&claims_and(&json!({"iss": "us"})));
    for method in ["OAUTH2-JWT", "CUSTOM-JWT"] {
        assert!(is_allowed(&begun(&member, &enhanced(method, &token))));
        assert!(is_denied(&begun(&member, &enhanced(method, "no token"))));
        assert!(is_denied(&begun(&member, &enhanced(method, &token[..token.len() - 1]))));
        assert_eq!(begun(&member, &enhanced(method, &hs256(&claims("u")))), Verdict::NotMine);
        let empty = Login { data: None, ..enhanced(method, "") };
        assert!(is_denied(&begun(&member, &empty)));
    }
    assert_eq!(begun(&member, &enhanced("SCRAM-SHA-256", &token)), Verdict::NotMine);
    // A Password beside it is not looked at.
    let with_password = Login { data: None, ..enhanced("CUSTOM-JWT", "") };
    let with_password = Login { password: Some(token.as_bytes().into()), ..with_password };
    assert!(is_denied(&begun(&member, &with_password)));
}

#[test]
fn who_authenticates_anew_stays_the_same_user() {
    let member = member(JwtConfig::default());
    let anew = |user: &str, present: &str| Login {
        present_user: Some(present.into()),
        ..enhanced("CUSTOM-JWT", &hs256(&claims(user)))
    };
    assert!(is_allowed(&begun(&member, &anew("ann", "ann"))));
    for (user, present) in [("bob", "ann"), ("Ann", "ann"), ("ann", "")] {
        assert!(is_denied(&begun(&member, &anew(user, present))), "{user} {present}");
    }
}

#[test]
fn the_claims_say_what_the_user_is() {
    let names = ClaimNames {
        user_name: path("user.name"),
        client_id: Some(path("client")),
        attributes: vec![
            ("plant".into(), path("site.plant")),
            ("floor".into(), path("site.floor")),
            ("tags".into(), path("tags")),
            ("is_new".into(), path("new")),
            ("absent".into(), path("absent")),
        ],
        groups: Some(path("realm_access.roles")),
        superuser: Some(path("is_superuser")),
        ..ClaimNames::default()
    };
    let config = JwtConfig { claims: names, ..JwtConfig::default() };
    let claims = json!({
        "exp": NOW + 10, "user": {"name": "ann"}, "client": "c", "new": true,
        "site": {"plant": "north", "floor": 3}, "tags": ["a", "b"],
        "client_attrs": {"plant": "south", "line": "7"},
        "realm_access": {"roles": ["ops", "dev"]}, "is_superuser": true,
        "acl": [{"permission": "allow", "action": "publish", "topic": "a/${clientid}"}],
    });
    let user = allowed(config.clone(), &claims);
    assert_eq!(user.name.as_deref(), Some("ann"));
    assert!(user.facts.is_superuser);
    assert_eq!(*user.facts.groups, ["ops".into(), "dev".into()]);
    let expected = [
        ("floor", UserAttribute::Number(3)),
        ("is_new", UserAttribute::Text("true".into())),
        ("line", UserAttribute::Text("7".into())),
        ("plant", UserAttribute::Text("north".into())),
        ("tags", UserAttribute::List(["a".into(), "b".into()].into())),
    ];
    let attributes: Vec<_> = user.facts.attributes.into_iter().collect();
    assert_eq!(attributes, expected.map(|(name, value)| (name.into(), value)));
    assert_eq!(user.facts.rules.len(), 1);
    assert_eq!(&*user.facts.rules[0].topics, "a/${client.id}");
    // Each of them must be of its kind, and those that say who it is must be there.
    for (claim, value) in [
        ("user", json!(null)),
        ("user", json!({"name": ""})),
        ("user", json!({"name": 1})),
        ("user", json!({"name": "a\0"})),
        ("client", json!(null)),
        ("client", json!("d")),
        ("client", json!(["c"])),
        ("site", json!({"floor": 1.5})),
        ("tags", json!(["a", 1])),
        ("tags", json!({})),
        ("client_attrs", json!("x")),
        ("client_attrs", json!({"": "x"})),
        ("client_attrs", json!({"a": {}})),
        ("realm_access", json!({"roles": "ops"})),
        ("realm_access", json!({"roles": [1]})),
        ("is_superuser", json!("true")),
        ("is_superuser", json!(1)),
        ("acl", json!("all")),
        ("acl", json!([{"permission": "allow", "action": "all", "topic": "${peerhost}"}])),
    ] {
        let mut changed = claims.clone();
        changed[claim] = value;
        assert!(is_denied(&verdict(&member(config.clone()), &hs256(&changed))), "{changed}");
    }
}

#[test]
fn nobody_becomes_a_superuser_unless_a_claim_for_it_is_configured() {
    let claims = claims_and(&json!({"is_superuser": true, "superuser": true, "admin": true}));
    assert!(!allowed(JwtConfig::default(), &claims).facts.is_superuser);
}

#[test]
fn claims_have_limits() {
    let many = |count: usize| (0..count).map(|it| it.to_string()).collect::<Vec<_>>();
    let attributes = |count| {
        let values = many(count).into_iter().map(|name| (name, json!("x")));
        json!({"client_attrs": values.collect::<serde_json::Map<_, _>>()})
    };
    let groups = |count| json!({"groups": many(count)});
    let rules = |count| json!({"acl": {"pub": many(count)}});
    let names = ClaimNames { groups: Some(path("groups")), ..ClaimNames::default() };
    let config = JwtConfig { claims: names, ..JwtConfig::default() };
    for (few, much) in [
        (attributes(64), attributes(65)),
        (groups(64), groups(65)),
        (rules(100), rules(101)),
        (
            json!({"client_attrs": {"a".repeat(128): "x"}}),
            json!({"client_attrs": {"a".repeat(129): "x"}}),
        ),
    ] {
        allowed(config.clone(), &claims_and(&few));
        let verdict = verdict(&member(config.clone()), &hs256(&claims_and(&much)));
        assert!(is_denied(&verdict), "{verdict:?}");
    }
}

/// A rule that stands for no topic is harmless if it allows. If it denies, something is open.
#[test]
fn a_prohibition_without_the_value_that_it_names_is_refused() {
    let rule = |permission: &str, topic: &str| {
        let acl = json!([{"permission": permission, "action": "all", "topic": topic}]);
        let claims = json!({"acl": acl, "client_attrs": {"plant": "north", "path": "a/b"}});
        verdict(&member(JwtConfig::default()), &hs256(&claims_and(&claims)))
    };
    for topic in ["a/${client_attrs.plant}", "a/${clientid}/${username}", "a/#"] {
        assert!(is_allowed(&rule("deny", topic)), "{topic}");
    }
    for topic in ["a/${client_attrs.absent}", "a/${client_attrs.path}"] {
        assert!(is_denied(&rule("deny", topic)), "{topic}");
        assert!(is_allowed(&rule("allow", topic)), "{topic}");
    }
}

/// S15: permissions that are empty allow nothing.
#[test]
fn s15_empty_permissions_allow_nothing() {
    for acl in [json!([]), json!({}), json!({"pub": [], "sub": [], "all": []})] {
        let user = allowed(JwtConfig::default(), &claims_and(&json!({"acl": acl})));
        assert!(!user.facts.rules.iter().any(|rule| rule.allows));
    }
}
