//! Gives new connections to workers.
//!
//! This module must never read from a connection or wait for a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use midge_codec::ReasonCode;
use midge_net::{Accepted, Transport};

use crate::inbox::{Inbox, Letter};
use crate::listener_terms::ListenerTerms;
use crate::placement::{Placement, Placing};

/// How many connections at a time are told to come later; further ones are closed without a word.
const TURNED_AWAY_MAX: usize = 1024;

/// Returns the worker that gets a new connection.
pub(crate) fn choose(placement: Placement, inboxes: &[Arc<Inbox>]) -> &Inbox {
    let load = |worker: usize| Placing::told(&inboxes[worker].load);
    let connections = |worker: usize| inboxes[worker].connections.load(Ordering::Relaxed);
    &inboxes[Placing::choose(placement, inboxes.len(), load, connections)]
}

/// Gives a connection to a worker. Counts connections beyond `connections_max`.
pub(crate) fn pass_on(
    (accepted, terms): (Accepted, Arc<ListenerTerms>),
    inbox: &Inbox,
    inboxes: &[Arc<Inbox>],
    connections_max: usize,
    beyond: &AtomicU64,
) {
    let turned_away: usize =
        inboxes.iter().map(|inbox| inbox.turned_away.load(Ordering::Relaxed)).sum();
    let Accepted { stream, opened, refusal, .. } = accepted;
    // Several threads accept, so comparing and counting must be one step.
    let one_more = |count: usize| (count < connections_max).then_some(count + 1);
    let is_let_in = refusal.is_none()
        && inbox.let_in.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
    let is_turned_away = !is_let_in;
    beyond.fetch_add(u64::from(is_turned_away && refusal.is_none()), Ordering::Relaxed);
    if is_turned_away {
        // Saying no must not cost a handshake.
        let is_cheap = matches!(
            stream.peer().transport,
            Transport::Tcp | Transport::Unix | Transport::WebSocket
        );
        if turned_away >= TURNED_AWAY_MAX || !is_cheap {
            // The Reason Code is for QUIC, which sends it when it closes.
            return stream.abort(ReasonCode::ServerBusy as u32);
        }
        inbox.turned_away.fetch_add(1, Ordering::Relaxed);
    }
    inbox.connections.fetch_add(1, Ordering::Relaxed);
    inbox.load.note_fresh();
    inbox.send(Letter::Accepted { stream, terms, opened, is_turned_away });
}
