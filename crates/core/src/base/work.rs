//! How much a worker does in one turn, counted in operations: nodes visited, receivers, filters,
//! timers. A turn that has done enough ends, so that everybody else is served; what is left is done
//! in the next ones. Time must never count: the same inputs give the same turns.

/// Counts what was done.
#[derive(Debug, Default)]
pub(crate) struct Work {
    in_turn: usize,
    /// What had been done in this turn when its present share began.
    before_share: usize,
    total: u64,
}

impl Work {
    /// Operations after which no further packet is handled in a turn.
    pub(crate) const TURN_MAX: usize = 65_536;
    /// Operations that it takes to choose a member of a shared subscription, besides a delivery.
    pub(crate) const GROUP: usize = 8;

    /// How many members of a shared subscription are looked at for one operation.
    pub(crate) const MEMBERS: usize = 16;
    /// The same for the subscriptions of a Session.
    pub(crate) const SUBSCRIPTIONS: usize = 16;
    /// The same for the messages that a shared subscription has kept.
    pub(crate) const KEPT: usize = 16;

    #[inline]
    pub(crate) fn add(&mut self, operations: usize) {
        self.in_turn += operations;
    }

    #[inline]
    pub(crate) fn is_enough(&self) -> bool {
        self.in_turn - self.before_share >= Self::TURN_MAX
    }

    /// Gives the packets that follow a share of the turn to themselves, whatever came before them.
    pub(crate) fn begin_share(&mut self) {
        self.before_share = self.in_turn;
    }

    pub(crate) fn begin_turn(&mut self) {
        self.total += std::mem::take(&mut self.in_turn) as u64;
        self.before_share = 0;
    }

    /// Everything counted so far.
    pub(crate) fn total(&self) -> u64 {
        self.total + self.in_turn as u64
    }
}
