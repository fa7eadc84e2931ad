"""MQTT 5 properties from the publisher to the subscriber, and what brokers do with them."""

import pytest

from client import V5, V311, let_time_pass


def test_properties_arrive_as_they_were_sent(make_client, topic):
    subscriber, publisher = make_client(V5), make_client(V5)
    subscriber.subscribe(topic, 1)
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", ""), ("ä", "ö")]
    publisher.publish(
        topic, "größe", 1, UserProperty=pairs, ContentType="text/plain; charset=utf-8",
        ResponseTopic=topic + "/answers", CorrelationData=bytes(range(256)),
        PayloadFormatIndicator=1)
    carried = subscriber.receive().properties
    assert carried.UserProperty == pairs
    assert carried.ContentType == "text/plain; charset=utf-8"
    assert carried.ResponseTopic == topic + "/answers"
    assert carried.CorrelationData == bytes(range(256))
    assert carried.PayloadFormatIndicator == 1
    assert not hasattr(carried, "MessageExpiryInterval")


def test_properties_are_kept_with_a_retained_message(make_client, topic):
    make_client(V5).publish(topic, b"x", 1, retain=True, UserProperty=[("k", "v")], ContentType="c")
    subscriber = make_client(V5)
    subscriber.subscribe(topic, 1)
    carried = subscriber.receive().properties
    assert (carried.UserProperty, carried.ContentType) == ([("k", "v")], "c")


def test_older_versions_get_the_message_without_properties(make_client, topic):
    subscriber = make_client(V311)
    subscriber.subscribe(topic, 1)
    make_client(V5).publish(topic, b"x", 1, UserProperty=[("k", "v")], ContentType="c")
    assert subscriber.receive().payload == b"x"


def test_message_expiry_is_counted_down(make_client, topic):
    first = make_client(V5, session=True)
    first.subscribe(topic, 1)
    first.disconnect()
    make_client(V5).publish(topic, b"x", 1, MessageExpiryInterval=60)
    let_time_pass(2.1)
    second = make_client(V5, first.client_id, session=True)
    assert 50 <= second.receive().properties.MessageExpiryInterval <= 58


def test_expired_message_is_not_delivered(make_client, topic):
    first = make_client(V5, session=True)
    first.subscribe(topic, 1)
    first.disconnect()
    publisher = make_client(V5)
    publisher.publish(topic, b"short", 1, MessageExpiryInterval=1)
    publisher.publish(topic, b"long", 1)
    let_time_pass(2.1)
    second = make_client(V5, first.client_id, session=True)
    assert second.receive_until(b"long") == []


def test_message_above_the_maximum_packet_size_is_not_sent(make_client, topic):
    subscriber, publisher = make_client(V5, MaximumPacketSize=500), make_client(V5)
    subscriber.subscribe(topic, 1)
    publisher.publish(topic, bytes(501), 1)
    publisher.publish(topic, b"small", 1)
    assert subscriber.receive_until(b"small") == []


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_request_and_response(make_client, topic, qos):
    requester, responder = make_client(V5), make_client(V5)
    responder.subscribe(topic + "/requests", qos)
    requester.subscribe(topic + "/answers/+", qos)
    requester.publish(topic + "/requests", b"2 + 2", qos, ResponseTopic=topic + "/answers/1",
                      CorrelationData=b"\x00first")
    request = responder.receive().properties
    responder.publish(request.ResponseTopic, b"4", qos, CorrelationData=request.CorrelationData)
    answer = requester.receive()
    assert (answer.topic, answer.payload) == (topic + "/answers/1", b"4")
    assert answer.properties.CorrelationData == b"\x00first"
