//! Bytes from another node: no message at all, or messages whose only encoding they are.

use midge_core::{PeerMessage, Timestamp};

/// Panics if a message in `data`, which begins with one, does not survive encoding.
pub(crate) fn check(data: &[u8]) {
    let now = Timestamp::from_millis(1_000_000);
    let (mut rest, mut encoded) = (data, Vec::new());
    while let Ok((message, length)) = PeerMessage::decode(rest, now) {
        assert!(length > 0, "it never ends");
        encoded.clear();
        message.encode(now, &mut encoded);
        assert_eq!(encoded, rest[..length]);
        rest = &rest[length..];
    }
}
