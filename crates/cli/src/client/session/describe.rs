//! One line for each Control Packet, as `-d` shows it, in the style of mosquitto's `-d`.

use midge_codec::{Acknowledgement, Packet, PacketIdentifier, ReasonCode};

pub(super) fn sending(packet: &Packet<'_>) -> String {
    format!("sending {}", describe(packet))
}

pub(super) fn received(packet: &Packet<'_>) -> String {
    format!("received {}", describe(packet))
}

pub(super) fn describe(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(connect) => format!(
            "CONNECT (MQTT {}, c{}, k{}, '{}')",
            connect.version,
            u8::from(connect.clean_start),
            connect.keep_alive_seconds,
            connect.client_id
        ),
        Packet::ConnAck(connack) => format!(
            "CONNACK (s{}, {})",
            u8::from(connack.session_present),
            reason(connack.reason_code)
        ),
        Packet::Publish(publish) => format!(
            "PUBLISH (d{}, q{}, r{}, m{}, '{}', ... ({} bytes))",
            u8::from(publish.dup),
            publish.qos as u8,
            u8::from(publish.retain),
            publish.packet_id.map_or(0, PacketIdentifier::get),
            publish.topic.as_str(),
            publish.payload.len()
        ),
        Packet::PubAck(content) => acknowledgement("PUBACK", content),
        Packet::PubRec(content) => acknowledgement("PUBREC", content),
        Packet::PubRel(content) => acknowledgement("PUBREL", content),
        Packet::PubComp(content) => acknowledgement("PUBCOMP", content),
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.subscriptions.iter().map(|subscription| {
                format!(", '{}' q{}", subscription.filter, subscription.options.qos as u8)
            });
            format!("SUBSCRIBE (m{}{})", subscribe.packet_id, filters.collect::<String>())
        }
        Packet::SubAck(suback) => {
            format!("SUBACK (m{}{})", suback.packet_id, reasons(&suback.reason_codes))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters = unsubscribe.filters.iter().map(|filter| format!(", '{filter}'"));
            format!("UNSUBSCRIBE (m{}{})", unsubscribe.packet_id, filters.collect::<String>())
        }
        Packet::UnsubAck(unsuback) => {
            format!("UNSUBACK (m{}{})", unsuback.packet_id, reasons(&unsuback.reason_codes))
        }
        Packet::PingReq => "PINGREQ".to_owned(),
        Packet::PingResp => "PINGRESP".to_owned(),
        Packet::Disconnect(disconnect) => {
            format!("DISCONNECT ({})", reason(disconnect.reason_code))
        }
        Packet::Auth(auth) => format!("AUTH ({})", reason(auth.reason_code)),
    }
}

fn acknowledgement(name: &str, content: &Acknowledgement<'_>) -> String {
    format!("{name} (m{}, {})", content.packet_id, reason(content.reason_code))
}

fn reasons(reason_codes: &[ReasonCode]) -> String {
    reason_codes.iter().map(|reason_code| format!(", {}", reason(*reason_code))).collect()
}

fn reason(reason_code: ReasonCode) -> String {
    format!("0x{:02X}", reason_code as u8)
}
