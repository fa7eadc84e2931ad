//! Passwords: where they come from, and a type that nothing prints by mistake.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

/// The variable that holds the password if a user name is given without one.
pub(crate) const PASSWORD_VARIABLE: &str = "MIDGE_PASSWORD";
/// The longest password that MQTT has room for.
const PASSWORD_BYTES_MAX: u64 = 65_535;

/// A text that `Debug` does not show. There is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads the file that `--password-file` names.
    pub(crate) fn of_file(path: &Path) -> Result<Self, String> {
        let source = format!("--password-file: {}", path.display());
        let file = File::open(path).map_err(|error| format!("{source}: {error}"))?;
        read(file, &source)
    }

    /// Reads standard input to its end.
    pub(crate) fn of_standard_input() -> Result<Self, String> {
        read(io::stdin().lock(), "--stdin: standard input")
    }

    /// Returns the text itself, to be used only where it has to be sent.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// The arguments that say the password.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PasswordArgs {
    /// Password. Others on this machine can see it in the list of processes: better
    /// --password-file, or the variable MIDGE_PASSWORD beside a user name
    #[arg(
        short = 'P',
        long = "pw",
        visible_alias = "password",
        value_name = "PASSWORD",
        allow_hyphen_values = true
    )]
    password: Option<Secret>,

    /// A file with the password, without its last line end
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// Returns the password of an argument, else that of the URL, else, if there is a user name,
    /// that of the variable. The error says what is wrong with the file or the variable.
    pub(crate) fn resolve(
        &self,
        of_url: Option<&Secret>,
        has_user_name: bool,
    ) -> Result<Option<Secret>, String> {
        if let Some(password) = self.password.as_ref() {
            return Ok(Some(password.clone()));
        }
        if let Some(path) = &self.password_file {
            return Secret::of_file(path).map(Some);
        }
        if of_url.is_some() || !has_user_name {
            return Ok(of_url.cloned());
        }
        let variable = std::env::var_os(PASSWORD_VARIABLE).filter(|value| !value.is_empty());
        let text = variable.map(OsString::into_string).transpose();
        let text = text.map_err(|_| format!("the variable {PASSWORD_VARIABLE} is not UTF-8"))?;
        Ok(text.map(Secret::new))
    }
}

/// Reads a password to the end of `input`, without its last line end.
fn read(input: impl Read, source: &str) -> Result<Secret, String> {
    let failed = |what: &dyn fmt::Display| format!("{source}: {what}");
    let mut text = String::new();
    let read = input.take(PASSWORD_BYTES_MAX + 2).read_to_string(&mut text);
    read.map_err(|error| failed(&error))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(failed(&"it is empty"));
    }
    if password.contains('\n') {
        return Err(failed(&"it has more than one line: the password stands there alone"));
    }
    Ok(Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret() {
        let secret: Secret = "hunter2".parse().unwrap();
        let args = PasswordArgs { password: Some(secret.clone()), password_file: None };
        let shown = format!("{secret:?} {args:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_password_file_has_the_password_and_a_line_end_at_most() {
        let path = std::env::temp_dir().join(format!("midge-password-{}", std::process::id()));
        let args = PasswordArgs { password: None, password_file: Some(path.clone()) };
        for (content, expected) in [
            ("secret\n", Ok("secret")),
            ("secret\r\n", Ok("secret")),
            (" se cret", Ok(" se cret")),
            ("\n", Err("is empty")),
            ("a\nb\n", Err("more than one line")),
        ] {
            std::fs::write(&path, content).unwrap();
            let found = args.resolve(Some(&Secret::new("of the URL")), false);
            match expected {
                Ok(text) => assert_eq!(found.unwrap().unwrap().expose(), text),
                Err(part) => assert!(found.unwrap_err().contains(part), "{content:?}"),
            }
        }
        std::fs::remove_file(&path).unwrap();
        let error = args.resolve(None, false).unwrap_err();
        assert!(error.contains("--password-file"), "{error}");
    }
}
