//! Time: no message arrives after it has expired, before its delay has passed, or with a wrong
//! remaining expiry; and a Client that receives promptly keeps getting messages while any wait.

use std::collections::HashMap;

use midge_codec::QoS;

use super::{Case, Finding};
use crate::history::{Delivery, FAR, Message, Micros, SECOND};

const SLACK: Micros = 2 * SECOND;
/// How long a Client may wait for the next message while one is due.
const SILENCE_MAX: Micros = 5 * SECOND;

pub(super) fn judge(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for delivery in &case.tables.deliveries {
        let message = &case.tables.messages[delivery.message];
        let problem = too_late(case, message, delivery)
            .or_else(|| too_early(message, delivery))
            .or_else(|| wrong_expiry(case, message, delivery));
        if let Some((rule, text)) = problem {
            let id = &case.tables.clients[delivery.client].id;
            findings.push(Finding {
                rule,
                at: delivery.at,
                text: format!(
                    "message {} to {} comes to {id} {text}",
                    delivery.message, message.topic
                ),
                clients: vec![delivery.client],
                messages: vec![delivery.message],
            });
        }
    }
    judge_progress(case, findings);
}

type Problem = Option<(&'static str, String)>;

/// A message that was sent before it expired may be sent again later, with DUP.
fn too_late(case: &Case<'_>, message: &Message, delivery: &Delivery) -> Problem {
    let expiry = Micros::from(message.expiry_seconds?) * SECOND;
    let taken = message.acknowledged.or(message.sent.last().copied())?;
    if delivery.dup || !case.tables.clients[delivery.client].is_prompt {
        return None;
    }
    // During an outage the broker does not handle what waits in its socket.
    let excused = case.tables.excused(taken, delivery.at);
    let is_late = delivery.at > taken + expiry + SLACK + excused;
    is_late.then(|| {
        let late = (delivery.at - taken - expiry) as f64 / 1e6;
        ("a message comes after it has expired", format!("{late:.3} s after it has expired"))
    })
}

fn too_early(message: &Message, delivery: &Delivery) -> Problem {
    let delay = Micros::from(message.delay_seconds) * SECOND;
    let due = message.sent.first()? + delay;
    (delay > 0 && delivery.at + SECOND / 50 < due).then(|| {
        let early = (due - delivery.at) as f64 / 1e6;
        ("a delayed message comes too early", format!("{early:.3} s before its time"))
    })
}

/// The remaining expiry is what the publisher said less the time that has passed [MQTT-3.3.2-6].
fn wrong_expiry(case: &Case<'_>, message: &Message, delivery: &Delivery) -> Problem {
    let said = Micros::from(message.expiry_seconds?) * SECOND;
    if !case.tables.clients[delivery.client].is_v5 {
        return None;
    }
    let Some(left) = delivery.expiry_seconds else {
        return Some(("a message loses its expiry", "without an expiry".to_owned()));
    };
    let left = Micros::from(left) * SECOND;
    let first = message.sent.first()?;
    let longest = delivery.at - first + SLACK;
    let is_too_short = left + longest < said;
    let is_too_long = left > said
        || message.acknowledged.is_some_and(|taken| {
            let prompt = case.tables.clients[delivery.client].is_prompt;
            let waited = delivery.at.saturating_sub(taken);
            let excused = case.tables.excused(taken, delivery.at);
            prompt && !delivery.dup && left + waited > said + excused + SLACK
        });
    (is_too_short || is_too_long).then(|| {
        let (left, said) = (left / SECOND, said / SECOND);
        ("a message has a wrong expiry", format!("with {left} s of {said} s left"))
    })
}

/// Reports a prompt Client that gets nothing for long, while a message that arrives later is due.
fn judge_progress(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let mut by_connection: HashMap<usize, Vec<&Delivery>> = HashMap::new();
    for delivery in &case.tables.deliveries {
        by_connection.entry(delivery.connection).or_default().push(delivery);
    }
    for (place, connection) in case.tables.connections.iter().enumerate() {
        let (Some(session), Some(answered)) = (connection.session, connection.answered) else {
            continue;
        };
        if !case.tables.clients[connection.client].is_prompt {
            continue;
        }
        let end = connection.end.map_or(FAR, |(_, at)| at);
        let own = by_connection.get(&place).map_or(&[][..], |own| own);
        let mut from = answered;
        let ends = own.iter().map(|it| it.at).chain((end < FAR).then_some(end));
        for until in ends {
            let waiting = (until > from + SILENCE_MAX).then(|| waits(case, session, until));
            if let Some((waiting, since)) = waiting.flatten()
                && let (from, until) = longest_calm(case, from.max(since), until)
                && until > from + SILENCE_MAX
            {
                let id = &case.tables.clients[connection.client].id;
                let seconds = (until - from) as f64 / 1e6;
                findings.push(Finding {
                    rule: "a Client starves",
                    at: until,
                    text: format!("{id} gets nothing for {seconds:.1} s, message {waiting} waits"),
                    clients: vec![connection.client],
                    messages: vec![waiting],
                });
            }
            from = until;
        }
    }
}

/// Returns the longest part of this interval without an outage of the broker.
fn longest_calm(case: &Case<'_>, from: Micros, until: Micros) -> (Micros, Micros) {
    let own = case.tables.outages.iter().map(|it| (it.from, it.until.unwrap_or(FAR)));
    let mut longest = (from, from);
    let mut since = from;
    for (begin, end) in
        own.chain([(until, until)]).filter(|(begin, end)| *end >= from && *begin <= until)
    {
        if begin.saturating_sub(since) > longest.1 - longest.0 {
            longest = (since, begin);
        }
        since = since.max(end);
    }
    longest
}

/// Among the messages that reach this Session only at `until` or later, returns the one that was
/// acknowledged first, and when that was.
fn waits(case: &Case<'_>, session: usize, until: Micros) -> Option<(usize, Micros)> {
    let own = case.by_session.get(&session)?;
    let later = own.iter().filter(|it| it.at >= until && !it.dup && !it.retain);
    let waiting = later.filter_map(|it| {
        let message = &case.tables.messages[it.message];
        let first = case.deliveries[&(session, it.message)].first()?;
        let is_due = first.at >= until && message.delay_seconds == 0;
        let acknowledged = message.acknowledged.filter(|at| is_due && *at < until)?;
        (message.qos != QoS::AtMostOnce).then_some((it.message, acknowledged))
    });
    waiting.min_by_key(|(_, acknowledged)| *acknowledged)
}
