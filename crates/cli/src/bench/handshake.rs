//! The packets around a flow: CONNECT to SUBACK and DISCONNECT, by way of the codec.

use super::error::BenchError;
use super::wire::{self, Frame};

/// The protocol that a run speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// MQTT 3.1.1.
    #[value(name = "3.1.1", alias = "4")]
    V3_1_1,
    /// MQTT 5.0.
    #[value(name = "5", alias = "5.0")]
    V5,
}

impl Protocol {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

/// What a CONNECT says.
#[derive(Clone, Debug)]
pub(crate) struct Introduction<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: &'a str,
    /// Start without an old session.
    pub(crate) clean_start: bool,
    /// Keep the session when the connection ends.
    pub(crate) persistent: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

/// What a CONNACK allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) session_present: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) qos_max: u8,
}

impl Introduction<'_> {
    /// Appends the CONNECT.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        let v5 = self.protocol == Protocol::V5;
        let mut body = Vec::new();
        string(b"MQTT", &mut body);
        body.push(if v5 { 5 } else { 4 });
        let clean = if v5 { self.clean_start } else { !self.persistent || self.clean_start };
        let flags = u8::from(clean) << 1
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.user_name.is_some()) << 7;
        body.push(flags);
        body.extend_from_slice(&self.keep_alive_seconds.to_be_bytes());
        if v5 {
            let expiry: u32 = if self.persistent { 3600 } else { 0 };
            body.extend_from_slice(&[5, 0x11]);
            body.extend_from_slice(&expiry.to_be_bytes());
        }
        string(self.client_id.as_bytes(), &mut body);
        for text in [self.user_name, self.password].into_iter().flatten() {
            string(text.as_bytes(), &mut body);
        }
        packet(0x10, &body, out);
    }
}

/// Appends a SUBSCRIBE for one filter.
pub(crate) fn subscribe(protocol: Protocol, filter: &str, qos: u8, out: &mut Vec<u8>) {
    let mut body = vec![0, 1];
    body.extend_from_slice(if protocol == Protocol::V5 { &[0] } else { &[] });
    string(filter.as_bytes(), &mut body);
    body.push(qos);
    packet(0x82, &body, out);
}

/// Appends a DISCONNECT.
pub(crate) fn disconnect(_protocol: Protocol, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xE0, 0]);
}

/// A whole PUBLISH.
pub(crate) fn publish(protocol: Protocol, topic: &str, qos: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 8);
    string(topic.as_bytes(), &mut body);
    body.extend_from_slice(if qos > 0 { &[0, 1] } else { &[] });
    body.extend_from_slice(if protocol == Protocol::V5 { &[0] } else { &[] });
    body.extend_from_slice(payload);
    let mut frame = Vec::new();
    packet(0x30 | qos << 1, &body, &mut frame);
    frame
}

/// Reads a CONNACK; a refusal is an error.
pub(crate) fn welcome(protocol: Protocol, frame: Frame<'_>) -> Result<Welcome, BenchError> {
    if frame.kind() != wire::CONNACK || frame.body.len() < 2 {
        return Err(BenchError::run("the broker did not answer CONNECT with CONNACK"));
    }
    if frame.body[1] != 0 {
        let code = frame.body[1];
        return Err(BenchError::run(format!("the broker refused the connection: 0x{code:02X}")));
    }
    let _ = protocol;
    let session_present = frame.body[0] & 1 == 1;
    Ok(Welcome { session_present, receive_maximum: u16::MAX, qos_max: 2 })
}

/// Reads a SUBACK; less than the QoS asked for is an error.
pub(crate) fn subscribed(_protocol: Protocol, frame: Frame<'_>, qos: u8) -> Result<(), BenchError> {
    match (frame.kind(), frame.body.last()) {
        (wire::SUBACK, Some(&granted)) if granted == qos => Ok(()),
        (wire::SUBACK, Some(&granted)) => {
            Err(BenchError::run(format!("the broker granted 0x{granted:02X} instead of QoS {qos}")))
        }
        _ => Err(BenchError::run("the broker did not answer SUBSCRIBE with SUBACK")),
    }
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn packet(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    let mut length = body.len();
    loop {
        let more = length >= 128;
        out.push((length % 128) as u8 | u8::from(more) << 7);
        length /= 128;
        if !more {
            break;
        }
    }
    out.extend_from_slice(body);
}
