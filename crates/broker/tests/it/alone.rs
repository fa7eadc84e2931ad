//! Tests that measure the whole process run in a process of their own: the test binary starts
//! itself again with that test only.

use std::env;
use std::fs;
use std::process::Command;

const MARK: &str = "MIDGE_TEST_RUNS_ALONE";

/// Returns true in the process that has only this test to run. In any other process it starts that
/// one, fails the test if that one fails, passes on what it printed, and returns false.
pub(crate) fn alone(name: &str) -> bool {
    if env::var_os(MARK).is_some() {
        return true;
    }
    let program = env::current_exe().unwrap();
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"];
    let output = Command::new(program).args(arguments).env(MARK, "1").output().unwrap();
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} alone:\n{text}\n{errors}");
    assert!(text.contains("1 passed"), "there is no test {name}:\n{text}");
    report(&text);
    false
}

/// Passes on the figures that the other process printed.
#[allow(clippy::print_stdout)]
fn report(text: &str) {
    text.lines().filter(|line| line.starts_with("figure: ")).for_each(|line| println!("{line}"));
}

/// Prints a figure, so that it can be found in the output of the test run.
#[allow(clippy::print_stdout)]
pub(crate) fn figure(text: &str) {
    println!("\nfigure: {text}");
}

/// Returns the resident memory of this process in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// Returns how many of `wanted` connections this process has descriptors for, with both ends in it.
pub(crate) fn connections_possible(wanted: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    wanted.min(soft.saturating_sub(200) / 2)
}
