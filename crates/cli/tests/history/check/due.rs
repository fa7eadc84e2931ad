//! Loss: acknowledged messages arrive at everybody who was certainly subscribed. Duplicates: at QoS
//! 2 none arrives twice, at QoS 1 none twice without DUP, unless it was sent twice.

use std::collections::{HashMap, HashSet};

use midge_codec::QoS;

use super::{Case, Finding, matches, split_share, wills};
use crate::history::{
    Delivery, Message, MessageId, Micros, Outage, OutageKind, SECOND, SessionId, Subscription,
    Tables,
};

/// Returns how many messages are due and have not arrived, including those that are due soon.
pub(crate) fn missing(tables: &Tables, now: Micros) -> usize {
    let case = Case::new(tables);
    let pending = wills::pending(&case, now);
    due(&case, now).len() + pending
}

pub(super) fn judge(case: &Case<'_>, now: Micros, findings: &mut Vec<Finding>) {
    for (message, session) in due(case, now) {
        let client = case.tables.sessions[session].client;
        let about = &case.tables.messages[message];
        let id = &case.tables.clients[client].id;
        let what = if about.is_will { "a Will Message, which is due," } else { "was acknowledged" };
        findings.push(Finding {
            rule: if about.is_will { "a Will Message is lost" } else { "a message is lost" },
            at: now,
            text: format!("message {message} to {} {what} but does not come to {id}", about.topic),
            clients: vec![client],
            messages: vec![message],
        });
    }
    judge_once(case, findings);
}

/// Returns what has not arrived, and for whom: for a shared subscription, its first certain member.
fn due(case: &Case<'_>, now: Micros) -> Vec<(MessageId, SessionId)> {
    let certain: Vec<_> =
        case.tables.subscriptions.iter().filter(|it| is_certain(case, it)).collect();
    let mut due = Vec::new();
    let must_fire: HashSet<_> = wills::due(case, now).into_iter().collect();
    let shared = received_by_groups(case);
    for (id, message) in case.tables.messages.iter().enumerate() {
        let Some((from, until)) = interval(id, message, &must_fire, now) else {
            continue;
        };
        let mut groups = HashSet::new();
        for subscription in &certain {
            let (share, filter) = split_share(&subscription.filter);
            let is_own = subscription.options.no_local && subscription.client == message.publisher;
            if is_own
                || subscription.options.qos == QoS::AtMostOnce
                || !covers(subscription, from, until)
                || !matches(filter, &message.topic)
            {
                continue;
            }
            let has_come = match share {
                Some(_) if !groups.insert(&subscription.filter) => true,
                Some(_) => shared.contains(&(&*subscription.filter, id)),
                None => case.deliveries.contains_key(&(subscription.session, id)),
            };
            if !has_come {
                due.push((id, subscription.session));
            }
        }
    }
    due
}

/// Returns the interval in which a message is routed, if it is due to anybody.
fn interval(
    id: MessageId,
    message: &Message,
    must_fire: &HashSet<MessageId>,
    now: Micros,
) -> Option<(Micros, Micros)> {
    if message.qos == QoS::AtMostOnce || message.payload_bytes == 0 {
        return None;
    }
    let sent = *message.sent.first()?;
    if message.is_will {
        return must_fire.contains(&id).then_some((sent, now));
    }
    // A message that expires soon may never arrive; `timing` checks it.
    if message.expiry_seconds.is_some_and(|expiry| expiry < 600) {
        return None;
    }
    let delay = Micros::from(message.delay_seconds) * SECOND;
    // A delayed message goes to whoever is subscribed when its time has come.
    let until = message.acknowledged? + delay;
    Some((sent, if delay > 0 { now.max(until) } else { until }))
}

fn is_certain(case: &Case<'_>, subscription: &Subscription) -> bool {
    let session = &case.tables.sessions[subscription.session];
    let (share, _) = split_share(&subscription.filter);
    subscription.granted.is_some()
        && session.over.is_none()
        // Members of the other groups give up subscriptions, and lose what was on its way to them.
        && share.is_none_or(|share| share == "fixed")
}

