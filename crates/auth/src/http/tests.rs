//! Requests to small servers in the test, which answer byte for byte what the test says.

pub(crate) mod pki;
pub(crate) mod server;

use std::net::SocketAddr;
use std::sync::Mutex;

use super::*;
use server::{Server, ok};

type Serve = fn(server::Exchange) -> io::Result<()>;

fn options() -> HttpOptions {
    HttpOptions { deadline: Duration::from_secs(20), ..HttpOptions::default() }
}

fn client(options: HttpOptions) -> HttpClient {
    HttpClient::new(options).unwrap()
}

fn url(text: &str) -> HttpUrl {
    HttpUrl::parse(text).unwrap()
}

fn get(server: &Server, options: HttpOptions) -> Result<HttpAnswer, HttpProblem> {
    let answer = client(options).get(&server.url("/path?key=SECRET"), &HttpHeaders::default());
    answer.map_err(|error| {
        assert!(!format!("{error} {error:?}").contains("SECRET"));
        error.problem
    })
}

fn body(answer: Result<HttpAnswer, HttpProblem>) -> String {
    String::from_utf8(answer.unwrap().body).unwrap()
}

#[test]
fn a_request_has_what_it_should() {
    let server = Server::start(|mut exchange| {
        let request = exchange.read_request()?;
        exchange.write(&ok(&request))
    });
    let mut headers = HttpHeaders::default();
    headers.set("X-Key", "other").unwrap();
    headers.set("x-key", "TOKEN").unwrap();
    let answer = client(options()).post(&server.url("/a?b=c"), &headers, "text/plain", b"hello");
    let request = String::from_utf8(answer.unwrap().body).unwrap().to_lowercase();
    assert!(request.starts_with("post /a?b=c http/1.1\r\n"), "{request}");
    for expected in
        ["\r\nx-key: token\r\n", "\r\ncontent-length: 5\r\n", "content-type: text/plain\r\n"]
    {
        assert!(request.contains(expected), "{request}");
    }
    assert!(request.ends_with("\r\n\r\nhello"), "{request}");
    assert!(!request.contains("other"));
}

#[test]
fn answers_come_whole_however_they_are_cut() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\n\r\n";
    let closing = "HTTP/1.0 200 OK\r\n\r\nabcdefgh";
    for answer in [ok("abcdefgh"), chunked.into(), closing.into()] {
        let bytes = answer.clone();
        let server = Server::start(move |mut exchange| {
            exchange.read_request()?;
            bytes.bytes().try_for_each(|byte| exchange.write(std::str::from_utf8(&[byte]).unwrap()))
        });
        assert_eq!(body(get(&server, options())), "abcdefgh", "{answer}");
    }
}

