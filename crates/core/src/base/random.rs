//! Deterministic sources of numbers. The driver gives a seed or a secret; the same one gives the
//! same numbers.

/// SplitMix64 (Steele, Lea, Flood 2014). Good for choosing among members; whoever sees its numbers
/// knows the later ones, so none of them leaves the broker.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Numbers that strangers may see: without the secret, nobody can predict one from the others. They
/// are a counter under a keyed pseudorandom function.
pub(crate) struct Unguessable {
    secret: [u64; 2],
    count: u64,
}

impl Unguessable {
    pub(crate) fn new(secret: [u64; 2]) -> Self {
        Self { secret, count: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.count += 1;
        siphash(self.secret, self.count)
    }
}

/// SipHash-2-4 (Aumasson, Bernstein 2012) of the eight bytes of `word`.
fn siphash(key: [u64; 2], word: u64) -> u64 {
    let mut v = [
        key[0] ^ 0x736F_6D65_7073_6575,
        key[1] ^ 0x646F_7261_6E64_6F6D,
        key[0] ^ 0x6C79_6765_6E65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    // The message is one word, and the last block holds nothing but its length.
    for block in [word, 8 << 56] {
        v[3] ^= block;
        sip_rounds(&mut v, 2);
        v[0] ^= block;
    }
    v[2] ^= 0xFF;
    sip_rounds(&mut v, 4);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_rounds(v: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[1]);
        v[0] = v[0].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::{Unguessable, siphash};

    #[test]
    fn siphash_gives_what_its_authors_give() {
        let key = [0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908];
        assert_eq!(siphash(key, 0x0706_0504_0302_0100), 0x93F5_F579_9A93_2462);
    }

    #[test]
    fn numbers_differ_and_follow_from_the_secret() {
        let numbers = |secret| {
            let mut source = Unguessable::new(secret);
            [source.next(), source.next(), source.next()]
        };
        assert_eq!(numbers([1, 2]), numbers([1, 2]));
        let (one, other) = (numbers([1, 2]), numbers([1, 3]));
        assert!(one[0] != one[1] && one[1] != one[2] && !one.contains(&other[0]));
    }
}
