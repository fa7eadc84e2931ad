//! What only MQTT 5.0 has: properties, subscription options, explained endings.

use midge_client_tests_rumqttc::{
    peer_is, unique,
    v5::{
        Client, ConnectionError, DisconnectReasonCode, Filter, LastWill, LastWillProperties,
        PublishProperties, QoS, RetainForwardRule, StateError, SubscribeProperties, options,
    },
};

const QOS: QoS = QoS::AtLeastOnce;

async fn client() -> Client {
    Client::connect(options(None, false)).await
}

async fn publish_with(client: &mut Client, topic: &str, payload: &str, with: PublishProperties) {
    let payload = payload.to_owned();
    let sent = client.requests.publish_with_properties(topic, QOS, false, payload, with).await;
    sent.expect("room for a request");
    client.wait_for_publish(QOS).await;
}

async fn subscribe_with(client: &mut Client, filter: Filter, identifier: Option<usize>) {
    let with = SubscribeProperties { id: identifier, user_properties: Vec::new() };
    let sent = client.requests.subscribe_many_with_properties([filter], with).await;
    sent.expect("room for a request");
    client.wait_for_suback().await;
}

#[tokio::test]
async fn properties_arrive_as_they_were_sent() {
    let (mut client, topic) = (client().await, unique("rumqttc/"));
    client.subscribe(&topic, QOS).await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sent = PublishProperties {
        payload_format_indicator: Some(1),
        response_topic: Some("answers".to_owned()),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: vec![pair("b", "1"), pair("a", "2"), pair("b", "3")],
        content_type: Some("text/plain".to_owned()),
        ..PublishProperties::default()
    };
    publish_with(&mut client, &topic, "x", sent.clone()).await;
    assert_eq!(client.receive().await.properties, Some(sent));
}

#[tokio::test]
async fn subscription_identifiers_are_named() {
    let (mut client, topic) = (client().await, unique("rumqttc/"));
    subscribe_with(&mut client, Filter::new(format!("{topic}/#"), QOS), Some(1)).await;
    subscribe_with(&mut client, Filter::new(format!("{topic}/+"), QOS), Some(200)).await;
    client.publish(&format!("{topic}/a"), QOS, false, "x").await;
    client.publish(&format!("{topic}/b/c"), QOS, false, "end").await;
    let messages = client.receive_until("end").await.into_iter();
    let properties = messages.filter_map(|message| message.properties);
    let mut named: Vec<_> = properties.flat_map(|p| p.subscription_identifiers).collect();
    named.sort_unstable();
    assert_eq!(named, [1, 200]);
}

#[tokio::test]
async fn no_local_keeps_a_client_from_hearing_itself() {
    let (mut one, mut other, topic) = (client().await, client().await, unique("rumqttc/"));
    let mut filter = Filter::new(&topic, QOS);
    filter.nolocal = true;
    subscribe_with(&mut one, filter, None).await;
    one.publish(&topic, QOS, false, "mine").await;
    other.publish(&topic, QOS, false, "theirs").await;
    assert!(one.receive_until("theirs").await.is_empty());
}

#[tokio::test]
async fn retain_options_are_kept() {
    let (mut client, topic) = (client().await, unique("rumqttc/"));
    client.publish(&topic, QOS, true, "kept").await;
    let mut filter = Filter::new(&topic, QOS);
    filter.retain_forward_rule = RetainForwardRule::Never;
    filter.preserve_retain = true;
    subscribe_with(&mut client, filter, None).await;
    client.publish(&topic, QOS, true, "live").await;
    let message = client.receive().await;
    assert_eq!((&message.payload[..], message.retain), (&b"live"[..], true));
}

#[tokio::test]
async fn topic_aliases_of_the_client_are_understood() {
    let (mut subscriber, mut publisher, topic) =
        (client().await, client().await, unique("rumqttc/"));
    subscriber.subscribe(&topic, QOS).await;
    let alias = PublishProperties { topic_alias: Some(1), ..PublishProperties::default() };
    publish_with(&mut publisher, &topic, "1", alias.clone()).await;
    publish_with(&mut publisher, "", "2", alias).await;
    for payload in ["1", "2"] {
        let message = subscriber.receive().await;
        assert_eq!(
            (&message.topic[..], &message.payload[..]),
            (topic.as_bytes(), payload.as_bytes())
        );
    }
}

#[tokio::test]
async fn a_will_carries_its_properties() {
    let (mut watcher, topic) = (client().await, unique("rumqttc/"));
    watcher.subscribe(&topic, QOS).await;
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(60),
        content_type: Some("text/plain".to_owned()),
        response_topic: Some("answers".to_owned()),
        correlation_data: Some(vec![1].into()),
        user_properties: vec![("a".to_owned(), "b".to_owned())],
    };
    let mut with_will = options(None, false);
    with_will.set_last_will(LastWill::new(&topic, "gone", QOS, false, Some(properties)));
    drop(Client::connect(with_will).await);
    let carried = watcher.receive().await.properties.expect("properties");
    assert_eq!(carried.content_type.as_deref(), Some("text/plain"));
    assert_eq!(carried.response_topic.as_deref(), Some("answers"));
    assert_eq!(carried.user_properties, [("a".to_owned(), "b".to_owned())]);
    assert!(carried.message_expiry_interval.is_some_and(|seconds| seconds <= 60));
}

#[tokio::test]
async fn a_request_is_answered() {
    let (mut requester, mut responder) = (client().await, client().await);
    let topic = unique("rumqttc/");
    let answers = format!("{topic}/answers");
    responder.subscribe(&topic, QOS).await;
    requester.subscribe(&answers, QOS).await;
    let request = PublishProperties {
        response_topic: Some(answers),
        correlation_data: Some(vec![7].into()),
        ..PublishProperties::default()
    };
    publish_with(&mut requester, &topic, "2 + 2", request).await;
    let request = responder.receive().await.properties.expect("properties");
    let answers = request.response_topic.expect("a response topic");
    let correlation_data = request.correlation_data;
    let answer = PublishProperties { correlation_data, ..PublishProperties::default() };
    publish_with(&mut responder, &answers, "4", answer).await;
    let answer = requester.receive().await;
    assert_eq!(answer.payload, "4");
    let correlation_data = answer.properties.and_then(|properties| properties.correlation_data);
    assert_eq!(correlation_data.as_deref(), Some(&[7][..]));
}

#[tokio::test]
async fn a_takeover_is_explained() {
    if peer_is("mosquitto") {
        // 2.0.11 closes the connection without a DISCONNECT.
        return;
    }
    let first = client().await;
    let second = Client::connect(options(Some(&first.id), false)).await;
    let ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) =
        first.end().await
    else {
        panic!("the connection ended without a DISCONNECT")
    };
    assert_eq!(reason_code, DisconnectReasonCode::SessionTakenOver);
    second.disconnect().await;
}
