//! A message after which nothing earlier can still arrive.

use crate::client::Client;
use crate::packet::{Packet, Publish};
use crate::unique::topic;

/// A subscription to its own topic. A PINGREQ shows what a connection still has to receive. A fence
/// also waits for messages on their way from the publisher to the subscriber, because messages of
/// one publisher arrive in order.
#[derive(Debug)]
pub struct Fence {
    topic: String,
}

impl Fence {
    /// Makes `subscriber` subscribe to a fence at QoS 1.
    pub fn for_subscriber(subscriber: &mut Client) -> Self {
        let topic = topic();
        subscriber.subscribe(&topic, 1);
        Self { topic }
    }

    /// Publishes the fence; returns and acknowledges all messages that reach `subscriber` before
    /// it.
    pub fn pass(&self, publisher: &mut Client, subscriber: &mut Client) -> Vec<Publish> {
        publisher.publish(&self.topic, "fence", 1);
        let mut before = Vec::new();
        loop {
            match subscriber.receive() {
                Packet::Publish(publish) => {
                    subscriber.acknowledge(&publish);
                    if publish.topic == self.topic {
                        return before;
                    }
                    before.push(publish);
                }
                other => panic!("expected messages up to the fence, received {other:?}"),
            }
        }
    }

    /// Expects no message to reach `subscriber` before the fence does.
    pub fn expect_nothing(&self, publisher: &mut Client, subscriber: &mut Client) {
        let before = self.pass(publisher, subscriber);
        assert!(before.is_empty(), "expected no message, received {before:?}");
    }
}
