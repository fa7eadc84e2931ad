//! Reads retained messages as a new subscriber, and publishes messages that show whether a
//! subscription is there. Its Sessions end with it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use midge_codec::{ProtocolVersion, QoS};

use crate::client::{Client, Happened, Outgoing};
use crate::common::wire::Gone;
use crate::message::Key;
use crate::round::{PATIENCE, Round};

/// How long the inspector waits without any message while something is missing.
const QUIET_MAX: Duration = Duration::from_secs(5);

fn visitor(round: &Round) -> Client {
    let is_v5 = round.number.is_multiple_of(2);
    let version = if is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
    let mut client = Client::new(&format!("inspector-{}", round.number), version);
    client.is_clean = true;
    client
}

/// Returns the retained messages that a new subscriber gets, as numbers by topic. It waits until it
/// has those of all topics in `musts`, or no more arrive, and then does so once more: so a message
/// that must not be there had time to arrive.
pub(crate) fn look(filter: &str, musts: &[u32], round: &Round) -> Result<HashMap<u32, u32>, Gone> {
    let mut client = visitor(round);
    client.connect(round)?;
    let mut found = HashMap::new();
    for _ in 0..2 {
        let mut seen = HashMap::new();
        client.subscribe(filter, QoS::ExactlyOnce);
        let mut quiet_since = Instant::now();
        let mut is_subscribed = false;
        let is_complete = |seen: &HashMap<u32, u32>| musts.iter().all(|it| seen.contains_key(it));
        while !(is_subscribed && is_complete(&seen)) && quiet_since.elapsed() < QUIET_MAX {
            match client.next(Instant::now() + Duration::from_millis(100), round)? {
                Happened::Message(key, received) if received.retain => {
                    seen.insert(key.index, key.number);
                    quiet_since = Instant::now();
                }
                Happened::Subscribed(..) => is_subscribed = true,
                _ => (),
            }
        }
        found.extend(seen);
    }
    client.disconnect();
    Ok(found)
}

/// Publishes these messages and waits until the broker has accepted them.
pub(crate) fn publish(keys: &[Key], round: &Round) -> Result<(), Gone> {
    let mut client = visitor(round);
    client.connect(round)?;
    for keys in keys.chunks(32) {
        for &key in keys {
            let (qos, payload) = (QoS::ExactlyOnce, key.payload());
            client.publish(Outgoing { key, qos, retain: false, payload }, round);
        }
        while client.unfinished() > 0 {
            if let Happened::Nothing = client.next(Instant::now() + PATIENCE, round)? {
                return Err(Gone::Broken("acknowledges nothing for a long time".into()));
            }
        }
    }
    client.disconnect();
    Ok(())
}
