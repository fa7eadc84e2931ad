//! Files of keys that change.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A file that is deleted in the end.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, content: &[u8]) -> Self {
        let name = format!("midge-auth-{}-{name}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(content);
        file
    }

    fn write(&self, content: &[u8]) {
        fs::write(&self.0, content).unwrap();
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn jwks(id: &str) -> Vec<u8> {
    json!({"keys": [P256.jwk(id)]}).to_string().into_bytes()
}

fn open(file: &TestFile, clock: &Arc<TestClock>) -> Result<KeyFile, KeyError> {
    let format = KeyFormat::Jwks;
    KeyFile::open(&file.0, format, format.algorithms(), Arc::clone(clock) as _)
}

fn has(keys: &KeyFile, id: &str) -> bool {
    keys.keys(Some(id)).unwrap().may_have(id)
}

#[test]
fn a_file_that_has_changed_is_read_again() {
    let (file, clock) = (TestFile::new("changed", &jwks("one")), Arc::new(TestClock::default()));
    let keys = open(&file, &clock).unwrap();
    assert!(has(&keys, "one"));
    file.write(&jwks("another"));
    assert!(has(&keys, "one"), "it was looked at a moment ago");
    clock.advance(1);
    assert!(has(&keys, "another") && !has(&keys, "one"));
    assert_eq!(keys.problem(), None);
}

/// S04: a file that cannot be used never opens, or closes, anything.
#[test]
fn s04_the_old_keys_stay_when_the_file_cannot_be_used() {
    let (file, clock) = (TestFile::new("broken", &jwks("one")), Arc::new(TestClock::default()));
    let keys = open(&file, &clock).unwrap();
    let half = &jwks("other")[..40];
    for content in [b"".as_slice(), half, b"{\"keys\":[]}", b"canary"] {
        file.write(content);
        clock.advance(1);
        keys.maintain();
        assert!(has(&keys, "one"));
        let problem = keys.problem().expect("it is told");
        shows_nothing(&problem, "");
    }
    fs::remove_file(&file.0).unwrap();
    clock.advance(1);
    assert!(has(&keys, "one"));
    assert!(keys.problem().is_some());
    file.write(&jwks("two"));
    clock.advance(1);
    assert!(has(&keys, "two") && !has(&keys, "one"));
    assert_eq!(keys.problem(), None);
}

#[test]
fn a_file_that_cannot_be_used_at_the_start_is_an_error() {
    let clock = Arc::new(TestClock::default());
    let file = TestFile::new("wrong", b"");
    assert!(open(&file, &clock).is_err());
    file.write(&vec![b' '; KeyFile::BYTES_MAX as usize + 1]);
    let error = open(&file, &clock).unwrap_err().to_string();
    assert!(error.contains("at most"), "{error}");
    fs::remove_file(&file.0).unwrap();
    assert!(open(&file, &clock).is_err());
}

#[test]
fn all_formats_are_read() {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
    for (format, content, algorithm) in [
        (KeyFormat::Secret, SECRET.to_vec(), Algorithm::Hs256),
        (KeyFormat::SecretBase64, Base64::encode_string(SECRET).into_bytes(), Algorithm::Hs256),
        (KeyFormat::Pem, P256.pem().into_bytes(), Algorithm::Es256),
        (KeyFormat::Jwks, jwks("k"), Algorithm::Es256),
    ] {
        let file = TestFile::new(&format!("{format:?}"), &content);
        let algorithms = format.algorithms();
        let keys = KeyFile::open(&file.0, format, algorithms, Arc::clone(&clock)).unwrap();
        assert!(!format!("{keys:?}").contains("canary"));
        let member =
            JwtMember::new(JwtConfig::default(), algorithms, Box::new(keys), Arc::clone(&clock));
        assert!(is_allowed(&verdict(&member, &token(algorithm, &claims("u")))), "{format:?}");
    }
}
