//! Webhooks and small servers, which answer what the test says.

use std::io::{Error, Result as IoResult};
use std::sync::{Arc, Mutex};

use midge_core::UserAttribute;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::http::tests::pki::{Authority, Directory};
use crate::http::tests::server::{Exchange, Server, ok};

/// It must be found nowhere but in requests.
const CANARY: &str = "CANARY-7fd1c0";

const EMQX: WebhookDialect = WebhookDialect::Emqx { sends_form: false, ignores_errors: false };

fn event_grid() -> WebhookDialect {
    WebhookDialect::EventGrid { methods: Box::default() }
}

/// A webhook with a server, and a clock that stands still until it is set.
struct Setup {
    webhook: Webhook,
    server: Server,
    now: Arc<Mutex<Now>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    /// A server that answers each request, which is given with its number from 1.
    fn new(
        dialect: WebhookDialect,
        answer: impl Fn(usize) -> String + Send + Sync + 'static,
        change: impl FnOnce(&mut WebhookOptions),
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let serve = move |mut exchange: Exchange| -> IoResult<()> {
            loop {
                let request = exchange.read_request()?;
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    seen.len()
                };
                let answer = answer(number);
                if answer.is_empty() {
                    return Err(Error::other("the test wants the connection to end"));
                }
                exchange.write(&answer)?;
            }
        };
        let server = Server::start(serve);
        let mut options = WebhookOptions::new(server.url("/hook"), dialect);
        options.http.deadline = Duration::from_secs(20);
        change(&mut options);
        let now = Arc::new(Mutex::new(Now { instant: Instant::now(), unix: 1000 }));
        let clock = Arc::clone(&now);
        let webhook = Webhook::with_clock(options, Box::new(move || *clock.lock().unwrap()));
        Self { webhook: webhook.unwrap(), server, now, requests }
    }

    /// A server that always answers so.
    fn answering(dialect: WebhookDialect, body: &str) -> Self {
        let answer = ok(body);
        Self::new(dialect, move |_| answer.clone(), |_| {})
    }

    fn pass(&self, seconds: u64) {
        let mut now = self.now.lock().unwrap();
        *now =
            Now { instant: now.instant + Duration::from_secs(seconds), unix: now.unix + seconds };
    }

    fn ask(&self) -> Verdict {
        self.webhook.authenticate(&login())
    }

    /// Returns the body of the last request.
    fn last_body(&self) -> String {
        let requests = self.requests.lock().unwrap();
        requests.last().unwrap().split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn last_json(&self) -> Value {
        serde_json::from_str(&self.last_body()).unwrap()
    }
}

fn login() -> Login {
    Login {
        client_id: "c1".into(),
        user_name: Some("alice".into()),
        password: Some(CANARY.as_bytes().into()),
        address: Some("192.0.2.1".parse().unwrap()),
        listener: Some("tcp".into()),
        ..Login::default()
    }
}

fn allowed(verdict: Verdict) -> midge_core::User {
    match verdict {
        Verdict::Allow(user) => *user,
        other => panic!("{other:?}"),
    }
}

fn is_failed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Failed(_))
}

fn is_denied(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Deny(_))
}

#[test]
fn event_grid_is_asked_as_it_expects() {
    let setup = Setup::answering(event_grid(), r#"{"decision":"deny"}"#);
    setup.ask();
    let password = "Q0FOQVJZLTdmZDFjMA==";
    let expected = json!({"clientId": "c1", "userName": "alice", "password": password});
    assert_eq!(setup.last_json(), expected);
    let login = Login {
        client_id: "c2".into(),
        certificates: [&b"leaf"[..], b"middle", b"root"].map(Box::from).into(),
        method: Some("OAUTH2-JWT".into()),
        data: Some(b"data".as_slice().into()),
        ..Login::default()
    };
    setup.webhook.authenticate(&login);
    let pem = |it| format!("-----BEGIN CERTIFICATE-----\n{it}\n-----END CERTIFICATE-----\n");
    let expected = json!({
        "clientId": "c2",
        "authenticationMethod": "OAUTH2-JWT",
        "authenticationData": "ZGF0YQ==",
        "clientCertificate": pem("bGVhZg=="),
        "clientCertificateChain": pem("bWlkZGxl") + &pem("cm9vdA=="),
    });
    assert_eq!(setup.last_json(), expected);
}

#[test]
fn a_certificate_is_written_as_pem() {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let issued = Authority::new().issue("client");
    let pem = decision::pem(issued.certificate.der());
    assert!(pem.lines().all(|line| line.len() <= 64));
    assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), *issued.certificate.der());
}