#[test]
fn connections_are_kept() {
    let server = Server::start(|mut exchange| {
        loop {
            exchange.read_request()?;
            exchange.write(&ok("x"))?;
        }
    });
    let client = client(options());
    for _ in 0..5 {
        assert_eq!(client.get(&server.url("/"), &HttpHeaders::default()).unwrap().body, b"x");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_kept_connection_that_has_ended_is_replaced_once() {
    let server = Server::start(|mut exchange| {
        // The first connection answers once, and ends at the second request.
        for _ in 0..2 {
            exchange.read_request()?;
            if exchange.connection == 1 || exchange.requests() == 1 {
                exchange.write(&ok("x"))?;
            }
        }
        Ok(())
    });
    let client = client(options());
    let headers = HttpHeaders::default();
    assert!(client.post(&server.url("/"), &headers, "text/plain", b"1").is_ok());
    assert!(client.post(&server.url("/"), &headers, "text/plain", b"2").is_ok());
    assert_eq!((server.connections(), server.requests()), (2, 3));
}

#[test]
fn a_new_connection_that_ends_is_not_replaced() {
    let server = Server::start(|mut exchange| exchange.read_request().map(drop));
    let problem = get(&server, options()).unwrap_err();
    assert!(matches!(problem, HttpProblem::Connection(_)), "{problem}");
    assert_eq!((server.connections(), server.requests()), (1, 1));
}

#[test]
fn the_deadline_is_for_everything() {
    let silent: Serve = |mut exchange| {
        exchange.read_request()?;
        exchange.wait_for_end()
    };
    let half: Serve = |mut exchange| {
        exchange.read_request()?;
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")?;
        exchange.wait_for_end()
    };
    let dripping: Serve = |mut exchange| {
        exchange.read_request()?;
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
        while !exchange.has_ended_within(Duration::from_millis(5)) {
            exchange.write("a")?;
        }
        Ok(())
    };
    for serve in [silent, half, dripping] {
        let server = Server::start(serve);
        let options = HttpOptions { deadline: Duration::from_millis(150), ..options() };
        assert_eq!(get(&server, options).unwrap_err(), HttpProblem::Late);
    }
}

#[test]
fn the_deadline_holds_for_sending() {
    // It keeps the connection and reads nothing. Its thread ends with the test.
    let server = Server::start(|exchange| {
        loop {
            std::thread::park();
            assert_eq!(exchange.connection, 0);
        }
    });
    let client = client(HttpOptions { deadline: Duration::from_millis(150), ..options() });
    // More than sockets of this machine hold.
    let body = vec![b'a'; 32 * 1024 * 1024];
    let answer = client.post(&server.url("/"), &HttpHeaders::default(), "text/plain", &body);
    assert_eq!(answer.unwrap_err().problem, HttpProblem::Late);
}

#[test]
fn answers_are_bounded() {
    let endless_body: Serve = |mut exchange| {
        exchange.read_request()?;
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            exchange.write("5\r\nabcde\r\n")?;
        }
    };
    let endless_header: Serve = |mut exchange| {
        exchange.read_request()?;
        exchange.write("HTTP/1.1 200 OK\r\n")?;
        loop {
            exchange.write("x-more: abcdefghijklmnopqrstuvwxyz\r\n")?;
        }
    };
    for serve in [endless_body, endless_header] {
        let server = Server::start(serve);
        let problem = get(&server, HttpOptions { response_bytes_max: 1000, ..options() });
        let problem = problem.unwrap_err();
        assert!(matches!(problem, HttpProblem::TooLong | HttpProblem::NotHttp), "{problem}");
    }
    let server = Server::start(|mut exchange| {
        exchange.read_request()?;
        exchange.write(&ok(&"a".repeat(1000)))
    });
    let exact = |response_bytes_max| HttpOptions { response_bytes_max, ..options() };
    assert_eq!(body(get(&server, exact(1000))).len(), 1000);
    assert_eq!(get(&server, exact(999)).unwrap_err(), HttpProblem::TooLong);
}

#[test]
fn garbage_is_no_answer_and_is_not_quoted() {
    for garbage in
        ["SECRET", "HTTP/1.1 SECRET\r\n\r\n", "HTTP/1.1 200 OK\r\nSECRET\r\n\r\n", "\0\0"]
    {
        let server = Server::start(move |mut exchange| {
            exchange.read_request()?;
            exchange.write(garbage)
        });
        let problem = get(&server, options()).unwrap_err();
        assert!(!format!("{problem} {problem:?}").contains("SECRET"), "{problem:?}");
    }
}

#[test]
fn a_redirect_is_an_answer() {
    let other = Server::start(|_| panic!("nobody may come here"));
    let location = format!("http://{}/", other.address);
    let server = Server::start(move |mut exchange| {
        exchange.read_request()?;
        exchange.write(&format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))
    });
    assert_eq!(get(&server, options()).unwrap().status, 307);
    assert_eq!(other.connections(), 0);
}

#[test]
fn the_longest_times_do_no_harm() {
    let server = Server::start(|mut exchange| {
        exchange.read_request()?;
        exchange.write(&ok("x"))
    });
    let options = HttpOptions { deadline: Duration::MAX, idle_max: Duration::MAX, ..options() };
    assert_eq!(body(get(&server, options)), "x");
}

#[test]
fn nobody_listening_is_told() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let answer = client(options()).get(&url(&format!("http://{address}")), &HttpHeaders::default());
    assert!(matches!(answer.unwrap_err().problem, HttpProblem::Connection(_)));
}

/// A client for which every name has these addresses; and how often it has asked.
fn with_names(options: HttpOptions, addresses: &[SocketAddr]) -> (HttpClient, Arc<Mutex<u32>>) {
    let (addresses, count) = (addresses.to_vec(), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&count);
    let lookup: Lookup = Arc::new(move |_, _| {
        *counted.lock().unwrap() += 1;
        Ok(addresses.clone())
    });
    (HttpClient::with_lookup(options, lookup).unwrap(), count)
}

