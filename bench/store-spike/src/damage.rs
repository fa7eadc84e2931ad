//! Flips single bits in the files of a small store and looks at what the candidate makes of it.
//!
//! Every try runs in a child with a time limit, because a candidate may panic or hang.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::candidate::{Outcome, open};
use crate::phases::{LIVE_GROUP, SESSIONS, enqueue, nth, payload};

const FINISHED: u64 = 2_000;
const MESSAGES: u64 = 12_000;

/// The child that makes the store: 12,000 messages, the first 2,000 finished.
pub fn make(name: &str, dir: &Path, settled: bool) -> Outcome<String> {
    let mut store = open(name, dir)?;
    let mut first = 0;
    while first < MESSAGES {
        let count = LIVE_GROUP.min(MESSAGES - first);
        enqueue(store.as_mut(), first, count)?;
        store.commit()?;
        first += count;
    }
    for group in 0..FINISHED / 50 {
        for number in group * 50..(group + 1) * 50 {
            let (session, seq) = nth(number);
            store.finish(session, seq)?;
        }
        store.commit()?;
    }
    if settled {
        store.settle()?;
        store.close()?;
        return Ok("\"made\":true".into());
    }
    // No destructor may run: the store is left as a killed process leaves it.
    println!("made");
    loop {
        std::thread::park();
    }
}

/// The child that looks: how many messages are missing, came again, have wrong bytes.
pub fn look(name: &str, dir: &Path) -> Outcome<String> {
    let mut store = match open(name, dir) {
        Ok(store) => store,
        Err(error) => return Ok(format!("refused {error}")),
    };
    let (mut errors, mut wrong, mut again, mut found) = (0, 0, 0, 0);
    let last = MESSAGES / SESSIONS;
    let mut batch = Vec::new();
    for session in 0..SESSIONS as u32 {
        let mut from = 0;
        while from <= last {
            batch.clear();
            let whole = store.read(session, from, 64, &mut batch).is_ok();
            errors += u32::from(!whole);
            for message in &batch {
                if message.payload != payload(session, message.seq) {
                    wrong += 1;
                } else if message.seq <= FINISHED / SESSIONS {
                    again += 1;
                } else {
                    found += 1;
                }
            }
            match (batch.last(), whole) {
                // Nothing may be served for ever: a damaged order could go back.
                (Some(message), _) if message.seq >= from => from = message.seq + 1,
                (_, false) => from += 64,
                _ => break,
            }
        }
    }
    let missing = MESSAGES - FINISHED - found.min(MESSAGES - FINISHED);
    let damage = store.take_damage();
    let torn = !damage.is_empty() && damage.iter().all(|text| text.starts_with("torn tail"));
    Ok(format!("looked {errors} {wrong} {again} {missing} {} {}", damage.len(), u8::from(torn)))
}

/// All tries on one store; counts by outcome.
pub fn run(name: &str, dir: &Path, settled: bool, tries: u32, seed: u64) -> Outcome<String> {
    let pristine = dir.join("pristine");
    let broken = dir.join("broken");
    std::fs::create_dir_all(&pristine)?;
    make_in_child(name, &pristine, settled)?;
    let blocks = blocks_with_data(&pristine)?;
    let mut random = seed;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let (mut lost, mut worst) = (0, 0);
    for _ in 0..tries {
        let (path, block) = &blocks[(next(&mut random) % blocks.len() as u64) as usize];
        let at = block * 4096 + next(&mut random) % 4096;
        let bit = next(&mut random) % 8;
        copy_tree(&pristine, &broken)?;
        flip(&broken.join(path), at, bit)?;
        let (class, missing) = try_once(name, &broken)?;
        let place = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if class.starts_with("silent") || class.starts_with("wrong") || class == "panic" {
            eprintln!("{name}: {class} at {at} bit {bit} of {place:?}");
        }
        lost += missing;
        worst = worst.max(missing);
        *counts.entry(class).or_default() += 1;
        std::fs::remove_dir_all(&broken)?;
    }
    let blocks = blocks.len();
    Ok(format!(
        "\"settled\":{settled},\"tries\":{tries},\"seed\":{seed},\"blocks\":{blocks},\
         \"outcomes\":{counts:?},\"lost_mean\":{:.1},\"lost_worst\":{worst}",
        f64::from(lost) / f64::from(tries)
    ))
}

fn child(name: &str, phase: &str, dir: &Path) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([name, phase, "--dir"]).arg(dir).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(command)
}

fn make_in_child(name: &str, dir: &Path, settled: bool) -> Outcome<()> {
    let phase = if settled { "damage-make-settled" } else { "damage-make" };
    let mut maker = child(name, phase, dir)?.spawn()?;
    let mut output = maker.stdout.take().ok_or("no output")?;
    let mut word = [0; 5];
    std::io::Read::read_exact(&mut output, &mut word)?;
    if !settled {
        maker.kill()?;
    }
    maker.wait()?;
    Ok(())
}

fn try_once(name: &str, dir: &Path) -> Outcome<(String, u32)> {
    let mut looker = child(name, "damage-look", dir)?.spawn()?;
    let limit = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = looker.try_wait()? {
            break status;
        }
        if Instant::now() > limit {
            looker.kill()?;
            looker.wait()?;
            return Ok(("hang".into(), 10_000));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    if !status.success() {
        return Ok(("panic".into(), 10_000));
    }
    let mut text = String::new();
    if let Some(mut output) = looker.stdout.take() {
        std::io::Read::read_to_string(&mut output, &mut text)?;
    }
    Ok(classify(&text))
}

fn classify(text: &str) -> (String, u32) {
    let mut words = text.split_whitespace();
    if words.next() != Some("looked") {
        return ("reported: will not open".into(), 10_000);
    }
    let numbers: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
    let [errors, wrong, again, missing, damage, torn] = numbers[..] else {
        return ("panic".into(), 10_000);
    };
    let reported = errors + damage > 0;
    let class = match (reported, wrong, missing, again) {
        (_, 1.., ..) => "wrong bytes served",
        (true, 0, 0, 0) => "reported: complete",
        (true, ..) if torn == 1 => "reported: as a torn tail",
        (true, ..) => "reported: some missing or again",
        (false, 0, 1.., _) => "silent: missing",
        (false, 0, 0, 1..) => "silent: finished come again",
        (false, 0, 0, 0) => "fine",
    };
    (class.into(), missing)
}

/// Blocks of 4096 bytes that have any data, so that flips do not go into empty space.
fn blocks_with_data(dir: &Path) -> Outcome<Vec<(PathBuf, u64)>> {
    let mut blocks = Vec::new();
    for path in files(dir, Path::new(""))? {
        let bytes = std::fs::read(dir.join(&path))?;
        for (block, data) in bytes.chunks_exact(4096).enumerate() {
            if data.iter().any(|&byte| byte != 0) {
                blocks.push((path.clone(), block as u64));
            }
        }
    }
    Ok(blocks)
}

fn files(dir: &Path, below: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(files(dir, &path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn copy_tree(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn flip(path: &Path, at: u64, bit: u64) -> Outcome<()> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 1 << bit;
    Ok(file.write_all_at(&byte, at)?)
}

/// Any number after another, from a seed.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let word = (*state ^ (*state >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ (word >> 29)
}
