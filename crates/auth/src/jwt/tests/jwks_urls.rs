//! JWK Sets behind a URL that answers, is away, or says nonsense.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use super::*;

/// A server of a JWK Set.
#[derive(Default)]
struct TestServer {
    fetches: AtomicUsize,
    answer: Mutex<Option<Document>>,
}

impl TestServer {
    fn serve(&self, ids: &[&str], max_age: Option<u64>) {
        let keys: Vec<Value> = ids.iter().map(|id| P256.jwk(id)).collect();
        let body = json!({"keys": keys}).to_string().into_bytes();
        let max_age = max_age.map(Duration::from_secs);
        *self.answer.lock().unwrap() = Some(Document { body, max_age });
    }

    fn go_away(&self) {
        *self.answer.lock().unwrap() = None;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

impl Fetch for TestServer {
    fn get(&self, url: &str, deadline: Duration, bytes_max: usize) -> Result<Document, String> {
        assert_eq!((url, deadline, bytes_max), (URL, Duration::from_secs(5), 256 << 10));
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.answer.lock().unwrap().clone().ok_or_else(|| "connection refused".into())
    }
}

const URL: &str = "https://u:canary@example.com/keys?canary=canary#canary";

fn source() -> (Arc<TestServer>, Arc<TestClock>, JwksUrl) {
    let (server, clock) = (Arc::new(TestServer::default()), Arc::new(TestClock::default()));
    let source = url_of(Arc::clone(&server) as _, &clock);
    (server, clock, source)
}

fn url_of(fetch: Arc<dyn Fetch>, clock: &Arc<TestClock>) -> JwksUrl {
    let config = JwksUrlConfig::new(URL);
    JwksUrl::new(config, KeyFormat::Jwks.algorithms(), fetch, Arc::clone(clock) as _)
}

fn has(source: &JwksUrl, id: &str) -> bool {
    source.keys(Some(id)).unwrap().may_have(id)
}

fn said(source: &JwksUrl) -> String {
    source.keys(Some("k")).unwrap_err()
}

#[test]
fn the_keys_are_fetched_once_and_kept() {
    let (server, clock, source) = source();
    server.serve(&["k"], None);
    for _ in 0..10 {
        assert!(has(&source, "k"));
        clock.advance(300);
    }
    assert_eq!(server.fetches(), 1);
    clock.advance(600);
    assert!(has(&source, "k"));
    assert_eq!(server.fetches(), 2, "after an hour they are fetched again");
}

#[test]
fn the_issuer_says_how_long_they_may_be_kept() {
    let (server, clock, source) = source();
    for (max_age, kept) in [(0, 60), (1, 60), (200, 200), (10_000_000, 3600)] {
        server.serve(&["k"], Some(max_age));
        clock.advance(3600);
        assert!(has(&source, "k"));
        let before = server.fetches();
        clock.advance(kept - 1);
        assert!(has(&source, "k"));
        assert_eq!(server.fetches(), before, "{max_age}");
        clock.advance(1);
        assert!(has(&source, "k"));
        assert_eq!(server.fetches(), before + 1, "{max_age}");
    }
}

#[test]
fn a_key_that_is_not_known_is_looked_for_once_in_a_while() {
    let (server, clock, source) = source();
    server.serve(&["old"], None);
    assert!(has(&source, "old"));
    server.serve(&["old", "new"], None);
    for number in 0..1000 {
        assert!(!has(&source, &format!("made up {number}")));
    }
    assert!(!has(&source, "new"), "the last fetch was a moment ago");
    assert_eq!(server.fetches(), 1);
    clock.advance(60);
    assert!(has(&source, "new"));
    assert_eq!(server.fetches(), 2);
    for number in 0..1000 {
        assert!(!has(&source, &format!("made up {number}")));
    }
    assert_eq!(server.fetches(), 2);
    // Also when the server is away.
    clock.advance(60);
    server.go_away();
    for number in 0..1000 {
        assert!(!has(&source, &format!("made up {number}")));
    }
    assert_eq!(server.fetches(), 3);
}

#[test]
fn a_token_with_an_algorithm_that_is_not_allowed_leads_to_no_fetch() {
    let (server, clock, source) = source();
    server.serve(&["k"], None);
    let member = JwtMember::new(
        JwtConfig { issuer: Some("us".into()), ..JwtConfig::default() },
        KeyFormat::Jwks.algorithms(),
        Box::new(source),
        clock,
    );
    let of = |issuer: &str| hs256(&claims_and(&json!({"iss": issuer})));
    assert!(is_denied(&verdict(&member, &of("us"))));
    assert_eq!(verdict(&member, &of("them")), Verdict::NotMine);
    assert_eq!(server.fetches(), 0);
}

#[test]
fn the_keys_outlast_their_server_for_a_while() {
    let (server, clock, source) = source();
    server.serve(&["k"], None);
    source.maintain();
    server.go_away();
    clock.advance(3600);
    assert!(has(&source, "k"));
    let problem = source.problem().expect("it is told");
    for part in ["of example.com cannot", "connection refused", "3600 s"] {
        assert!(problem.contains(part), "{problem}");
    }
    let config = JwksUrlConfig::new(URL);
    let document = Document { body: b"canary".into(), max_age: None };
    let shown = format!("{source:?} {problem} {config:?} {document:?}");
    assert!(!shown.contains("canary") && !shown.contains("99, 97"), "{shown}");
    clock.advance(86_400);
    assert!(has(&source, "k"));
    clock.advance(1);
    assert!(said(&source).contains("too old"), "{}", said(&source));
    // It comes back.
    server.serve(&["k"], None);
    clock.advance(10);
    assert!(has(&source, "k"));
    assert_eq!(source.problem(), None);
}

#[test]
fn without_any_keys_nobody_can_decide() {
    let (server, clock, source) = source();
    for _ in 0..100 {
        assert!(said(&source).contains("connection refused"));
    }
    assert_eq!(server.fetches(), 1, "the server is not asked all the time");
    let source = Arc::new(source);
    let member = JwtMember::new(
        JwtConfig::default(),
        KeyFormat::Jwks.algorithms(),
        Box::new(Shared(Arc::clone(&source))),
        Arc::clone(&clock) as _,
    );
    let good = token(Algorithm::Es256, &claims("u"));
    assert!(matches!(verdict(&member, &good), Verdict::Failed(_)));
    assert!(member.problem().is_some());
    server.serve(&["k"], None);
    clock.advance(10);
    member.maintain();
    assert_eq!((server.fetches(), member.problem()), (2, None));
    assert!(is_allowed(&verdict(&member, &good)));
}

/// A source that others have, too.
struct Shared(Arc<JwksUrl>);

impl KeySource for Shared {
    fn keys(&self, key_id: Option<&str>) -> Result<Arc<KeySet>, String> {
        self.0.keys(key_id)
    }

    fn maintain(&self) {
        self.0.maintain();
    }

    fn problem(&self) -> Option<String> {
        self.0.problem()
    }
}

#[test]
fn nonsense_never_replaces_keys() {
    let (server, clock, source) = source();
    server.serve(&["k"], None);
    assert!(has(&source, "k"));
    let mut large = json!({"keys": [P256.jwk("other")]}).to_string().into_bytes();
    large.resize((256 << 10) + 1, b' ');
    for body in [b"".as_slice(), b"<html>canary", b"{\"keys\":[]}", b"[]", &large] {
        *server.answer.lock().unwrap() = Some(Document { body: body.into(), max_age: None });
        clock.advance(3600);
        assert!(has(&source, "k"));
        let problem = source.problem().expect("it is told");
        assert!(!problem.contains("canary"), "{problem}");
    }
}

/// A server that takes its time.
struct SlowServer {
    arrived: Mutex<mpsc::Sender<()>>,
    leaves: Barrier,
}

impl Fetch for SlowServer {
    fn get(&self, _: &str, _: Duration, _: usize) -> Result<Document, String> {
        self.arrived.lock().unwrap().send(()).unwrap();
        self.leaves.wait();
        let body = json!({"keys": [P256.jwk("k")]}).to_string().into_bytes();
        Ok(Document { body, max_age: None })
    }
}

#[test]
fn nobody_waits_for_the_fetch_of_another() {
    let clock = Arc::new(TestClock::default());
    let (arrived, arrivals) = mpsc::channel();
    let server = Arc::new(SlowServer { arrived: Mutex::new(arrived), leaves: Barrier::new(2) });
    let source = url_of(Arc::clone(&server) as _, &clock);
    let during_fetch = |check: &dyn Fn()| {
        thread::scope(|scope| {
            scope.spawn(|| source.maintain());
            arrivals.recv().unwrap();
            check();
            server.leaves.wait();
        });
    };
    during_fetch(&|| assert!(said(&source).contains("just being fetched")));
    clock.advance(3600);
    during_fetch(&|| {
        assert!(has(&source, "k"), "the old keys are used");
        assert!(source.keys(Some("new")).is_err(), "the key may come");
    });
    assert!(!has(&source, "new"));
}

/// A server whose client panics.
struct BrokenClient;

impl Fetch for BrokenClient {
    fn get(&self, _: &str, _: Duration, _: usize) -> Result<Document, String> {
        panic!("a mistake in the client");
    }
}

#[test]
fn a_fetch_that_panics_is_over() {
    let clock = Arc::new(TestClock::default());
    let source = url_of(Arc::new(BrokenClient), &clock);
    for _ in 0..2 {
        let fetch = std::panic::AssertUnwindSafe(|| source.maintain());
        assert!(std::panic::catch_unwind(fetch).is_err());
        clock.advance(10);
    }
}
