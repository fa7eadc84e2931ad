//! What waits for the store or for other workers: acknowledgements and answers that must not leave
//! before what they say holds.
//!
//! Nothing here decides what an answer says, only when it may leave.

pub(crate) mod pending;
pub(crate) mod rounds;
