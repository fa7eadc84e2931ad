//! What is asked and what is decided, in any dialect; and how a server's texts are shown.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use midge_core::{User, UserFacts};

use crate::login::Login;
use crate::member::Verdict;

/// What is sent to the server. It holds secrets.
pub(super) struct Question {
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

/// What the server has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allow(Arc<Allowed>),
    Deny(Arc<str>),
    NotMine,
}

/// Who a Client is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) name: Option<Box<str>>,
    pub(super) facts: UserFacts,
}

/// A reason of the server is shown up to this length.
const REASON_CHARACTERS_MAX: usize = 200;

impl Decision {
    pub(super) fn allow(name: Option<Box<str>>, facts: UserFacts) -> Self {
        let facts = UserFacts { member: Some(super::NAME.into()), ..facts };
        Self::Allow(Arc::new(Allowed { name, facts }))
    }

    /// Returns when the decision ends, in seconds since 1970.
    pub(super) fn expires_at(&self) -> Option<u64> {
        match self {
            Self::Allow(allowed) => allowed.facts.expires_at,
            Self::Deny(_) | Self::NotMine => None,
        }
    }

    /// Returns what the decision means at `unix_now`, in seconds since 1970.
    pub(super) fn verdict(&self, unix_now: u64) -> Verdict {
        match self {
            Self::Allow(allowed) => {
                let left = allowed.facts.expires_at.map(|it| it.saturating_sub(unix_now));
                if left == Some(0) {
                    return Verdict::Deny("the server allows it until a time that is past".into());
                }
                let Allowed { name, facts } = &**allowed;
                let valid_for = left.map(Duration::from_secs);
                let user = User { name: name.clone(), facts: facts.clone(), valid_for };
                Verdict::Allow(Box::new(user))
            }
            Self::Deny(reason) => Verdict::Deny(reason.to_string()),
            Self::NotMine => Verdict::NotMine,
        }
    }
}

/// Returns a text of the server as it may be shown: in one line, not long, and without what the
/// Client has sent in secret.
pub(super) fn shown(text: &str, login: &Login) -> String {
    let secrets = [&login.password, &login.data].into_iter().flatten();
    let repeats = |secret: &[u8]| {
        let is_in = |bytes: &[u8]| text.as_bytes().windows(bytes.len()).any(|it| it == bytes);
        !secret.is_empty() && (is_in(secret) || is_in(Base64::encode_string(secret).as_bytes()))
    };
    if secrets.into_iter().any(|secret| repeats(secret)) {
        return "(the reason is not shown: it repeats a secret of the Client)".into();
    }
    let shown: String = text.chars().take(REASON_CHARACTERS_MAX).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", shown.escape_debug())
}

/// Says where an answer is wrong, and not what is there.
pub(super) fn malformed(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "has a field of the wrong type, or twice",
        serde_json::error::Category::Eof => "is not complete",
        _ => "is no JSON",
    };
    format!("the answer {what} (line {}, column {})", error.line(), error.column())
}

/// Returns a certificate in PEM.
pub(super) fn pem(der: &[u8]) -> String {
    let base64 = Base64::encode_string(der);
    let mut pem = String::with_capacity(base64.len() * 66 / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Does not show the body.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}
