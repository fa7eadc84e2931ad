//! The quick path over bytes: whole frames out of what was read, PUBLISH from a template.
//!
//! A generator has to be lighter than the broker it measures, and it knows what it sent. So it
//! looks only at the fixed header of a PUBLISH that comes back and, above QoS 0, at its Packet
//! Identifier. An outgoing PUBLISH is a copy of a template with two fields patched. `handshake`
//! does everything else (CONNECT to SUBACK).

use super::super::error::BenchError;

pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PUBCOMP: u8 = 7;
pub(crate) const PINGRESP: u8 = 13;
pub(crate) const DISCONNECT: u8 = 14;

/// Bytes of the publisher's number at the start of a marked payload.
pub(crate) const MARK_BYTES: usize = 4;
/// Bytes of the time stamp that follows the mark.
pub(crate) const STAMP_BYTES: usize = 8;

/// A whole Control Packet: its first byte, and what follows the Remaining Length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame<'a> {
    pub(crate) first: u8,
    pub(crate) body: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns the next whole packet of `bytes` and its length; `None` if it has not arrived in
    /// full.
    #[inline]
    pub(crate) fn next(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, BenchError> {
        let Some((length, header)) = remaining_length(bytes)? else { return Ok(None) };
        let Some(whole) = bytes.get(..header + length) else { return Ok(None) };
        let frame = Self { first: whole[0], body: &whole[header..], whole };
        Ok(Some((frame, whole.len())))
    }

    #[inline]
    pub(crate) fn kind(self) -> u8 {
        self.first >> 4
    }

    /// Returns the QoS bits of a PUBLISH.
    #[inline]
    pub(crate) fn qos(self) -> u8 {
        (self.first >> 1) & 3
    }

    /// Returns the Packet Identifier of a PUBLISH above QoS 0.
    #[inline]
    pub(crate) fn publish_packet_id(self) -> Result<u16, BenchError> {
        let topic = usize::from(u16_at(self.body, 0)?);
        u16_at(self.body, 2 + topic)
    }

    /// Returns the Packet Identifier of an acknowledgement; a Reason Code that refuses is an error.
    #[inline]
    pub(crate) fn acknowledged_packet_id(self) -> Result<u16, BenchError> {
        match self.body.get(2) {
            Some(&reason) if reason >= 0x80 => {
                Err(BenchError::run(format!("the broker refused a message: 0x{reason:02X}")))
            }
            _ => u16_at(self.body, 0),
        }
    }

    /// Returns the last `size` bytes: the payload of a PUBLISH whose size is known.
    #[inline]
    pub(crate) fn payload(self, size: usize) -> Result<&'a [u8], BenchError> {
        let start = self.body.len().checked_sub(size);
        start.map(|start| &self.body[start..]).ok_or_else(foreign)
    }
}

/// Returns the publisher's number in a marked payload.
#[inline]
pub(crate) fn mark_of(payload: &[u8]) -> Result<usize, BenchError> {
    let mark = payload.first_chunk().ok_or_else(foreign)?;
    Ok(u32::from_be_bytes(*mark) as usize)
}

/// Returns the time stamp behind the mark, in nanoseconds.
#[inline]
pub(crate) fn stamp_of(payload: &[u8]) -> Result<u64, BenchError> {
    let stamp = payload.get(MARK_BYTES..).and_then(<[u8]>::first_chunk).ok_or_else(foreign)?;
    Ok(u64::from_be_bytes(*stamp))
}

/// Appends one of the four acknowledgements, which without an error are the same in all versions.
#[inline]
pub(crate) fn acknowledge(kind: u8, packet_id: u16, out: &mut Vec<u8>) {
    let flags = if kind == PUBREL { 0x02 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[kind << 4 | flags, 2, high, low]);
}

