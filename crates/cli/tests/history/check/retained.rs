//! Retained messages: a new subscriber finds what was acknowledged last, or sent since, and a new
//! subscription brings what was there before it was asked for.

use std::collections::{BTreeMap, HashMap};

use super::{Case, Finding, matches};
use crate::history::{FAR, MessageId, Micros, SECOND, Subscription, Tables};

/// How long a subscriber may have to wait for retained messages.
const PATIENCE: Micros = 5 * SECOND;

/// The retained messages that a new subscriber has found, by topic.
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

/// Checks that a message that was settled before a subscription was asked for, and is still the
/// last one after its SUBACK, comes with it, if the Client stays to receive it.
pub(super) fn judge_subscribers(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let tables = case.tables;
    let mut by_topic: BTreeMap<&str, Vec<MessageId>> = BTreeMap::new();
    for (id, message) in tables.messages.iter().enumerate().filter(|(_, it)| it.retain) {
        by_topic.entry(&message.topic).or_default().push(id);
    }
    for subscription in &tables.subscriptions {
        let Some(granted) = subscription.granted.filter(|at| is_at_rest(tables, subscription, *at))
        else {
            continue;
        };
        for (topic, messages) in &by_topic {
            if !matches(&subscription.filter, topic) {
                continue;
            }
            let Some(last) = certain(tables, messages, subscription.asked, granted) else {
                continue;
            };
            let own = case.deliveries.get(&(subscription.session, last)).into_iter().flatten();
            let mut later = own.filter(|it| it.at >= subscription.asked);
            if later.next().is_none() {
                let id = &tables.clients[subscription.client].id;
                findings.push(Finding {
                    rule: "a retained message does not come",
                    at: granted + PATIENCE,
                    text: format!("{id} subscribes to {} without {last}", subscription.filter),
                    clients: vec![subscription.client],
                    messages: vec![last],
                });
            }
        }
    }
}

/// Returns whether its Client stayed long enough to receive everything, and no outage disturbed it.
fn is_at_rest(tables: &Tables, subscription: &Subscription, granted: Micros) -> bool {
    let own = |it: &&crate::history::Connection| it.session == Some(subscription.session);
    let connection = tables.connections.iter().filter(own).rfind(|it| it.asked < granted);
    let end = connection.and_then(|it| it.end).map_or(FAR, |(_, at)| at);
    let until = granted + PATIENCE;
    let is_prompt = tables.clients[subscription.client].is_prompt;
    is_prompt && end > until && !tables.was_out(subscription.asked, until, |_| true)
}

/// Returns the message that is retained at that time, if that is certain and the message does not
/// expire soon.
fn certain(
    tables: &Tables,
    messages: &[MessageId],
    asked: Micros,
    granted: Micros,
) -> Option<MessageId> {
    let first_sent = |id: &MessageId| tables.messages[*id].sent.first().copied();
    let last = messages.iter().rfind(|id| first_sent(id).is_some_and(|at| at <= granted))?;
    let message = &tables.messages[*last];
    let is_settled = message.acknowledged.is_some_and(|at| at < asked);
    let lasts = message.expiry_seconds.is_none_or(|expiry| expiry >= 600);
    (is_settled && lasts && message.payload_bytes > 0).then_some(*last)
}

/// Returns whether the message removes the retained one, or may have expired itself.
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
