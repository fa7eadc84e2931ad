//! Will Messages: in each round a client connects with one and stays until the end. Its SUBACK says
//! that the Session and the Will Message are durable, so the Will Message is due when the broker is
//! back.

use std::time::Instant;

use midge_codec::{ProtocolVersion, QoS};

use crate::client::{Client, WillMessage};
use crate::common::wire::Gone;
use crate::message::{Key, Kind};
use crate::round::{PATIENCE, Round};

/// Returns the Will Message of a round.
pub(crate) fn key_of(round: u32) -> Key {
    Key::new(Kind::Will, round, 1)
}

/// Returns the QoS at which the Will Message of this round is published.
pub(crate) fn qos_of(round: u32) -> QoS {
    if round.is_multiple_of(2) { QoS::ExactlyOnce } else { QoS::AtLeastOnce }
}

/// Returns whether the Will Message of this round is retained.
pub(crate) fn is_retained(round: u32) -> bool {
    round.is_multiple_of(3)
}

/// A client with a Will Message, for one round.
pub(crate) struct Mortal {
    pub(crate) client: Client,
}

impl Mortal {
    pub(crate) fn new(round: u32) -> Self {
        let version = if round % 4 < 2 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
        let mut client = Client::new(&format!("mortal-{round}"), version);
        let (key, qos, retain) = (key_of(round), qos_of(round), is_retained(round));
        client.will = Some(WillMessage { key, qos, retain });
        Self { client }
    }

    /// Connects, subscribes, and waits for the end.
    pub(crate) fn run(&mut self, round: &Round) -> Result<(), Gone> {
        self.client.connect(round)?;
        let filter = format!("nothing/{}", self.client.id);
        self.client.subscribe_and_wait(&filter, QoS::AtLeastOnce, round)?;
        round.note_ready();
        loop {
            self.client.next(Instant::now() + PATIENCE, round)?;
        }
    }
}
