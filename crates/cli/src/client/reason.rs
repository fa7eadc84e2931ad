//! Reason Codes as sentences: what the broker said, and what the user can do about it.

use midge_codec::ReasonCode;

use super::error::ClientError;
use super::session::Answer;
use crate::endpoint::Endpoint;

/// `Not authorized (0x87): text of the Reason String`.
pub(crate) fn describe(reason_code: ReasonCode, reason_string: Option<&str>) -> String {
    let text = format!("{} (0x{:02X})", reason_code.name(), reason_code as u8);
    match reason_string {
        Some(reason_string) => format!("{text}: {reason_string}"),
        None => text,
    }
}

/// Whether a Reason Code is a refusal.
pub(crate) fn is_failure(reason_code: ReasonCode) -> bool {
    reason_code >= ReasonCode::UnspecifiedError
}

/// A CONNACK that says no.
pub(crate) fn refused(endpoint: &Endpoint, answer: &Answer) -> ClientError {
    let reason = describe(answer.reason_code, answer.reason_string.as_deref());
    let text = format!("{endpoint} refused the connection: {reason}{}", advice(answer));
    match answer.reason_code {
        ReasonCode::ServerUnavailable
        | ReasonCode::ServerBusy
        | ReasonCode::ConnectionRateExceeded => ClientError::transient(text),
        _ => ClientError::permanent(text),
    }
}

/// A DISCONNECT from the broker.
pub(crate) fn disconnected(endpoint: &Endpoint, answer: &Answer) -> ClientError {
    let reason = describe(answer.reason_code, answer.reason_string.as_deref());
    let text = format!("{endpoint} ended the connection: {reason}{}", advice(answer));
    match answer.reason_code {
        ReasonCode::Success
        | ReasonCode::UnspecifiedError
        | ReasonCode::ImplementationSpecificError
        | ReasonCode::ServerBusy
        | ReasonCode::ServerShuttingDown
        | ReasonCode::KeepAliveTimeout
        | ReasonCode::MaximumConnectTime
        | ReasonCode::ConnectionRateExceeded => ClientError::transient(text),
        _ => ClientError::permanent(text),
    }
}

fn advice(answer: &Answer) -> String {
    if let Some(reference) = &answer.server_reference {
        return format!(". It refers to {reference}: connect there with -h");
    }
    let advice = match answer.reason_code {
        ReasonCode::UnsupportedProtocolVersion => ". Try another version, such as -V 311",
        ReasonCode::ClientIdentifierNotValid => ". Try another client identifier, with -i",
        ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized => {
            ". Check the user name and password, -u and -P"
        }
        ReasonCode::SessionTakenOver => ". Another client uses this client identifier",
        _ => "",
    };
    advice.to_owned()
}
