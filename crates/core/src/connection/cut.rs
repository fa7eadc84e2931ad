//! Where writing stopped in a packet, and which packets follow. It is found by the fixed headers of
//! what waits to be written, and only when a write has left something: a connection whose peer
//! reads costs nothing. This module must never be given anything but whole packets.

/// What is still to be written of a packet that was written in part; mostly nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut(u32);

/// The packets in bytes that lie in several pieces.
struct Packets<'a, I> {
    pieces: I,
    /// What is left of the present piece.
    piece: &'a [u8],
}

/// A whole packet, header included.
struct Extent {
    bytes: usize,
    is_qos0_publish: bool,
}

impl Cut {
    /// No packet is so long.
    const QOS0_PUBLISH: u32 = 1 << 31;

    fn new(bytes: usize, is_qos0_publish: bool) -> Self {
        let flag = if is_qos0_publish && bytes > 0 { Self::QOS0_PUBLISH } else { 0 };
        Self(bytes as u32 | flag)
    }

    fn bytes(self) -> usize {
        (self.0 & !Self::QOS0_PUBLISH) as usize
    }

    fn is_qos0_publish(self) -> bool {
        self.0 & Self::QOS0_PUBLISH != 0
    }

    /// Returns the cut after `count` bytes of `pieces`, which begin at this cut.
    #[cold]
    pub(crate) fn after<'a>(self, count: usize, pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        if let Some(bytes) = self.bytes().checked_sub(count) {
            return Self::new(bytes, self.is_qos0_publish());
        }
        let mut end = self.bytes();
        for packet in Packets::behind(self, pieces) {
            end += packet.bytes;
            if let Some(bytes) = end.checked_sub(count) {
                return Self::new(bytes, packet.is_qos0_publish);
            }
        }
        Self::default() // That were no packets: an answer in another protocol.
    }

    /// Counts the PUBLISH packets with QoS 0 in `pieces`, which begin at this cut. One that is cut
    /// counts, too.
    pub(crate) fn count_qos0<'a>(self, pieces: impl Iterator<Item = &'a [u8]>) -> u64 {
        let whole = Packets::behind(self, pieces).filter(|packet| packet.is_qos0_publish);
        u64::from(self.is_qos0_publish()) + whole.count() as u64
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> Packets<'a, I> {
    /// The packets that follow the one that is cut.
    fn behind(cut: Cut, pieces: I) -> Self {
        let mut packets = Self { pieces, piece: &[] };
        packets.leave_out(cut.bytes());
        packets
    }

    fn leave_out(&mut self, mut count: usize) {
        while count > self.piece.len() {
            count -= self.piece.len();
            let Some(piece) = self.pieces.next() else {
                self.piece = &[];
                return;
            };
            self.piece = piece;
        }
        self.piece = &self.piece[count..];
    }

    fn next_byte(&mut self) -> Option<u8> {
        loop {
            if let Some((&byte, rest)) = self.piece.split_first() {
                self.piece = rest;
                return Some(byte);
            }
            self.piece = self.pieces.next()?;
        }
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for Packets<'a, I> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        let first = self.next_byte()?;
        let (mut header, mut remaining) = (1, 0);
        for shift in [0, 7, 14, 21] {
            let byte = self.next_byte()?;
            header += 1;
            remaining |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        self.leave_out(remaining);
        // Whatever DUP and RETAIN are.
        Some(Extent { bytes: header + remaining, is_qos0_publish: first & 0b1111_0110 == 0x30 })
    }
}

#[cfg(test)]
mod tests {
    use super::Cut;

    /// Appends a packet with this first byte and Remaining Length; its body looks like PUBLISH
    /// packets with QoS 0.
    fn add(bytes: &mut Vec<u8>, first: u8, remaining: usize) {
        bytes.push(first);
        let mut left = remaining;
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes.extend(std::iter::repeat_n(0x30, remaining));
    }

    /// All kinds of packets one after the other; their ends, and whether they count.
    fn stream(lengths: &[usize]) -> (Vec<u8>, Vec<(usize, bool)>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for &length in lengths {
            for first in [0x30, 0x31, 0x32, 0x3C, 0x38, 0xD0, 0x62] {
                add(&mut bytes, first, length);
                ends.push((bytes.len(), matches!(first, 0x30 | 0x31 | 0x38)));
            }
        }
        (bytes, ends)
    }

    fn expected(ends: &[(usize, bool)], cut: usize) -> (usize, u64) {
        let left: Vec<_> = ends.iter().filter(|(end, _)| *end > cut).collect();
        let begin = ends.iter().map(|(end, _)| *end).filter(|end| *end <= cut).max().unwrap_or(0);
        let bytes = if begin == cut { 0 } else { left.first().map_or(0, |(end, _)| end - cut) };
        (bytes, left.iter().filter(|(_, counts)| *counts).count() as u64)
    }

    #[test]
    fn packets_cut_at_every_byte_in_pieces_of_all_sizes() {
        let (bytes, ends) = stream(&[0, 1, 2, 127, 128, 300]);
        for size in [1, 2, 3, 7, 64, 1_000, bytes.len()] {
            for at in 0..=bytes.len() {
                let cut = Cut::default().after(at, bytes.chunks(size));
                let count = cut.count_qos0(bytes[at..].chunks(size));
                assert_eq!((cut.bytes(), count), expected(&ends, at), "{at} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_cut_goes_on_from_the_one_before() {
        let (bytes, ends) = stream(&[0, 5, 200, 20_000]);
        for step in [1, 2, 3, 50, 4_096, 50_000] {
            let (mut cut, mut at) = (Cut::default(), 0);
            while at < bytes.len() {
                let count = step.min(bytes.len() - at);
                cut = cut.after(count, bytes[at..].chunks(777));
                at += count;
                assert_eq!(cut.bytes(), expected(&ends, at).0, "{at} in steps of {step}");
                if step > 3 {
                    let count = cut.count_qos0(bytes[at..].chunks(777));
                    assert_eq!(count, expected(&ends, at).1, "{at} in steps of {step}");
                }
            }
        }
    }

    #[test]
    fn large_remaining_lengths() {
        for length in [16_383, 16_384, 2_097_151, 2_097_152, 20_000_000] {
            let (bytes, ends) = stream(&[length]);
            let near = ends.iter().flat_map(|(end, _)| end.saturating_sub(6)..end + 7);
            for at in near.chain(0..7).filter(|at| *at <= bytes.len()) {
                let cut = Cut::default().after(at, bytes.chunks(1_000_000));
                let count = cut.count_qos0(bytes[at..].chunks(1_000_000));
                assert_eq!((cut.bytes(), count), expected(&ends, at), "{at} of {length}");
            }
        }
    }

    /// An answer in another protocol may be in the output.
    #[test]
    fn bytes_that_are_no_packets_do_no_harm() {
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n\xFF\xFF\xFF\xFF\xFF\xFF";
        for at in 0..=answer.len() {
            let cut = Cut::default().after(at, answer.chunks(3));
            let _ = cut.count_qos0(answer[at..].chunks(3));
        }
    }
}
