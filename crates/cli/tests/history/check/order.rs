//! Order: within one publisher, one topic and one QoS, messages first arrive in the order in which
//! they were first sent [MQTT-4.6.0-6]. DUP: nothing is a repetition in a new Session.

use std::collections::{HashMap, HashSet};

use super::{Case, Finding, due::covers, matches, split_share};
use crate::history::Delivery;

pub(super) fn judge(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (session, deliveries) in &case.by_session {
        let is_shared = case
            .subscriptions
            .get(session)
            .into_iter()
            .flatten()
            .any(|place| split_share(&case.tables.subscriptions[*place].filter).0.is_some());
        if is_shared {
            continue;
        }
        let mut last = HashMap::new();
        let mut seen = HashSet::new();
        for delivery in deliveries {
            let message = &case.tables.messages[delivery.message];
            let is_late = message.delay_seconds > 0 || message.is_will || delivery.retain;
            if is_late || !seen.insert(delivery.message) || !is_certain(case, delivery) {
                continue;
            }
            let line = (message.line, &message.topic, message.qos, delivery.qos);
            let before = last.insert(line, delivery.message);
            if let Some(before) = before.filter(|before| *before > delivery.message) {
                last.insert(line, before);
                let client = delivery.client;
                let id = &case.tables.clients[client].id;
                findings.push(Finding {
                    rule: "messages come in another order",
                    at: delivery.at,
                    text: format!("{id} gets message {} behind {before}", delivery.message),
                    clients: vec![client],
                    messages: vec![before, delivery.message],
                });
            }
        }
    }
    judge_dup(case, findings);
}

/// Returns whether the message had to be delivered because of its first PUBLISH. Otherwise a later
/// PUBLISH may have caused the delivery, after later messages.
fn is_certain(case: &Case<'_>, delivery: &Delivery) -> bool {
    let message = &case.tables.messages[delivery.message];
    let sent = message.sent.first().copied().unwrap_or_default();
    let own = case.subscriptions.get(&delivery.session).into_iter().flatten();
    let mut own = own.map(|place| &case.tables.subscriptions[*place]);
    message.expiry_seconds.is_none_or(|expiry| expiry >= 600)
        && own.any(|it| matches(&it.filter, &message.topic) && covers(it, sent, delivery.at))
}

/// Checks DUP: a Session on its first Network Connection has not received anything before.
fn judge_dup(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (session, deliveries) in &case.by_session {
        let mut connections = case.tables.connections.iter().enumerate();
        let first =
            connections.find(|(_, it)| it.session == Some(*session)).map(|(place, _)| place);
        for delivery in deliveries.iter().filter(|it| it.dup && Some(it.connection) == first) {
            let id = &case.tables.clients[delivery.client].id;
            findings.push(Finding {
                rule: "DUP is set on what is new",
                at: delivery.at,
                text: format!("{id} gets message {} with DUP", delivery.message),
                clients: vec![delivery.client],
                messages: vec![delivery.message],
            });
        }
    }
}
