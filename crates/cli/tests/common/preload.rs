//! Small libraries in front of the C library, which change what a process sees of its machine. Each
//! is compiled when a test needs it; a build needs a C compiler anyway.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Makes the process that this command starts load the library whose source is
/// `tests/common/NAME/NAME.c`, in addition to those already set.
pub(crate) fn preload(command: &mut Command, name: &'static str) {
    const VARIABLE: &str = "LD_PRELOAD";
    let is_set = |(variable, value): (&OsStr, Option<&OsStr>)| {
        (variable == VARIABLE).then(|| value.map(OsStr::to_owned)).flatten()
    };
    let mut all = library(name).into_os_string();
    if let Some(others) = command.get_envs().find_map(is_set) {
        all.extend([OsString::from(":"), others]);
    }
    command.env(VARIABLE, all);
}

/// Returns the library, which is compiled once for each test process.
fn library(name: &'static str) -> PathBuf {
    static LIBRARIES: Mutex<Option<HashMap<&str, PathBuf>>> = Mutex::new(None);
    let mut libraries = LIBRARIES.lock().unwrap();
    let libraries = libraries.get_or_insert_default();
    libraries.entry(name).or_insert_with(|| compile(name)).clone()
}

fn compile(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common");
    let source = tests.join(name).join(name).with_extension("c");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(directory).unwrap();
    let library = directory.join(format!("{name}.so"));
    let new = directory.join(format!("{name}-{}.so", std::process::id()));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(&compiler);
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&new).arg(&source).arg("-ldl");
    let output = command.output().unwrap_or_else(|error| {
        panic!("the C compiler {} does not start: {error}", compiler.display())
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&new, &library).unwrap(); // other test processes may have it open
    library
}
