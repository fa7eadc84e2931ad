//! What a message carries: its number, and bytes that follow from it, so that one that was altered
//! is noticed. An empty payload takes a retained message away and has no number.

use crate::history::MessageId;

/// Of this length at least where the number needs it.
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

/// The number that stands in front.
pub(crate) fn number(payload: &[u8]) -> Option<MessageId> {
    let digits = payload.split(|&byte| byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
