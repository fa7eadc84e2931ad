//! The command `midge certs`: makes an authority and certificates from it, for trying out TLS.
//!
//! Arguments and messages are here; `issue` makes certificates, `directory` knows the files. The
//! command must never write over a file unless it was asked to, nor let anybody else read a key.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod directory;
mod issue;
mod report;

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use directory::Directory;
use issue::{Authority, Host};
use report::Report;

const EXAMPLES: &str = "\
Examples:
  midge certs --directory tls                        for this machine, and one for a client
  midge certs --directory tls --host mqtt.lan        the server is also known as mqtt.lan
  midge certs --directory tls --client alice         one more client, of the same authority
  midge certs --directory tls --revoke alice         alice is not to be let in any more

Exit codes: 0 it is done; 1 it could not be done, and nothing was written over; 2 wrong usage.";

const FORMAT: &str = "Files are PEM, keys PKCS #8 of the curve P-256, for nobody but you to read.";

/// Make certificates for trying TLS out: an authority, a server, a client
///
/// The first time it makes an authority (ca.pem, ca.key), a certificate for a server that is known
/// as localhost (server.pem, server.key) and one for a client (client.pem, client.key). The
/// authority stays for what is made later in the same directory; remove ca.pem and ca.key for a new
/// one. Who has ca.key can pass for anybody with those who trust ca.pem: for production use an
/// authority that looks after its key.
#[derive(Args, Clone, Debug)]
#[command(after_help = format!("{FORMAT}\n\n{EXAMPLES}"))]
pub(crate) struct CertsArgs {
    /// Where the files are; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,

    /// A name or an address of the server, besides localhost, 127.0.0.1, ::1 and this machine's
    /// name (repeatable)
    #[arg(long = "host", value_name = "NAME_OR_IP", value_parser = Host::parse)]
    hosts: Vec<Host>,

    /// The name of a client: its certificate is client-NAME.pem (repeatable)
    #[arg(long = "client", value_name = "NAME", value_parser = client_name)]
    clients: Vec<String>,

    /// Put this client's certificate on the list of those that are revoked, crl.pem (repeatable)
    #[arg(long = "revoke", visible_alias = "crl", value_name = "NAME", value_parser = client_name)]
    revoked: Vec<String>,

    /// How long the certificates are good; the authority is for ten years at least
    #[arg(long, value_name = "N", default_value_t = 365,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,

    /// Make certificates anew that are there already; not the authority's
    #[arg(long)]
    force: bool,

    /// Print what was made as one JSON object
    #[arg(long)]
    json: bool,
}

/// Why certificates could not be made.
#[derive(Debug)]
pub(crate) struct CertsError(String);

/// What one call is to make.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    server: bool,
    clients: Vec<String>,
}

/// The client whose files are `client.pem` and `client.key`.
const FIRST_CLIENT: &str = "client";

/// Runs `midge certs`.
pub(crate) fn run(args: &CertsArgs) -> ExitCode {
    match execute(args) {
        Ok(report) => {
            let text = if args.json { report.to_json() } else { report.to_text() };
            // If standard output is closed, nobody wants to know.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(args: &CertsArgs) -> Result<Report, CertsError> {
    let directory = Directory::open(&args.directory)?;
    let known = directory.authority()?;
    let plan = Plan::new(args, known.is_some());
    if !args.force {
        directory.check_free(plan.server, &plan.clients)?;
    }
    // Before anything is made: a wrong name leaves nothing behind.
    let to_revoke: Vec<_> =
        args.revoked.iter().filter(|name| !plan.clients.contains(name)).collect();
    to_revoke.iter().try_for_each(|name| directory.client_serial(name).map(drop))?;

    let mut report = Report::new(directory.path(), known.is_none());
    let authority = match known {
        Some(authority) => authority,
        None => {
            let authority = Authority::new(args.days)?;
            directory.write("ca", &authority.to_pair())?;
            authority
        }
    };
    report.authority_until = authority.not_after();
    if plan.server {
        let hosts = issue::hosts_with_own(&args.hosts);
        let pair = authority.issue_server(&hosts, args.days)?;
        directory.write("server", &pair)?;
        report.server = Some((hosts, pair.not_after));
    }
    for name in plan.clients {
        let pair = authority.issue_client(&name, args.days)?;
        directory.write(&Directory::client_stem(&name), &pair)?;
        report.clients.push((name, pair.not_after));
    }
    if !args.revoked.is_empty() {
        report.revoked = revoke(&directory, &authority, args)?;
    }
    Ok(report)
}

/// Adds the clients' certificates to the list, and returns the names and how many certificates are
/// on it.
fn revoke(
    directory: &Directory,
    authority: &Authority,
    args: &CertsArgs,
) -> Result<Option<(Vec<String>, usize)>, CertsError> {
    let mut revoked = directory.revoked()?;
    for name in &args.revoked {
        let serial = directory.client_serial(name)?;
        if !revoked.iter().any(|(known, _)| *known == serial) {
            revoked.push((serial, issue::now()));
        }
    }
    directory.write_list(&authority.revocation_list(&revoked, args.days)?)?;
    Ok(Some((args.revoked.clone(), revoked.len())))
}

impl Plan {
    /// Plans whatever the arguments name, and a server and a client if they name nothing. A new
    /// authority always gets a server.
    fn new(args: &CertsArgs, has_authority: bool) -> Self {
        let names_nothing =
            args.hosts.is_empty() && args.clients.is_empty() && args.revoked.is_empty();
        let makes_all = names_nothing || !has_authority;
        let mut clients = args.clients.clone();
        if clients.is_empty() && makes_all {
            clients.push(FIRST_CLIENT.to_owned());
        }
        clients.dedup();
        Self { server: makes_all || !args.hosts.is_empty(), clients }
    }
}

/// Accepts a name that is good for a file and for a certificate.
fn client_name(name: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || !name.chars().all(is_good) || name.len() > 64 {
        return Err("a name has letters, digits and -_.@ (not first), and at most 64".to_owned());
    }
    Ok(name.to_owned())
}

impl CertsError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<rcgen::Error> for CertsError {
    fn from(error: rcgen::Error) -> Self {
        Self(format!("cannot make a certificate: {error}"))
    }
}

impl fmt::Display for CertsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        certs: CertsArgs,
    }

    fn plan(line: &str, has_authority: bool) -> (bool, Vec<String>) {
        let words = std::iter::once("certs").chain(line.split_whitespace());
        let plan = Plan::new(&Command::try_parse_from(words).unwrap().certs, has_authority);
        (plan.server, plan.clients)
    }

    #[test]
    fn what_is_named_is_made_and_everything_at_first() {
        let client = vec!["client".to_owned()];
        let alice = vec!["alice".to_owned()];
        assert_eq!(plan("", false), (true, client.clone()));
        assert_eq!(plan("", true), (true, client.clone()));
        assert_eq!(plan("--client alice", false), (true, alice.clone()));
        assert_eq!(plan("--client alice", true), (false, alice.clone()));
        assert_eq!(plan("--host a.example", true), (true, Vec::new()));
        assert_eq!(plan("--revoke alice", true), (false, Vec::new()));
        assert_eq!(plan("--client alice --host ::2", true), (true, alice));
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        for name in ["", "../x", "a/b", ".x", "-x", "a b", "ä", &"x".repeat(65)] {
            client_name(name).unwrap_err();
        }
        for name in ["alice", "sensor-7", "a.b@example.org", "7"] {
            client_name(name).unwrap();
        }
    }
}
