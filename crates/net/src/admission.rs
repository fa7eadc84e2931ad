//! How many connections a listener lets in: at a time, in a second, in a second from one address,
//! and in the middle of a handshake.
//!
//! Shared by the thread that accepts and by the streams, which tell when they are over. A refused
//! connection costs nothing: it takes no token of any bucket, so that whoever knocks too often
//! does not shut the door for others. The time is an argument; this module must never ask a clock.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::buckets::{AddressRates, SharedRate};
use crate::listen::ListenerLimits;

/// What a listener lets in.
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
    /// As many connections as may be are open.
    Connections,
    /// Too many connections came within a second.
    Rate,
    /// Too many connections came from this address within a second.
    RatePerAddress,
    /// As many handshakes as may be are under way.
    Handshakes,
}

/// What came to a listener since it began to listen, and what is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerFigures {
    /// Connections that were let in.
    pub accepted: u64,
    /// Connections that were refused, by the reason, all of [`Refusal::ALL`].
    pub refused: Vec<(Refusal, u64)>,
    /// Connections that ended before their handshake was complete.
    pub failed_handshakes: u64,
    /// Connections that are open now, those in a handshake included.
    pub open: u32,
    /// Connections that are in the middle of a handshake.
    pub handshaking: u32,
}

/// One open connection, until it is dropped, and one handshake, from [`Slot::begin_handshake`] to
/// [`Slot::handshake_done`] or [`Slot::handshake_failed`].
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    handshake: Handshake,
    /// It is counted for an address.
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
    /// Nobody is there yet, and all buckets are full.
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

    /// Other limits from now on. Connections and handshakes that are there count on; a bucket whose
    /// rate is another one is full again.
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

    /// A connection from `address` at `now`; without an address, none is counted for it. It is
    /// counted as open until its slot is dropped.
    ///
    /// # Errors
    ///
    /// It is not to be let in; the refusal is counted.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Slot, Refusal> {
        let mut rates = self.rates();
        // All that enter do so under the lock: nobody comes in between looking and counting.
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

    /// What came, and what is there. Figures that change meanwhile may be of different moments.
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
    /// The connection's first byte has come: what follows may cost much. Without effect after the
    /// end of the handshake.
    ///
    /// # Errors
    ///
    /// As many handshakes as may be are under way; the refusal is counted and the connection is to
    /// be closed.
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

    /// The connection's handshake is complete, or it needs none.
    pub(crate) fn handshake_done(&mut self) {
        self.end_handshake();
    }

    /// The connection is being closed: if its handshake is not complete, it has failed, and others
    /// may begin theirs.
    pub(crate) fn handshake_failed(&mut self) {
        if self.end_handshake() {
            self.admission.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one was under way.
    fn end_handshake(&mut self) -> bool {
        let before = std::mem::replace(&mut self.handshake, Handshake::Over);
        let was_under_way = before == Handshake::UnderWay;
        if was_under_way {
            self.admission.handshaking.fetch_sub(1, Ordering::Relaxed);
        }
        was_under_way
    }

    /// It is known now where the connection really comes from. Without effect if it was admitted
    /// with an address.
    ///
    /// # Errors
    ///
    /// Too many come from there; the refusal is counted and the connection is to be closed.
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
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Connections, Self::Rate, Self::RatePerAddress, Self::Handshakes];

    /// Its name in figures: `connections`, `rate`, `rate_per_address` or `handshakes`.
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
