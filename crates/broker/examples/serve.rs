//! The smallest program with a broker inside.

use midge_broker::Broker;

fn main() -> Result<(), midge_broker::StartError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_string());
    let broker = Broker::builder().listen(address).start()?;
    let everything = broker.handle().subscribe("#", midge_broker::QoS::AtMostOnce);
    while let Some(message) = everything.as_ref().ok().and_then(|all| all.recv()) {
        let length = message.payload().len();
        log::info!("{}: {length} bytes from {}", message.topic(), message.publisher());
    }
    Ok(())
}
