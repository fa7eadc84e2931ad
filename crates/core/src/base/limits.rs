//! Every limit of the broker in one table: name, default, meaning.
//!
//! The configuration section `[limits]`, its reference in the documentation and the counters of
//! what a limit refused are all made from this table. A limit must never have its default or its
//! range anywhere else.

use serde::{Deserialize, Serialize};

/// What a row of the table says about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRow {
    /// The key inside `[limits]`.
    pub key: &'static str,
    /// The default.
    pub default: u64,
    /// The largest value that it can have.
    pub max: u64,
    /// What it bounds and what happens beyond it.
    pub meaning: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr;)+) => {
        /// The limits of a broker; see [`Limits::TABLE`] for all of them with their defaults.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// All limits in the order of the documentation.
            pub const TABLE: &[LimitRow] = &[$(LimitRow {
                key: stringify!($name),
                default: $default as u64,
                max: <$type>::MAX as u64,
                meaning: concat!($($doc, "\n"),+),
            },)+];

            /// Gives the limit `key` another value; false if there is no such limit, or if the
            /// value is above the row's `max`.
            pub fn set(&mut self, key: &str, value: u64) -> bool {
                match key {
                    $(stringify!($name) => match <$type>::try_from(value) {
                        Ok(value) => self.$name = value,
                        Err(_) => return false,
                    },)+
                    _ => return false,
                }
                true
            }

            /// The value of the limit `key`.
            pub fn get(&self, key: &str) -> Option<u64> {
                match key {
                    $(stringify!($name) => Some(u64::from(self.$name)),)+
                    _ => None,
                }
            }
        }
    };
}

impl Limits {
    /// Limits that hold from the start of a broker to its end, because something was made as large
    /// as they say.
    pub const FIXED: &[&str] = &["store_bytes_max", "memory_bytes_max"];

    /// Parts of the memory that a turn may add on all workers together. Pressure is noticed between
    /// turns, at 85 % of the memory: until every worker knows of it, each may have begun two more,
    /// which take in as much as they write out. That makes four parts, which have to fit into 15 %.
    pub const TURN_MEMORY_PARTS: u64 = 32;
    /// What a turn may add however little memory there is: it has to get on.
    const TURN_BYTES_MIN: u64 = 256 * 1024;

    /// The bytes that one of `workers` workers may take in in a turn, and likewise write out:
    /// `most`, or less if the memory is small.
    #[must_use]
    pub fn turn_bytes_max(&self, workers: usize, most: u64) -> u64 {
        match self.memory_bytes_max {
            0 => most,
            memory => {
                let part = memory / Self::TURN_MEMORY_PARTS / workers.max(1) as u64;
                part.clamp(Self::TURN_BYTES_MIN, most)
            }
        }
    }

    /// These limits, but what may wait somewhere is a part of the memory that the process may have,
    /// if that is known.
    #[must_use]
    pub fn within_memory(mut self) -> Self {
        let memory = self.memory_bytes_max;
        let cut = |limit: u32, share: u64| match u32::try_from(share) {
            Ok(share) if memory > 0 => limit.min(share.max(1)),
            _ => limit,
        };
        self.backlog_bytes_max = cut(self.backlog_bytes_max, memory / 8);
        self.output_bytes_max = cut(self.output_bytes_max, memory / 16);
        self
    }

    /// These limits, but the fixed ones as they are in `present`.
    #[must_use]
    pub fn with_fixed_of(&self, present: &Self) -> Self {
        let mut limits = self.clone();
        for key in Self::FIXED {
            let is_set = present.get(key).is_some_and(|value| limits.set(key, value));
            debug_assert!(is_set, "{key} is a limit");
        }
        limits
    }
}

