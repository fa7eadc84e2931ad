//! Generated packets: what is encoded decodes to the same, and both ways to write a PUBLISH agree.

use std::num::NonZeroU32;

use midge_codec::{
    Decoded, Packet, PacketType, ProtocolVersion, Publish, PublishProperties, decode,
};
use midge_codec::{OutgoingPublish, TopicAliasUse};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::generate;

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).expect("generated packets are short");
    bytes
}

/// Encodes and decodes `packet`, and cuts its bytes in one place.
fn check_round_trip(
    packet: &Packet<'static>,
    version: ProtocolVersion,
    cut: Index,
) -> Result<(), TestCaseError> {
    let bytes = encoded(packet, version);
    let length = bytes.len();
    prop_assert_eq!(length, packet.encoded_len(version));
    let whole = decode(&bytes, version, length as u32);
    prop_assert_eq!(whole, Ok(Decoded::Packet { packet: packet.clone(), length }));
    prop_assert!(decode(&bytes, version, length as u32 - 1).is_err());
    let cut = cut.index(length);
    match decode(&bytes[..cut], version, length as u32) {
        Ok(Decoded::Incomplete { needed }) => prop_assert!(cut < needed && needed <= length),
        found => prop_assert!(false, "cut at {}: {:?}", cut, found),
    }
    Ok(())
}

#[test]
fn every_packet_of_every_version_decodes_to_what_was_encoded() {
    for &version in crate::packet_table::ALL {
        for packet_type in PacketType::ALL {
            if packet_type == PacketType::Auth && version != ProtocolVersion::V5 {
                continue;
            }
            let packets = (generate::packet_of(packet_type, version), any::<Index>());
            let result = TestRunner::default()
                .run(&packets, |(packet, cut)| check_round_trip(&packet, version, cut));
            if let Err(error) = result {
                panic!("{}, {version}: {error}", packet_type.name());
            }
        }
    }
}

/// `publish` as the fan-out writes it.
fn outgoing<'a>(
    publish: &'a Publish<'_>,
    identifiers: &'a [NonZeroU32],
    forwarded: &'a [u8],
) -> OutgoingPublish<'a> {
    let assigns = !publish.topic.as_str().is_empty();
    OutgoingPublish {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: if assigns { publish.topic.as_str() } else { "known/to/the/receiver" },
        topic_alias: publish.properties.topic_alias.map(|alias| match assigns {
            true => TopicAliasUse::Assign(alias),
            false => TopicAliasUse::Use(alias),
        }),
        packet_id: publish.packet_id,
        message_expiry_interval_seconds: publish.properties.message_expiry_interval_seconds,
        subscription_identifiers: identifiers,
        forwarded_properties: forwarded,
        payload_len: publish.payload.len(),
    }
}

fn publish() -> impl Strategy<Value = (ProtocolVersion, Publish<'static>)> {
    generate::version()
        .prop_flat_map(|version| generate::publish(version).prop_map(move |p| (version, p)))
}

proptest! {
    #[test]
    fn a_packet_behind_another_is_found((version, first, second) in two_packets()) {
        let mut bytes = encoded(&first, version);
        let length = bytes.len();
        second.encode(version, &mut bytes).expect("generated packets are short");
        let found = decode(&bytes, version, u32::MAX);
        prop_assert_eq!(found, Ok(Decoded::Packet { packet: first, length }));
        let (packet, length) = (second, bytes.len() - length);
        let found = decode(&bytes[bytes.len() - length..], version, u32::MAX);
        prop_assert_eq!(found, Ok(Decoded::Packet { packet, length }));
    }

    #[test]
    fn nothing_of_5_0_is_written_for_3_x(
        packet in generate::packet(ProtocolVersion::V5),
        is_3_1 in any::<bool>(),
    ) {
        let has_an_older_form = match &packet {
            Packet::Connect(_) | Packet::Auth(_) => false,
            Packet::Publish(publish) => !publish.topic.as_str().is_empty(),
            _ => true,
        };
        if !has_an_older_form {
            return Ok(());
        }
        let version = if is_3_1 { ProtocolVersion::V3_1 } else { ProtocolVersion::V3_1_1 };
        let bytes = encoded(&packet, version);
        prop_assert_eq!(bytes.len(), packet.encoded_len(version));
        match decode(&bytes, version, u32::MAX) {
            Ok(Decoded::Packet { packet: older, length }) => {
                prop_assert_eq!(length, bytes.len());
                prop_assert_eq!(older.packet_type(), packet.packet_type());
                prop_assert_eq!(encoded(&older, version), bytes);
            }
            found => prop_assert!(false, "{:?}", found),
        }
    }

    #[test]
    fn the_fan_out_writes_what_packet_encode_writes((version, publish) in publish()) {
        let mut forwarded = Vec::new();
        publish.properties.encode_forwarded(&mut forwarded);
        let identifiers: Vec<_> = publish.properties.subscription_identifiers.iter().collect();
        let outgoing = outgoing(&publish, &identifiers, &forwarded);
        let mut bytes = b"before".to_vec();
        let offset = outgoing.encode_head(version, &mut bytes);
        bytes.extend_from_slice(publish.payload);
        let bytes = &bytes[b"before".len()..];
        prop_assert_eq!(bytes, &encoded(&Packet::Publish(publish.clone()), version));
        prop_assert_eq!(bytes.len(), outgoing.encoded_len(version));
        match publish.packet_id {
            None => prop_assert_eq!(offset, 0),
            Some(id) => prop_assert_eq!(&bytes[offset..offset + 2], id.get().to_be_bytes()),
        }
    }

    #[test]
    fn forwarded_properties_are_those_of_the_message(
        publish in generate::publish(ProtocolVersion::V5),
    ) {
        let mut bytes = Vec::new();
        publish.properties.encode_forwarded(&mut bytes);
        let expected = PublishProperties {
            message_expiry_interval_seconds: None,
            topic_alias: None,
            subscription_identifiers: Default::default(),
            ..publish.properties
        };
        prop_assert_eq!(PublishProperties::decode_forwarded(&bytes), expected);
    }

    #[test]
    fn forwarded_properties_that_nobody_wrote_are_no_panic(bytes in generate::bytes()) {
        let properties = PublishProperties::decode_forwarded(&bytes);
        prop_assert!(properties.user_properties.len() <= bytes.len());
    }

    #[test]
    fn random_bytes_are_no_panic(bytes in generate::bytes(), version in generate::version()) {
        if let Ok(Decoded::Packet { packet, length }) = decode(&bytes, version, u32::MAX) {
            prop_assert!(length <= bytes.len());
            let again = encoded(&packet, version);
            let length = again.len();
            prop_assert_eq!(length, packet.encoded_len(version));
            let found = decode(&again, version, u32::MAX);
            prop_assert_eq!(found, Ok(Decoded::Packet { packet: packet.clone(), length }));
        }
    }
}

type TwoPackets = (ProtocolVersion, Packet<'static>, Packet<'static>);

fn two_packets() -> impl Strategy<Value = TwoPackets> {
    generate::version().prop_flat_map(|version| {
        (proptest::strategy::Just(version), generate::packet(version), generate::packet(version))
    })
}