#[test]
fn event_grid_allows_with_facts() {
    for expiration in ["1060", "\"1060\""] {
        let body = format!(
            r#"{{"decision":"allow","clientAuthenticationName":"alice@x","more":[],"expiration":
            {expiration},"attributes":{{"floor":3,"plant":"north","tags":["a","b"]}}}}"#
        );
        let user = allowed(Setup::answering(event_grid(), &body).ask());
        assert_eq!(user.name.as_deref(), Some("alice@x"));
        assert_eq!(user.valid_for, Some(Duration::from_secs(60)));
        assert_eq!(user.facts.expires_at, Some(1060));
        assert_eq!(user.facts.member.as_deref(), Some("webhook"));
        let attributes = &user.facts.attributes;
        assert_eq!(attributes["floor"], UserAttribute::Number(3));
        assert_eq!(attributes["plant"], UserAttribute::Text("north".into()));
        assert_eq!(attributes["tags"], UserAttribute::List(["a", "b"].map(Into::into).into()));
    }
    let body = r#"{"decision":"allow","clientAuthenticationName":"a","expiration":1000}"#;
    assert!(is_denied(&Setup::answering(event_grid(), body).ask()), "it has ended");
}

#[test]
fn emqx_is_asked_as_it_expects() {
    let setup = Setup::answering(EMQX, r#"{"result":"deny"}"#);
    setup.ask();
    let expected = json!({"clientid": "c1", "username": "alice", "password": CANARY,
        "peerhost": "192.0.2.1", "listener": "tcp"});
    assert_eq!(setup.last_json(), expected);
    setup.webhook.authenticate(&Login { client_id: "c2".into(), ..Login::default() });
    assert_eq!(setup.last_json(), json!({"clientid": "c2"}));
    let binary = Login { password: Some([0xff].into()), ..login() };
    assert!(is_denied(&setup.webhook.authenticate(&binary)), "JSON cannot hold it");
    assert_eq!(setup.server.requests(), 2);
}

#[test]
fn emqx_may_be_asked_by_a_form() {
    let dialect = WebhookDialect::Emqx { sends_form: true, ignores_errors: false };
    let setup = Setup::answering(dialect, r#"{"result":"deny"}"#);
    let login = Login {
        client_id: "a&b=c".into(),
        user_name: Some("é +".into()),
        password: Some([0xff, b'%'].into()),
        ..Login::default()
    };
    setup.webhook.authenticate(&login);
    assert_eq!(setup.last_body(), "clientid=a%26b%3Dc&username=%C3%A9%20%2B&password=%FF%25");
    let request = setup.requests.lock().unwrap()[0].to_lowercase();
    assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
}

#[test]
fn emqx_allows_with_facts_and_rules() {
    let body = json!({
        "result": "allow",
        "is_superuser": true,
        "client_attrs": {"plant": "north"},
        "expire_at": 1060,
        "acl": [
            {"permission": "allow", "action": "publish", "topic": "a/${clientid}", "qos": [0, 1]},
            {"permission": "deny", "action": "all", "topic": "#"},
        ],
    });
    let user = allowed(Setup::answering(EMQX, &body.to_string()).ask());
    assert_eq!(user.name.as_deref(), Some("alice"));
    assert!(user.facts.is_superuser);
    assert_eq!(user.facts.attributes["plant"], UserAttribute::Text("north".into()));
    assert_eq!(user.valid_for, Some(Duration::from_secs(60)));
    let [first, second] = &*user.facts.rules else { panic!("{:?}", user.facts.rules) };
    assert_eq!((&*first.topics, first.qos, first.allows), ("a/${client.id}", 0b011, true));
    assert_eq!((&*second.topics, second.qos, second.allows), ("#", 0b111, false));
    let plain = allowed(Setup::answering(EMQX, r#"{"result":"allow"}"#).ask());
    assert!(!plain.facts.is_superuser && plain.facts.rules.is_empty());
    assert_eq!(Setup::answering(EMQX, r#"{"result":"ignore"}"#).ask(), Verdict::NotMine);
}

/// CVE: brokers that did not ask, or took a missing decision for an allowance.
#[test]
fn s14_nobody_is_let_in_by_omission() {
    let none = Login { client_id: "c".into(), ..Login::default() };
    for dialect in [event_grid(), EMQX] {
        for body in ["", "{}", "null", "true", "[]", "allow", r#"{"decision":null}"#] {
            let setup = Setup::answering(dialect.clone(), body);
            for login in [&none, &login()] {
                assert!(is_failed(&setup.webhook.authenticate(login)), "{dialect:?} {body}");
            }
            assert_eq!(setup.server.requests(), 2, "those without credentials are asked about");
        }
        for status in ["201 Created", "204 No Content", "302 Found", "401 No", "404 No", "500 No"] {
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: 99\r\n\r\n{:99}",
                r#"{"decision":"allow","result":"allow","clientAuthenticationName":"a"}"#
            );
            let setup = Setup::new(dialect.clone(), move |_| answer.clone(), |_| {});
            assert!(is_failed(&setup.ask()), "{dialect:?} {status}");
        }
    }
}

#[test]
fn s14_a_malformed_answer_is_no_decision() {
    for body in [
        r#"{"decision":"Allow","clientAuthenticationName":"a"}"#,
        r#"{"decision":"allow"}"#,
        r#"{"decision":"allow","clientAuthenticationName":""}"#,
        r#"{"decision":"allow","clientAuthenticationName":1}"#,
        r#"{"decision":"deny","decision":"allow","clientAuthenticationName":"a"}"#,
        r#"{"decision":"allow","clientAuthenticationName":"a""#,
        r#"{"decision":"allow","clientAuthenticationName":"a"} x"#,
        r#"{"decision":"allow","clientAuthenticationName":"a","expiration":-1}"#,
        r#"{"decision":"allow","clientAuthenticationName":"a","expiration":1.5}"#,
        r#"{"decision":"allow","clientAuthenticationName":"a","expiration":"soon"}"#,
        r#"{"decision":"allow","clientAuthenticationName":"a","attributes":{"x":true}}"#,
        r#"{"decision":"allow","clientAuthenticationName":"a","attributes":{"x":1.5}}"#,
        r#"{"decision":"allow","clientAuthenticationName":"a","attributes":{"x":[1]}}"#,
    ] {
        assert!(is_failed(&Setup::answering(event_grid(), body).ask()), "{body}");
    }
    for body in [
        r#"{"result":true}"#,
        r#"{"result":"ALLOW"}"#,
        r#"{"result":"allow","is_superuser":"false"}"#,
        r#"{"result":"allow","client_attrs":{"a":1}}"#,
        r#"{"result":"allow","expire_at":"soon"}"#,
        r##"{"result":"allow","acl":{"all":["#"]}}"##,
        r##"{"result":"allow","acl":[{"permission":"deny","action":"all","topic":"a#"}]}"##,
    ] {
        assert!(is_failed(&Setup::answering(EMQX, body).ask()), "{body}");
    }
}

#[test]
fn errors_are_left_to_others_only_where_that_is_configured() {
    for (status, expected) in [("404", true), ("500", true), ("302", false), ("204", false)] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        let dialect = WebhookDialect::Emqx { sends_form: false, ignores_errors: true };
        let setup = Setup::new(dialect, move |_| answer.clone(), |_| {});
        assert_eq!(setup.ask() == Verdict::NotMine, expected, "{status}");
    }
    let dialect = WebhookDialect::Emqx { sends_form: false, ignores_errors: true };
    let dead = Setup::new(dialect, |_| String::new(), |_| {});
    assert!(is_failed(&dead.ask()), "no answer is no error of the server");
}

#[test]
fn a_method_is_asked_about_only_where_it_is_listed() {
    let body = r#"{"decision":"allow","clientAuthenticationName":"a"}"#;
    let dialect = WebhookDialect::EventGrid { methods: ["CUSTOM".into()].into() };
    let setup = Setup::answering(dialect, body);
    let begin = |setup: &Setup, method: &str| {
        let login = Login { method: Some(method.into()), ..login() };
        match setup.webhook.begin(&login) {
            Step::Done { verdict, data: None } => verdict,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(begin(&setup, "CUSTOM"), Verdict::Allow(_)));
    assert_eq!(begin(&setup, "custom"), Verdict::NotMine);
    assert_eq!(begin(&Setup::answering(EMQX, r#"{"result":"allow"}"#), "CUSTOM"), Verdict::NotMine);
    assert_eq!(setup.server.requests(), 1);
}

#[test]
fn a_server_that_does_not_answer_is_left_alone_for_a_while() {
    let answer = |number| match number {
        1..=3 => "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n".into(),
        4 => String::new(),
        _ => ok(r#"{"decision":"deny"}"#),
    };
    let setup = Setup::new(event_grid(), answer, |options| {
        options.breaker_failures = NonZeroU32::new(3).unwrap();
        options.breaker_time = Duration::from_secs(5);
    });
    for _ in 0..10 {
        assert!(is_failed(&setup.ask()));
    }
    assert_eq!(setup.server.requests(), 3);
    assert_eq!(setup.webhook.figures().not_asked, 7);
    setup.pass(5);
    // The server ends a connection that it has kept: the one retry is the fifth request.
    assert!(is_denied(&setup.ask()));
    assert_eq!(setup.server.requests(), 5);
    assert!(is_denied(&setup.ask()));
}

#[test]
fn malformed_answers_do_not_open_the_breaker() {
    let setup = Setup::answering(event_grid(), "{");
    for _ in 0..20 {
        assert!(is_failed(&setup.ask()));
    }
    assert_eq!(setup.webhook.figures().not_asked, 0);
}

#[test]
fn answers_are_used_again_as_long_as_they_say() {
    let body = r#"{"decision":"allow","clientAuthenticationName":"a","expiration":1030}"#;
    let cached = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let setup = Setup::new(event_grid(), move |_| cached.clone(), |_| {});
    assert_eq!(allowed(setup.ask()).valid_for, Some(Duration::from_secs(30)));
    setup.pass(29);
    assert_eq!(allowed(setup.ask()).valid_for, Some(Duration::from_secs(1)), "counted from now");
    let other = Login { password: Some(b"other".as_slice().into()), ..login() };
    assert!(!is_failed(&setup.webhook.authenticate(&other)));
    assert_eq!(setup.server.requests(), 2, "another Password is another question");
    setup.pass(1);
    assert!(is_denied(&setup.ask()), "it has ended");
    assert_eq!(setup.server.requests(), 3);
    let figures = setup.webhook.figures();
    assert_eq!((figures.asked, figures.cached), (3, 1));
    assert_eq!((figures.allowed, figures.denied, figures.failed), (3, 1, 0));
    assert!(figures.latency_us >= figures.latency_max_us && figures.latency_max_us > 0);
}

#[test]
fn answers_that_say_nothing_are_not_kept_and_long_ones_neither() {
    let setup = Setup::answering(event_grid(), r#"{"decision":"deny"}"#);
    setup.ask();
    setup.ask();
    assert_eq!(setup.server.requests(), 2);
    let long = format!(r#"{{"decision":"deny","more":"{}"}}"#, "x".repeat(KEPT_ANSWER_BYTES_MAX));
    for (body, requests) in [(long.as_str(), 2), (r#"{"decision":"deny"}"#, 1)] {
        let answer = ok(body);
        let setup = Setup::new(
            event_grid(),
            move |_| answer.clone(),
            |options| {
                options.cache.as_mut().unwrap().time = Duration::from_secs(9);
            },
        );
        setup.ask();
        setup.ask();
        assert_eq!(setup.server.requests(), requests);
    }
}

#[test]
fn credentials_come_from_a_file_that_may_change() {
    let directory = Directory::new();
    let path = directory.write("token", "first\n");
    let setup = Setup::new(
        event_grid(),
        |_| ok(r#"{"decision":"deny"}"#),
        |options| {
            options.credentials = WebhookCredentials::Bearer(path);
        },
    );
    let sends = |expected: &str| {
        setup.ask();
        let request = setup.requests.lock().unwrap().last().unwrap().clone();
        assert!(request.contains(&format!("authorization: {expected}\r\n")), "{request}");
    };
    sends("Bearer first");
    directory.write("token", "the second");
    sends("Bearer the second");
    directory.write("token", "");
    sends("Bearer the second");
    std::fs::remove_file(directory.path().join("token")).unwrap();
    sends("Bearer the second");
    let path = directory.write("basic", "user:pass\r\n");
    let setup = Setup::new(
        event_grid(),
        |_| ok("{}"),
        |options| {
            options.credentials = WebhookCredentials::Basic(path);
        },
    );
    setup.ask();
    assert!(setup.requests.lock().unwrap()[0].contains("authorization: Basic dXNlcjpwYXNz\r\n"));
}

#[test]
fn credentials_that_cannot_be_used_are_named() {
    let directory = Directory::new();
    let file = |content: &str| directory.write("secret", content);
    let make = |credentials| {
        let url = HttpUrl::parse("http://127.0.0.1:1/").unwrap();
        let options = WebhookOptions { credentials, ..WebhookOptions::new(url, event_grid()) };
        Webhook::new(options).unwrap_err().to_string()
    };
    let long = CANARY.repeat(2000);
    for content in ["", "\n", &format!("{CANARY}\nx"), &format!("{CANARY}\u{e9}"), &long] {
        let error = make(WebhookCredentials::Bearer(file(content)));
        assert!(error.contains("secret: ") && !error.contains(CANARY), "{error}");
    }
    let error = make(WebhookCredentials::Basic(file(CANARY)));
    assert!(error.contains("USER:PASSWORD") && !error.contains(CANARY), "{error}");
    let absent = WebhookCredentials::Bearer(directory.path().join("absent"));
    assert!(make(absent).contains("absent: "));
}

/// Keeps every line of the log, of whatever level.
struct Log(Mutex<String>);

static LOG: Log = Log(Mutex::new(String::new()));

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // At `trace`, ureq tells the path of a URL; Midge's logger takes nothing of other crates
        // below `warn`.
        metadata.level() <= log::Level::Debug
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push_str(&format!("{}\n", record.args()));
        }
    }

    fn flush(&self) {}
}

#[test]
fn s19_no_secret_is_told() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let directory = Directory::new();
    let base64 = "Q0FOQVJZLTdmZDFjMA==";
    let reasons = [format!("no {CANARY}"), format!("no {base64}"), "line\nline".into()];
    let bodies = [
        format!(r#"{{"decision":"deny","errorReason":"{}"}}"#, reasons[0]),
        format!(r#"{{"decision":"deny","errorReason":"{}"}}"#, reasons[1]),
        format!(r#"{{"decision":"{CANARY}"}}"#),
        format!(r#"{{"decision":{{"{CANARY}":1}}}}"#),
        CANARY.to_owned(),
    ];
    let path = directory.write("token", CANARY);
    let setup = Setup::new(
        event_grid(),
        move |number| match number {
            1..=5 => ok(&bodies[number - 1]),
            6 => format!("{CANARY}\r\n\r\n"),
            7 => {
                format!("HTTP/1.1 302 {CANARY}\r\nLocation: /{CANARY}\r\nContent-Length: 0\r\n\r\n")
            }
            _ => String::new(),
        },
        |options| {
            let url = options.url.to_string();
            options.url = HttpUrl::parse(&format!("{url}/{CANARY}?key={CANARY}")).unwrap();
            options.headers.set("x-key", CANARY).unwrap();
            options.credentials = WebhookCredentials::Bearer(path);
        },
    );
    let mut told = String::new();
    for _ in 0..12 {
        told.push_str(&format!("{:?}\n", setup.ask()));
    }
    assert!(setup.requests.lock().unwrap()[0].contains(CANARY), "it was sent");
    let login = login();
    told.push_str(&format!("{:?}\n{:?}\n{login:?}\n", setup.webhook, setup.webhook.options));
    told.push_str(&format!("{:?}\n", setup.webhook.headers));
    told.push_str(&format!("{:?}\n", setup.webhook.cache));
    told.push_str(&format!("{:?}\n", event_grid::question(&login).unwrap()));
    let log = LOG.0.lock().unwrap();
    assert!(log.contains("/******"), "ureq has told of requests: {log}");
    told.push_str(&log);
    for secret in [CANARY, base64] {
        assert!(!told.contains(secret), "{told}");
    }
    assert!(told.contains("it repeats a secret"), "{told}");
}

#[test]
fn a_reason_is_one_short_line() {
    let login = Login::default();
    assert_eq!(decision::shown("a\nb\u{1b}", &login), "a\\nb\\u{1b}");
    let long = decision::shown(&"é".repeat(1000), &login);
    assert_eq!(long.chars().count(), 203);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a server answers, nothing panics, and only the word lets in.
    #[test]
    fn answers_never_panic(body in prop::collection::vec(any::<u8>(), 0..60), text in json_text()) {
        for body in [&body[..], text.as_bytes()] {
            for decision in [event_grid::decision, emqx::decision] {
                if let Ok(Decision::Allow(_)) = decision(body, &login()) {
                    prop_assert!(String::from_utf8_lossy(body).contains("allow"));
                }
            }
        }
    }

    /// Whatever a Client sends, the server gets it as it came.
    #[test]
    fn requests_hold_what_came(
        client_id in any::<String>(),
        user_name in any::<Option<String>>(),
        password in any::<Option<Vec<u8>>>(),
        certificate in any::<Option<Vec<u8>>>(),
    ) {
        let login = Login {
            client_id: client_id.clone().into(),
            user_name: user_name.clone().map(Into::into),
            password: password.clone().map(Into::into),
            certificates: certificate.into_iter().map(Into::into).collect(),
            ..Login::default()
        };
        let question = event_grid::question(&login).unwrap();
        let json: Value = serde_json::from_slice(&question.body).unwrap();
        prop_assert_eq!(json["clientId"].as_str(), Some(&*client_id));
        prop_assert_eq!(json["userName"].as_str(), user_name.as_deref());
        let sent = json["password"].as_str().map(|it| {
            <base64ct::Base64 as base64ct::Encoding>::decode_vec(it).unwrap()
        });
        prop_assert_eq!(sent, password.clone());
        let form = emqx::question(&login, true).unwrap();
        prop_assert!(form.body.is_ascii());
        let is_text = password.is_none_or(|it| std::str::from_utf8(&it).is_ok());
        prop_assert_eq!(emqx::question(&login, false).is_ok(), is_text);
    }
}

/// Texts that are nearly answers.
fn json_text() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"decision\"",
        "\"result\"",
        "\"allow\"",
        "\"deny\"",
        "null",
        "\"clientAuthenticationName\"",
        "\"attributes\"",
        "\"expiration\"",
        "\"acl\"",
        "1",
        "-1.5",
        "\"permission\"",
        "\"action\"",
        "\"all\"",
        "\"topic\"",
        "\"qos\"",
        "\"${clientid}/#\"",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..24).prop_map(|it| it.concat())
}
