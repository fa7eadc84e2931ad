//! Retained messages: what a new subscriber finds is what was acknowledged last, or sent since.

use std::collections::{BTreeMap, HashMap};

use crate::history::{MessageId, Micros, SECOND, Tables};

/// What a new subscriber has found, by topic.
pub(crate) type Found = HashMap<String, MessageId>;

pub(crate) fn judge(tables: &mut Tables, found: &Found, asked: Micros, now: Micros) {
    let mut by_topic: BTreeMap<&str, Vec<MessageId>> = BTreeMap::new();
    for (id, message) in tables.messages.iter().enumerate() {
        if message.retain && message.topic.starts_with("r/") {
            by_topic.entry(&message.topic).or_default().push(id);
        }
    }
    let mut problems = Vec::new();
    for (topic, messages) in by_topic {
        let is_settled = |id: &MessageId| tables.messages[*id].acknowledged.is_some();
        let first = messages.iter().rposition(is_settled).unwrap_or(0);
        let is_certain = messages.iter().any(is_settled);
        let possible = &messages[first..];
        let may_be_none = !is_certain || possible.iter().any(|id| may_be_gone(tables, *id, now));
        match found.get(topic) {
            None if may_be_none => (),
            Some(id) if possible.contains(id) && !has_expired(tables, *id, asked) => (),
            found => problems.push((
                format!("{topic} has {found:?}, but may only have one of {possible:?}"),
                possible.iter().chain(found).copied().collect::<Vec<_>>(),
                possible.first().map(|id| tables.messages[*id].publisher),
            )),
        }
    }
    for (text, messages, publisher) in problems {
        let clients: Vec<_> = publisher.into_iter().collect();
        tables.find("a retained message is wrong", now, text, &clients, &messages);
    }
}

/// Whether it takes the retained message away, or is one that is not kept any more.
fn may_be_gone(tables: &Tables, id: MessageId, now: Micros) -> bool {
    let message = &tables.messages[id];
    let sent = message.sent.first().copied().unwrap_or_default();
    let expires = |seconds: u32| now + SECOND / 2 >= sent + Micros::from(seconds) * SECOND;
    message.payload_bytes == 0 || message.expiry_seconds.is_some_and(expires)
}

fn has_expired(tables: &Tables, id: MessageId, asked: Micros) -> bool {
    let message = &tables.messages[id];
    let taken = message.acknowledged.or(message.sent.last().copied()).unwrap_or(asked);
    let expired = |seconds: u32| asked > taken + Micros::from(seconds) * SECOND + 2 * SECOND;
    message.expiry_seconds.is_some_and(expired)
}
