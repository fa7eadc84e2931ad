//! From an admitted publication to everybody who gets it.
//!
//! Only what passed the publish gate comes in here, and nothing here decides whether a Client may.

use crate::retained::Retained;
use crate::route::delayed::Delayed;
use crate::route::put_off::Backlog;
use crate::shared::Shared;
use crate::tree::subscription_tree::MatchScratch;

pub(crate) mod delayed;
pub(crate) mod put_off;
pub(crate) mod routing;

/// Where admitted publications go.
pub(crate) struct Router {
    pub(crate) shared: Shared,
    pub(crate) retained: Retained,
    pub(crate) delayed: Delayed,
    pub(crate) backlog: Backlog,
    scratch: MatchScratch,
    match_stamp: u64,
}

impl Router {
    pub(crate) fn new(shared: Shared, retained: Retained, backlog: Backlog) -> Self {
        Self {
            shared,
            retained,
            delayed: Delayed::default(),
            backlog,
            scratch: MatchScratch::default(),
            match_stamp: 0,
        }
    }
}
