//! The phases that measure speed: live, stuck, queue, reopen, drain.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::candidate::{Candidate, Message, Outcome, open};
use crate::measure::{Reading, quantiles};

/// Number of sessions in every phase.
pub const SESSIONS: u64 = 100;
/// Bytes of a payload.
pub const PAYLOAD: usize = 100;
/// Messages of a commit in the phase `live`.
pub const LIVE_GROUP: u64 = 64;
/// Messages of a commit in the phase `queue`.
pub const QUEUE_GROUP: u64 = 256;

/// The payload of a message: no two are alike, and none can be compressed.
pub fn payload(session: u32, seq: u64) -> [u8; PAYLOAD] {
    let mut bytes = [0; PAYLOAD];
    let mut state = u64::from(session) << 40 ^ seq;
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// The nth message of all: its session and its sequence there, from 1 on.
pub fn nth(number: u64) -> (u32, u64) {
    ((number % SESSIONS) as u32, number / SESSIONS + 1)
}

/// Enqueues a group of messages.
pub fn enqueue(store: &mut dyn Candidate, first: u64, count: u64) -> Outcome<()> {
    for number in first..first + count {
        let (session, seq) = nth(number);
        store.enqueue(session, seq, &payload(session, seq))?;
    }
    Ok(())
}

/// Every message is finished four groups later; with `stuck` not those of session 0.
pub fn live(name: &str, dir: &Path, messages: u64, stuck: bool) -> Outcome<String> {
    let mut store = open(name, dir)?;
    let start = Reading::take(dir);
    let limit = Instant::now() + Duration::from_secs(40);
    let mut commits = Vec::new();
    let mut first = 0;
    while first < messages && Instant::now() < limit {
        enqueue(store.as_mut(), first, LIVE_GROUP)?;
        if first >= 4 * LIVE_GROUP {
            for number in first - 4 * LIVE_GROUP..first - 3 * LIVE_GROUP {
                let (session, seq) = nth(number);
                if !stuck || session != 0 {
                    store.finish(session, seq)?;
                }
            }
        }
        let before = Instant::now();
        store.commit()?;
        commits.push(before.elapsed().as_nanos() as u64);
        first += LIVE_GROUP;
    }
    let line = start.since(dir, first);
    store.close()?;
    Ok(format!("{line},{}", quantiles(commits)))
}

/// Enqueues and finishes nothing.
pub fn queue(name: &str, dir: &Path, messages: u64) -> Outcome<String> {
    let before_open = Reading::take(dir).anonymous_kib;
    let mut store = open(name, dir)?;
    let start = Reading::take(dir);
    let mut commits = Vec::new();
    let mut first = 0;
    while first < messages {
        let count = QUEUE_GROUP.min(messages - first);
        enqueue(store.as_mut(), first, count)?;
        let before = Instant::now();
        store.commit()?;
        commits.push(before.elapsed().as_nanos() as u64);
        first += count;
    }
    let line = start.since(dir, first);
    store.close()?;
    Ok(format!("{line},\"anonymous_before_kib\":{before_open},{}", quantiles(commits)))
}

/// Opens and looks for the first message of every session.
pub fn reopen(name: &str, dir: &Path) -> Outcome<String> {
    forget_cached(dir);
    let start = Reading::take(dir);
    let mut store = open(name, dir)?;
    let mut out = Vec::new();
    for session in 0..SESSIONS {
        store.read(session as u32, 0, 1, &mut out)?;
    }
    let line = start.since(dir, 1);
    let damage = store.take_damage().len();
    store.close()?;
    Ok(format!("{line},\"sessions_with_messages\":{},\"damage\":{damage}", out.len()))
}

/// Reads everything in batches of 64 and finishes it, one commit a batch: session after session,
/// or (`round`) one batch of every session in turn.
pub fn drain(name: &str, dir: &Path, round: bool) -> Outcome<String> {
    let mut store = open(name, dir)?;
    let start = Reading::take(dir);
    let mut next = [0; SESSIONS as usize];
    let mut done = 0;
    let mut peak_mib = 0;
    let mut commits = Vec::new();
    let mut open_sessions: Vec<u32> = (0..SESSIONS as u32).collect();
    let mut batch: Vec<Message> = Vec::new();
    let mut turn = 0;
    while !open_sessions.is_empty() {
        let session = open_sessions[turn % open_sessions.len()];
        batch.clear();
        store.read(session, next[session as usize], 64, &mut batch)?;
        for message in &batch {
            if message.payload != payload(session, message.seq) {
                return Err(format!("wrong bytes in {session} {}", message.seq).into());
            }
            store.finish(session, message.seq)?;
            next[session as usize] = message.seq + 1;
        }
        let before = Instant::now();
        store.commit()?;
        commits.push(before.elapsed().as_nanos() as u64);
        done += batch.len() as u64;
        if batch.is_empty() {
            open_sessions.retain(|other| *other != session);
        } else if round {
            turn += 1;
        }
        if commits.len() % 256 == 0 {
            peak_mib = peak_mib.max(crate::measure::disk_bytes(dir) >> 20);
        }
    }
    let line = start.since(dir, done);
    store.close()?;
    let after = crate::measure::disk_bytes(dir) >> 20;
    let tail = format!("\"peak_disk_mib\":{peak_mib},\"closed_disk_mib\":{after}");
    Ok(format!("{line},{tail},{}", quantiles(commits)))
}

/// Drops the files of a directory from the page cache, so that a reopen is a cold one.
fn forget_cached(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            forget_cached(&path);
        } else if let Ok(file) = std::fs::File::open(&path) {
            let _ = file.sync_all();
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
}
