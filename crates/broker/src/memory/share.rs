//! Divides the memory that the process may have among the places where something waits.

use midge_core::Limits;

use crate::memory;

/// How much may wait at various places, as parts of the memory that the process may have. The parts
/// are small, because by the time an excess is noticed it must still fit.
pub(crate) struct Share {
    /// Bytes of batches for a worker.
    pub(crate) inbox: usize,
    /// Bytes of orders that wait for the store.
    pub(crate) orders: usize,
    /// Bytes that a worker reads in a turn.
    pub(crate) turn: usize,
    /// Bytes of large packets of which only a part has come.
    pub(crate) unfinished: usize,
    /// Bytes of messages that the program has published, and that are not answered.
    pub(crate) published: usize,
}

impl Share {
    const INBOX_MAX: u64 = 64 << 20;
    const ORDERS_MAX: u64 = 16 << 20;
    const TURN_MAX: u64 = 8 << 20;

    /// Divides the memory. Replaces limits that are too large for it.
    pub(crate) fn of(
        limits: &mut Limits,
        workers: usize,
        listener_packet_bytes_max: Option<u32>,
    ) -> Self {
        let memory = memory::resolve(limits.memory_bytes_max);
        limits.memory_bytes_max = memory;
        *limits = limits.clone().within_memory();
        let turn = limits.turn_bytes_max(workers, Self::TURN_MAX);
        let workers = workers as u64;
        let packet = Some(limits.packet_bytes_max).max(listener_packet_bytes_max);
        let packet = packet.map_or(0, u64::from).min(memory / 2);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            // Small messages for many receivers take several times as much once they are taken out.
            inbox: bytes((memory / 32 / workers).min(Self::INBOX_MAX)),
            orders: bytes((memory / 8).min(Self::ORDERS_MAX)),
            turn: bytes(turn),
            unfinished: bytes((memory / 8).max(packet)),
            published: bytes(memory / 8),
        }
    }
}
