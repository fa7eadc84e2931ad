//! The tag of each message, and its fields in the order in which they are written.
//!
//! A tag that was given once belongs to its message for ever, also when the message is gone; so
//! does the order of its fields.

use midge_codec::TopicFilter;

use super::PeerDecodeError;
use super::wire::{Reader, Wire, Writer};
use crate::boundary::peer_messages::{Assurance, MovePeer, Peer, RetainedPeer, SharedPeer};

/// Writes both directions of an enum from one list of its variants: the tag of each, and its
/// fields.
macro_rules! tagged {
    ($($type:ident, $what:literal: {
        $($tag:literal => $variant:ident $(($($part:ident),+))? $({ $($field:ident),+ })?,)+
    })+) => {
        $(impl Wire for $type {
            fn write(&self, writer: &mut Writer<'_>) {
                match self {
                    $(Self::$variant $(($($part),+))? $({ $($field),+ })? => {
                        writer.number($tag);
                        $($($part.write(writer);)+)?
                        $($($field.write(writer);)+)?
                    })+
                }
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, PeerDecodeError> {
                match reader.number()? {
                    $($tag => {
                        $($(let $part = Wire::read(reader)?;)+)?
                        $($(let $field = Wire::read(reader)?;)+)?
                        Ok(Self::$variant $(($($part),+))? $({ $($field),+ })?)
                    })+
                    tag => Err(PeerDecodeError::UnknownTag($what, tag)),
                }
            }
        })+
    };
}

tagged! {
    Peer, "the peer message": {
        1 => Publish(message),
        2 => Filter { filter, wanted },
        3 => Group { filter, group, exists },
        4 => GroupMember { group, member },
        5 => GroupMemberGone { group, session },
        6 => Fence(ticket),
        7 => FencePassed { ticket, retained_sent },
        8 => Round(round),
        9 => Ask { round, ticket },
        10 => Answer { round, ticket, assurance },
        11 => Confirmed(round),
        12 => Void(round),
        13 => Storing,
        14 => Shared(message),
        15 => Retained(message),
        16 => ExclusiveClaim { ticket, filter, session },
        17 => ExclusiveAnswer { ticket, granted },
        18 => ExclusiveRelease { filter, session },
        19 => Move(message),
    }

    SharedPeer, "the message of a shared subscription": {
        1 => Publish { group, message },
        2 => Deliver { session, delivery, barred },
        3 => Return { delivery, barred, refusal, online },
        4 => Join { ticket, name, filter, member },
        5 => Joined { ticket, group },
        6 => Leave { group, session },
        7 => Unsubscribe { ticket, name, filter, session },
        8 => Left { ticket },
        9 => Online { group, session, online },
        10 => Stored { group },
        11 => Settled { group, session },
    }

    RetainedPeer, "the message about retained ones": {
        1 => Set { message, ticket },
        2 => Refused { ticket },
        3 => Pull { ticket, filter, walk, after },
        4 => Chunk { ticket, messages, walk },
        5 => Stop { walk },
    }

    MovePeer, "the message about a Session that moves": {
        1 => Prepare { ticket, session },
        2 => Prepared { ticket },
        3 => CallOff { session },
        4 => Switch { session, to, online },
        5 => Switched { session },
        6 => Over { session },
    }

    Assurance, "the assurance": {
        1 => InSharedJournal,
        2 => Durable,
        3 => Incomplete,
    }
}

/// Checks the Topic Filters that a message names.
pub(super) fn check(message: &Peer) -> Result<(), PeerDecodeError> {
    let filter: &str = match message {
        Peer::Move(MovePeer::Prepare { session, .. }) => {
            return session.filters.iter().try_for_each(|wanted| check_filter(&wanted.filter));
        }
        Peer::Filter { filter, .. }
        | Peer::Group { filter, .. }
        | Peer::ExclusiveClaim { filter, .. }
        | Peer::ExclusiveRelease { filter, .. }
        | Peer::Shared(SharedPeer::Join { filter, .. } | SharedPeer::Unsubscribe { filter, .. })
        | Peer::Retained(RetainedPeer::Pull { filter, .. }) => filter,
        _ => return Ok(()),
    };
    check_filter(filter)
}

fn check_filter(filter: &str) -> Result<(), PeerDecodeError> {
    match TopicFilter::parse(filter) {
        Ok(_) => Ok(()),
        Err(_) => Err(PeerDecodeError::Invalid("a Topic Filter is invalid")),
    }
}
