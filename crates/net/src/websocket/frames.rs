//! Headers of frames: gathered from pieces, and checked against the rules of RFC 6455, section 5.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::error::Violation;
use super::{CONTROL_BYTES_MAX, FRAME_BYTES_MAX};

/// The longest header: two bytes, eight of a length, four of a mask.
const HEADER_BYTES_MAX: usize = 14;

/// A frame whose header was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// The mask, rotated so that its first byte is for the next byte of the payload. Zero masks
    /// nothing.
    pub(super) mask: [u8; 4],
    /// Bytes of the payload that have not come yet.
    pub(super) remaining: u32,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part of a binary message.
    Data,
    Ping,
    Pong,
    Close,
}

/// Which frames a session sends and takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// Reads one header after the other.
#[derive(Debug)]
pub(super) struct Headers {
    /// The beginning of a header whose rest has not come.
    kept: [u8; HEADER_BYTES_MAX],
    kept_length: u8,
    /// Whether the last frame of a message is still to come.
    is_in_message: bool,
    role: Role,
}

impl Headers {
    pub(super) fn new(role: Role) -> Self {
        Self { kept: [0; HEADER_BYTES_MAX], kept_length: 0, is_in_message: false, role }
    }

    /// Takes a header, or a part of one, from the front of `bytes`. Returns how many bytes were
    /// taken, and the frame once its header is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Frame>), Violation> {
        let kept_length = usize::from(self.kept_length);
        if kept_length == 0 {
            // As nearly always: the whole header is there.
            if let Some((length, frame)) = self.read(bytes)? {
                return Ok((length, Some(frame)));
            }
        }
        let count = bytes.len().min(HEADER_BYTES_MAX - kept_length);
        self.kept[kept_length..][..count].copy_from_slice(&bytes[..count]);
        let kept = self.kept;
        match self.read(&kept[..kept_length + count])? {
            Some((length, frame)) => {
                self.kept_length = 0;
                Ok((length - kept_length, Some(frame)))
            }
            None => {
                // Fewer than 14, since 14 bytes are always a complete header.
                self.kept_length += count as u8;
                Ok((count, None))
            }
        }
    }

    /// Returns the frame whose header `bytes` begin with, and the length of that header.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Frame)>, Violation> {
        let mut cursor = Cursor::new(bytes);
        // The only other errors are those of reading, which memory does not have.
        let header = FrameHeader::parse(&mut cursor).map_err(|_| Violation::UnknownOpcode)?;
        let Some((header, length)) = header else {
            return Ok(None);
        };
        let header_length = cursor.position() as usize;
        let kind = self.check(&header, length)?;
        if header_length != header.len(length) {
            return Err(Violation::LengthNotShortest);
        }
        let mask = header.mask.unwrap_or_default();
        // The length was checked against a limit that is far below.
        Ok(Some((header_length, Frame { kind, mask, remaining: length as u32 })))
    }

    fn check(&mut self, header: &FrameHeader, length: u64) -> Result<Kind, Violation> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::ReservedBits);
        }
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(Violation::NotMasked),
            (Role::Client, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        let kind = match header.opcode {
            OpCode::Data(data) => {
                self.check_data(data, header.is_final)?;
                Kind::Data
            }
            OpCode::Control(_) if !header.is_final => return Err(Violation::ControlFragmented),
            OpCode::Control(_) if length > CONTROL_BYTES_MAX as u64 => {
                return Err(Violation::ControlTooLong);
            }
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Control(Control::Reserved(_)) => return Err(Violation::UnknownOpcode),
        };
        if length > FRAME_BYTES_MAX {
            return Err(Violation::FrameTooLong);
        }
        Ok(kind)
    }

    /// Checks the order of data frames. Messages come one after the other; only control frames may
    /// come between the frames of a message.
    fn check_data(&mut self, data: Data, is_final: bool) -> Result<(), Violation> {
        match (data, self.is_in_message) {
            (Data::Binary | Data::Text, true) => return Err(Violation::MessageInMessage),
            (Data::Text, false) => return Err(Violation::Text),
            (Data::Continue, false) => return Err(Violation::NothingToContinue),
            (Data::Reserved(_), _) => return Err(Violation::UnknownOpcode),
            (Data::Binary, false) | (Data::Continue, true) => {}
        }
        self.is_in_message = !is_final;
        Ok(())
    }
}
