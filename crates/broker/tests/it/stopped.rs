//! What happens to calls to a broker that has stopped.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use midge_broker::{Broker, OwnedMessage, QoS, RequestError, Stopped};

#[test]
fn requests_to_a_stopped_broker_are_answered() {
    let broker = Broker::builder().workers(2).start().expect("nothing is refused");
    let handle = broker.handle();
    let subscription = handle.subscribe("a", QoS::AtMostOnce).wait().expect("it runs");
    broker.stop(Duration::from_secs(1));
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let message = OwnedMessage::new("a", "x").expect("a topic");
        assert_eq!(handle.publish(message).wait(), Err(RequestError::Stopped));
        assert_eq!(handle.clients().wait(), Err(Stopped));
        let refused = handle.subscribe("a", QoS::AtMostOnce).wait().err();
        assert_eq!(refused, Some(RequestError::Stopped));
        assert!(subscription.recv().is_none());
        done.send(()).expect("the test waits");
    });
    is_done.recv_timeout(Duration::from_secs(5)).expect("nobody waits for ever");
}
