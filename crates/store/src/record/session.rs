//! 16: a Session without its subscriptions and messages. Replaces the record with the same number,
//! and resets what is known of the Session's end.

use std::num::NonZeroU16;

use midge_core::{SessionRecord, WillRecord};

use super::bytes::{BadRecord, Reader, put_bytes, put_varint};
use super::facts;
use super::message::{self, Restorer};

/// Never to be changed: files contain it.
pub(crate) const TAG: u8 = 16;

const USER_NAME: u8 = 1;
const WILL: u8 = 1 << 1;
const WILL_EXPIRY: u8 = 1 << 2;
const WINDOW: u8 = 1 << 3;
const FACTS: u8 = 1 << 4;
const KNOWN: u8 = USER_NAME | WILL | WILL_EXPIRY | WINDOW | FACTS;

pub(crate) fn encode(session: &SessionRecord, out: &mut Vec<u8>) {
    let mut flags = 0;
    if session.user_name.is_some() {
        flags |= USER_NAME;
    }
    if let Some(will) = &session.will {
        flags |= WILL;
        if will.expiry_seconds.is_some() {
            flags |= WILL_EXPIRY;
        }
    }
    if session.window.is_some() {
        flags |= WINDOW;
    }
    if session.facts.is_some() {
        flags |= FACTS;
    }
    put_varint(out, session.number);
    out.push(flags);
    put_varint(out, u64::from(session.expiry_seconds));
    if let Some(window) = session.window {
        put_varint(out, u64::from(window.get()));
    }
    put_bytes(out, session.client_id.as_bytes());
    if let Some(name) = &session.user_name {
        put_bytes(out, name.as_bytes());
    }
    if let Some(facts) = &session.facts {
        facts::encode(facts, out);
    }
    if let Some(will) = &session.will {
        put_varint(out, u64::from(will.delay_seconds));
        if let Some(expiry) = will.expiry_seconds {
            put_varint(out, u64::from(expiry));
        }
        message::encode(&will.message, out);
    }
}

/// Decodes the number of the Session alone; the rest is checked when it is needed.
pub(crate) fn decode_number(body: &[u8]) -> Result<u64, BadRecord> {
    Reader::new(body).varint()
}

pub(crate) fn decode(body: &[u8]) -> Result<SessionRecord, BadRecord> {
    let mut reader = Reader::new(body);
    let number = reader.varint()?;
    let flags = reader.byte()?;
    if flags & !KNOWN != 0 {
        return Err(BadRecord("a flag of the Session is unknown"));
    }
    let expiry_seconds = reader.varint_u32()?;
    let window = if flags & WINDOW == 0 { None } else { Some(decode_window(&mut reader)?) };
    let client_id = reader.str()?.into();
    let user_name = if flags & USER_NAME == 0 { None } else { Some(Box::from(reader.str()?)) };
    let facts = if flags & FACTS == 0 { None } else { Some(facts::decode(&mut reader)?) };
    let will = if flags & WILL == 0 { None } else { Some(decode_will(&mut reader, flags)?) };
    reader.finish()?;
    Ok(SessionRecord { number, client_id, user_name, facts, expiry_seconds, window, will })
}

fn decode_window(reader: &mut Reader<'_>) -> Result<NonZeroU16, BadRecord> {
    let window = u16::try_from(reader.varint()?).ok().and_then(NonZeroU16::new);
    window.ok_or(BadRecord("the window of a Session is not possible"))
}

fn decode_will(reader: &mut Reader<'_>, flags: u8) -> Result<WillRecord, BadRecord> {
    let delay_seconds = reader.varint_u32()?;
    let expiry_seconds = if flags & WILL_EXPIRY == 0 { None } else { Some(reader.varint_u32()?) };
    let stored = message::decode(reader)?;
    let message = Restorer::default().restore(&stored, None);
    Ok(WillRecord { message, delay_seconds, expiry_seconds })
}
