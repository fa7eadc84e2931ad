//! The progress of a long task, for somebody who waits.

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub what: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// How much there is, if that is known.
    pub total: Option<u64>,
}

/// Counts one kind of work and tells somebody about it now and then.
pub(crate) struct Counter<'a> {
    tell: &'a mut dyn FnMut(Progress),
    progress: Progress,
    told: u64,
    interval: u64,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(
        tell: &'a mut dyn FnMut(Progress),
        what: &'static str,
        total: Option<u64>,
        interval: u64,
    ) -> Self {
        let progress = Progress { what, done: 0, total };
        tell(progress);
        Self { tell, progress, told: 0, interval }
    }

    pub(crate) fn add(&mut self, count: u64) {
        self.progress.done += count;
        if self.progress.done - self.told >= self.interval {
            self.told = self.progress.done;
            (self.tell)(self.progress);
        }
    }
}
