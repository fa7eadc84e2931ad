//! What the tests need and the machine may lack: it is named and installed if missing, never in
//! silence.
//!
//! Debian packages come from apt, cargo-nextest from crates.io. The Python and JavaScript clients
//! go below the target directory and touch nothing else. Whatever is there already stays as it is.

use crate::{
    failure::{Failure, Result},
    process::{command, find_program, must_run},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A program, the Debian package that has it, and why the tests need it.
struct Needed {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed {
        program: "mosquitto_pub",
        package: "mosquitto-clients",
        purpose: "real-client tests with mosquitto_pub and mosquitto_sub",
    },
    Needed {
        program: "mosquitto",
        package: "mosquitto",
        purpose: "a real bridge, and checking the client suites against another broker",
    },
    Needed { program: "python3", package: "python3", purpose: "real-client tests with paho-mqtt" },
    Needed { program: "node", package: "nodejs", purpose: "real-client tests with MQTT.js" },
    Needed { program: "npm", package: "npm", purpose: "installing MQTT.js and Playwright" },
    Needed { program: "openssl", package: "openssl", purpose: "certificates, and a look at TLS" },
    Needed {
        program: "nginx",
        package: "nginx-light",
        purpose: "WebSocket and PROXY protocol behind a real proxy",
    },
    Needed { program: "chromium", package: "chromium", purpose: "MQTT.js in a real browser" },
    Needed { program: "c++", package: "g++", purpose: "libFuzzer, which the fuzz targets link" },
];

/// Where Debian puts nginx's module for streams that are not HTTP.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Where the clients are that are not Debian packages.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The Python of the virtual environment that has paho-mqtt and pytest.
    pub python: PathBuf,
    /// The `node_modules` that has MQTT.js and Playwright.
    pub node_modules: PathBuf,
}

/// Installs everything that the test command needs.
///
/// # Errors
/// Fails if something is missing and cannot be installed; the message says what to run by hand.
pub fn everything(root: &Path, target: &Path) -> Result<Clients> {
    let clients = clients(root, target)?;
    nextest(root)?;
    Ok(clients)
}

/// Installs everything that the real clients need.
///
/// # Errors
/// As for [`everything`].
pub fn clients(root: &Path, target: &Path) -> Result<Clients> {
    println!("== What the tests need");
    debian_packages(root)?;
    let directory = target.join("clients");
    fs::create_dir_all(&directory).map_err(|error| Failure::because(directory.display(), error))?;
    Ok(Clients {
        python: python_clients(root, &directory)?,
        node_modules: node_clients(root, &directory)?,
    })
}

fn debian_packages(root: &Path) -> Result<()> {
    let mut missing = Vec::new();
    for needed in NEEDED {
        match find_program(needed.program) {
            Some(path) => println!("   {} is there: {}", needed.program, path.display()),
            None => {
                announce(needed.package, needed.purpose);
                missing.push(needed.package);
            }
        }
    }
    if !Path::new(NGINX_STREAM).is_file() {
        announce("libnginx-mod-stream", "the PROXY protocol of nginx");
        missing.push("libnginx-mod-stream");
    }
    if !python_can_make_environments() {
        announce("python3-venv", "the virtual environment for paho-mqtt");
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        return Ok(());
    }
    apt_install(root, &missing)?;
    match NEEDED.iter().find(|needed| find_program(needed.program).is_none()) {
        None => Ok(()),
        Some(Needed { program, package, .. }) => {
            Err(Failure(format!("{package} is installed, but {program} is not found in PATH")))
        }
    }
}

fn announce(package: &str, purpose: &str) {
    println!("   {package} is missing and will be installed ({purpose})");
}

