//! A transport that does to frames whatever a seed says, and its source of choices.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What happens to frames on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Of a hundred, so many are lost, come twice, and take long.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) slow: u64,
    /// How long a frame is on its way at least, and how much longer it may be, in milliseconds.
    pub(crate) delay_ms: u64,
    pub(crate) jitter_ms: u64,
}

impl Faults {
    pub(crate) const NONE: Self = Self { lost: 0, doubled: 0, slow: 0, delay_ms: 1, jitter_ms: 0 };

    pub(crate) fn any(random: &mut Random) -> Self {
        Self {
            lost: random.below(60),
            doubled: random.below(40),
            slow: random.below(20),
            delay_ms: random.below(20),
            jitter_ms: 1 + random.below(60),
        }
    }
}

/// Frames on their way to both ends.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    /// When each arrives, to which end, and what it is.
    under_way: Vec<(u64, usize, Vec<u8>)>,
}

impl Transport {
    /// How long a slow frame may take: until everybody has restarted several times.
    const SLOW_MS: u64 = 5_000;

    pub(crate) fn send(
        &mut self,
        to: usize,
        frame: &[u8],
        now_ms: u64,
        faults: Faults,
        random: &mut Random,
    ) {
        let copies = match (random.percent(faults.lost), random.percent(faults.doubled)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        for _ in 0..copies {
            let jitter_ms = match random.percent(faults.slow) {
                true => random.below(Self::SLOW_MS),
                false => random.below(faults.jitter_ms + 1),
            };
            self.under_way.push((now_ms + faults.delay_ms + jitter_ms, to, frame.to_vec()));
        }
    }

    /// When the next frame arrives.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.under_way.iter().map(|(at, ..)| *at).min()
    }

    /// Takes a frame that has arrived by now, whichever.
    pub(crate) fn arrive(&mut self, now_ms: u64, random: &mut Random) -> Option<(usize, Vec<u8>)> {
        let has_come =
            |(index, (at, ..)): (usize, &(u64, usize, Vec<u8>))| (*at <= now_ms).then_some(index);
        let there: Vec<_> = self.under_way.iter().enumerate().filter_map(has_come).collect();
        let chosen = *there.get(random.below(there.len().max(1) as u64) as usize)?;
        let (_, to, frame) = self.under_way.swap_remove(chosen);
        Some((to, frame))
    }
}
