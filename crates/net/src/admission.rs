//! How many connections a listener lets in: at a time, per second, per second from one address, and
//! in the middle of a handshake.
//!
//! The counts are shared by the thread that accepts and by the streams, which report when they are
//! over. A refused connection costs nothing: it takes no token of any bucket, so that somebody who
//! knocks too often does not shut others out. The time is an argument; this module must never ask a
//! clock.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::buckets::{AddressRates, SharedRate};
use crate::listen::ListenerLimits;

/// Decides which connections a listener lets in.
#[derive(Debug)]
pub(crate) struct Admission {
    rates: Mutex<Rates>,
    handshakes_max: AtomicU32,
    open: AtomicU32,
    handshaking: AtomicU32,
    accepted: AtomicU64,
    failed_handshakes: AtomicU64,
    /// In the order of [`Refusal::ALL`].
    refused: [AtomicU64; 4],
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The maximum number of connections is open.
    Connections,
    /// Too many connections came within a second.
    Rate,
    /// Too many connections came from this address within a second.
    RatePerAddress,
    /// The maximum number of handshakes is under way.
    Handshakes,
}

/// What came to a listener since it began to listen, and what is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerFigures {
    /// Connections that were let in.
    pub accepted: u64,
    /// Connections that were refused, by reason; all of [`Refusal::ALL`] are listed.
    pub refused: Vec<(Refusal, u64)>,
    /// Connections that ended before their handshake was complete.
    pub failed_handshakes: u64,
    /// Connections that are open now, including those in a handshake.
    pub open: u32,
    /// Connections that are in the middle of a handshake.
    pub handshaking: u32,
}

/// Counts one open connection, until it is dropped, and one handshake, from
/// [`Slot::begin_handshake`] to [`Slot::handshake_done`] or [`Slot::handshake_failed`].
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    handshake: Handshake,
    /// Whether the connection is counted for an address.
    has_address: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    NotBegun,
    UnderWay,
    Over,
}

#[derive(Debug)]
struct Rates {
    limits: ListenerLimits,
    all: SharedRate,
    per_address: AddressRates,
}

impl Admission {
    /// Starts without connections and with full buckets.
    pub(crate) fn new(limits: ListenerLimits) -> Self {
        Self {
            handshakes_max: AtomicU32::new(limits.handshakes_max),
            rates: Mutex::new(Rates::new(limits)),
            open: AtomicU32::new(0),
            handshaking: AtomicU32::new(0),
            accepted: AtomicU64::new(0),
            failed_handshakes: AtomicU64::new(0),
            refused: Default::default(),
        }
    }

    /// Sets other limits from now on. Existing connections and handshakes still count; a bucket
    /// whose rate changes is full again.
    pub(crate) fn set_limits(&self, limits: &ListenerLimits) {
        self.handshakes_max.store(limits.handshakes_max, Ordering::Relaxed);
        let mut rates = self.rates();
        let fresh = Rates::new(limits.clone());
        let Rates { limits: old, all, per_address } = &mut *rates;
        if old.connection_rate_max != limits.connection_rate_max {
            *all = fresh.all;
        }
        if old.connection_rate_per_address_max != limits.connection_rate_per_address_max {
            *per_address = fresh.per_address;
        }
        *old = fresh.limits;
    }

    /// Admits a connection from `address` at `now`; without an address, it is counted for none. It
    /// counts as open until its slot is dropped.
    ///
    /// # Errors
    ///
    /// The connection is not to be let in; the refusal is counted.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut rates = self.rates();
        // All connections enter under the lock, so nobody comes in between checking and counting.
        self.check(&mut rates, address, now).map_err(|refusal| self.count(refusal))?;
        rates.all.take(now);
        if let Some(address) = address {
            rates.per_address.take(address, now);
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let has_address = address.is_some();
        Ok(Slot { admission: Arc::clone(self), handshake: Handshake::NotBegun, has_address })
    }

