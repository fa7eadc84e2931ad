//! Plain text for everything that a store keeps, so that two states can be compared and read.

use midge_core::{
    Message, Owner, Recovered, RecoveredQueue, SessionRecord, StoredDelivery, SubscriptionRecord,
    Timestamp,
};

use super::Random;
use crate::engine::Engine;

/// Everything that has to survive of a message.
pub(crate) fn message(message: &Message) -> String {
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

pub(crate) fn delivery(delivery: &StoredDelivery) -> String {
    format!(
        "{:?} {} {:?} {:?} {}",
        delivery.qos,
        delivery.retain,
        delivery.identifiers,
        delivery.group,
        message(&delivery.message)
    )
}

pub(crate) fn subscriptions(list: &[SubscriptionRecord]) -> Vec<String> {
    let mut lines: Vec<String> = list.iter().map(|one| format!("{one:?}")).collect();
    lines.sort_unstable();
    lines
}

/// A Session without its subscriptions and messages.
pub(crate) fn session(record: &SessionRecord, detached: Option<Timestamp>) -> String {
    let will = record.will.as_ref().map(|will| {
        format!("{} {} {:?}", message(&will.message), will.delay_seconds, will.expiry_seconds)
    });
    format!(
        "session {} {} {:?} {:?} {} {:?} {will:?} {detached:?}",
        record.number,
        record.client_id,
        record.user_name,
        record.facts,
        record.expiry_seconds,
        record.window
    )
}

/// What a start has found, with all messages.
pub(crate) fn describe(
    recovered: &Recovered,
    engine: &mut Engine,
    random: &mut Random,
) -> Vec<String> {
    let mut lines = vec![format!("next number {}", recovered.next_number)];
    for one in &recovered.sessions {
        lines.push(session(&one.record, one.detached_at));
        lines.extend(subscriptions(&one.subscriptions));
        lines.push(format!("{:?}", one.awaiting_release));
        lines.push(queue(&one.queue));
        lines.extend(fetch_all(engine, Owner::Session(one.record.number), random));
    }
    for (record, one) in &recovered.groups {
        lines.push(format!("{record:?}"));
        lines.push(queue(one));
        lines.extend(fetch_all(engine, Owner::Group(record.number), random));
    }
    for (number, what, kept) in &recovered.kept {
        lines.push(format!("kept {number} {what:?} {}", message(kept)));
    }
    lines
}

/// All messages that wait for an owner, in portions of any size.
pub(crate) fn fetch_all(engine: &mut Engine, owner: Owner, random: &mut Random) -> Vec<String> {
    let mut lines = Vec::new();
    let mut from = 0;
    loop {
        let (messages_max, bytes_max) = (random.within(1..20), random.within(1..3000));
        let (entries, next) = engine.fetch_entries(owner, from, messages_max, bytes_max);
        assert!(entries.len() <= messages_max);
        for entry in &entries {
            assert!((from..next).contains(&entry.sequence), "{} in {from}..{next}", entry.sequence);
            let text = entry.delivery.as_ref().map_or_else(|| "damaged".to_owned(), delivery);
            lines.push(format!("{owner:?} {} {text}", entry.sequence));
        }
        if entries.is_empty() {
            return lines;
        }
        from = next;
    }
}

pub(crate) fn queue(queue: &RecoveredQueue) -> String {
    format!("{queue:?}")
}

fn checksum(bytes: &[u8]) -> (usize, u32) {
    (bytes.len(), crc32c::crc32c(bytes))
}
