//! Applies and chooses the masks of frames.

use std::hash::{BuildHasher, RandomState};

/// Masks or unmasks `bytes`, which is the same. Works on sixteen bytes at a time, which compilers
/// turn into vector instructions.
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let wide = u128::from(word) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let (chunks, rest) = bytes.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Returns the mask for what follows `count` bytes that were masked with `mask`.
pub(super) fn advance_mask(mut mask: [u8; 4], count: usize) -> [u8; 4] {
    mask.rotate_left(count % 4);
    mask
}

/// Masks for a client's frames (RFC 6455, 10.3). Whoever chooses the payload must not be able to
/// predict them. They are a keyed hash of a counter, with a key from the operating system.
#[derive(Debug)]
pub(super) struct Masks {
    key: RandomState,
    count: u64,
}

impl Masks {
    pub(super) fn new() -> Self {
        Self { key: RandomState::new(), count: 0 }
    }

    pub(super) fn next(&mut self) -> [u8; 4] {
        self.count += 1;
        let [a, b, c, d, ..] = self.key.hash_one(self.count).to_ne_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::{Masks, advance_mask, apply_mask};

    #[test]
    fn any_part_is_masked_as_the_whole_byte_by_byte() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..100).collect();
        let byte_by_byte: Vec<u8> =
            plain.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
        for first in 0..plain.len() {
            let mut masked = plain.clone();
            apply_mask(&mut masked[..first], mask);
            apply_mask(&mut masked[first..], advance_mask(mask, first));
            assert_eq!(masked, byte_by_byte, "in two parts, the first of {first}");
        }
    }

    #[test]
    fn masks_differ_from_frame_to_frame_and_between_connections() {
        let (mut one, mut other) = (Masks::new(), Masks::new());
        let first: Vec<_> = (0..8).map(|_| one.next()).collect();
        let second: Vec<_> = (0..8).map(|_| other.next()).collect();
        assert_ne!(first, second);
        assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
