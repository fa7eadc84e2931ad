//! User Properties and Subscription Identifiers: the two properties that may occur many times.
//!
//! Both stay encoded: a view over a validated Property block that skips what it does not look for,
//! so a packet with many of them costs no allocation (S07).

/// The User Properties of a packet in their order: a view over an encoded, validated block of
/// properties (other properties in the block are passed over).
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    block: &'a [u8],
}

/// An owned, growing list of User Properties; [`UserPropertiesBuf::view`] is what packets take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPropertiesBuf {
    encoded: Vec<u8>,
}

/// The Subscription Identifiers of a PUBLISH: as `UserProperties`, a view.
#[derive(Clone, Copy, Default)]
pub struct SubscriptionIdentifiers<'a> {
    block: &'a [u8],
}
