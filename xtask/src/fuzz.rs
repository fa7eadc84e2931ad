//! A short run of every fuzz target with the stable compiler.
//!
//! `cargo fuzz` wants the nightly compiler for its sanitizers. Coverage feedback alone needs only
//! code generation flags that the stable compiler has. In a tree without `unsafe`, that is what
//! finds things: panics, overflows (debug assertions are on), and inputs that take too long or too
//! much.

use crate::{
    failure::{Failure, Result},
    process::{cargo, command, must_run},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Coverage instrumentation as `cargo fuzz` asks for it, without a sanitizer.
const FLAGS: &str = "--cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";

/// The fuzz targets, built.
#[derive(Debug)]
pub struct Targets {
    /// Names, as `fuzz/Cargo.toml` has them.
    pub names: Vec<String>,
    root: PathBuf,
    built: PathBuf,
    scratch: PathBuf,
}

impl Targets {
    /// Builds all targets. A tree without `fuzz/Cargo.toml` has no targets, which is no failure.
    ///
    /// # Errors
    /// Fails if they do not compile.
    pub fn build(root: &Path, target: &Path) -> Result<Self> {
        let scratch = target.join("fuzz");
        let manifest = root.join("fuzz/Cargo.toml");
        let mut targets =
            Self { names: Vec::new(), root: root.into(), built: PathBuf::new(), scratch };
        if !manifest.is_file() {
            return Ok(targets);
        }
        targets.names = names(root)?;
        let triple = crate::tidy::layers::host_triple()?;
        let mut build = cargo(root);
        build.args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--bins"]);
        // With `--target`, the flags reach the fuzz targets but not their build scripts.
        build.args(["--target", &triple]).env("RUSTFLAGS", FLAGS);
        build.env("CARGO_TARGET_DIR", &targets.scratch).env_remove("CARGO_ENCODED_RUSTFLAGS");
        must_run(build, "build the fuzz targets")?;
        targets.built = targets.scratch.join(triple).join("release");
        Ok(targets)
    }

    /// Returns the command that fuzzes `name` for `seconds`, starting from the seeds in the
    /// repository.
    ///
    /// # Errors
    /// Fails if the directories for its findings cannot be made.
    pub fn run(&self, name: &str, seconds: u32) -> Result<Command> {
        let corpus = self.scratch.join("corpus").join(name);
        let artifacts = self.scratch.join("artifacts").join(name);
        for directory in [&corpus, &artifacts] {
            fs::create_dir_all(directory)
                .map_err(|error| Failure::because(directory.display(), error))?;
        }
        let mut run = command(self.built.join(name), &self.root);
        run.arg(format!("-max_total_time={seconds}")).arg("-timeout=10").arg("-verbosity=0");
        run.arg("-print_final_stats=1");
        run.arg(format!("-artifact_prefix={}/", artifacts.display())).arg(corpus);
        for seeds in ["fuzz/seeds", "fuzz/regressions", "fuzz/corpus"] {
            let seeds = self.root.join(seeds).join(name);
            if seeds.is_dir() {
                run.arg(seeds);
            }
        }
        Ok(run)
    }
}

fn names(root: &Path) -> Result<Vec<String>> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .args(["--manifest-path", "fuzz/Cargo.toml"])
        .output()
        .map_err(|error| Failure::because("cargo metadata", error))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::because("fuzz", String::from_utf8_lossy(&output.stderr)))?;
    let targets = metadata["packages"][0]["targets"].as_array().cloned().unwrap_or_default();
    let binaries = targets.iter().filter(|target| target["kind"][0] == "bin");
    Ok(binaries.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}
