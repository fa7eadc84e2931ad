//! A member of the authentication chain that asks a server over HTTP.
//!
//! Nobody is let in unless the server says so in words: an answer without a decision, and no
//! answer at all, are [`Verdict::Failed`], never an allowance and never a denial. What was sent is
//! kept nowhere; the cache knows it by a keyed digest only. No text that comes out of here holds a
//! Password, a token, or the value of a header.

mod breaker;
mod cache;
mod decision;
mod emqx;
mod emqx_rules;
mod event_grid;
mod figures;
mod headers;

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::{HttpAnswer, HttpClient, HttpHeaders, HttpOptions, HttpSetupError, HttpUrl};
use crate::login::Login;
use crate::member::{Member, Step, Verdict};
use breaker::Breaker;
use cache::Cache;
use decision::{Decision, Question};
use figures::Counters;
pub use figures::WebhookFigures;
use headers::RequestHeaders;

/// Longer answers are not kept, so that the cache stays small.
const KEPT_ANSWER_BYTES_MAX: usize = 8 * 1024;

/// The name of the member.
const NAME: &str = "webhook";

/// What a webhook has to know.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// The server that is asked.
    pub url: HttpUrl,
    /// How it is asked.
    pub dialect: WebhookDialect,
    /// How requests are made.
    pub http: HttpOptions,
    /// Headers for each request.
    pub headers: HttpHeaders,
    /// How the broker proves to the server who it is.
    pub credentials: WebhookCredentials,
    /// How long answers are used again; absent: none is.
    pub cache: Option<WebhookCache>,
    /// After so many requests in a row without an answer, ...
    pub breaker_failures: NonZeroU32,
    /// ... the server is not asked for so long.
    pub breaker_time: Duration,
}

/// What a webhook and its server say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookDialect {
    /// As Azure Event Grid does.
    EventGrid {
        /// The Authentication Methods that the server decides about, too.
        methods: Box<[Box<str>]>,
    },
    /// As EMQX does.
    Emqx {
        /// Whether the request is a form instead of JSON.
        sends_form: bool,
        /// Lets other members decide if the status code is 400 or more. Else nobody is let in
        /// then.
        ignores_errors: bool,
    },
}

/// How the broker proves to the server who it is. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookCredentials {
    /// Not at all, or by a header or a certificate.
    None,
    /// By the token in this file.
    Bearer(PathBuf),
    /// By `USER:PASSWORD` in this file.
    Basic(PathBuf),
}

/// How long answers are used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookCache {
    /// For so long, if the server says nothing about it; zero: not at all.
    pub time: Duration,
    /// For at most so long, whatever the server says (`Cache-Control: max-age`).
    pub time_max: Duration,
    /// The most answers that are kept.
    pub entries_max: NonZeroUsize,
}

/// Asks a server who a Client is.
pub struct Webhook {
    options: WebhookOptions,
    client: HttpClient,
    headers: RequestHeaders,
    breaker: Breaker,
    cache: Option<Cache>,
    counters: Counters,
    clock: Clock,
}

/// The time, for intervals and for what servers mean by it.
#[derive(Clone, Copy, Debug)]
struct Now {
    instant: Instant,
    /// Seconds since 1970.
    unix: u64,
}

type Clock = Box<dyn Fn() -> Now + Send + Sync>;

impl WebhookOptions {
    /// Returns options with their usual values.
    pub fn new(url: HttpUrl, dialect: WebhookDialect) -> Self {
        Self {
            url,
            dialect,
            http: HttpOptions::default(),
            headers: HttpHeaders::default(),
            credentials: WebhookCredentials::None,
            cache: Some(WebhookCache::default()),
            breaker_failures: NonZeroU32::new(5).expect("5 is not 0"),
            breaker_time: Duration::from_secs(5),
        }
    }
}

impl Default for WebhookCache {
    fn default() -> Self {
        Self {
            time: Duration::ZERO,
            time_max: Duration::from_secs(3600),
            entries_max: NonZeroUsize::new(10_000).expect("10,000 is not 0"),
        }
    }
}

impl Webhook {
    /// Reads the files, and makes a webhook.
    ///
    /// # Errors
    ///
    /// A file cannot be used.
    pub fn new(options: WebhookOptions) -> Result<Self, HttpSetupError> {
        Self::with_clock(options, Box::new(Now::read))
    }

