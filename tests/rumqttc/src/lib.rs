//! A rumqttc client that tests drive step by step: every wait is for an event, with a deadline.
//!
//! rumqttc has one set of types for MQTT 3.1.1 and another one for 5.0 that look alike; [`v4`] and
//! [`v5`] hold the same [`v4::Client`] over each. Nothing runs in the background: a client reads
//! its socket only while a test waits on it.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Nothing that works takes this long; something that does not work is told by it.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Larger than what any test sends.
pub const PACKET_BYTES_MAX: u32 = 2 << 20;

/// Where the broker listens, from `MIDGE_TEST_ADDRESS=host:port`.
///
/// # Panics
/// When the variable is not set or has no port.
#[must_use]
pub fn address() -> (String, u16) {
    let text = std::env::var("MIDGE_TEST_ADDRESS")
        .expect("set MIDGE_TEST_ADDRESS=host:port, or run `cargo xtask clients`");
    let (host, port) = text.rsplit_once(':').expect("host:port");
    (host.to_owned(), port.parse().expect("a port"))
}

/// A name that no other test of this or another run uses; at most 23 characters.
///
/// # Panics
/// When the clock stands before 1970.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since_epoch = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{:08x}{:06x}{number:x}", since_epoch.subsec_nanos(), process::id())
}

/// Whether the broker is the named other one, which is known to fail where this is asked.
#[must_use]
pub fn peer_is(name: &str) -> bool {
    std::env::var("MIDGE_TEST_PEER").is_ok_and(|peer| peer == name)
}

/// The client over one of rumqttc's two sets of types, which have to be in scope.
macro_rules! client {
    () => {
        use std::collections::VecDeque;
        use tokio::time::timeout;

        /// One Network Connection of one Client Identifier; dropped, it is cut without DISCONNECT.
        pub struct Client {
            /// The Client Identifier.
            pub id: String,
            /// What CONNACK said about the session.
            pub session_present: bool,
            /// For requests that this wrapper has no word for.
            pub requests: AsyncClient,
            events: EventLoop,
            inbox: VecDeque<Publish>,
        }

        impl Client {
            /// Connects with these options and waits for CONNACK.
            ///
            /// # Panics
            /// When the broker refuses or does not answer in time.
            pub async fn connect(options: MqttOptions) -> Self {
                let id = options.client_id();
                let (requests, events) = AsyncClient::new(options, 16);
                let inbox = VecDeque::new();
                let mut client = Self { id, session_present: false, requests, events, inbox };
                let Packet::ConnAck(connack) = client.incoming().await else {
                    panic!("the first packet is not CONNACK")
                };
                client.session_present = connack.session_present;
                client
            }

            /// The next event, or the error that ended the connection.
            ///
            /// # Errors
            /// When the connection has ended.
            ///
            /// # Panics
            /// When nothing happens in time.
            pub async fn event(&mut self) -> Result<Event, ConnectionError> {
                let event = timeout(DEADLINE, self.events.poll()).await.expect("no event in time");
                if let Ok(Event::Incoming(Packet::Publish(publish))) = &event {
                    self.inbox.push_back(publish.clone());
                }
                event
            }

            /// The next Control Packet from the broker.
            async fn incoming(&mut self) -> Packet {
                loop {
                    if let Event::Incoming(packet) = self.event().await.expect("a connection") {
                        return packet;
                    }
                }
            }

            /// Subscribes and waits for SUBACK.
            pub async fn subscribe(&mut self, filter: impl Into<String>, qos: QoS) {
                self.requests.subscribe(filter, qos).await.expect("room for a request");
                self.wait_for_suback().await;
            }

            /// Waits for the SUBACK of a request made before.
            pub async fn wait_for_suback(&mut self) {
                while !matches!(self.incoming().await, Packet::SubAck(_)) {}
            }

            /// Unsubscribes and waits for UNSUBACK.
            pub async fn unsubscribe(&mut self, filter: impl Into<String>) {
                self.requests.unsubscribe(filter).await.expect("room for a request");
                while !matches!(self.incoming().await, Packet::UnsubAck(_)) {}
            }

            /// Publishes and waits for the acknowledgement, at QoS 0 until it is written.
            pub async fn publish(
                &mut self,
                topic: &str,
                qos: QoS,
                retain: bool,
                payload: impl Into<Vec<u8>>,
            ) {
                let sent = self.requests.publish(topic, qos, retain, payload.into()).await;
                sent.expect("room for a request");
                self.wait_for_publish(qos).await;
            }

            /// Waits until a PUBLISH requested before is acknowledged, at QoS 0 written.
            pub async fn wait_for_publish(&mut self, qos: QoS) {
                loop {
                    let done = match self.event().await.expect("a connection") {
                        Event::Outgoing(Outgoing::Publish(_)) => qos == QoS::AtMostOnce,
                        Event::Incoming(Packet::PubAck(_)) => qos == QoS::AtLeastOnce,
                        Event::Incoming(Packet::PubComp(_)) => qos == QoS::ExactlyOnce,
                        _ => false,
                    };
                    if done {
                        return;
                    }
                }
            }

            /// The next message.
            pub async fn receive(&mut self) -> Publish {
                loop {
                    if let Some(publish) = self.inbox.pop_front() {
                        return publish;
                    }
                    self.event().await.expect("a connection");
                }
            }

            /// The messages before the one with this payload: so absence is seen without a wait.
            pub async fn receive_until(&mut self, payload: &str) -> Vec<Publish> {
                let mut before = Vec::new();
                loop {
                    let publish = self.receive().await;
                    if publish.payload == payload {
                        return before;
                    }
                    before.push(publish);
                }
            }

            /// Sends DISCONNECT and waits until the connection has ended.
            pub async fn disconnect(mut self) {
                self.requests.disconnect().await.expect("room for a request");
                while self.event().await.is_ok() {}
            }

            /// The error that ends the connection from the other side.
            pub async fn end(mut self) -> ConnectionError {
                loop {
                    if let Err(error) = self.event().await {
                        return error;
                    }
                }
            }
        }
    };
}

