//! A message behind which nothing earlier can still arrive.

use crate::client::Client;
use crate::packet::{Packet, Publish};
use crate::unique::topic;

/// A subscription to a topic of its own. A PINGREQ shows what one connection still has to receive;
/// a fence also waits for what is still on its way from the publisher to the subscriber, since
/// messages of one publisher arrive in their order.
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

    /// Publishes the fence and returns all messages that reach `subscriber` before it does; they
    /// are acknowledged.
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
