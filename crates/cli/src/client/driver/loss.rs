//! What the end of a Network Connection means to the user, and what can be done about it.

use std::io::{self, ErrorKind};

use midge_codec::ProtocolVersion;

use crate::client::connection::failed;
use crate::client::error::ClientError;
use crate::endpoint::Endpoint;

/// How far a connection had come; the error for its loss depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) enum LostIn {
    BeforeConnAck { version: ProtocolVersion },
    Connected,
}

/// Says what the end of a connection means to the user.
pub(super) fn lost(
    endpoint: &Endpoint,
    phase: LostIn,
    is_handshaking: bool,
    error: Option<&io::Error>,
) -> ClientError {
    if let LostIn::BeforeConnAck { .. } = phase {
        match error {
            Some(error) if is_of_connecting(error) => {
                return failed(endpoint.cannot_connect(error, None));
            }
            _ if is_handshaking => return failed(endpoint.ended_in_handshake()),
            _ => {}
        }
    }
    let event = match error {
        Some(error) => format!("the connection to {endpoint} broke ({error})"),
        None => format!("{endpoint} closed the connection"),
    };
    ClientError::transient(match phase {
        LostIn::Connected => event,
        LostIn::BeforeConnAck { version: ProtocolVersion::V5 } => format!(
            "{event} without an answer to CONNECT. \
             Is it an MQTT broker, and does it speak MQTT 5.0? If not, try -V 311"
        ),
        LostIn::BeforeConnAck { .. } => {
            format!("{event} without an answer to CONNECT. Is it an MQTT broker?")
        }
    })
}

/// Whether a layer has failed, or a transport that still connects while it is read and written.
fn is_of_connecting(error: &io::Error) -> bool {
    let kinds = [ErrorKind::InvalidData, ErrorKind::TimedOut, ErrorKind::ConnectionRefused];
    kinds.contains(&error.kind())
}