/// Returns the Remaining Length and the size of the fixed header.
#[inline]
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, BenchError> {
    let mut length = 0;
    for index in 1..=4 {
        let Some(&byte) = bytes.get(index) else { return Ok(None) };
        length |= usize::from(byte & 0x7F) << (7 * (index - 1));
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    Err(BenchError::run("the broker sent a Remaining Length of more than four bytes"))
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> Result<u16, BenchError> {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map(|field| u16::from_be_bytes(*field)).ok_or_else(|| {
        BenchError::run("the broker sent a packet that is too short for its Packet Identifier")
    })
}

fn foreign() -> BenchError {
    BenchError::run("a message arrived that this benchmark did not send: use another --topic")
}

/// A PUBLISH that was encoded once; each message is a copy of it.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    frame: Vec<u8>,
    packet_id_at: Option<usize>,
    stamp_at: Option<usize>,
}

impl Template {
    /// Takes an encoded PUBLISH with a payload of `size` bytes. `stamped` messages carry the time.
    pub(crate) fn new(frame: Vec<u8>, size: usize, stamped: bool) -> Result<Self, BenchError> {
        let (parsed, length) = Frame::next(&frame)?.ok_or_else(foreign)?;
        let header = length - parsed.body.len();
        let topic = usize::from(u16_at(parsed.body, 0)?);
        let packet_id_at = (parsed.qos() > 0).then_some(header + 2 + topic);
        let stamp_at = stamped.then_some(length - size + MARK_BYTES);
        Ok(Self { frame, packet_id_at, stamp_at })
    }

    /// Appends one message.
    #[inline]
    pub(crate) fn append(&self, packet_id: u16, stamp: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        if let Some(at) = self.packet_id_at {
            out[start + at..start + at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        if let Some(at) = self.stamp_at {
            out[start + at..start + at + STAMP_BYTES].copy_from_slice(&stamp.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a PUBLISH: QoS 1, topic `a/b`, identifier 1, a payload of 13 bytes.
    fn publish() -> Vec<u8> {
        let mut frame = vec![0x32, 20, 0, 3, b'a', b'/', b'b', 0, 1];
        frame.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, b'x']);
        frame
    }

    #[test]
    fn frames_come_out_whole_at_any_split() {
        let mut bytes = publish();
        bytes.extend_from_slice(&[0x40, 2, 0, 9]);
        let whole = publish().len();
        for split in 0..whole {
            assert_eq!(Frame::next(&bytes[..split]).unwrap(), None, "{split}");
        }
        let (frame, length) = Frame::next(&bytes).unwrap().unwrap();
        assert_eq!((frame.kind(), frame.qos(), length), (PUBLISH, 1, whole));
        let (frame, _) = Frame::next(&bytes[length..]).unwrap().unwrap();
        assert_eq!((frame.kind(), frame.acknowledged_packet_id().unwrap()), (PUBACK, 9));
    }

    #[test]
    fn lengths_take_up_to_four_bytes() {
        assert_eq!(remaining_length(&[0x30, 0x80, 0x01]).unwrap(), Some((128, 3)));
        assert_eq!(
            remaining_length(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).unwrap(),
            Some((268_435_455, 5))
        );
        assert_eq!(remaining_length(&[0x30, 0xFF]).unwrap(), None);
        assert!(remaining_length(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
    }

    #[test]
    fn a_template_patches_identifier_and_stamp_only() {
        let template = Template::new(publish(), 13, true).unwrap();
        let mut out = vec![0xEE];
        template.append(0x1234, 0x0102_0304_0506_0708, &mut out);
        let (frame, _) = Frame::next(&out[1..]).unwrap().unwrap();
        assert_eq!(frame.publish_packet_id().unwrap(), 0x1234);
        let payload = frame.payload(13).unwrap();
        assert_eq!(mark_of(payload).unwrap(), 7);
        assert_eq!(stamp_of(payload).unwrap(), 0x0102_0304_0506_0708);
        assert_eq!(payload[12], b'x');
    }

    fn frame(bytes: &[u8]) -> Frame<'_> {
        Frame::next(bytes).unwrap().unwrap().0
    }

    #[test]
    fn a_refusal_is_an_error_and_no_subscriber_is_not() {
        assert!(frame(&[0x40, 3, 0, 1, 0x97]).acknowledged_packet_id().is_err());
        assert_eq!(frame(&[0x40, 4, 0, 1, 0x10, 0]).acknowledged_packet_id().unwrap(), 1);
    }

    #[test]
    fn short_packets_are_errors_and_not_panics() {
        let short = frame(&[0x32, 3, 0, 9, b'a']);
        assert!(short.publish_packet_id().is_err());
        assert!(short.payload(4).is_err());
        assert!(frame(&[0x40, 1, 1]).acknowledged_packet_id().is_err());
        assert!(mark_of(&[1, 2, 3]).is_err());
        assert!(stamp_of(&[0; 11]).is_err());
    }

    #[test]
    fn pubrel_carries_its_flag() {
        let mut out = Vec::new();
        acknowledge(PUBREL, 0x0102, &mut out);
        acknowledge(PUBCOMP, 3, &mut out);
        assert_eq!(out, [0x62, 2, 1, 2, 0x70, 2, 0, 3]);
    }
}
