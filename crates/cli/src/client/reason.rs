//! Reason Codes as sentences: what the broker said, and what the user can do about it.

use midge_codec::ReasonCode;

use super::error::ClientError;
use super::session::Answer;
use crate::endpoint::Endpoint;

/// Writes `Not authorized (0x87): text of the Reason String`, without the text if it says no more
/// than the Reason Code.
pub(crate) fn describe(reason_code: ReasonCode, reason_string: Option<&str>) -> String {
    let text = format!("{} (0x{:02X})", reason_code.name(), reason_code as u8);
    match reason_string.filter(|reason_string| says_more(reason_string, reason_code)) {
        Some(reason_string) => format!("{text}: {reason_string}"),
        None => text,
    }
}

/// Whether a Reason String says more than its Reason Code. Some brokers send the name of the Reason
/// Code there, in a spelling of their own.
fn says_more(reason_string: &str, reason_code: ReasonCode) -> bool {
    let letters = |text: &str| {
        let letters = text.chars().filter(|char| char.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect::<String>()
    };
    let said = letters(reason_string);
    !said.is_empty() && said != letters(reason_code.name())
}

/// Whether a Reason Code is a refusal.
pub(crate) fn is_failure(reason_code: ReasonCode) -> bool {
    reason_code >= ReasonCode::UnspecifiedError
}

/// The error for a CONNACK that refuses the connection.
pub(crate) fn refused(endpoint: &Endpoint, answer: &Answer) -> ClientError {
    let reason = describe(answer.reason_code, answer.reason_string.as_deref());
    let text = format!("{endpoint} refused the connection: {reason}{}", advice(answer));
    match answer.reason_code {
        ReasonCode::UnspecifiedError
        | ReasonCode::ImplementationSpecificError
        | ReasonCode::ServerUnavailable
        | ReasonCode::ServerBusy
        | ReasonCode::QuotaExceeded
        | ReasonCode::ConnectionRateExceeded => ClientError::transient(text),
        _ => ClientError::permanent(text),
    }
}

/// The error for a DISCONNECT from the broker. A Client does not come again if another one has
/// taken its place, if it lacks permission, if it did something wrong, or if it shall go elsewhere.
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
        | ReasonCode::MessageRateTooHigh
        | ReasonCode::QuotaExceeded
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
        ReasonCode::UnsupportedProtocolVersion => ". Try another version: -V 5, -V 311 or -V 31",
        ReasonCode::ClientIdentifierNotValid => ". Try another client identifier, with -i",
        ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized => {
            ". Check the user name, -u, and the password, -P or --password-file"
        }
        ReasonCode::SessionTakenOver => ". Another client uses this client identifier",
        _ => "",
    };
    advice.to_owned()
}

#[cfg(test)]
mod tests {
    use midge_codec::ReasonCode as Code;

    use super::*;
    use crate::endpoint::{BrokerUrl, TlsArgs};

    #[test]
    fn a_reason_string_that_says_the_same_is_not_repeated() {
        let code = Code::NotAuthorized;
        for same in ["Not authorized", "not_authorized", "Not Authorized.", "", " "] {
            assert_eq!(describe(code, Some(same)), "Not authorized (0x87)", "{same:?}");
        }
        let more = describe(code, Some("not authorized to publish"));
        assert_eq!(more, "Not authorized (0x87): not authorized to publish");
    }

    #[test]
    fn says_after_which_reason_codes_to_come_again() {
        let url = BrokerUrl::parse("mqtt://h").unwrap();
        let endpoint = Endpoint::of_url(&url, &TlsArgs::default()).unwrap();
        let is_transient = |make: fn(&Endpoint, &Answer) -> ClientError, reason_code| {
            let answer = Answer { reason_code, reason_string: None, server_reference: None };
            matches!(make(&endpoint, &answer), ClientError::Connection { transient: true, .. })
        };
        let again =
            [Code::ServerShuttingDown, Code::KeepAliveTimeout, Code::ServerBusy, Code::Success];
        for code in again.into_iter().chain([Code::QuotaExceeded, Code::UnspecifiedError]) {
            assert!(is_transient(disconnected, code), "{code:?}");
        }
        let last = [Code::SessionTakenOver, Code::NotAuthorized, Code::AdministrativeAction];
        for code in last.into_iter().chain([Code::UseAnotherServer, Code::ServerMoved]) {
            assert!(!is_transient(disconnected, code), "{code:?}");
        }
        for code in [Code::ServerUnavailable, Code::ServerBusy, Code::QuotaExceeded] {
            assert!(is_transient(refused, code), "{code:?}");
        }
        let last = [Code::BadUserNameOrPassword, Code::NotAuthorized, Code::Banned];
        for code in last.into_iter().chain([Code::ClientIdentifierNotValid, Code::ServerMoved]) {
            assert!(!is_transient(refused, code), "{code:?}");
        }
    }
}
