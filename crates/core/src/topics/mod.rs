//! What Topic Names and Topic Filters mean beyond their text: topics with a meaning of their own,
//! rules for rewriting, kinds of filters.
//!
//! Nothing here decides who may publish or subscribe: that is up to the gates.

pub(crate) mod destination;
pub(crate) mod filter_request;
pub(crate) mod rewrite;
