//! The broker inside the test process.
//!
//! With [`crate::toy_method`] the seam towards `midge-broker`: nothing else names its crate.

use std::sync::{Arc, OnceLock};

use midge_broker::Broker;

use crate::endpoint::{Carrier, Endpoint, Trust};
use crate::toy_method::ToyHook;

/// The listener for `carrier` of the one broker of this process: anonymous clients and those of the
/// toy method, a free port of the loopback interface, nothing stored on disk.
pub(crate) fn endpoint(carrier: Carrier) -> Endpoint {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    let broker = BROKER.get_or_init(|| {
        let hook = Arc::new(ToyHook);
        let builder = Broker::builder().listen("127.0.0.1:0").workers(2).hook(hook);
        builder.start().unwrap_or_else(|error| panic!("no broker to test: {error}"))
    });
    let address = broker.local_addresses()[0];
    let host = address.ip().to_string();
    Endpoint { carrier, host, address, path: String::new(), trust: Trust::Anybody }
}
