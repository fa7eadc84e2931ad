//! Counts what the various test runners say about themselves.
//!
//! A runner that fails without naming a failed test counts as one failure. So does a runner that
//! succeeds without having run anything: silence is never success.

use crate::process::Finished;

/// The program whose output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporter {
    /// A program that is one check: it succeeds or it fails.
    Check,
    /// `cargo nextest run`: `Summary [ 1.2s] 3 tests run: 2 passed, 1 failed, 0 skipped`.
    Nextest,
    /// `cargo test --doc`: `test result: ok. 3 passed; 0 failed; ...`, once per crate.
    RustTest,
    /// pytest: `2 passed, 1 failed in 0.12s`.
    Pytest,
    /// `node --test`: `pass 2` and `fail 1`, each on its line.
    Node,
}

/// How many passed and how many failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests or checks that passed.
    pub passed: usize,
    /// Tests or checks that failed.
    pub failed: usize,
}

impl Tally {
    /// Counts the results of a runner that has ended.
    #[must_use]
    pub fn of(reporter: Reporter, finished: &Finished) -> Self {
        let mut tally = Self::default();
        for line in finished.output.lines().filter(|line| is_summary(reporter, line)) {
            tally.add(count(reporter, line));
        }
        match reporter {
            Reporter::Check => tally.passed = usize::from(finished.success),
            // A workspace without documentation examples is no failure.
            Reporter::RustTest => {}
            _ if tally == Self::default() => tally.failed = 1,
            _ => {}
        }
        if !finished.success {
            tally.failed = tally.failed.max(1);
        }
        tally
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

fn is_summary(reporter: Reporter, line: &str) -> bool {
    match reporter {
        Reporter::Check => false,
        Reporter::Nextest => line.contains("run: ") && line.trim_start().starts_with("Summary"),
        Reporter::RustTest => line.starts_with("test result: "),
        Reporter::Pytest => line.contains("ed in ") || line.contains("error"),
        Reporter::Node => line.starts_with('\u{2139}') || line.starts_with("# "),
    }
}

fn count(reporter: Reporter, line: &str) -> Tally {
    let mut tally = Tally::default();
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.windows(2) {
        let (number, word) =
            if reporter == Reporter::Node { (pair[1], pair[0]) } else { (pair[0], pair[1]) };
        let Ok(number) = number.parse::<usize>() else { continue };
        match word.trim_end_matches([',', ';', ':']) {
            "passed" | "pass" => tally.passed += number,
            // nextest says `timed out` and `exec failed`, node says `cancelled`.
            "failed" | "fail" | "error" | "errors" | "timed" | "exec" | "cancelled" => {
                tally.failed += number;
            }
            _ => {}
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::{Finished, Reporter, Tally};

    fn tally(reporter: Reporter, success: bool, output: &str) -> (usize, usize) {
        let tally = Tally::of(reporter, &Finished { success, output: output.to_owned() });
        (tally.passed, tally.failed)
    }

    #[test]
    fn each_runner_is_understood() {
        let nextest =
            "   Summary [   0.5s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 3 skipped";
        assert_eq!(tally(Reporter::Nextest, false, nextest), (6, 3));
        let doctests =
            "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: ok. 1 passed; 0 failed;";
        assert_eq!(tally(Reporter::RustTest, true, doctests), (4, 0));
        let pytest = "2 failed, 5 passed, 1 xfailed, 1 error in 0.12s";
        assert_eq!(tally(Reporter::Pytest, false, pytest), (5, 3));
        assert_eq!(tally(Reporter::Pytest, true, "=== 7 passed in 61.2s (0:01:01) ==="), (7, 0));
        let node = "\u{2139} tests 4\n\u{2139} pass 3\n\u{2139} fail 1\n\u{2139} cancelled 0";
        assert_eq!(tally(Reporter::Node, false, node), (3, 1));
    }

    #[test]
    fn a_check_counts_as_one() {
        assert_eq!(tally(Reporter::Check, true, "12 failed"), (1, 0));
        assert_eq!(tally(Reporter::Check, false, ""), (0, 1));
    }

    #[test]
    fn silence_is_a_failure() {
        for reporter in [Reporter::Nextest, Reporter::Pytest, Reporter::Node] {
            assert_eq!(tally(reporter, true, "nothing to do"), (0, 1));
        }
        assert_eq!(tally(Reporter::Pytest, false, "3 passed in 0.1s"), (3, 1));
        assert_eq!(tally(Reporter::RustTest, true, ""), (0, 0));
    }
}
