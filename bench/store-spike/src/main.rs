//! Measures storage engines on the work of a broker's queues; see README.md.
//!
//! `store-spike CANDIDATE PHASE [--dir DIR] [--messages N] [--seed N]` prints one JSON line for
//! each measurement. Without `--dir` it works below the system's temporary directory and removes
//! what it made.

mod candidate;
mod damage;
mod fjall_alone;
mod journal;
mod journal_alone;
mod journal_redb;
mod kill;
mod measure;
mod phases;
mod queue;
mod redb_alone;
mod replay;
mod sqlite;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use candidate::Outcome;

struct Arguments {
    name: String,
    phase: String,
    dir: Option<PathBuf>,
    messages: u64,
    seed: u64,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store-spike: {error}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Outcome<Arguments> {
    let usage = "store-spike CANDIDATE PHASE [--dir DIR] [--messages N] [--seed N]";
    let mut words = std::env::args().skip(1);
    let mut parsed = Arguments {
        name: words.next().ok_or(usage)?,
        phase: words.next().ok_or(usage)?,
        dir: None,
        messages: 0,
        seed: 1,
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(usage)?;
        match word.as_str() {
            "--dir" => parsed.dir = Some(value.into()),
            "--messages" => parsed.messages = value.parse()?,
            "--seed" => parsed.seed = value.parse()?,
            _ => return Err(usage.into()),
        }
    }
    Ok(parsed)
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let own = std::env::temp_dir().join(format!("store-spike-{}", std::process::id()));
    let dir = arguments.dir.clone().unwrap_or_else(|| own.clone());
    std::fs::create_dir_all(&dir)?;
    let result = phase(arguments, &dir);
    if arguments.dir.is_none() {
        std::fs::remove_dir_all(&own)?;
    }
    result
}

fn phase(arguments: &Arguments, dir: &Path) -> Outcome<()> {
    let name = arguments.name.as_str();
    let or = |default: u64| if arguments.messages == 0 { default } else { arguments.messages };
    let seed = arguments.seed;
    let line = match arguments.phase.as_str() {
        "live" => phases::live(name, dir, or(640_000), false)?,
        "stuck" => phases::live(name, dir, or(3_200_000), true)?,
        "queue" => phases::queue(name, dir, or(1_000_000))?,
        "reopen" => phases::reopen(name, dir)?,
        "drain" => phases::drain(name, dir, false)?,
        "drain-round" => phases::drain(name, dir, true)?,
        "big" => return big(arguments, dir),
        "kill" => return kills(name, dir, seed),
        "kill-child" => kill::write(name, dir, false)?,
        "kill-child-mixed" => kill::write(name, dir, true)?,
        "damage" => {
            for settled in [true, false] {
                let dir = dir.join(settled.to_string());
                let line = damage::run(name, &dir, settled, or(200) as u32, seed)?;
                print(name, "damage", &line);
            }
            return Ok(());
        }
        "damage-make" => damage::make(name, dir, false)?,
        "damage-make-settled" => damage::make(name, dir, true)?,
        "damage-look" => {
            println!("{}", damage::look(name, dir)?);
            return Ok(());
        }
        other => return Err(format!("no phase {other}").into()),
    };
    print(name, &arguments.phase, &line);
    Ok(())
}

fn print(name: &str, phase: &str, line: &str) {
    println!("{{\"candidate\":\"{name}\",\"phase\":\"{phase}\",{line}}}");
}

/// Queue, reopen twice, and both ways to drain, each in a process of its own.
fn big(arguments: &Arguments, dir: &Path) -> Outcome<()> {
    for drain in ["drain", "drain-round"] {
        let store = dir.join(drain);
        for phase in ["queue", "reopen", "reopen", drain, "reopen"] {
            let status = Command::new(std::env::current_exe()?)
                .args([&arguments.name, phase, "--messages", &arguments.messages.to_string()])
                .arg("--dir")
                .arg(&store)
                .status()?;
            if !status.success() {
                return Err(format!("{phase} of {} failed", arguments.name).into());
            }
        }
        std::fs::remove_dir_all(&store)?;
    }
    Ok(())
}

/// Three kills of each kind, between 0.2 and 4 seconds after the start.
fn kills(name: &str, dir: &Path, seed: u64) -> Outcome<()> {
    let mut random = seed;
    for turn in 0..6 {
        let store = dir.join(format!("kill-{turn}"));
        std::fs::create_dir_all(&store)?;
        let after = Duration::from_millis(200 + damage::next(&mut random) % 3800);
        let line = kill::kill(name, &store, turn % 2 == 1, after)?;
        print(name, "kill", &line);
        std::fs::remove_dir_all(&store)?;
    }
    Ok(())
}
