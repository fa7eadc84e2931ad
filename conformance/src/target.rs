//! Which broker is tested, and how strictly.
//!
//! `MIDGE_CONFORMANCE_ADDRESS=host:port` names a running broker that admits anonymous clients.
//! Without it, a Midge broker runs inside the test process. `MIDGE_CONFORMANCE_LENIENT=1` accepts
//! all that the specification allows where Midge promises one of several choices; that is how to
//! run the suite against other brokers.

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};

use midge_broker::Broker;

use crate::toy_method::ToyHook;

/// The environment variable with the address of a running broker.
pub const ADDRESS_VARIABLE: &str = "MIDGE_CONFORMANCE_ADDRESS";
/// The environment variable that accepts what Midge itself would not do.
pub const LENIENT_VARIABLE: &str = "MIDGE_CONFORMANCE_LENIENT";

/// The address of the broker under test.
///
/// # Panics
/// When the address cannot be resolved or the broker cannot be started.
pub fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| match env::var(ADDRESS_VARIABLE) {
        Ok(address) => resolve(&address),
        Err(_) => start_in_process(),
    })
}

/// Whether only Midge's own choices are accepted where the specification leaves freedom.
pub fn is_strict() -> bool {
    env::var_os(LENIENT_VARIABLE).is_none()
}

fn resolve(address: &str) -> SocketAddr {
    let mut found = address
        .to_socket_addrs()
        .unwrap_or_else(|error| panic!("{ADDRESS_VARIABLE}={address}: {error}"));
    found.next().unwrap_or_else(|| panic!("{ADDRESS_VARIABLE}={address} names no address"))
}

/// Starts a broker for the life of this process: anonymous clients and those of the toy method, a
/// free port of the loopback interface, nothing stored on disk.
///
/// With [`crate::toy_method`] the seam towards `midge-broker`: nothing else names its crate.
fn start_in_process() -> SocketAddr {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    let broker = BROKER.get_or_init(|| {
        let hook = Arc::new(ToyHook);
        let builder = Broker::builder().listen("127.0.0.1:0").workers(2).hook(hook);
        builder.start().unwrap_or_else(|error| panic!("no broker to test: {error}"))
    });
    broker.local_addresses()[0].network().expect("an address of the network")
}