#[test]
fn addresses_are_checked_after_the_name_was_looked_up() {
    let server = Server::start(|mut exchange| {
        exchange.read_request()?;
        exchange.write(&ok("x"))
    });
    let loopback = server.address;
    let metadata = SocketAddr::from(([169, 254, 169, 254], 80));
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
    let problem = |addresses: &[SocketAddr], text: &str, allow_plain| {
        let (client, _) = with_names(HttpOptions { allow_plain, ..options() }, addresses);
        client.get(&url(text), &HttpHeaders::default()).unwrap_err().problem
    };
    let forbidden = HttpProblem::ForbiddenAddress(metadata.ip());
    assert_eq!(problem(&[metadata], "https://auth.example", false), forbidden);
    assert_eq!(problem(&[loopback, metadata], "http://auth.example", true), forbidden);
    assert_eq!(
        problem(&[loopback, elsewhere], "http://auth.example", false),
        HttpProblem::PlainElsewhere(elsewhere.ip())
    );
    assert!(matches!(problem(&[], "http://auth.example", false), HttpProblem::UnknownHost(_)));
    assert_eq!(server.connections(), 0);
    let (client, count) = with_names(options(), &[loopback]);
    let answer = client.get(&url("http://auth.example"), &HttpHeaders::default());
    assert_eq!((answer.unwrap().body, *count.lock().unwrap()), (b"x".to_vec(), 1));
}

#[test]
fn addresses_in_urls_are_checked() {
    for (text, is_plain) in [
        ("http://169.254.169.254/latest", false),
        ("http://[::ffff:169.254.169.254]/", false),
        ("https://[fe80::1]/", false),
        ("http://0.0.0.0/", false),
        ("http://192.0.2.1/", true),
        ("http://[2001:db8::1]/", true),
    ] {
        let answer = client(options()).get(&url(text), &HttpHeaders::default());
        match answer.unwrap_err().problem {
            HttpProblem::ForbiddenAddress(_) if !is_plain => {}
            HttpProblem::PlainElsewhere(_) if is_plain => {}
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_slow_name_server_is_not_waited_for() {
    let (sender, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let lookup: Lookup = Arc::new(move |_, _| {
        let _ = wait.lock().unwrap().recv();
        Ok(Vec::new())
    });
    let options = HttpOptions { deadline: Duration::from_millis(50), ..options() };
    let client = HttpClient::with_lookup(options, lookup).unwrap();
    let problem = || client.get(&url("https://auth.example"), &HttpHeaders::default());
    assert_eq!(problem().unwrap_err().problem, HttpProblem::Late);
    for _ in 1..16 {
        assert_eq!(problem().unwrap_err().problem, HttpProblem::Late);
    }
    assert_eq!(problem().unwrap_err().problem, HttpProblem::TooManyLookups);
    drop(sender);
}

#[test]
fn urls_and_headers_are_checked() {
    for text in [
        "",
        "auth.example",
        "/path",
        "ftp://auth.example",
        "http://",
        "https://user:SECRET@auth.example/",
        "http://auth.example:99999/",
        "http://auth.example:x/",
        "http://auth example/",
    ] {
        let error = HttpUrl::parse(text).unwrap_err();
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
    let text = "https://auth.example:8443/SECRET?key=SECRET";
    assert_eq!(format!("{} {0:?}", url(text)), {
        "https://auth.example:8443 HttpUrl(https://auth.example:8443)"
    });
    let mut headers = HttpHeaders::default();
    for (name, value) in [
        ("host", "x"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("a b", "x"),
        ("", "x"),
        ("x-key", "SECRET\r\nHost: x"),
    ] {
        let error = headers.set(name, value).unwrap_err();
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
    headers.set("x-key", "SECRET").unwrap();
    assert_eq!(format!("{headers:?}"), "[\"x-key\"]");
    assert!(headers.iter().all(|(_, value)| value.is_sensitive()), "others show no value, too");
}

#[test]
fn answers_say_how_long_they_may_be_used() {
    let usable = |lines: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, header::HeaderValue::from_static(value));
        }
        usable_for(&headers).map(|it| it.as_secs())
    };
    assert_eq!(usable(&[]), None);
    assert_eq!(usable(&[("cache-control", "private, Max-Age=60")]), Some(60));
    assert_eq!(usable(&[("cache-control", "max-age=60"), ("age", "50")]), Some(10));
    assert_eq!(usable(&[("cache-control", "max-age=60"), ("age", "70")]), Some(0));
    assert_eq!(usable(&[("cache-control", "max-age=60"), ("age", "x")]), Some(0));
    assert_eq!(usable(&[("cache-control", "max-age=60, no-store")]), Some(0));
    assert_eq!(usable(&[("cache-control", "max-age=60"), ("cache-control", "no-cache")]), Some(0));
    assert_eq!(usable(&[("cache-control", "max-age=60, max-age=5")]), Some(5));
    assert_eq!(usable(&[("cache-control", "max-age=-1")]), Some(0));
    assert_eq!(usable(&[("cache-control", "public")]), None);
}
