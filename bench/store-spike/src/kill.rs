//! Kills a child at a random moment and verifies what its store still has.
//!
//! A killed process loses nothing that it had written, so this tests that groups stay whole, not
//! that they were synced.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::candidate::{Candidate, Outcome, open};
use crate::phases::{LIVE_GROUP, QUEUE_GROUP, SESSIONS, enqueue, nth, payload};

/// Messages whose number is a multiple of this are never finished.
const KEPT: u64 = 8;

/// The child: prints how many groups are committed after each commit, until it is killed.
pub fn write(name: &str, dir: &Path, mixed: bool) -> Outcome<String> {
    let mut store = open(name, dir)?;
    let mut out = std::io::stdout().lock();
    let size = if mixed { LIVE_GROUP } else { QUEUE_GROUP };
    for group in 0.. {
        enqueue(store.as_mut(), group * size, size)?;
        if mixed && group >= 4 {
            for number in (group - 4) * size..(group - 3) * size {
                if number % KEPT != 0 {
                    let (session, seq) = nth(number);
                    store.finish(session, seq)?;
                }
            }
        }
        store.commit()?;
        writeln!(out, "{}", group + 1)?;
    }
    Ok(String::new())
}

/// The parent: kills the child after some milliseconds, reopens and counts.
pub fn kill(name: &str, dir: &Path, mixed: bool, after: Duration) -> Outcome<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([name, if mixed { "kill-child-mixed" } else { "kill-child" }, "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output of the child")?;
    let reader = std::thread::spawn(move || {
        // A line that was cut by the kill is no number of its own: only whole lines count.
        let mut groups = 0;
        let mut input = BufReader::new(output);
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
            groups = line.trim().parse().unwrap_or(groups);
            line.clear();
        }
        groups
    });
    std::thread::sleep(after);
    child.kill()?;
    child.wait()?;
    let groups: u64 = reader.join().map_err(|_| "the reader panicked")?;
    let begun = Instant::now();
    let mut store = open(name, dir)?;
    let ready = begun.elapsed().as_secs_f64();
    let mut line = verify(store.as_mut(), groups, mixed)?;
    let damage = store.take_damage();
    line.push_str(&format!(
        ",\"mixed\":{mixed},\"ready_ms\":{:.1},\"damage\":{:?}",
        ready * 1000.0,
        damage
    ));
    Ok(line)
}

fn verify(store: &mut dyn Candidate, groups: u64, mixed: bool) -> Outcome<String> {
    let size = if mixed { LIVE_GROUP } else { QUEUE_GROUP };
    let found = read_all(store)?;
    let mut wrong = 0;
    for ((session, seq), bytes) in &found {
        wrong += u64::from(bytes[..] != payload(*session, *seq));
    }
    let (mut missing, mut again, mut uncommitted) = (0, 0, 0);
    for number in 0..(groups + 3) * size {
        let group = number / size;
        let there = found.contains_key(&nth(number));
        let finished_in = if mixed && number % KEPT != 0 { group + 4 } else { u64::MAX };
        if group >= groups {
            uncommitted += u64::from(there);
        } else if finished_in < groups {
            again += u64::from(there);
        } else if finished_in > groups {
            missing += u64::from(!there);
        }
    }
    let torn = uncommitted % size != 0;
    Ok(format!(
        "\"groups\":{groups},\"found\":{},\"missing\":{missing},\"again\":{again},\
         \"wrong\":{wrong},\"uncommitted\":{uncommitted},\"group_torn\":{torn}",
        found.len()
    ))
}

fn read_all(store: &mut dyn Candidate) -> Outcome<BTreeMap<(u32, u64), Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut batch = Vec::new();
    for session in 0..SESSIONS as u32 {
        let mut from = 0;
        loop {
            batch.clear();
            store.read(session, from, 64, &mut batch)?;
            let Some(last) = batch.last() else { break };
            from = last.seq + 1;
            for message in batch.drain(..) {
                found.insert((session, message.seq), message.payload);
            }
        }
    }
    Ok(found)
}
