//! CONNECT: how a conversation begins, whether accepted or refused.

use crate::client::Client;
use crate::packet::{ConnAck, Packet};
use crate::property::{self, Properties, Property};
use crate::reason;
use crate::request::Encode;
use crate::target;
use crate::unique::client_id;
use crate::wire::{Version, Writer};

/// A CONNECT that is sent on its own connection.
#[derive(Clone, Debug)]
pub struct Connect {
    version: Version,
    client_id: String,
    clean: bool,
    keep_alive_seconds: u16,
    will: Option<Will>,
    user_name: Option<String>,
    password: Option<Vec<u8>>,
    properties: Properties,
}

/// A Will Message.
#[derive(Clone, Debug)]
pub struct Will {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: Properties,
}

/// Returns a CONNECT of MQTT 3.1.1 with a unique Client Identifier and a clean session.
pub fn v3() -> Connect {
    connect(Version::V3)
}

/// Returns a CONNECT of MQTT 5.0 with a unique Client Identifier and Clean Start.
pub fn v5() -> Connect {
    connect(Version::V5)
}

/// As [`v3`] or [`v5`].
pub fn connect(version: Version) -> Connect {
    Connect {
        version,
        client_id: client_id(),
        clean: true,
        keep_alive_seconds: 0,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::default(),
    }
}

/// Returns a CONNECT that starts a Session which outlives its connection, or resumes that Session.
pub fn persistent(version: Version, client_id: &str) -> Connect {
    let connect = connect(version).client_id(client_id).clean(false);
    match version {
        Version::V3 => connect,
        Version::V5 => connect.with(property::number(property::SESSION_EXPIRY_INTERVAL, 60)),
    }
}

impl Connect {
    /// Sets the Client Identifier.
    pub fn client_id(mut self, client_id: &str) -> Self {
        client_id.clone_into(&mut self.client_id);
        self
    }

    /// Sets Clean Start or CleanSession.
    pub fn clean(mut self, clean: bool) -> Self {
        self.clean = clean;
        self
    }

    /// Sets the Keep Alive.
    pub fn keep_alive_seconds(mut self, seconds: u16) -> Self {
        self.keep_alive_seconds = seconds;
        self
    }

    /// Sets the Will Message.
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Sets the user name.
    pub fn user_name(mut self, user_name: &str) -> Self {
        self.user_name = Some(user_name.to_owned());
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.as_bytes().to_vec());
        self
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// Connects and waits for a CONNACK that accepts.
    pub fn open(&self) -> Client {
        self.open_with_connack().0
    }

    /// Connects and also returns the CONNACK, which has to accept.
    pub fn open_with_connack(&self) -> (Client, ConnAck) {
        let mut client = self.start();
        let connack = client.receive_connack();
        assert_eq!(connack.reason, reason::SUCCESS, "{self:?} was refused");
        (client, connack)
    }

    /// Connects without waiting for the answer.
    pub fn start(&self) -> Client {
        let mut client = Client::dial(self.version);
        if let Some(bytes_max) = self.properties.number(property::MAXIMUM_PACKET_SIZE) {
            client.limit_packet_size(bytes_max);
        }
        client.send(self);
        client
    }

    fn flags(&self) -> u8 {
        let will = self.will.as_ref();
        let will = will.map_or(0, |will| 0x04 | will.qos << 3 | u8::from(will.retain) << 5);
        let clean = u8::from(self.clean) << 1;
        let password = u8::from(self.password.is_some()) << 6;
        will | clean | password | u8::from(self.user_name.is_some()) << 7
    }

    /// Returns the bytes of the packet with Connect Flags that need not fit the payload.
    pub fn encode_with_flags(&self, change: impl FnOnce(u8) -> u8) -> Vec<u8> {
        self.body("MQTT", self.version.level(), change(self.flags())).packet(0x10)
    }

    /// Returns the bytes of the packet with another protocol name and level.
    pub fn encode_with_protocol(&self, name: &str, level: u8) -> Vec<u8> {
        self.body(name, level, self.flags()).packet(0x10)
    }

    fn body(&self, name: &str, level: u8, flags: u8) -> Writer {
        let header = Writer::new().string(name).u8(level).u8(flags).u16(self.keep_alive_seconds);
        let mut writer = self.write_properties(&self.properties, header).string(&self.client_id);
        if let Some(will) = &self.will {
            writer = self.write_properties(&will.properties, writer);
            writer = writer.string(&will.topic).binary(&will.payload);
        }
        if let Some(user_name) = &self.user_name {
            writer = writer.string(user_name);
        }
        match &self.password {
            Some(password) => writer.binary(password),
            None => writer,
        }
    }

    fn write_properties(&self, properties: &Properties, writer: Writer) -> Writer {
        match self.version {
            Version::V3 => writer,
            Version::V5 => properties.write(writer),
        }
    }
}

impl Encode for Connect {
    fn encode(&self, _: Version) -> Vec<u8> {
        self.encode_with_flags(|flags| flags)
    }
}

impl Will {
    /// Makes a QoS 0 Will Message.
    pub fn new(topic: &str, payload: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            qos: 0,
            retain: false,
            properties: Properties::default(),
        }
    }

    /// Sets the QoS.
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Sets Will Retain.
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Sets the Will Delay Interval.
    pub fn delay_seconds(self, seconds: u32) -> Self {
        self.with(property::number(property::WILL_DELAY_INTERVAL, seconds))
    }

    /// Adds a property.
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// Sends `bytes` as the first ones of a connection and expects a refusal: in 3.1.1 closing without
/// a CONNACK, in 5.0 a CONNACK with one of `reasons` and closing.
pub fn expect_refused(version: Version, bytes: &[u8], reasons: &[u8]) {
    let mut client = Client::dial(version);
    client.send_bytes(bytes);
    let refusal = client.read_until_closed();
    let is_expected = match (version, refusal.as_slice()) {
        (Version::V3, []) => true,
        (Version::V5, []) => !target::is_strict(),
        (Version::V5, [Packet::ConnAck(connack)]) => {
            reasons.contains(&connack.reason) || (!target::is_strict() && connack.reason >= 0x80)
        }
        _ => false,
    };
    assert!(is_expected, "expected one of {reasons:02x?}, not {refusal:02x?}, for {bytes:02x?}");
}
