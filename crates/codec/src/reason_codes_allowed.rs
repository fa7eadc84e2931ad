//! Which Reason Codes each Control Packet may carry, in one table.
//!
//! On a packet's path it is asked only for packets that have a Reason Code: the usual PUBACK has
//! none.

use crate::error::Rule;
use crate::reason_code::ReasonCode;
use crate::types::PacketType;

/// Reads the Reason Code of a packet of MQTT 5.0.
///
/// # Errors
///
/// The specification has no such Reason Code, or not for this packet.
#[inline]
pub(crate) fn read_reason_code(number: u8, packet_type: PacketType) -> Result<ReasonCode, Rule> {
    let code = ReasonCode::from_u8(number).filter(|&code| may_carry(packet_type, code));
    code.ok_or(Rule::ReasonCodeNotAllowed)
}

#[inline]
fn may_carry(packet_type: PacketType, code: ReasonCode) -> bool {
    match packet_type {
        PacketType::ConnAck => in_connack(code),
        PacketType::PubAck | PacketType::PubRec => in_puback(code),
        PacketType::PubRel | PacketType::PubComp => {
            matches!(code, ReasonCode::Success | ReasonCode::PacketIdentifierNotFound)
        }
        PacketType::SubAck => in_suback(code),
        PacketType::UnsubAck => in_unsuback(code),
        PacketType::Disconnect => in_disconnect(code),
        PacketType::Auth => matches!(
            code,
            ReasonCode::Success | ReasonCode::ContinueAuthentication | ReasonCode::ReAuthenticate
        ),
        _ => false, // these have no Reason Code
    }
}

/// [MQTT-3.2.2-8]
fn in_connack(code: ReasonCode) -> bool {
    use ReasonCode as Code;
    code == Code::Success
        || (code.is_error()
            && !matches!(
                code,
                Code::ServerShuttingDown
                    | Code::KeepAliveTimeout
                    | Code::SessionTakenOver
                    | Code::TopicFilterInvalid
                    | Code::PacketIdentifierInUse
                    | Code::PacketIdentifierNotFound
                    | Code::ReceiveMaximumExceeded
                    | Code::TopicAliasInvalid
                    | Code::MessageRateTooHigh
                    | Code::AdministrativeAction
                    | Code::SharedSubscriptionsNotSupported
                    | Code::MaximumConnectTime
                    | Code::SubscriptionIdentifiersNotSupported
                    | Code::WildcardSubscriptionsNotSupported
            ))
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1]
fn in_puback(code: ReasonCode) -> bool {
    use ReasonCode as Code;
    matches!(
        code,
        Code::Success
            | Code::NoMatchingSubscribers
            | Code::UnspecifiedError
            | Code::ImplementationSpecificError
            | Code::NotAuthorized
            | Code::TopicNameInvalid
            | Code::PacketIdentifierInUse
            | Code::QuotaExceeded
            | Code::PayloadFormatInvalid
    )
}

/// [MQTT-3.9.3-2]
fn in_suback(code: ReasonCode) -> bool {
    use ReasonCode as Code;
    matches!(
        code,
        Code::Success
            | Code::GrantedQoS1
            | Code::GrantedQoS2
            | Code::UnspecifiedError
            | Code::ImplementationSpecificError
            | Code::NotAuthorized
            | Code::TopicFilterInvalid
            | Code::PacketIdentifierInUse
            | Code::QuotaExceeded
            | Code::SharedSubscriptionsNotSupported
            | Code::SubscriptionIdentifiersNotSupported
            | Code::WildcardSubscriptionsNotSupported
    )
}

/// [MQTT-3.11.3-2]
fn in_unsuback(code: ReasonCode) -> bool {
    use ReasonCode as Code;
    matches!(
        code,
        Code::Success
            | Code::NoSubscriptionExisted
            | Code::UnspecifiedError
            | Code::ImplementationSpecificError
            | Code::NotAuthorized
            | Code::TopicFilterInvalid
            | Code::PacketIdentifierInUse
    )
}

/// [MQTT-3.14.2-1]
fn in_disconnect(code: ReasonCode) -> bool {
    use ReasonCode as Code;
    matches!(code, Code::Success | Code::DisconnectWithWillMessage)
        || (code.is_error()
            && !matches!(
                code,
                Code::UnsupportedProtocolVersion
                    | Code::ClientIdentifierNotValid
                    | Code::BadUserNameOrPassword
                    | Code::ServerUnavailable
                    | Code::Banned
                    | Code::BadAuthenticationMethod
                    | Code::PacketIdentifierInUse
                    | Code::PacketIdentifierNotFound
            ))
}
