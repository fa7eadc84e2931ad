//! The headers of a webhook's requests, with credentials from a file that may change.
//!
//! When the file has changed and cannot be used, the credentials from before stay in effect.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use base64ct::{Base64, Encoding};

use super::WebhookCredentials;
use crate::http::{HttpHeaders, HttpSetupError};

/// No token is longer.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

pub(super) struct RequestHeaders {
    configured: HttpHeaders,
    file: Option<(Scheme, PathBuf)>,
    loaded: Mutex<Loaded>,
}

/// Headers with the credentials of a file as it was at `stamp`.
struct Loaded {
    headers: HttpHeaders,
    stamp: Option<Stamp>,
}

/// What changes when a file does.
type Stamp = (SystemTime, u64);

#[derive(Clone, Copy)]
enum Scheme {
    Bearer,
    Basic,
}

impl RequestHeaders {
    pub(super) fn new(
        configured: HttpHeaders,
        credentials: &WebhookCredentials,
    ) -> Result<Self, HttpSetupError> {
        let file = match credentials {
            WebhookCredentials::None => None,
            WebhookCredentials::Bearer(path) => Some((Scheme::Bearer, path.clone())),
            WebhookCredentials::Basic(path) => Some((Scheme::Basic, path.clone())),
        };
        let loaded = match &file {
            Some((scheme, path)) => load(&configured, *scheme, path, stamp(path))?,
            None => Loaded { headers: configured.clone(), stamp: None },
        };
        Ok(Self { configured, file, loaded: Mutex::new(loaded) })
    }

    /// Returns the headers, with the credentials that are in the file now.
    pub(super) fn current(&self) -> HttpHeaders {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((scheme, path)) = &self.file {
            let stamp = stamp(path);
            if stamp.is_some()
                && stamp != loaded.stamp
                && let Ok(newer) = load(&self.configured, *scheme, path, stamp)
            {
                *loaded = newer;
            }
        }
        loaded.headers.clone()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// `stamp` is older than the content, so that a change in between is noticed the next time.
fn load(
    configured: &HttpHeaders,
    scheme: Scheme,
    path: &Path,
    stamp: Option<Stamp>,
) -> Result<Loaded, HttpSetupError> {
    let error = |detail: &str| HttpSetupError::new(path.display().to_string(), detail);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|it| error(&it.to_string()))?;
    let read = file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|it| error(&it.to_string()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || text.len() as u64 > SECRET_BYTES_MAX {
        return Err(error("it holds a secret of 1 byte to 16 KB in one line"));
    }
    let value = match scheme {
        Scheme::Bearer => format!("Bearer {secret}"),
        Scheme::Basic if secret.contains(':') && !secret.contains('\n') => {
            format!("Basic {}", Base64::encode_string(secret.as_bytes()))
        }
        Scheme::Basic => return Err(error("it holds USER:PASSWORD in one line")),
    };
    let mut headers = configured.clone();
    let set = headers.set("authorization", &value);
    set.map_err(|_| error("it holds one line of ASCII characters"))?;
    Ok(Loaded { headers, stamp })
}

/// Shows no value.
impl fmt::Debug for RequestHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHeaders").field("headers", &self.configured).finish_non_exhaustive()
    }
}
