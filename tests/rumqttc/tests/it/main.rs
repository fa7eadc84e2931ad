//! What a Rust program sees that talks to the broker through rumqttc.

mod both;
mod properties;