pub(super) fn covers(subscription: &Subscription, from: Micros, until: Micros) -> bool {
    subscription.granted.is_some_and(|granted| granted < from)
        && subscription.leaving.is_none_or(|leaving| leaving > until)
}

/// Returns what any member of a group has received, by the filter with its ShareName.
fn received_by_groups<'a>(case: &Case<'a>) -> HashSet<(&'a str, MessageId)> {
    let mut received = HashSet::new();
    for subscription in &case.tables.subscriptions {
        if split_share(&subscription.filter).0.is_some() {
            let own = case.by_session.get(&subscription.session).into_iter().flatten();
            received.extend(own.map(|it| (&*subscription.filter, it.message)));
        }
    }
    received
}

fn judge_once(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (&(session, message), deliveries) in &case.deliveries {
        let about = &case.tables.messages[message];
        let is_shared = case
            .subscriptions
            .get(&session)
            .into_iter()
            .flatten()
            .any(|place| split_share(&case.tables.subscriptions[*place].filter).0.is_some());
        let new = deliveries.iter().filter(|it| !it.is_repetition && !it.retain);
        let exactly = new.clone().filter(|it| it.qos == QoS::ExactlyOnce).count();
        let without_dup = new.filter(|it| it.qos != QoS::ExactlyOnce && !it.dup).count();
        let sent = published(case, about, deliveries);
        let rule = if exactly > 1 {
            "a QoS 2 message comes twice"
        } else if without_dup > sent && !is_shared {
            "a message comes again without DUP"
        } else {
            continue;
        };
        let client = case.tables.sessions[session].client;
        let id = &case.tables.clients[client].id;
        let times = exactly.max(without_dup);
        findings.push(Finding {
            rule,
            at: deliveries.last().map_or(0, |it| it.at),
            text: format!("message {message}, sent {sent} times, came to {id} {times} times"),
            clients: vec![client],
            messages: vec![message],
        });
    }
    judge_groups(case, findings);
}

/// Returns how often a message may have been published. The broker itself publishes a Will Message
/// or a delayed message, and may do so again after a kill, as any publisher does at QoS 1. It does
/// so with each copy of a delayed message that was sent again.
fn published(case: &Case<'_>, message: &Message, deliveries: &[Delivery]) -> usize {
    let (Some(sent), Some(last)) = (message.sent.first(), deliveries.last()) else {
        return 1;
    };
    let is_own = message.is_will || message.delay_seconds > 0;
    let between = |it: &&Outage| it.kind == OutageKind::Kill && (*sent..last.at).contains(&it.from);
    let kills = case.tables.outages.iter().filter(between).count();
    let sent = if message.is_will { 1 } else { message.sent.len() };
    if is_own { sent * (1 + kills) } else { sent }
}

/// Checks that at QoS 2 only one member gets a message.
fn judge_groups(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let mut takers: HashMap<(&str, MessageId), HashSet<SessionId>> = HashMap::new();
    for subscription in &case.tables.subscriptions {
        if split_share(&subscription.filter).0 != Some("fixed") {
            continue;
        }
        for delivery in case.by_session.get(&subscription.session).into_iter().flatten() {
            if delivery.qos == QoS::ExactlyOnce {
                let key = (&*subscription.filter, delivery.message);
                takers.entry(key).or_default().insert(delivery.session);
            }
        }
    }
    for ((filter, message), sessions) in takers.into_iter().filter(|it| it.1.len() > 1) {
        let clients: Vec<_> =
            sessions.iter().map(|session| case.tables.sessions[*session].client).collect();
        findings.push(Finding {
            rule: "a QoS 2 message comes twice",
            at: 0,
            text: format!("message {message} came to {} members of {filter}", clients.len()),
            clients,
            messages: vec![message],
        });
    }
}
