//! JWK Sets from a small server in the test.

use super::*;
use crate::http::HttpOptions;
use crate::http::tests::server::{Server, ok};

/// A source that asks a server which answers with this, however often.
fn source(answer: String) -> (Server, Arc<TestClock>, JwksUrl) {
    let server = Server::start(move |mut exchange| {
        loop {
            exchange.read_request()?;
            exchange.write(&answer)?;
        }
    });
    let clock = Arc::new(TestClock::default());
    let url = format!("http://{}/keys?key=canary", server.address);
    let config = JwksUrlConfig { deadline: Duration::from_secs(20), ..JwksUrlConfig::new(&url) };
    let algorithms = KeyFormat::Jwks.algorithms();
    let options = HttpOptions::default();
    let source = JwksUrl::over_http(config, algorithms, options, Arc::clone(&clock) as _);
    (server, clock, source.unwrap())
}

#[test]
fn keys_come_by_http() {
    let body = json!({"keys": [P256.jwk("k")]}).to_string();
    let answer = ok(&body).replacen("\r\n", "\r\nCache-Control: max-age=300\r\n", 1);
    let (server, clock, source) = source(answer);
    let clock_of_member: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let algorithms = KeyFormat::Jwks.algorithms();
    let member =
        JwtMember::new(JwtConfig::default(), algorithms, Box::new(source), clock_of_member);
    let good = token(Algorithm::Es256, &claims("u"));
    for (seconds, requests) in [(0, 1), (299, 1), (1, 2)] {
        clock.advance(seconds);
        assert!(is_allowed(&verdict(&member, &good)), "{:?}", member.problem());
        assert_eq!(server.requests(), requests);
    }
}

#[test]
fn an_answer_that_is_no_success_has_no_keys() {
    let body = json!({"keys": [P256.jwk("k")]}).to_string();
    for status in ["404 Not Found", "500 Internal Server Error", "302 Found", "203 Changed"] {
        let (_server, _, source) = source(ok(&body).replacen("200 OK", status, 1));
        let problem = source.keys(None).unwrap_err();
        assert!(problem.contains(&status[..3]) && !problem.contains("canary"), "{problem}");
    }
}

#[test]
fn a_url_that_is_none_is_an_error() {
    for url in ["", "file:///keys", "https://user:canary@example.com/keys"] {
        let clock = Arc::new(TestClock::default());
        let (config, algorithms) = (JwksUrlConfig::new(url), KeyFormat::Jwks.algorithms());
        let error = JwksUrl::over_http(config, algorithms, HttpOptions::default(), clock);
        assert!(!error.unwrap_err().to_string().contains("canary"));
    }
}
