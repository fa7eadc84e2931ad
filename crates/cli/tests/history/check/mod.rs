//! Judges a history when it is over: whether everything arrived that had to, and nothing else.
//!
//! A message is *due* to a subscription if the subscription was certain from before the message was
//! sent until after it was acknowledged, and if its Session has not ended since. Anything uncertain
//! is not judged.

mod due;
mod order;
mod retained;
#[cfg(test)]
mod tests;
mod timing;
mod unasked;
mod wills;

use std::collections::HashMap;

use crate::history::{Delivery, MessageId, SessionId, Tables};

pub(crate) use due::missing;
pub(crate) use retained::{Found, judge as judge_retained};

/// A history, with indexes for frequent lookups.
pub(crate) struct Case<'a> {
    pub(crate) tables: &'a Tables,
    /// The deliveries of each message in each Session, in the order of time.
    pub(crate) deliveries: HashMap<(SessionId, MessageId), Vec<Delivery>>,
    pub(crate) by_session: HashMap<SessionId, Vec<Delivery>>,
    /// Indexes into the table of subscriptions.
    pub(crate) subscriptions: HashMap<SessionId, Vec<usize>>,
}

/// A violation before it is recorded.
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) at: u64,
    pub(crate) text: String,
    pub(crate) clients: Vec<usize>,
    pub(crate) messages: Vec<MessageId>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(tables: &'a Tables) -> Self {
        let mut deliveries: HashMap<_, Vec<_>> = HashMap::new();
        let mut by_session: HashMap<_, Vec<_>> = HashMap::new();
        for delivery in &tables.deliveries {
            deliveries.entry((delivery.session, delivery.message)).or_default().push(*delivery);
            by_session.entry(delivery.session).or_default().push(*delivery);
        }
        let mut subscriptions: HashMap<_, Vec<_>> = HashMap::new();
        for (place, subscription) in tables.subscriptions.iter().enumerate() {
            subscriptions.entry(subscription.session).or_default().push(place);
        }
        Self { tables, deliveries, by_session, subscriptions }
    }
}

/// Records everything that is wrong with a history, except what its Clients noticed themselves.
pub(crate) fn judge(tables: &mut Tables, now: u64) {
    let findings = {
        let case = Case::new(tables);
        let mut findings = Vec::new();
        due::judge(&case, now, &mut findings);
        order::judge(&case, &mut findings);
        unasked::judge(&case, &mut findings);
        wills::judge(&case, now, &mut findings);
        timing::judge(&case, &mut findings);
        retained::judge_subscribers(&case, &mut findings);
        findings
    };
    for Finding { rule, at, text, clients, messages } in findings {
        tables.find(rule, at, text, &clients, &messages);
    }
}

/// Returns whether a Topic Filter, without `$share`, matches a Topic Name.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => (),
            (wanted, Some(level)) if wanted == level => (),
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Returns the ShareName, if there is one, and the filter after it.
pub(crate) fn split_share(filter: &str) -> (Option<&str>, &str) {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or((None, filter), |(name, filter)| (Some(name), filter))
}