limits! {
    /// Largest Control Packet in bytes that is accepted once a Client is connected. Announced to
    /// MQTT 5 Clients as Maximum Packet Size; beyond it: 0x95 Packet too large.
    packet_bytes_max: u32 = 1_048_576;
    /// Largest first packet (CONNECT) in bytes; what claims more is disconnected unread.
    packet_before_connect_bytes_max: u32 = 16_384;
    /// Milliseconds that a Client has from opening the Network Connection to a complete CONNECT.
    connect_deadline_ms: u32 = 5_000;
    /// Network Connections at the same time, as far as the system lets the process have files. What
    /// comes beyond it is told 0x89 Server busy where that is cheap, and closed.
    connections_max: u32 = 1_000_000;
    /// Sessions, connected or not, at the same time; beyond it a Client that has none is refused:
    /// 0x97 Quota exceeded. Subscribers inside the process count, too.
    sessions_max: u32 = 1_000_000;
    /// Longest Client Identifier in bytes; beyond it: 0x85 Client Identifier not valid.
    client_identifier_bytes_max: u16 = 1_024;
    /// Longest Keep Alive in seconds. A Client that asks for more, or for none, is given this one
    /// (MQTT 5: Server Keep Alive). 0: whatever the Client asks for.
    keep_alive_seconds_max: u16 = 0;
    /// Bytes per second at which an incomplete packet has to go on arriving to be a sign of life. A
    /// Client that sends it more slowly, and nothing else, is as silent as its Keep Alive allows.
    /// 0: any byte is a sign of life.
    packet_bytes_per_second_min: u32 = 128;
    /// Longest Session Expiry Interval in seconds, also how long a 3.x session without Clean
    /// Session is kept after its Client has gone.
    session_expiry_seconds_max: u32 = 604_800;
    /// Receive Maximum that is announced to MQTT 5 Clients: QoS 1 and 2 messages under way from
    /// one Client. Beyond it: DISCONNECT with 0x93 Receive Maximum exceeded.
    receive_maximum: u16 = 64;
    /// QoS 1 and 2 messages under way to one Client, whatever larger Receive Maximum it grants. To
    /// one whose Session is in the store, never more than 16,383. Others wait in the queue.
    inflight_messages_max: u16 = 65_535;
    /// The same for MQTT 3 Clients, which cannot say how many they can take.
    inflight_messages_mqtt3_max: u16 = 2_000;
    /// Bytes of topics, properties and payloads under way to one Client, with 128 more for each
    /// message. Beyond it others wait in the queue, but one may always be under way.
    inflight_bytes_max: u32 = 4_194_304;
    /// QoS 2 Packet Identifiers of an MQTT 3 Client that wait for their PUBREL. Beyond it, the
    /// Client is disconnected. For MQTT 5, `receive_maximum` counts.
    awaiting_release_max: u16 = 100;
    /// Messages that wait for one Session, besides those under way. Beyond it new ones are dropped
    /// (`queue_full`); what was under way when its Client went waits, too, and is not dropped.
    /// What has expired gives way first; while the store is searched for it, twice as many wait.
    queue_messages_max: u32 = 1_000;
    /// Bytes of topics, properties and payloads that wait for one Session. Beyond it new messages
    /// are dropped (`queue_bytes`), but one may always wait, however large it is.
    queue_bytes_max: u32 = 1_048_576;
    /// Bytes written for one Client that its socket has not taken yet. Beyond it QoS 0 is dropped
    /// (`slow_consumer`) and QoS 1 and 2 wait in the queue.
    output_bytes_max: u32 = 4_194_304;
    /// Topic Alias Maximum that is announced to Clients.
    topic_alias_maximum: u16 = 16;
    /// Topic aliases that the broker uses towards one Client, if the Client allows as many.
    outgoing_topic_alias_maximum: u16 = 16;
    /// Levels of a Topic Name or Topic Filter. Beyond it: 0x90 or 0x8F.
    topic_levels_max: u16 = 64;
    /// Subscriptions of one Session, shared and exclusive ones included. Beyond it: 0x97 Quota
    /// exceeded in the SUBACK.
    subscriptions_per_session_max: u32 = 100_000;
    /// User Properties of one packet, in a CONNECT with those of its Will. Beyond it: 0x97 Quota
    /// exceeded, in the CONNACK or in a DISCONNECT.
    user_properties_max: u16 = 256;
    /// Retained messages of all topics together. Beyond it a message for one more topic is
    /// delivered but not retained: 0x97 Quota exceeded in the PUBACK or PUBREC; at QoS 0, and in
    /// MQTT 3, there is no way to tell. Others can be replaced and removed.
    retained_messages_max: u32 = 10_000_000;
    /// Bytes of all retained messages together. Beyond it as above.
    retained_bytes_max: u64 = 1_073_741_824;
    /// Messages that wait for their `$delayed` time, of all Clients together. Beyond it a new one
    /// is dropped: 0x97 Quota exceeded in the PUBACK or PUBREC of MQTT 5.
    delayed_messages_max: u32 = 100_000;
    /// Bytes of the messages that wait for their `$delayed` time. Beyond it as above.
    delayed_bytes_max: u64 = 268_435_456;
    /// Longest delay of a `$delayed` message in seconds.
    delay_seconds_max: u32 = 4_294_967;
    /// Messages that a shared subscription keeps while none of its members is connected. Beyond it
    /// new ones are dropped (`shared_backlog_full`).
    /// What has expired gives way first.
    shared_backlog_messages_max: u32 = 1_000;
    /// Bytes of the messages that a shared subscription keeps. Beyond it as above.
    shared_backlog_bytes_max: u32 = 1_048_576;
    /// Messages that one worker writes to subscribers in one turn before it looks at its sockets
    /// again.
    turn_deliveries_max: u32 = 50_000;
    /// Bytes of messages whose delivery one worker has put off to a later turn. Beyond it the
    /// publishers are not read until it is worked off.
    backlog_bytes_max: u32 = 16_777_216;
    /// Bytes of disk that the store may take. Beyond it messages that it would have to keep are
    /// refused (0x97 Quota exceeded; MQTT 3: not acknowledged) until there is room again.
    store_bytes_max: u64 = 17_179_869_184;
    /// Bytes of memory that the process may take. 0: three quarters of what the machine (or its
    /// control group) has. At 60 % few new Sessions are let in and nothing more is retained, at
    /// 75 % QoS 0 is dropped and publishers wait, at 85 %, or if waiting does not help, the Clients
    /// for which most is kept are disconnected. What waits anywhere gets less if this is small.
    memory_bytes_max: u64 = 0;
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn table_and_struct_agree() {
        let limits = Limits::default();
        for row in Limits::TABLE {
            assert_eq!(limits.get(row.key), Some(row.default), "{}", row.key);
            assert!(!row.meaning.trim().is_empty());
        }
        assert_eq!(limits.get("no_such_limit"), None);
    }

    #[test]
    fn turns_until_pressure_is_known_fit_behind_the_line_at_which_it_is_noticed() {
        const MB: u64 = 1 << 20;
        for memory in [64 * MB, 128 * MB, 1_000 * MB, 100_000 * MB] {
            let limits = Limits { memory_bytes_max: memory, ..Limits::default() };
            for workers in [1, 2, 8] {
                let turn = limits.turn_bytes_max(workers, u64::MAX);
                let two_turns_of_all = 2 * 2 * turn * workers as u64;
                assert!(two_turns_of_all <= memory / 100 * 15, "{memory} bytes, {workers} workers");
            }
            assert_eq!(limits.turn_bytes_max(1, MB), MB);
        }
        let tiny = Limits { memory_bytes_max: MB, ..Limits::default() };
        assert_eq!(tiny.turn_bytes_max(8, MB), MB / 4, "a turn has to get on");
        let unknown = Limits { memory_bytes_max: 0, ..Limits::default() };
        assert_eq!(unknown.turn_bytes_max(8, MB), MB);
    }

    #[test]
    fn fixed_limits_stay_as_they_are() {
        let present = Limits { memory_bytes_max: 7, queue_messages_max: 7, ..Limits::default() };
        let limits = Limits::default().with_fixed_of(&present);
        assert_eq!(limits, Limits { memory_bytes_max: 7, ..Limits::default() });
    }

    #[test]
    fn every_limit_can_be_set_up_to_its_maximum() {
        let mut limits = Limits::default();
        for row in Limits::TABLE {
            assert!(limits.set(row.key, row.max), "{}", row.key);
            assert_eq!(limits.get(row.key), Some(row.max), "{}", row.key);
            assert!(row.max == u64::MAX || !limits.set(row.key, row.max + 1), "{}", row.key);
        }
        assert!(!limits.set("no_such_limit", 1));
    }
}
