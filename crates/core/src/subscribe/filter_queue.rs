//! The filters of a packet that waits, in hardly more bytes than they had in the packet: one peer
//! can send hundreds of thousands of them.

use midge_codec::SubscriptionOptions;

/// Filters with their Subscription Options, in the order of the packet.
#[derive(Debug, Default)]
pub(crate) struct FilterQueue {
    /// For each filter its length (two bytes), its options (one byte), and the filter.
    bytes: Vec<u8>,
    /// Where the first one begins that was not taken yet.
    at: usize,
    len: usize,
}

impl FilterQueue {
    /// What stands before a filter.
    const HEAD: usize = 3;

    /// How many filters are left.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops all that are left.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The bytes of memory that it takes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the first `count` filters, or as many as there are.
    pub(crate) fn take(&mut self, count: usize) -> Vec<(&str, SubscriptionOptions)> {
        let count = count.min(self.len);
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let (head, rest) = self.bytes[self.at..].split_at(Self::HEAD);
            let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
            let filter = std::str::from_utf8(&rest[..length]).expect("it was pushed as text");
            let options = SubscriptionOptions::from_byte(head[2]).expect("it was pushed like this");
            taken.push((filter, options));
            self.at += Self::HEAD + length;
        }
        self.len -= count;
        taken
    }
}

impl<'a> FromIterator<(&'a str, SubscriptionOptions)> for FilterQueue {
    fn from_iter<I: IntoIterator<Item = (&'a str, SubscriptionOptions)>>(filters: I) -> Self {
        let mut queue = Self::default();
        for (filter, options) in filters {
            // The length of a filter of a packet fits into two bytes [MQTT-1.5.4].
            queue.bytes.extend_from_slice(&(filter.len() as u16).to_be_bytes());
            queue.bytes.push(options.to_byte());
            queue.bytes.extend_from_slice(filter.as_bytes());
            queue.len += 1;
        }
        queue.bytes.shrink_to_fit();
        queue
    }
}

#[cfg(test)]
mod tests {
    use midge_codec::{QoS, SubscriptionOptions};

    use super::FilterQueue;

    #[test]
    fn filters_come_out_as_they_went_in() {
        let options = |qos| SubscriptionOptions { qos, no_local: true, ..Default::default() };
        let filters = [
            ("a/+/\u{e9}", options(QoS::AtLeastOnce)),
            ("", options(QoS::AtMostOnce)),
            ("#", options(QoS::ExactlyOnce)),
        ];
        let mut queue: FilterQueue = filters.into_iter().collect();
        assert_eq!((queue.len(), queue.held_bytes()), (3, 3 * 3 + 7));
        assert_eq!(queue.take(2), filters[..2]);
        assert!(!queue.is_empty());
        assert_eq!(queue.take(9), filters[2..]);
        assert!(queue.is_empty() && queue.take(1).is_empty());
    }
}
