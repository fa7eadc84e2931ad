//! Will Messages: published when they are due, and never otherwise. When a Network Connection
//! ended, and whether its Client came back in time, is known only within bounds. Where the bounds
//! leave both possible, nothing is judged.

use std::collections::HashMap;

use super::{Case, Finding};
use crate::history::{ClientId, Connection, Delivery, End, MessageId, Micros, OutageKind, SECOND};

/// How late a broker may notice that a Client is gone, or that a time has passed.
const SLACK: Micros = 3 * SECOND / 2;
/// How late a Will Message may reach a Client that waits for it.
const LATENESS_MAX: Micros = 5 * SECOND / 2;

/// What has to become of a Will Message.
#[derive(Clone, Copy, Debug)]
struct Fate {
    message: MessageId,
    client: ClientId,
    verdict: Verdict,
    /// The message must not arrive before this.
    earliest: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The message is due at this moment at the latest.
    Must(Micros),
    May,
    Never,
}

/// Returns the Will Messages that are due by now.
pub(super) fn due(case: &Case<'_>, now: Micros) -> Vec<MessageId> {
    let is_due = |fate: &Fate| matches!(fate.verdict, Verdict::Must(at) if at + SLACK <= now);
    fates(case).into_iter().filter(is_due).map(|fate| fate.message).collect()
}

/// Returns how many Will Messages are due soon.
pub(super) fn pending(case: &Case<'_>, now: Micros) -> usize {
    let soon = now.saturating_sub(SLACK)..now + 20 * SECOND;
    let is_soon = |fate: &Fate| matches!(fate.verdict, Verdict::Must(at) if soon.contains(&at));
    fates(case).into_iter().filter(is_soon).count()
}

pub(super) fn judge(case: &Case<'_>, now: Micros, findings: &mut Vec<Finding>) {
    let mut deliveries: HashMap<MessageId, Vec<&Delivery>> = HashMap::new();
    for delivery in &case.tables.deliveries {
        deliveries.entry(delivery.message).or_default().push(delivery);
    }
    for fate in fates(case) {
        for delivery in deliveries.get(&fate.message).into_iter().flatten() {
            let at = delivery.at;
            let (rule, text) = match fate.verdict {
                Verdict::Never => ("a Will Message comes that must not", "comes".to_owned()),
                _ if at + SECOND / 20 < fate.earliest => {
                    let early = (fate.earliest - at) as f64 / 1e6;
                    ("a Will Message comes too early", format!("comes {early:.3} s too early"))
                }
                Verdict::Must(due) if is_late(case, delivery, due.min(now)) => {
                    let late = (at - due) as f64 / 1e6;
                    ("a Will Message comes late", format!("comes {late:.3} s late"))
                }
                _ => continue,
            };
            let id = &case.tables.clients[fate.client].id;
            findings.push(Finding {
                rule,
                at,
                text: format!("the Will Message {} of {id} {text}", fate.message),
                clients: vec![fate.client],
                messages: vec![fate.message],
            });
            break;
        }
    }
}

/// Returns whether a Client that was there to receive the message got it too late.
fn is_late(case: &Case<'_>, delivery: &Delivery, due: Micros) -> bool {
    if !case.tables.clients[delivery.client].is_prompt || delivery.dup {
        return false;
    }
    let there = case.tables.connections[delivery.connection].answered.unwrap_or(delivery.at);
    let due = due.max(there);
    let excused = case.tables.excused(due, delivery.at);
    // A disk that was stalled when the message became due has to recover first.
    let is_of_disk = |kind| matches!(kind, OutageKind::Stall | OutageKind::Disk);
    delivery.at > due + excused + LATENESS_MAX
        && !case.tables.was_out(due.saturating_sub(SECOND), delivery.at, is_of_disk)
}

