//! Sessions that outlive their connections: made anew before a run, and removed after it.

use super::super::error::BenchError;
use super::super::generator::shard::Shard;

/// Returns the places of subscribers and of publishers among the shard's clients.
pub(super) fn subscribers_and_publishers(shard: &Shard) -> (Vec<usize>, Vec<usize>) {
    (0..shard.clients.len()).partition(|&place| shard.clients[place].filter.is_some())
}

/// Makes the clients at `places`, which are offline, resume their sessions and keep them from now
/// on.
pub(super) fn keep(shard: &mut Shard, places: &[usize]) {
    for &place in places {
        shard.clients[place].clean_start = false;
        shard.clients[place].persistent = true;
    }
}

/// Ends the sessions of the clients at `places`, which are offline, whether they have any or not.
pub(super) fn forget(shard: &mut Shard, places: &[usize]) -> Result<(), BenchError> {
    for &place in places {
        shard.clients[place].clean_start = true;
        shard.clients[place].persistent = false;
    }
    shard.open(places)?;
    shard.close(places)
}