    fn with_clock(options: WebhookOptions, clock: Clock) -> Result<Self, HttpSetupError> {
        Ok(Self {
            client: HttpClient::new(options.http.clone())?,
            headers: RequestHeaders::new(options.headers.clone(), &options.credentials)?,
            breaker: Breaker::new(options.breaker_failures, options.breaker_time),
            cache: options.cache.clone().map(Cache::new),
            counters: Counters::default(),
            clock,
            options,
        })
    }

    /// Returns what the webhook has counted.
    pub fn figures(&self) -> WebhookFigures {
        self.counters.snapshot()
    }

    /// Decides about a login.
    fn decide(&self, login: &Login) -> Verdict {
        let question = match self.options.dialect {
            WebhookDialect::EventGrid { .. } => event_grid::question(login),
            WebhookDialect::Emqx { sends_form, .. } => emqx::question(login, sends_form),
        };
        let verdict = match question {
            Ok(question) => match self.known_or_asked(&question, login) {
                Ok(decision) => decision.verdict((self.clock)().unix),
                Err(reason) => Verdict::Failed(reason),
            },
            Err(reason) => Verdict::Deny(reason),
        };
        self.counters.note_verdict(&verdict);
        verdict
    }

    fn known_or_asked(&self, question: &Question, login: &Login) -> Result<Decision, String> {
        let Some(cache) = &self.cache else {
            return Ok(self.ask(question, login)?.0);
        };
        let key = cache.key(&question.body);
        if let Some(decision) = cache.get(&key, (self.clock)()) {
            self.counters.note_cached();
            return Ok(decision);
        }
        let (decision, usable_for) = self.ask(question, login)?;
        cache.insert(key, &decision, usable_for, (self.clock)());
        Ok(decision)
    }

    /// Asks the server, unless it did not answer lately. Returns also for how long it says that the
    /// answer may be used again.
    fn ask(
        &self,
        question: &Question,
        login: &Login,
    ) -> Result<(Decision, Option<Duration>), String> {
        let Some(admission) = self.breaker.admit((self.clock)().instant) else {
            self.counters.note_not_asked();
            return Err("the server did not answer lately and is not asked now".into());
        };
        let began = Instant::now();
        let headers = self.headers.current();
        let Question { content_type, body } = question;
        let answer = self.client.post(&self.options.url, &headers, content_type, body);
        self.counters.note_asked(began.elapsed());
        // A malformed answer is one: if Clients could make the server give such answers, they could
        // otherwise have everybody refused.
        let has_answered = answer.as_ref().is_ok_and(|answer| answer.status < 500);
        self.breaker.report(admission, has_answered, (self.clock)().instant);
        let answer = answer.map_err(|error| error.to_string())?;
        let is_long = answer.body.len() > KEPT_ANSWER_BYTES_MAX;
        let usable_for = if is_long { Some(Duration::ZERO) } else { answer.usable_for };
        Ok((self.understand(&answer, login)?, usable_for))
    }

    fn understand(&self, answer: &HttpAnswer, login: &Login) -> Result<Decision, String> {
        match (&self.options.dialect, answer.status) {
            (WebhookDialect::EventGrid { .. }, 200) => event_grid::decision(&answer.body, login),
            (WebhookDialect::Emqx { .. }, 200) => emqx::decision(&answer.body, login),
            (WebhookDialect::Emqx { ignores_errors: true, .. }, 400..) => Ok(Decision::NotMine),
            (_, status) => Err(format!("{}: status {status} is no decision", self.options.url)),
        }
    }
}

impl Member for Webhook {
    fn name(&self) -> &str {
        NAME
    }

    fn authenticate(&self, login: &Login) -> Verdict {
        self.decide(login)
    }

    fn begin(&self, login: &Login) -> Step {
        let is_own = match (&self.options.dialect, &login.method) {
            (WebhookDialect::EventGrid { methods }, Some(method)) => methods.contains(method),
            _ => false,
        };
        let verdict = if is_own { self.decide(login) } else { Verdict::NotMine };
        Step::Done { verdict, data: None }
    }
}

impl Now {
    fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix: unix.as_secs() }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let webhook = &mut f.debug_struct("Webhook");
        webhook.field("options", &self.options).field("figures", &self.figures());
        webhook.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
