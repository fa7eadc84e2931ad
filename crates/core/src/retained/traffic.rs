//! What the workers know of retained messages on their way to each other. A home must never answer
//! a request before it has all messages that were sent before that request.

use crate::base::identity::WorkerId;
use crate::retained::walking::Pull;

/// How many retained messages have gone between workers. A message that was published before a
/// subscription was known everywhere may still be on its way to its home when the subscriber asks
/// there. It would then come neither live nor as a retained message. So the home waits for what the
/// others say they have sent.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// From this worker to each.
    pub(crate) sent: Box<[u64]>,
    /// From each worker to this one.
    pub(crate) received: Box<[u64]>,
    /// How many messages each worker says it has sent to each worker.
    pub(crate) told: Vec<Box<[u64]>>,
    /// Pulls that wait for messages that have to arrive first.
    pub(crate) early: Vec<Pull>,
}

impl Traffic {
    pub(crate) fn new(workers: usize) -> Self {
        let none = || vec![0; workers].into_boxed_slice();
        let told = (0..workers).map(|_| none()).collect();
        Self { sent: none(), received: none(), told, early: Vec::new() }
    }

    /// How many retained messages each worker is known to have sent to `worker`.
    pub(crate) fn sent_to(&self, worker: WorkerId) -> Box<[u64]> {
        self.told.iter().map(|sent| sent.get(worker.index()).copied().unwrap_or(0)).collect()
    }

    /// Expects nothing more from a worker that is gone: whatever it has sent has come, or never
    /// will.
    pub(crate) fn forget(&mut self, gone: WorkerId) {
        self.received[gone.index()] = u64::MAX;
    }
}
