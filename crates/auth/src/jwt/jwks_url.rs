//! A JWK Set behind a URL: kept, fetched again, and survived without for a while.
//!
//! Anybody can send tokens that name keys which there are not, so such a token leads to a fetch
//! only if the last one is long enough ago. No lock is held during a fetch: only the login that
//! fetches waits for it. This file never opens a socket; [`Fetch`] does.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::algorithm::AlgorithmSet;
use super::key_set::KeySet;
use super::key_source::KeySource;
use crate::clock::Clock;

/// Gets what is behind a URL.
pub trait Fetch: Send + Sync {
    /// Gets what is behind `url` with a GET, and gives up after `deadline` or `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// A text for the log, which holds no secret.
    fn get(&self, url: &str, deadline: Duration, bytes_max: usize) -> Result<Document, String>;
}

/// What was behind a URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub body: Vec<u8>,
    /// How long it may be kept (`max-age` of Cache-Control); absent if nothing is said.
    pub max_age: Option<Duration>,
}

/// How a [`JwksUrl`] fetches.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksUrlConfig {
    /// The URL.
    pub url: Box<str>,
    /// The least time between two fetches, whatever tokens and the issuer say.
    pub refresh_min: Duration,
    /// The most time between two fetches, if there are logins.
    pub refresh_max: Duration,
    /// How long the keys are used when they cannot be fetched again.
    pub stale_max: Duration,
    /// How long a fetch may take.
    pub deadline: Duration,
    /// The most bytes of the JWK Set.
    pub bytes_max: usize,
}

impl JwksUrlConfig {
    /// What is usual: at least a minute and at most an hour between fetches, keys that last for a
    /// day, five seconds and 256 KiB for a fetch.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            refresh_min: Duration::from_secs(60),
            refresh_max: Duration::from_secs(3600),
            stale_max: Duration::from_secs(86_400),
            deadline: Duration::from_secs(5),
            bytes_max: 256 << 10,
        }
    }
}

/// A JWK Set behind a URL.
pub struct JwksUrl {
    config: JwksUrlConfig,
    /// The host in the URL, for texts.
    host: Box<str>,
    algorithms: AlgorithmSet,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// When the last fetch began; absent before the first one.
    fetched_at: Option<Duration>,
    is_fetching: bool,
    problem: Option<String>,
}

/// Keys that were fetched.
struct Kept {
    keys: Arc<KeySet>,
    /// When they came.
    since: Duration,
    /// When they are to be fetched again.
    refresh_at: Duration,
}

/// Ends a fetch, also one that has panicked.
struct Fetching<'a>(&'a JwksUrl);

impl JwksUrl {
    /// How soon a fetch that has failed may be followed by another one if there are no keys.
    const RETRY: Duration = Duration::from_secs(10);

