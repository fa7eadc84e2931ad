//! Plain text for everything that a store keeps, so that two states can be compared and read.

use midge_core::{Message, RecoveredQueue, StoredDelivery, SubscriptionRecord};

/// Everything that has to survive of a message.
pub(super) fn message(message: &Message) -> String {
    let attributes = message.attributes();
    format!(
        "{} {:?} {:?} {:?} {} {:?} {:?} {:?}",
        message.topic(),
        message.properties(),
        checksum(message.payload()),
        attributes.qos,
        attributes.retain,
        attributes.expires_at,
        attributes.durability,
        message.publisher(),
    )
}

pub(super) fn delivery(delivery: &StoredDelivery) -> String {
    format!(
        "{:?} {} {:?} {:?} {}",
        delivery.qos,
        delivery.retain,
        delivery.identifiers,
        delivery.group,
        message(&delivery.message)
    )
}

pub(super) fn subscriptions(list: &[SubscriptionRecord]) -> Vec<String> {
    let mut lines: Vec<String> = list.iter().map(|one| format!("{one:?}")).collect();
    lines.sort_unstable();
    lines
}

pub(super) fn queue(queue: &RecoveredQueue) -> String {
    format!("{queue:?}")
}

fn checksum(bytes: &[u8]) -> (usize, u32) {
    (bytes.len(), crc32c::crc32c(bytes))
}