fn fates(case: &Case<'_>) -> Vec<Fate> {
    let mut by_client: HashMap<ClientId, Vec<&Connection>> = HashMap::new();
    for connection in &case.tables.connections {
        by_client.entry(connection.client).or_default().push(connection);
    }
    let mut fates = Vec::new();
    for connections in by_client.values() {
        for (place, connection) in connections.iter().enumerate() {
            if let Some((message, delay)) = connection.will {
                let fate = fate(case, connection, delay, &connections[place + 1..]);
                let (verdict, earliest) = fate;
                fates.push(Fate { message, client: connection.client, verdict, earliest });
            }
        }
    }
    fates
}

fn fate(
    case: &Case<'_>,
    connection: &Connection,
    delay_seconds: u32,
    later: &[&Connection],
) -> (Verdict, Micros) {
    let next = later.first().copied();
    let (Some(answered), Some((end, at))) = (connection.answered, connection.end) else {
        let is_alive = connection.answered.is_some();
        return (if is_alive { Verdict::Never } else { Verdict::May }, connection.asked);
    };
    let delay = Micros::from(delay_seconds.min(connection.expiry_seconds)) * SECOND;
    let is_near_end = ends_near(case, at);
    let (earliest, latest, is_certain) = match end {
        End::Goodbye if is_near_end => return (Verdict::May, at),
        End::Goodbye => return (Verdict::Never, at),
        End::Left => {
            let is_kept = connection.promised.is_some() && connection.expiry_seconds > 0;
            let until = case.tables.unsettled_by(at).map_or(at, |outage| outage.from);
            let was_killed = case.tables.was_out(answered, until, |it| it == OutageKind::Kill);
            (at, case.tables.absent_since(at), is_kept || !was_killed)
        }
        End::ByBroker => match by_broker(case, connection, at) {
            Some(bounds) => bounds,
            None => return (Verdict::May, connection.asked),
        },
    };
    let must = |due| if is_certain { Verdict::Must(due) } else { Verdict::May };
    let Some(next) = next.filter(|_| delay > 0) else {
        return (must(latest + delay), earliest + delay);
    };
    let excused = case.tables.excused(latest, latest + delay + SLACK);
    let is_gone_for_long = next.asked > latest + delay + SLACK + excused;
    // The CONNACK for a Session that is kept also says that its content is kept.
    let is_told = |at| connection.promised.is_some() || !ends_near(case, at);
    let comes_back_unsettled = !next.answered.is_some_and(is_told);
    if is_gone_for_long {
        (must(latest + delay), earliest + delay)
    } else if next.is_clean {
        let verdict = match next.answered {
            Some(answered) if !comes_back_unsettled => must(answered),
            _ => Verdict::May,
        };
        (verdict, next.asked.min(earliest + delay))
    } else {
        // A CONNECT without an answer may not have reached the broker; then the next one counts.
        let ends = later.iter().filter(|it| it.is_clean).map(|it| it.asked);
        let ends = ends.chain([earliest + delay]).min().unwrap_or(earliest);
        let is_resumed = next.session.is_some() && next.session == connection.session;
        let is_in_time = next.answered.is_some_and(|at| at + SECOND / 5 < earliest + delay);
        let never = is_resumed && is_in_time && !comes_back_unsettled;
        (if never { Verdict::Never } else { Verdict::May }, ends)
    }
}

/// Returns the moments between which the broker itself has ended a Network Connection, and whether
/// the Will Message is certain to have survived that.
fn by_broker(
    case: &Case<'_>,
    connection: &Connection,
    at: Micros,
) -> Option<(Micros, Micros, bool)> {
    let mut outages = case.tables.outages.iter();
    let outage = outages.find(|it| {
        matches!(it.kind, OutageKind::Kill | OutageKind::Term)
            && it.from >= connection.asked
            && it.from <= at
    })?;
    let is_kept = connection.promised.is_some() && connection.expiry_seconds > 0;
    let is_certain = is_kept || outage.kind == OutageKind::Term;
    Some((outage.from, outage.until?, is_certain))
}

/// Returns whether the broker ended so soon after `at` that it may not have handled or written what
/// happened then.
fn ends_near(case: &Case<'_>, at: Micros) -> bool {
    case.tables.unsettled_by(at).is_some()
}
