//! The command `midge passwd`: adds, changes, removes and tries users of a password file.
//!
//! Arguments and messages are here; `prompt` asks on a terminal, `locked_file` replaces the file,
//! and `midge_auth` knows hashes and lines. A password must never be an argument, nor be printed
//! unless this command has made it up.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod locked_file;
mod prompt;

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use midge_auth::password::{
    Algorithm, Argon2Cost, GeneratedSecret, Iterations, LineError, PasswordFile, PasswordHash,
    PasswordLines, check_user_name,
};

use crate::endpoint::Secret;
use locked_file::LockedFile;

const EXAMPLES: &str = "\
Examples:
  midge passwd users alice                             asks for the password twice
  midge passwd users alice --password-file alice.txt   takes it from a file
  printf %s \"$PASSWORD\" | midge passwd users alice --stdin
  midge passwd users sensor-7 --generate               makes one up and prints it
  midge passwd users alice --verify                    tries one
  midge passwd users alice --delete
  midge passwd users --upgrade                         hashes passwords in plain text
  midge passwd users alice --algorithm pbkdf2-sha512   for mosquitto 2.0 as well

Exit codes: 0 it is done, or the password is right; 1 it could not be done and nothing was changed,
or the password is wrong; 2 wrong usage.";

/// Add, change, remove or try users of a password file
///
/// A password file has a line `USER:HASH` for each user, as those of mosquitto_passwd. If the file
/// is not there, it is made, and only you can read it. It is replaced as a whole, so that a broker
/// never reads half of it; comments, order, owner and mode stay.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PasswdArgs {
    /// The password file
    file: PathBuf,

    /// The user's name
    #[arg(required_unless_present = "upgrade", value_parser = user_name)]
    user: Option<String>,

    /// Remove the user
    #[arg(short = 'D', long, group = "action")]
    delete: bool,

    /// Say whether a password is the user's: by the exit code too
    #[arg(long, group = "action")]
    verify: bool,

    /// Replace all passwords in plain text by hashes; lines that have a hash stay
    #[arg(short = 'U', long, group = "action", conflicts_with = "user")]
    upgrade: bool,

    /// Make up a secret of 160 bits and print it. It is stored with a fast hash unless an algorithm
    /// is named: nobody can guess it
    #[arg(long, group = "action")]
    generate: bool,

    /// Read the password from standard input, without its last line end
    #[arg(long, group = "source", conflicts_with_all = ["delete", "upgrade", "generate"])]
    stdin: bool,

    /// Read the password from this file, without its last line end
    #[arg(long, value_name = "FILE", group = "source",
          conflicts_with_all = ["delete", "upgrade", "generate"])]
    password_file: Option<PathBuf>,

    /// How to hash: argon2id, or pbkdf2-sha512 for files that mosquitto 2.0 reads too [default:
    /// argon2id]
    #[arg(long, value_enum, conflicts_with_all = ["delete", "verify"], hide_possible_values = true)]
    algorithm: Option<AlgorithmName>,

    /// How often pbkdf2-sha512 repeats: more makes guessing slower, and each login too [default:
    /// 210000]
    #[arg(long, value_name = "N", requires = "algorithm",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(Iterations::MAX)))]
    iterations: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AlgorithmName {
    Argon2id,
    Pbkdf2Sha512,
}

/// The reason for which nothing was done.
#[derive(Debug)]
enum PasswdError {
    /// The arguments do not go together.
    Usage(String),
    Failed(String),
}

/// Runs `midge passwd`.
pub(crate) fn run(args: &PasswdArgs) -> ExitCode {
    let error = match execute(args) {
        Ok(code) => return code,
        Err(error) => error,
    };
    eprintln!("error: {error}");
    match error {
        PasswdError::Usage(_) => ExitCode::from(2),
        PasswdError::Failed(_) => ExitCode::FAILURE,
    }
}

