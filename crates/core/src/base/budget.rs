//! Counts that the workers of one node share, for the limits that apply to the whole node.
//!
//! A limit of the node means the same with one worker and with sixteen, so no worker may decide by
//! its own holdings alone. These counts are the only thing that the cores of a node share. The
//! worker that takes something or gives it back changes the count, and checks the limit in the same
//! step. This module must never hold anything but counts, and nothing here may wait for another
//! worker.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts what the workers of a node hold together. One is made for a node and given to all its
/// cores.
#[derive(Debug, Default)]
pub struct NodeBudget {
    /// Sessions; their bytes are not counted here.
    pub(crate) sessions: Account,
    /// Retained messages.
    pub(crate) retained: Account,
    /// Messages that wait for their `$delayed` time.
    pub(crate) delayed: Account,
}

/// How many things of one kind there are, and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Account(Mutex<(u64, u64)>);

/// How many things there may be, and their bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) count_max: u64,
    pub(crate) bytes_max: u64,
}

impl Allowance {
    /// Allows nothing more, as when memory is short.
    pub(crate) const NONE: Self = Self { count_max: 0, bytes_max: 0 };
}

impl Account {
    /// Changes the count and the bytes by these amounts if the limits allow it. A value that does
    /// not grow is always allowed. True if the change was made.
    #[must_use]
    pub(crate) fn change(&self, count: i64, bytes: i64, allowance: Allowance) -> bool {
        if (count, bytes) == (0, 0) {
            return true;
        }
        let mut held = self.held();
        let after = (held.0.saturating_add_signed(count), held.1.saturating_add_signed(bytes));
        let is_beyond = count > 0 && after.0 > allowance.count_max
            || bytes > 0 && after.1 > allowance.bytes_max;
        if !is_beyond {
            *held = after;
        }
        !is_beyond
    }

    /// Adds what exists regardless of the limits, such as what a store has kept.
    pub(crate) fn add(&self, count: u64, bytes: u64) {
        let mut held = self.held();
        *held = (held.0 + count, held.1 + bytes);
    }

    /// Takes off what does not exist any more.
    pub(crate) fn give_back(&self, count: u64, bytes: u64) {
        let mut held = self.held();
        *held = (held.0.saturating_sub(count), held.1.saturating_sub(bytes));
    }

    fn held(&self) -> MutexGuard<'_, (u64, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Allowance};

    #[test]
    fn what_does_not_grow_is_allowed_even_beyond_the_limit() {
        let allowance = Allowance { count_max: 2, bytes_max: 10 };
        let account = Account::default();
        assert!(account.change(1, 10, allowance) && !account.change(1, 1, allowance));
        assert!(account.change(1, 0, allowance) && !account.change(1, 0, allowance));
        account.add(1, 5);
        assert!(account.change(0, -1, allowance), "smaller, though there is too much");
        assert!(!account.change(0, 1, allowance) && account.change(-1, -8, allowance));
        assert!(account.change(0, 4, allowance) && !account.change(0, 1, allowance));
        account.give_back(1, 10);
        assert!(account.change(1, 10, allowance));
    }
}
