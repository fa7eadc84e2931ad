//! Nothing arrives without a subscription: after an UNSUBACK nothing that was sent later, and from
//! a discarded Session nothing at all.

use super::{Case, Finding, matches, split_share};
use crate::history::{Delivery, Micros, SECOND, Subscription};

pub(super) fn judge(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (session, deliveries) in &case.by_session {
        let own = case.subscriptions.get(session).map_or(&[][..], |places| places);
        for delivery in deliveries {
            let topic = &case.tables.messages[delivery.message].topic;
            let matching = || {
                let own = own.iter().map(|place| &case.tables.subscriptions[*place]);
                own.filter(|it| matches(split_share(&it.filter).1, topic))
            };
            if matching().any(|it| allows(case, it, delivery)) {
                continue;
            }
            let was_ended = matching().any(|it| it.gone.is_some());
            let is_own = matching().any(|it| it.options.no_local);
            let rule = match (was_ended, is_own) {
                (true, _) => "a message comes after UNSUBACK",
                (_, true) => "a message comes back in spite of No Local",
                _ => "a message comes without a subscription",
            };
            let id = &case.tables.clients[delivery.client].id;
            findings.push(Finding {
                rule,
                at: delivery.at,
                text: format!("{id} gets message {} to {topic}", delivery.message),
                clients: vec![delivery.client],
                messages: vec![delivery.message],
            });
        }
    }
}

fn allows(case: &Case<'_>, subscription: &Subscription, delivery: &Delivery) -> bool {
    let message = &case.tables.messages[delivery.message];
    if subscription.options.no_local && message.publisher == delivery.client && !delivery.retain {
        return false;
    }
    if subscription.asked > delivery.at {
        return false;
    }
    let Some(gone) = subscription.gone else {
        return true;
    };
    // The earliest time at which the message can have been routed.
    let sent = message.sent.first().copied().unwrap_or_default();
    let routed = match (message.is_will, message.delay_seconds) {
        (true, _) => delivery.at.saturating_sub(2 * SECOND),
        (_, delay) => sent + Micros::from(delay) * SECOND,
    };
    routed <= gone
}
