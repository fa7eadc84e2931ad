//! Checks whether a core could have given something to a store, for a program that fills a store by
//! other means: an import. The rules themselves are where Clients are judged by them; here they are
//! only applied once more. Limits are not checked: they may have been different when the thing was
//! kept.
//!
//! Nothing here changes anything or decides about a Client.

use std::num::NonZeroU64;

use midge_codec::PacketIdentifier;

use crate::base::identity::{BROKER_CLIENT_ID, PROGRAM_CLIENT_ID_PREFIX, is_reserved_client_id};
use crate::session::outgoing::stored_packet_identifier;
use crate::topics::destination::{Author, Destination, Misdirected};
use crate::topics::filter_request::{FilterRequest, RequestKind};

/// No number of a Session, a shared subscription or a kept message and no sequence is larger: a
/// core counts sequences one by one and takes numbers from the time, which begins far below.
pub const NUMBER_MAX: u64 = u64::MAX / 4 * 3;

/// Checks the Client Identifier of a Session.
///
/// # Errors
///
/// Why no Client can have it.
pub fn check_client_id(client_id: &str) -> Result<(), &'static str> {
    match client_id {
        "" => Err("is empty, and every Session has one"),
        _ if client_id.starts_with(PROGRAM_CLIENT_ID_PREFIX) => Ok(()),
        _ if is_reserved_client_id(client_id) => {
            Err("begins with '$', as only the broker's own identifiers do")
        }
        _ => Ok(()),
    }
}

/// Checks the Client Identifier of a message's publisher: a Client's, or the broker's own.
///
/// # Errors
///
/// Why nobody can have this Client Identifier.
pub fn check_publisher(client_id: &str) -> Result<(), &'static str> {
    if client_id == BROKER_CLIENT_ID { Ok(()) } else { check_client_id(client_id) }
}

/// Checks the Topic Name of a message that is kept: a well-formed one, without a delay.
///
/// # Errors
///
/// Why no message of this publisher is kept under it.
pub fn check_topic(topic: &str, publisher: &str) -> Result<(), &'static str> {
    match Destination::of_stored(topic, author_of(publisher)) {
        Ok(destination) if destination.delay_seconds().is_none() => Ok(()),
        Ok(_) => Err("a delayed message is kept under the topic behind its delay"),
        Err(misdirected) => Err(misdirected.explanation()),
    }
}

/// Checks the Will Topic of a Session, which may have a delay: a well-formed Topic Name.
///
/// # Errors
///
/// Why this Client's Will Message cannot have it.
pub fn check_will_topic(topic: &str, publisher: &str) -> Result<(), &'static str> {
    let destination = Destination::of_stored(topic, author_of(publisher));
    destination.map(drop).map_err(Misdirected::explanation_for_will)
}

/// Checks the filter of a subscription as its Session has it: with `$share/…`, `$queue/` or
/// `$exclusive/`.
///
/// # Errors
///
/// Why nobody can have subscribed to it.
pub fn check_filter(filter: &str, no_local: bool) -> Result<(), &'static str> {
    match FilterRequest::parse_stored(filter).map(|request| request.kind) {
        Ok(RequestKind::Shared { .. }) if no_local => {
            Err("a shared subscription has no No Local [MQTT-3.8.3-4]")
        }
        Ok(_) => Ok(()),
        Err(_) => Err("it is no Topic Filter that anybody can subscribe to"),
    }
}

/// Checks ShareName and Topic Filter of a shared subscription; the name of `$queue/…` is `$queue`.
///
/// # Errors
///
/// Why nobody can have made it.
pub fn check_group(name: &str, filter: &str) -> Result<(), &'static str> {
    let key = FilterRequest::shared_key(name, filter);
    match FilterRequest::parse_stored(&key) {
        Ok(request)
            if request.filter == filter
                && FilterRequest::shared_of(&key) == Some((name, filter)) =>
        {
            Ok(())
        }
        _ => Err("it is no shared subscription that anybody can make"),
    }
}

/// Returns the Packet Identifier of a message that waits for a Session under this sequence; no two
/// of those that its Client has taken over (PUBREC) have the same. Sequence 0 has none: sequences
/// begin at 1.
pub fn packet_identifier(sequence: u64) -> Option<PacketIdentifier> {
    NonZeroU64::new(sequence).map(stored_packet_identifier)
}

/// Takes every Client for a bridge, which may write its state: whether it was one is not kept.
fn author_of(publisher: &str) -> Author<'_> {
    match publisher {
        BROKER_CLIENT_ID => Author::Process,
        client_id => Author::Client { client_id, is_bridge: true },
    }
}

#[cfg(test)]
mod tests {
    use super::{check_client_id, check_filter, check_group, check_topic, check_will_topic};

    #[test]
    fn topics_are_those_that_a_publisher_could_have_used() {
        for (topic, publisher, is_good) in [
            ("a/b", "c", true),
            ("$other/a", "c", true),
            ("$delayed/5/a", "c", false),
            ("$delayed", "c", false),
            ("$share/g/a", "c", false),
            ("$queue/a", "$broker", false),
            ("$exclusive/a", "c", false),
            ("$SYS/a", "c", false),
            ("$SYS/a", "$broker", true),
            ("$events/a", "c", false),
            ("$SYS/broker/connection/edge/state", "c", true),
        ] {
            assert_eq!(check_topic(topic, publisher).is_ok(), is_good, "{topic} of {publisher}");
        }
        for (topic, is_good) in
            [("a", true), ("$delayed/5/a", true), ("$delayed/5/$SYS/a", false), ("$SYS/a", false)]
        {
            assert_eq!(check_will_topic(topic, "c").is_ok(), is_good, "{topic}");
        }
    }

    #[test]
    fn filters_and_groups_are_those_that_a_client_could_have_made() {
        for (filter, no_local, is_good) in [
            ("a/#", true, true),
            ("$SYS/#", false, true),
            ("$share/g/a", false, true),
            ("$share/g/a", true, false),
            ("$queue/a", true, false),
            ("$exclusive/a", true, true),
            ("$exclusive/$queue/a", false, false),
            // Of earlier versions.
            ("$delayed/1/a", false, true),
            ("$queue", false, true),
            ("$exclusive", false, true),
            ("$share/g/$delayed/#", false, true),
            ("$share/g", false, false),
            ("a#", false, false),
            ("", false, false),
        ] {
            assert_eq!(check_filter(filter, no_local).is_ok(), is_good, "{filter}");
        }
        for (name, filter, is_good) in [
            ("g", "a/#", true),
            ("$queue", "a", true),
            ("", "a", false),
            ("g/h", "a", false),
            ("g+", "a", false),
            ("g", "", false),
            ("g", "a#", false),
            ("g", "$share/h/a", false),
            ("g", "$delayed/#", true),
        ] {
            assert_eq!(check_group(name, filter).is_ok(), is_good, "{name} {filter}");
        }
    }

    #[test]
    fn client_identifiers_are_those_that_a_client_can_have() {
        assert_eq!(
            [" ", "", "$broker", "a$"].map(|it| check_client_id(it).is_ok()),
            [true, false, false, true]
        );
    }
}
