//! Makes the Control Packets that a command asks for.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{
    Connect, ConnectProperties, PacketIdentifier, Publish, PublishProperties, TopicName, Will,
};

use super::{ConnectOptions, Publication};
use crate::client::property::PropertySet;

/// Makes the CONNECT of `options`.
pub(super) fn connect(options: &ConnectOptions, clean_start: bool) -> Connect<'_> {
    Connect {
        version: options.version,
        bridge: false,
        clean_start,
        keep_alive_seconds: options.keep_alive_seconds,
        client_id: &options.client_id,
        will: will(options),
        user_name: options.user_name.as_deref(),
        password: options.password.as_ref().map(|password| password.expose().as_bytes()),
        properties: connect_properties(&options.properties),
    }
}

fn connect_properties(set: &PropertySet) -> ConnectProperties<'_> {
    ConnectProperties {
        session_expiry_interval: set.number("session-expiry-interval"),
        receive_maximum: set.short("receive-maximum").and_then(NonZeroU16::new),
        maximum_packet_size: set.number("maximum-packet-size").and_then(NonZeroU32::new),
        topic_alias_maximum: set.short("topic-alias-maximum"),
        request_response_information: set.flag("request-response-information"),
        request_problem_information: set.flag("request-problem-information"),
        authentication_method: set.text("authentication-method"),
        authentication_data: set.text("authentication-data").map(str::as_bytes),
        user_properties: set.user_properties(),
    }
}

/// Makes the Will Message, whose topics were checked when the options were made.
fn will(options: &ConnectOptions) -> Option<Will<'_>> {
    let will = options.will.as_ref()?;
    Some(Will {
        qos: will.qos,
        retain: will.retain,
        topic: topic_name(&will.topic).ok()?,
        payload: &will.payload,
        delay_interval_seconds: will.properties.number("will-delay-interval"),
        properties: publish_properties(&will.properties).ok()?,
    })
}

/// How a PUBLISH names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicForm {
    /// By the Topic Name alone, even if an alias was asked for.
    Name,
    /// By the Topic Name, together with its alias if one was asked for.
    NameWithAlias,
    /// By the alias alone.
    Alias,
}

/// Makes the PUBLISH of `publication`. Fails if a Topic Name is not valid.
pub(super) fn publish(
    publication: &Publication,
    packet_id: Option<PacketIdentifier>,
    dup: bool,
    form: TopicForm,
) -> Result<Publish<'_>, String> {
    let mut properties = publish_properties(&publication.properties)?;
    if form == TopicForm::Name {
        properties.topic_alias = None;
    }
    let topic = if form == TopicForm::Alias { "" } else { &publication.topic };
    Ok(Publish {
        dup,
        qos: publication.qos,
        retain: publication.retain,
        topic: topic_name(topic)?,
        packet_id,
        properties,
        payload: &publication.payload,
    })
}

fn publish_properties(set: &PropertySet) -> Result<PublishProperties<'_>, String> {
    Ok(PublishProperties {
        payload_format_indicator: set.flag("payload-format-indicator"),
        message_expiry_interval_seconds: set.number("message-expiry-interval"),
        topic_alias: set.short("topic-alias").and_then(NonZeroU16::new),
        response_topic: set.text("response-topic").map(topic_name).transpose()?,
        correlation_data: set.text("correlation-data").map(str::as_bytes),
        content_type: set.text("content-type"),
        user_properties: set.user_properties(),
        ..PublishProperties::default()
    })
}

/// Makes a Topic Name, which is empty if a topic alias stands in for it.
fn topic_name(topic: &str) -> Result<TopicName<'_>, String> {
    if topic.is_empty() {
        return Ok(TopicName::empty());
    }
    TopicName::new(topic).map_err(|error| format!("'{topic}' is not a Topic Name: {error}"))
}