/// MQTT 3.1.1.
pub mod v4 {
    use super::{DEADLINE, PACKET_BYTES_MAX, address, unique};
    pub use rumqttc::{
        AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet,
        Publish, QoS,
    };

    client!();

    /// Options for a client with this identifier, or a new one; `session` outlives the connection.
    #[must_use]
    pub fn options(id: Option<&str>, session: bool) -> MqttOptions {
        let (host, port) = address();
        let id = id.map_or_else(|| unique("rs"), str::to_owned);
        let mut options = MqttOptions::new(id, host, port);
        let bytes_max = PACKET_BYTES_MAX as usize;
        options.set_max_packet_size(bytes_max, bytes_max).set_clean_session(!session);
        options
    }

    /// Options whose connection leaves this Will Message.
    #[must_use]
    pub fn options_with_will(topic: &str, payload: &str, qos: QoS) -> MqttOptions {
        let mut options = options(None, false);
        options.set_last_will(LastWill::new(topic, payload, qos, false));
        options
    }

    /// The Topic Name of a message.
    #[must_use]
    pub fn topic_of(publish: &Publish) -> &str {
        &publish.topic
    }
}

/// MQTT 5.0.
pub mod v5 {
    use super::{DEADLINE, PACKET_BYTES_MAX, address, unique};
    pub use rumqttc::{
        Outgoing,
        v5::{
            AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError,
            mqttbytes::{
                QoS,
                v5::{
                    DisconnectReasonCode, Filter, LastWill, LastWillProperties, Packet, Publish,
                    PublishProperties, RetainForwardRule, SubscribeProperties,
                },
            },
        },
    };

    client!();

    /// Options for a client with this identifier, or a new one; `session` outlives the connection.
    #[must_use]
    pub fn options(id: Option<&str>, session: bool) -> MqttOptions {
        let (host, port) = address();
        let id = id.map_or_else(|| unique("rs"), str::to_owned);
        let mut options = MqttOptions::new(id, host, port);
        options.set_max_packet_size(Some(PACKET_BYTES_MAX)).set_clean_start(!session);
        options.set_session_expiry_interval(session.then_some(300));
        options
    }

    /// Options whose connection leaves this Will Message.
    #[must_use]
    pub fn options_with_will(topic: &str, payload: &str, qos: QoS) -> MqttOptions {
        let mut options = options(None, false);
        options.set_last_will(LastWill::new(topic, payload, qos, false, None));
        options
    }

    /// The Topic Name of a message.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn topic_of(publish: &Publish) -> &str {
        std::str::from_utf8(&publish.topic).expect("UTF-8")
    }
}