fn execute(args: &PasswdArgs) -> Result<ExitCode, PasswdError> {
    let algorithm = args.algorithm()?;
    // clap has made sure that there is a user, or `--upgrade`.
    let user = args.user.as_deref().unwrap_or_default();
    if args.verify {
        return verify(args, user);
    }
    if args.delete {
        delete(&args.file, user)?;
    } else if args.upgrade {
        upgrade(&args.file, algorithm.unwrap_or_default())?;
    } else if args.generate {
        generate(&args.file, user, algorithm)?;
    } else {
        // A file that cannot be changed is told before anybody has typed a password.
        let placeholder = GeneratedSecret::from_random([0; 20]).hash([0; 16]);
        edit(&LockedFile::open(&args.file)?, |lines| Ok(lines.set(user, &placeholder)))?;
        let password = args.password(user, prompt::Times::Twice)?;
        set(&args.file, user, &derive(algorithm.unwrap_or_default(), password.expose())?)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl PasswdArgs {
    fn algorithm(&self) -> Result<Option<Algorithm>, PasswdError> {
        let iterations = self.iterations.and_then(Iterations::new);
        match (self.algorithm, iterations) {
            (None, _) => Ok(None),
            (Some(AlgorithmName::Pbkdf2Sha512), iterations) => {
                Ok(Some(Algorithm::Pbkdf2Sha512(iterations.unwrap_or_default())))
            }
            (Some(AlgorithmName::Argon2id), None) => {
                Ok(Some(Algorithm::Argon2id(Argon2Cost::default())))
            }
            (Some(AlgorithmName::Argon2id), Some(_)) => Err(PasswdError::Usage(
                "--iterations is for --algorithm pbkdf2-sha512; leave it out for argon2id".into(),
            )),
        }
    }

    /// Gets the password from the source that the arguments name, or asks for it.
    fn password(&self, user: &str, times: prompt::Times) -> Result<Secret, PasswdError> {
        if self.stdin {
            return Ok(Secret::of_standard_input()?);
        }
        match &self.password_file {
            Some(path) => Ok(Secret::of_file(path)?),
            None => Ok(prompt::ask(user, times)?),
        }
    }
}

fn verify(args: &PasswdArgs, user: &str) -> Result<ExitCode, PasswdError> {
    let file = PasswordFile::load(&args.file).map_err(PasswdError::failed)?;
    let path = args.file.display();
    let Some(hash) = file.hash_of(user) else {
        return Err(PasswdError::Failed(format!("there is no user '{user}' in {path}")));
    };
    let password = args.password(user, prompt::Times::Once)?;
    if !hash.verify(password.expose().as_bytes()).map_err(PasswdError::failed)? {
        return Err(PasswdError::Failed(format!("the password is not that of '{user}' in {path}")));
    }
    tell(&format!("the password is that of '{user}'"));
    Ok(ExitCode::SUCCESS)
}

fn delete(path: &Path, user: &str) -> Result<(), PasswdError> {
    let file = LockedFile::open(path)?;
    file.check_exists()?;
    let (had, content) = edit(&file, |lines| Ok(lines.remove(user)))?;
    if !had {
        let path = path.display();
        return Err(PasswdError::Failed(format!("there is no user '{user}' in {path}")));
    }
    file.replace(&content)?;
    tell(&format!("'{user}' is removed from {}", path.display()));
    Ok(())
}

fn upgrade(path: &Path, algorithm: Algorithm) -> Result<(), PasswdError> {
    let file = LockedFile::open(path)?;
    file.check_exists()?;
    let derive = |password: &[u8]| {
        let hash = PasswordHash::derive(algorithm, password, random()?);
        hash.map_err(|error| error.to_string())
    };
    let (count, content) = edit(&file, |lines| lines.upgrade(derive))?;
    if count > 0 {
        file.replace(&content)?;
    }
    tell(&match count {
        0 => format!("there is no password in plain text in {}", path.display()),
        1 => format!("1 password in {} is a hash now", path.display()),
        _ => format!("{count} passwords in {} are hashes now", path.display()),
    });
    Ok(())
}

fn generate(path: &Path, user: &str, algorithm: Option<Algorithm>) -> Result<(), PasswdError> {
    let secret = GeneratedSecret::from_random(random()?);
    let hash = match algorithm {
        None => secret.hash(random()?),
        Some(algorithm) => derive(algorithm, secret.expose())?,
    };
    set(path, user, &hash)?;
    let written = writeln!(io::stdout().lock(), "{}", secret.expose());
    written.map_err(|error| {
        PasswdError::Failed(format!(
            "the secret is stored but could not be printed: {error}; make another one"
        ))
    })
}

fn set(path: &Path, user: &str, hash: &PasswordHash) -> Result<(), PasswdError> {
    let file = LockedFile::open(path)?;
    let (had, content) = edit(&file, |lines| Ok(lines.set(user, hash)))?;
    file.replace(&content)?;
    let path = path.display();
    if !file.exists() {
        tell(&format!("{path} is made; only you can read it"));
    }
    tell(&match had {
        true => format!("the password of '{user}' in {path} is replaced"),
        false => format!("'{user}' is added to {path}"),
    });
    Ok(())
}

/// Changes the lines of a file, and returns the new content if a broker would accept it.
fn edit<T>(
    file: &LockedFile,
    change: impl FnOnce(&mut PasswordLines) -> Result<T, LineError>,
) -> Result<(T, Vec<u8>), PasswdError> {
    let at = |error: LineError| {
        let LineError { line, column, detail } = error;
        PasswdError::Failed(format!("{}:{line}:{column}: {detail}", file.name().display()))
    };
    let mut lines = PasswordLines::parse(file.content()).map_err(at)?;
    let result = change(&mut lines).map_err(at)?;
    let content = lines.to_bytes();
    if let Err(error) = PasswordFile::parse(&content) {
        // The line numbers are those of the file as it is.
        return Err(at(PasswordFile::parse(file.content()).err().unwrap_or(error)));
    }
    Ok((result, content))
}

fn derive(algorithm: Algorithm, password: &str) -> Result<PasswordHash, PasswdError> {
    let hash = PasswordHash::derive(algorithm, password.as_bytes(), random()?);
    hash.map_err(PasswdError::failed)
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| format!("the system has no random numbers: {error}"))?;
    Ok(bytes)
}

/// Tells the result on standard error, so that it does not mix with a generated secret.
fn tell(message: &str) {
    eprintln!("{message}");
}

fn user_name(name: &str) -> Result<String, &'static str> {
    check_user_name(name).map(|()| name.to_owned())
}

impl PasswdError {
    #[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
    fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<String> for PasswdError {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

impl fmt::Display for PasswdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(message) | Self::Failed(message)) = self;
        f.write_str(message)
    }
}