    /// Returns what came, and what is there. Figures that change meanwhile may be from different
    /// moments.
    pub(crate) fn figures(&self) -> ListenerFigures {
        let refused = Refusal::ALL.into_iter().zip(&self.refused);
        ListenerFigures {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: refused.map(|(by, count)| (by, count.load(Ordering::Relaxed))).collect(),
            failed_handshakes: self.failed_handshakes.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            handshaking: self.handshaking.load(Ordering::Relaxed),
        }
    }

    fn check(
        &self,
        rates: &mut Rates,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let is_reached = |max, count: &AtomicU32| max > 0 && count.load(Ordering::Relaxed) >= max;
        if is_reached(rates.limits.connections_max, &self.open) {
            return Err(Refusal::Connections);
        }
        if address.is_some_and(|address| !rates.per_address.has_token(address, now)) {
            return Err(Refusal::RatePerAddress);
        }
        if !rates.all.has_token(now) {
            return Err(Refusal::Rate);
        }
        Ok(())
    }

    fn count(&self, refusal: Refusal) -> Refusal {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        refusal
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rates {
    fn new(limits: ListenerLimits) -> Self {
        Self {
            all: SharedRate::new(limits.connection_rate_max),
            per_address: AddressRates::new(limits.connection_rate_per_address_max),
            limits,
        }
    }
}

impl Slot {
    /// Begins the handshake, because the connection's first byte has come: what follows may cost
    /// much. Has no effect after the end of the handshake.
    ///
    /// # Errors
    ///
    /// The maximum number of handshakes is under way; the refusal is counted and the connection is
    /// to be closed.
    pub(crate) fn begin_handshake(&mut self) -> Result<(), Refusal> {
        if self.handshake != Handshake::NotBegun {
            return Ok(());
        }
        let max = self.admission.handshakes_max.load(Ordering::Relaxed);
        let before = self.admission.handshaking.fetch_add(1, Ordering::Relaxed);
        if max > 0 && before >= max {
            self.admission.handshaking.fetch_sub(1, Ordering::Relaxed);
            return Err(self.admission.count(Refusal::Handshakes));
        }
        self.handshake = Handshake::UnderWay;
        Ok(())
    }

    /// Notes that the connection's handshake is complete, or that it needs none.
    pub(crate) fn handshake_done(&mut self) {
        self.end_handshake();
    }

    /// Notes that the connection is being closed: if its handshake is not complete, it has failed,
    /// and others may begin theirs.
    pub(crate) fn handshake_failed(&mut self) {
        if self.end_handshake() {
            self.admission.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the handshake. Returns whether one was under way.
    fn end_handshake(&mut self) -> bool {
        let before = std::mem::replace(&mut self.handshake, Handshake::Over);
        let was_under_way = before == Handshake::UnderWay;
        if was_under_way {
            self.admission.handshaking.fetch_sub(1, Ordering::Relaxed);
        }
        was_under_way
    }

    /// Counts the connection for the address that it really comes from, which is known now. Has no
    /// effect if it was admitted with an address.
    ///
    /// # Errors
    ///
    /// Too many connections come from there; the refusal is counted and the connection is to be
    /// closed.
    pub(crate) fn name_address(&mut self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.has_address {
            return Ok(());
        }
        let mut rates = self.admission.rates();
        if !rates.per_address.has_token(address, now) {
            return Err(self.admission.count(Refusal::RatePerAddress));
        }
        rates.per_address.take(address, now);
        drop(rates);
        self.has_address = true;
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.handshake_failed();
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Refusal {
    /// All refusals.
    pub const ALL: [Self; 4] =
        [Self::Connections, Self::Rate, Self::RatePerAddress, Self::Handshakes];

    /// Returns the name in figures: `connections`, `rate`, `rate_per_address` or `handshakes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Rate => "rate",
            Self::RatePerAddress => "rate_per_address",
            Self::Handshakes => "handshakes",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "the listener has as many connections as it may have",
            Self::Rate => "more connections come in a second than the listener takes",
            Self::RatePerAddress => {
                "more connections come from this address in a second than the listener takes"
            }
            Self::Handshakes => "as many handshakes as the listener takes are under way",
        })
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests;
