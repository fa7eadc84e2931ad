//! Small values of everything that is stored, for tests that do not care which.

use std::sync::Arc;

use midge_codec::QoS;
use midge_core::{
    Attributes, Durability, Enqueue, Identifiers, Identity, Message, MessageParts, Owner,
    SessionRecord, StoreOp, StoredDelivery, SubscriptionRecord,
};

pub(crate) fn message(payload: &[u8]) -> Message {
    Message::new(MessageParts {
        topic: "a/b",
        properties: &[],
        payload,
        attributes: Attributes {
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Fsync,
        },
        publisher: Arc::new(Identity::new("publisher".into(), None)),
    })
}

pub(crate) fn session(number: u64) -> SessionRecord {
    SessionRecord {
        number,
        client_id: "client".into(),
        user_name: None,
        facts: None,
        expiry_seconds: 7,
        window: None,
        will: None,
    }
}

pub(crate) fn subscription(filter: &str) -> SubscriptionRecord {
    SubscriptionRecord { filter: filter.into(), options: <_>::default(), identifier: None }
}

pub(crate) fn delivery(message: &Message) -> StoredDelivery {
    StoredDelivery {
        message: message.clone(),
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: Identifiers::None,
        group: None,
    }
}

pub(crate) fn enqueue(owner: Owner, sequence: u64, message: &Message) -> StoreOp {
    let delivery = delivery(message);
    StoreOp::Enqueue(Box::new(Enqueue { owner, sequence, delivery, round: None }))
}
