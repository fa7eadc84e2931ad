//! Keys in a file, which is read again when it has changed.
//!
//! A file that cannot be used never replaces keys that could be: the old ones stay, and
//! [`KeySource::problem`] says so.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::algorithm::AlgorithmSet;
use super::key::KeyError;
use super::key_set::KeySet;
use super::key_source::KeySource;
use crate::clock::Clock;

/// What a file of keys holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// A shared secret, as it stands.
    Secret,
    /// A shared secret in base64.
    SecretBase64,
    /// Public keys in PEM.
    Pem,
    /// A JWK Set.
    Jwks,
}

/// Keys in a file.
pub struct KeyFile {
    path: Box<Path>,
    format: KeyFormat,
    algorithms: AlgorithmSet,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    keys: Arc<KeySet>,
    stamp: Option<Stamp>,
    looked_at: Duration,
    problem: Option<String>,
}

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

impl KeyFormat {
    /// Returns the algorithms that are allowed with such keys if nothing else is said. A JWK Set is
    /// read for public keys only.
    pub fn algorithms(self) -> AlgorithmSet {
        match self {
            Self::Secret | Self::SecretBase64 => AlgorithmSet::OF_SECRETS,
            Self::Pem | Self::Jwks => AlgorithmSet::OF_PUBLIC_KEYS,
        }
    }

    fn read(self, bytes: &[u8], algorithms: AlgorithmSet) -> Result<KeySet, KeyError> {
        match self {
            Self::Secret => KeySet::from_secret(bytes, false, algorithms),
            Self::SecretBase64 => KeySet::from_secret(bytes, true, algorithms),
            Self::Pem => KeySet::from_pem(bytes, algorithms),
            Self::Jwks => KeySet::from_jwks(bytes, algorithms),
        }
    }
}

impl KeyFile {
    /// The most bytes of a file of keys.
    pub const BYTES_MAX: u64 = 1 << 20;

    /// How often the file is looked at.
    const INTERVAL: Duration = Duration::from_secs(1);

    /// Reads the keys of a file, for these algorithms.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is too large, or has no key that can be used.
    pub fn open(
        path: &Path,
        format: KeyFormat,
        algorithms: AlgorithmSet,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let (bytes, stamp) = read(path)?;
        let error = |error| KeyError(format!("{}: {error}", path.display()));
        let keys = Arc::new(format.read(&bytes, algorithms).map_err(error)?);
        let looked_at = clock.monotonic();
        let state = Mutex::new(State { keys, stamp: Some(stamp), looked_at, problem: None });
        Ok(Self { path: path.into(), format, algorithms, clock, state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No state is left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again if it has changed, unless it was looked at a moment ago.
    fn look(&self, state: &mut State) {
        let now = self.clock.monotonic();
        if now.saturating_sub(state.looked_at) < Self::INTERVAL {
            return;
        }
        state.looked_at = now;
        let stamp = std::fs::metadata(&self.path).ok().map(|it| Stamp::of(&it));
        if stamp == state.stamp {
            return;
        }
        state.stamp = stamp;
        let read = read(&self.path).and_then(|(bytes, stamp)| {
            let keys = self.format.read(&bytes, self.algorithms);
            let error = |error| KeyError(format!("{}: {error}", self.path.display()));
            keys.map(|keys| (keys, stamp)).map_err(error)
        });
        match read {
            Ok((keys, stamp)) => {
                log::info!("{}: the changed keys are in effect", self.path.display());
                (state.keys, state.stamp) = (Arc::new(keys), Some(stamp));
                state.problem = None;
            }
            Err(error) => {
                let text = format!("{error}; the keys that were read before stay in effect");
                log::error!("{text}");
                state.problem = Some(text);
            }
        }
    }
}

impl KeySource for KeyFile {
    fn keys(&self, _: Option<&str>) -> Result<Arc<KeySet>, String> {
        let mut state = self.lock();
        self.look(&mut state);
        Ok(Arc::clone(&state.keys))
    }

    fn maintain(&self) {
        self.look(&mut self.lock());
    }

    fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
        }
    }
}

/// Reads a file, and what changes when it does.
fn read(path: &Path) -> Result<(Vec<u8>, Stamp), KeyError> {
    let error = |error: io::Error| KeyError(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(error)?;
    let stamp = Stamp::of(&file.metadata().map_err(error)?);
    let mut bytes = Vec::new();
    file.take(KeyFile::BYTES_MAX + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > KeyFile::BYTES_MAX {
        let (path, max) = (path.display(), KeyFile::BYTES_MAX);
        return Err(KeyError(format!("{path}: a file of keys has at most {max} bytes")));
    }
    Ok((bytes, stamp))
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.path)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
