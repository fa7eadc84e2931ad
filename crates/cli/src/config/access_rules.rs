//! A broker that others than this machine can reach lets nobody in whom it does not know, unless
//! that is written.

use super::address::{self, Address};
use super::condition::Condition;
use super::problem::Problem;
use super::settings::{Settings, Table};

/// Reports listeners to which anybody could come from elsewhere.
pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    let table = settings.tables("authentication").first();
    let is_said = |key| table.is_some_and(|table: &Table| table.has(key));
    if is_said("anonymous") || is_said("password_file") {
        return;
    }
    for listener in settings.tables("listener").iter().filter(|table| is_open(table)) {
        let Some(bind) = listener.get("bind") else { continue };
        let message =
            "whoever reaches this address could connect, as no users are configured".to_string();
        let help = "give users: `password_file` in [authentication], which `midge passwd` writes; \
                    or allow it: `anonymous = true` in [authentication], or \
                    MIDGE_AUTHENTICATION_ANONYMOUS=true";
        problems.push(Problem::new(bind.origin.clone(), message).help(help));
    }
}

/// Whether a listener can be reached from elsewhere, and asks for no certificate.
fn is_open(table: &Table) -> bool {
    let reaches = match table.text("bind").map(address::parse) {
        Some(Ok(Address::Socket(address))) => !address.ip().to_canonical().is_loopback(),
        _ => false,
    };
    reaches && !asks_for_certificate(table)
}

fn asks_for_certificate(table: &Table) -> bool {
    Condition::Tls.holds(table)
        && match table.text("tls.client_certificates") {
            Some(word) => word == "required",
            None => table.has("tls.client_ca"),
        }
}
