//! A histogram of durations in nanoseconds with a bounded relative error.
//!
//! Values are counted in buckets of logarithmic size, 128 to each power of two, so a percentile is
//! at most 1/128 above the true value. Recording is a shift and an increment; nothing is allocated
//! after construction.

const SUB_BITS: u32 = 7;
const SUB_COUNT: u64 = 1 << SUB_BITS;
/// Values go up to 2^42 ns (73 minutes); larger ones are counted in the last bucket.
const VALUE_MAX: u64 = (1 << 42) - 1;

/// Counts of durations by size.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; bucket_of(VALUE_MAX) + 1], total: 0, max: 0 }
    }

    /// Counts one value.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket_of(nanoseconds.min(VALUE_MAX))] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// Adds everything that `other` counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// Returns how many values were counted.
    pub(crate) fn len(&self) -> u64 {
        self.total
    }

    /// Returns the largest value, exactly; 0 if there is none.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// Returns an upper bound for at least `fraction` of all values: the bound of a bucket, but
    /// never more than the largest value. 0 if there are no values.
    pub(crate) fn quantile(&self, fraction: f64) -> u64 {
        let rank = ((self.total as f64 * fraction).ceil() as u64).clamp(1, self.total.max(1));
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper_bound_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// Returns the bucket of a value: below 256 each value has its own, above that its top eight bits
/// choose one.
fn bucket_of(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(SUB_BITS + 1);
    ((u64::from(shift) << SUB_BITS) + (value >> shift)) as usize
}

/// Returns the largest value that `bucket` counts.
fn upper_bound_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> SUB_BITS).saturating_sub(1);
    let top = bucket - (shift << SUB_BITS);
    debug_assert!(shift == 0 || (SUB_COUNT..2 * SUB_COUNT).contains(&top));
    ((top + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_holds_its_own_bounds() {
        let mut lower = 0;
        for bucket in 0..=bucket_of(VALUE_MAX) {
            let upper = upper_bound_of(bucket);
            assert_eq!((bucket_of(lower), bucket_of(upper)), (bucket, bucket));
            assert!(upper - lower <= lower / SUB_COUNT, "{lower}..={upper}");
            lower = upper + 1;
        }
        assert_eq!(lower, VALUE_MAX + 1);
    }

    #[test]
    fn quantiles_of_a_ramp() {
        let mut histogram = Histogram::new();
        for value in 1..=100_000 {
            histogram.record(value);
        }
        for (fraction, value) in [(0.5, 50_000), (0.9, 90_000), (0.99, 99_000), (0.999, 99_900)] {
            let found = histogram.quantile(fraction);
            assert!((value..=value + value / 128).contains(&found), "{fraction}: {found}");
        }
        assert_eq!(histogram.quantile(1.0), 100_000);
        assert_eq!((histogram.max(), histogram.len()), (100_000, 100_000));
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        assert_eq!(Histogram::new().quantile(0.99), 0);
    }

    #[test]
    fn a_single_outlier_shows_only_at_the_top() {
        let mut histogram = Histogram::new();
        (0..999).for_each(|_| histogram.record(100));
        histogram.record(u64::MAX);
        assert_eq!(histogram.quantile(0.999), 100);
        assert_eq!(histogram.quantile(1.0), VALUE_MAX);
        assert_eq!(histogram.max(), u64::MAX);
    }

    #[test]
    fn merging_is_the_same_as_recording_in_one() {
        let (mut left, mut right, mut both) =
            (Histogram::new(), Histogram::new(), Histogram::new());
        for value in (0..50_000_u64).map(|n| n * n) {
            if value % 3 == 0 { &mut left } else { &mut right }.record(value);
            both.record(value);
        }
        left.merge(&right);
        assert_eq!((left.counts, left.total, left.max), (both.counts, both.total, both.max));
    }
}