    /// Keys of a JWK Set, for these algorithms. Nothing is fetched yet.
    pub fn new(
        config: JwksUrlConfig,
        algorithms: AlgorithmSet,
        fetch: Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let host = host(&config.url).into();
        Self { config, host, algorithms, fetch, clock, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No state is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches if it is due, or if there may be a key of this name by now.
    fn refresh(&self, key_id: Option<&str>) {
        let now = self.clock.monotonic();
        let fetching = {
            let mut state = self.lock();
            if state.is_fetching || !self.must_fetch(&state, now, key_id) {
                return;
            }
            (state.is_fetching, state.fetched_at) = (true, Some(now));
            Fetching(self)
        };
        let (url, deadline, bytes_max) =
            (&self.config.url, self.config.deadline, self.config.bytes_max);
        let fetched = self.fetch.get(url, deadline, bytes_max).and_then(|document| {
            if document.body.len() > bytes_max {
                return Err(format!("the JWK Set has more than {bytes_max} bytes"));
            }
            let keys = KeySet::from_jwks(&document.body, self.algorithms);
            let keys = keys.map_err(|error| error.to_string())?;
            Ok((keys, document.max_age))
        });
        // They are as old as the fetch that has brought them.
        let mut state = self.lock();
        match fetched {
            Ok((keys, max_age)) => self.keep(&mut state, keys, max_age, now),
            Err(error) => self.fail(&mut state, &error),
        }
        drop(state);
        drop(fetching);
    }

    fn must_fetch(&self, state: &State, now: Duration, key_id: Option<&str>) -> bool {
        let since_fetch = state.fetched_at.map(|at| now.saturating_sub(at));
        let is_long_ago = |least| since_fetch.is_none_or(|since| since >= least);
        match &state.kept {
            Some(kept) if !self.is_too_old(kept, now) => {
                let is_unknown = key_id.is_some_and(|id| !kept.keys.may_have(id));
                (now >= kept.refresh_at || is_unknown) && is_long_ago(self.config.refresh_min)
            }
            _ => is_long_ago(Self::RETRY.min(self.config.refresh_min)),
        }
    }

    fn is_too_old(&self, kept: &Kept, now: Duration) -> bool {
        now > kept.refresh_at.saturating_add(self.config.stale_max)
    }

    fn keep(&self, state: &mut State, keys: KeySet, max_age: Option<Duration>, now: Duration) {
        let least = self.config.refresh_min;
        let most = self.config.refresh_max.max(least);
        let refresh_at = now.saturating_add(max_age.unwrap_or(most).clamp(least, most));
        if state.problem.take().is_some() {
            log::info!("the JWK Set of {} can be fetched again: {} keys", self.host, keys.len());
        }
        for skipped in keys.skipped() {
            log::debug!("the JWK Set of {}: {skipped}", self.host);
        }
        state.kept = Some(Kept { keys: Arc::new(keys), since: now, refresh_at });
    }

    fn fail(&self, state: &mut State, error: &str) {
        let what = format!("the JWK Set of {} cannot be fetched ({error})", self.host);
        let text = match &state.kept {
            Some(kept) => {
                let age = self.clock.monotonic().saturating_sub(kept.since).as_secs();
                format!("{what}, the one of {age} s ago is used on")
            }
            None => format!("{what}, and there is no older one"),
        };
        if state.problem.is_none() {
            log::warn!("{text}");
        }
        state.problem = Some(text);
    }
}

impl KeySource for JwksUrl {
    fn keys(&self, key_id: Option<&str>) -> Result<Arc<KeySet>, String> {
        self.refresh(key_id);
        let (state, now) = (self.lock(), self.clock.monotonic());
        let fetching = || format!("the JWK Set of {} is just being fetched", self.host);
        match &state.kept {
            Some(kept) if !self.is_too_old(kept, now) => {
                let is_unknown = key_id.is_some_and(|id| !kept.keys.may_have(id));
                if is_unknown && state.is_fetching {
                    return Err(fetching());
                }
                Ok(Arc::clone(&kept.keys))
            }
            Some(kept) => {
                let age = now.saturating_sub(kept.since).as_secs();
                let why = state.problem.clone().unwrap_or_else(fetching);
                Err(format!("{why}; the last one is {age} s old, too old to be used"))
            }
            None => Err(state.problem.clone().unwrap_or_else(fetching)),
        }
    }

    fn maintain(&self) {
        self.refresh(None);
    }

    fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }
}

/// Returns the host of a URL. The rest of it may have secrets.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.lock().is_fetching = false;
    }
}

/// Shows no body: there may be a key in it.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.body.len())
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// Shows no URL: there may be a secret in it.
impl fmt::Debug for JwksUrlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksUrlConfig")
            .field("refresh_min", &self.refresh_min)
            .field("refresh_max", &self.refresh_max)
            .field("stale_max", &self.stale_max)
            .finish_non_exhaustive()
    }
}

/// Shows no URL, as its configuration does not.
impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksUrl").field("problem", &self.problem()).finish_non_exhaustive()
    }
}
