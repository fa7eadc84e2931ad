//! What a message carries: its number, and bytes that follow from it, so that a changed message is
//! noticed. An empty payload removes a retained message and has no number.

use crate::history::MessageId;

/// Returns the payload, which is longer than `length` if the number needs that.
pub(crate) fn of(message: MessageId, length: usize) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    let mut payload = format!("{message} ").into_bytes();
    let seed = (message as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let filler = |place: usize| b'a' + (seed.rotate_left(place as u32 % 61) % 26) as u8;
    payload.extend((payload.len()..length).map(filler));
    payload
}

/// Returns the number at the beginning.
pub(crate) fn number(payload: &[u8]) -> Option<MessageId> {
    let digits = payload.split(|&byte| byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