fn python_can_make_environments() -> bool {
    let output = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Installs packages, as root or, for any other user, through sudo.
fn apt_install(root: &Path, packages: &[&str]) -> Result<()> {
    let by_hand = format!("install them by hand: apt-get install {}", packages.join(" "));
    if find_program("apt-get").is_none() {
        return Err(Failure(format!("there is no apt-get on this system; {by_hand}")));
    }
    let as_root = is_root();
    if !as_root && find_program("sudo").is_none() {
        return Err(Failure(format!("neither root nor sudo; {by_hand}")));
    }
    let apt = |words: &[&str]| {
        let words = apt_words(as_root, words);
        let mut apt = command(words[0], root);
        apt.args(&words[1..]);
        apt
    };
    must_run(apt(&["update", "-qq"]), "refresh the package lists")?;
    let mut install = apt(&["install", "-y", "-qq", "--no-install-recommends"]);
    install.args(packages);
    must_run(install, &format!("install Debian packages ({by_hand})"))
}

/// Returns the words of an apt-get call that asks nothing. They include `env` because sudo drops
/// the environment.
fn apt_words<'a>(as_root: bool, words: &[&'a str]) -> Vec<&'a str> {
    let sudo: &[&str] = if as_root { &[] } else { &["sudo"] };
    [sudo, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], words].concat()
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn python_clients(root: &Path, directory: &Path) -> Result<PathBuf> {
    let wanted = root.join("tests/clients/python/requirements.txt");
    let environment = directory.join("python");
    let python = environment.join("bin/python");
    let stamp = environment.join("installed.txt");
    if is_installed(&wanted, &stamp) && python.is_file() {
        println!("   paho-mqtt and pytest are there: {}", environment.display());
        return Ok(python);
    }
    println!("   paho-mqtt and pytest will be installed into {}", environment.display());
    let mut make = command("python3", root);
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    must_run(make, "make a virtual environment")?;
    let mut install = command(&python, root);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    install.arg(&wanted);
    must_run(install, "install paho-mqtt and pytest from PyPI")?;
    copy(&wanted, &stamp)?;
    Ok(python)
}

fn node_clients(root: &Path, directory: &Path) -> Result<PathBuf> {
    let wanted = root.join("tests/clients/node/package.json");
    let prefix = directory.join("node");
    let stamp = prefix.join("installed.json");
    let modules = prefix.join("node_modules");
    if is_installed(&wanted, &stamp) && modules.is_dir() {
        println!("   MQTT.js and Playwright are there: {}", modules.display());
        return Ok(modules);
    }
    println!("   MQTT.js and Playwright will be installed into {}", modules.display());
    fs::create_dir_all(&prefix).map_err(|error| Failure::because(prefix.display(), error))?;
    copy(&wanted, &prefix.join("package.json"))?;
    let mut install = command("npm", &prefix);
    install.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]);
    must_run(install, "install MQTT.js and playwright-core from npm")?;
    copy(&wanted, &stamp)?;
    Ok(modules)
}

/// Whether the packages that are wanted now are those that were installed: the stamp is a copy of
/// the list.
fn is_installed(wanted: &Path, stamp: &Path) -> bool {
    match (fs::read(wanted), fs::read(stamp)) {
        (Ok(wanted), Ok(stamp)) => wanted == stamp,
        _ => false,
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).map_err(|error| Failure::because(from.display(), error))
}

fn nextest(root: &Path) -> Result<()> {
    let installed = crate::process::cargo(root).args(["nextest", "--version"]).output();
    if installed.is_ok_and(|output| output.status.success()) {
        println!("   cargo-nextest is there");
        return Ok(());
    }
    println!("   cargo-nextest is missing and will be built from crates.io (some minutes)");
    let mut install = crate::process::cargo(root);
    install.args(["install", "cargo-nextest", "--locked"]);
    must_run(install, "install cargo-nextest")
}

#[cfg(test)]
mod tests {
    use super::{apt_words, is_installed};

    #[test]
    fn apt_asks_nothing_with_and_without_sudo() {
        let by_root = apt_words(true, &["update"]).join(" ");
        assert_eq!(by_root, "env DEBIAN_FRONTEND=noninteractive apt-get update");
        assert_eq!(apt_words(false, &["update"]).join(" "), format!("sudo {by_root}"));
    }

    #[test]
    fn a_changed_list_is_not_installed() {
        let directory = std::env::temp_dir().join(format!("midge-xtask-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (wanted, stamp) = (directory.join("wanted"), directory.join("stamp"));
        std::fs::write(&wanted, "paho-mqtt==2").expect("a file");
        assert!(!is_installed(&wanted, &stamp), "no stamp");
        std::fs::write(&stamp, "paho-mqtt==1").expect("a file");
        assert!(!is_installed(&wanted, &stamp), "an older stamp");
        std::fs::write(&stamp, "paho-mqtt==2").expect("a file");
        assert!(is_installed(&wanted, &stamp));
        std::fs::remove_dir_all(&directory).expect("our own directory");
    }
}
