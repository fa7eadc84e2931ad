//! Which broker is tested, over which carrier, and how strictly.
//!
//! `MIDGE_CONFORMANCE_ADDRESS` names a running broker that admits anonymous clients: `host:port`,
//! or a URL (`mqtts://host:8883`, `wss://host:443/mqtt`, `quic://host:14567`). Its certificate has
//! to be issued by the authority in the file `MIDGE_CONFORMANCE_CA`; if that is not set, the
//! certificate is not verified. The statements about WebSocket itself need a plain WebSocket,
//! whatever carries the other tests: `MIDGE_CONFORMANCE_WEBSOCKET=ws://host:port/mqtt`.
//!
//! Without an address, a Midge broker runs inside the test process, and
//! `MIDGE_CONFORMANCE_TRANSPORT` says how to reach it: `tcp`, `tls`, `ws`, `wss` or `quic`.
//!
//! `MIDGE_CONFORMANCE_FRAMES=bytes` or `uneven` splits packets across WebSocket frames.
//! `MIDGE_CONFORMANCE_LENIENT=1` accepts everything that the specification allows where Midge
//! promises one of several choices; use it to run the suite against other brokers.

use std::env;
use std::path::Path;
use std::sync::OnceLock;

use crate::endpoint::{Carrier, Endpoint, Trust};
use crate::in_process;
use crate::transport::frames::Framing;

/// The environment variable with the address of a running broker.
pub const ADDRESS_VARIABLE: &str = "MIDGE_CONFORMANCE_ADDRESS";
/// The environment variable with the file of the authority that issued its certificate.
pub const CA_VARIABLE: &str = "MIDGE_CONFORMANCE_CA";
/// The environment variable with the URL of its plain WebSocket.
pub const WEBSOCKET_VARIABLE: &str = "MIDGE_CONFORMANCE_WEBSOCKET";
/// The environment variable with the carrier over which the broker in the process is reached.
pub const TRANSPORT_VARIABLE: &str = "MIDGE_CONFORMANCE_TRANSPORT";
/// The environment variable that says how packets are split into WebSocket frames.
pub const FRAMES_VARIABLE: &str = "MIDGE_CONFORMANCE_FRAMES";
/// The environment variable that makes the tests accept what Midge itself would not do.
pub const LENIENT_VARIABLE: &str = "MIDGE_CONFORMANCE_LENIENT";

/// Returns the listener under test.
///
/// # Panics
/// When the address is not valid or the broker cannot be started.
pub fn endpoint() -> &'static Endpoint {
    static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();
    ENDPOINT.get_or_init(|| match env::var(ADDRESS_VARIABLE) {
        Ok(address) => resolve(ADDRESS_VARIABLE, &address),
        Err(_) => in_process::endpoint(carrier(), carrier()),
    })
}

/// Returns the plain WebSocket of the broker under test. If that of a running broker is not known,
/// prints so on standard error and returns `None`.
///
/// # Panics
/// As [`endpoint`].
#[allow(clippy::print_stderr, reason = "who runs the tests has to know which were left out")]
pub fn websocket() -> Option<Endpoint> {
    if env::var_os(ADDRESS_VARIABLE).is_none() {
        return Some(in_process::endpoint(carrier(), Carrier::WebSocket));
    }
    if let Ok(address) = env::var(WEBSOCKET_VARIABLE) {
        return Some(resolve(WEBSOCKET_VARIABLE, &address));
    }
    if endpoint().carrier == Carrier::WebSocket {
        return Some(endpoint().clone());
    }
    eprintln!("not tested: {WEBSOCKET_VARIABLE} does not name the broker's WebSocket");
    None
}

/// Returns how packets are split into WebSocket frames.
///
/// # Panics
/// When the variable has an unknown value.
pub fn framing() -> Framing {
    env::var(FRAMES_VARIABLE).map_or(Framing::Whole, |name| {
        Framing::named(&name).unwrap_or_else(|| panic!("{FRAMES_VARIABLE}={name}: no such frames"))
    })
}

/// Returns whether only Midge's own choices are accepted where the specification leaves a choice.
pub fn is_strict() -> bool {
    env::var_os(LENIENT_VARIABLE).is_none()
}

fn carrier() -> Carrier {
    env::var(TRANSPORT_VARIABLE).map_or(Carrier::Tcp, |name| {
        Carrier::named(&name)
            .unwrap_or_else(|| panic!("{TRANSPORT_VARIABLE}={name}: no such transport"))
    })
}

fn resolve(variable: &str, address: &str) -> Endpoint {
    let trust = env::var(CA_VARIABLE).map_or(Trust::Anybody, |path| {
        Trust::in_file(Path::new(&path))
            .unwrap_or_else(|error| panic!("{CA_VARIABLE}={path}: {error}"))
    });
    Endpoint::parse(address, trust).unwrap_or_else(|error| panic!("{variable}={address}: {error}"))
}
