//! The smallest program with a broker inside: `cargo run --example serve -- 127.0.0.1:1883`.

use midge_broker::Broker;

fn main() -> Result<(), midge_broker::StartError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_string());
    let _broker = Broker::builder().listen(address).start()?;
    loop {
        std::thread::park();
    }
}
