//! Options that mosquitto's clients have and these commands lack. The error says so, and what to do
//! instead.
//!
//! The table must hold every option of mosquitto_pub, mosquitto_sub and mosquitto_rr that the
//! commands do not take.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::terminal::Terminal;

const CHOSEN_BY_RUSTLS: &str =
    "TLS 1.3 and 1.2 are offered with ciphers that are safe, and the best of the broker's is taken";
const NO_PSK: &str = "use certificates, --cafile, --cert and --key, or a user name and a password";
const NO_ENGINE: &str = "--key reads a file in PEM";
const ROUTE: &str = "the system chooses the address by the route to the broker";
const SRV: &str = "look the SRV record up yourself, and give host and port with -h and -p";
const OPTION_FILES: &str = "write the options out, or in a script or an alias of your shell";

/// Each option with what to do instead.
const MISSING: &[(&str, &str)] = &[
    ("-A", ROUTE),
    ("-S", SRV),
    ("-o", OPTION_FILES),
    (
        "--capath",
        "put the certificates into one file: cat DIRECTORY/*.pem > ca.pem, --cafile ca.pem",
    ),
    ("--ciphers", CHOSEN_BY_RUSTLS),
    ("--keyform", NO_ENGINE),
    ("--latency", "midge bench latency measures it"),
    ("--message-rate", "midge bench measures it"),
    ("--proxy", "connect without a proxy, or through a tunnel, such as ssh -L"),
    ("--psk", NO_PSK),
    ("--psk-identity", NO_PSK),
    ("--random-filter", "filter what is printed, such as with awk 'rand() < 0.5'"),
    ("--tls-engine", NO_ENGINE),
    ("--tls-engine-kpass-sha1", NO_ENGINE),
    ("--tls-keylog", "-d shows the packets"),
    ("--tls-version", CHOSEN_BY_RUSTLS),
    ("--version", "midge --version says it"),
    ("--watch", "print each message on a line, such as with -F '%t %p'"),
    ("--ws", "write the broker as a URL: -L ws://HOST:PORT/PATH"),
];

/// The commands that are used like mosquitto's.
const COMMANDS: [&str; 3] = ["pub", "sub", "rr"];

/// Tells the user if the error is an option of mosquitto's that `command` lacks. Returns whether it
/// is.
pub(crate) fn explain(command: Option<&str>, error: &clap::Error) -> bool {
    let Some(text) = explanation(command, error) else { return false };
    Terminal::new(false).usage_error(&text);
    true
}

fn explanation(command: Option<&str>, error: &clap::Error) -> Option<String> {
    let command = command.filter(|command| COMMANDS.contains(command))?;
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let (_, instead) = MISSING.iter().find(|(name, _)| name == option)?;
    Some(format!("mosquitto_{command} has {option}, and midge {command} has not: {instead}"))
}
