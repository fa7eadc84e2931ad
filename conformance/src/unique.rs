//! Names that no other test uses, so that all tests run at once against one broker.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Returns a Client Identifier of at most 23 letters and digits that is used only once.
pub fn client_id() -> String {
    format!("c{}", token())
}

/// Returns a Topic Name that is used only once, so that subscribing to it meets no other test.
pub fn topic() -> String {
    format!("conformance/{}", token())
}

/// Returns at most 22 hexadecimal digits: the process, the time, and a counter.
fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_micros());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{:05x}{:09x}{count:x}", process::id() & 0xF_FFFF, now & 0xF_FFFF_FFFF)
}
