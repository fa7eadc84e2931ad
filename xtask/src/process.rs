//! Running other programs: their output is shown as it comes, and kept for counting.

use crate::failure::{Failure, Result};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// The result of a program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Whether it ended with exit code 0.
    pub success: bool,
    /// Everything it wrote, both streams in the order of writing.
    pub output: String,
}

/// Makes a command that runs in `directory`.
pub fn command(program: impl AsRef<std::ffi::OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    command
}

/// Makes a command for the cargo that runs this program, or else for the one in `PATH`.
#[must_use]
pub fn cargo(directory: &Path) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), directory);
    // `cargo run` describes this package to its child in variables that are wrong for the next
    // cargo.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs `command` to its end, passes on what it writes, and keeps a copy.
///
/// # Errors
/// Fails if it cannot be started or its output cannot be read.
pub fn run(mut command: Command) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| Failure::because(&name, error);
    let (mut reader, writer) = std::io::pipe().map_err(failed)?;
    command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // The command still holds the writing end of the pipe, so the reader would never see its end.
    drop(command);
    let (mut output, mut piece) = (Vec::new(), [0; 8192]);
    loop {
        let length = reader.read(&mut piece).map_err(failed)?;
        if length == 0 {
            break;
        }
        // A closed terminal is no reason to stop counting.
        let _ = std::io::stdout().write_all(&piece[..length]);
        let _ = std::io::stdout().flush();
        output.extend_from_slice(&piece[..length]);
    }
    let status = child.wait().map_err(failed)?;
    Ok(Finished {
        success: status.success(),
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

/// Runs `command`, which has to succeed, and passes on what it writes.
///
/// # Errors
/// Fails if it cannot be started or ends with another exit code than 0.
pub fn must_run(command: Command, purpose: &str) -> Result<()> {
    let shown = format!("{command:?}");
    if run(command)?.success {
        Ok(())
    } else {
        Err(Failure(format!("could not {purpose}: this command failed: {shown}")))
    }
}

/// Looks for `program` in `PATH`, and where Debian keeps servers.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut candidates =
        std::env::split_paths(&path).chain(servers).map(|directory| directory.join(program));
    candidates.find(|candidate| candidate.is_file())
}

/// Returns where cargo puts what it builds in this workspace.
///
/// # Errors
/// Fails if cargo does not answer.
pub fn target_directory(root: &Path) -> Result<PathBuf> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| Failure::because("cargo metadata", error))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::because("cargo metadata", String::from_utf8_lossy(&output.stderr)))?;
    let directory = metadata["target_directory"].as_str();
    directory
        .map(PathBuf::from)
        .ok_or_else(|| Failure("cargo metadata: no target directory".into()))
}
