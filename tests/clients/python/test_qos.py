"""QoS in both directions: what arrives, at which QoS, in which order, how often."""

import pytest

from client import V5, V31


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_message_arrives_at_the_lower_qos(make_client, version, topic, published, granted):
    subscriber, publisher = make_client(version), make_client(version)
    assert subscriber.subscribe(topic, granted) == [granted]
    publisher.publish(topic, b"payload", published)
    message = subscriber.receive()
    assert (message.payload, message.qos) == (b"payload", min(published, granted))
    assert not message.retain


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_arrive_once_and_in_order(make_client, version, topic, qos):
    subscriber, publisher = make_client(version), make_client(version)
    subscriber.subscribe(topic, qos)
    payloads = [str(number).encode() for number in range(200)]
    for payload in payloads:
        # Without waiting for each acknowledgement: several are under way at a time.
        last = publisher.paho.publish(topic, payload, qos)
    last.wait_for_publish(10)
    publisher.publish(topic, b"end", qos)
    received = [message.payload for message in subscriber.receive_until(b"end")]
    assert received == payloads


@pytest.mark.parametrize("sender", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_versions_talk_to_each_other(make_client, version, topic, sender, qos):
    subscriber, publisher = make_client(version), make_client(sender)
    subscriber.subscribe(topic, 2)
    publisher.publish(topic, b"across versions", qos)
    message = subscriber.receive()
    assert (message.payload, message.qos) == (b"across versions", qos)


def test_unacknowledged_message_is_sent_again_with_dup(make_client, version, topic):
    first = make_client(version, session=True, manual_ack=True)
    first.subscribe(topic, 1)
    make_client(version).publish(topic, b"again", 1)
    assert not first.receive().dup
    first.cut()
    second = make_client(version, first.client_id, session=True)
    assert second.connack.session_present or version == V31
    message = second.receive()
    assert (message.payload, message.dup) == (b"again", True)


def test_receive_maximum_limits_what_is_under_way(make_client, topic):
    subscriber = make_client(V5, manual_ack=True, ReceiveMaximum=1)
    subscriber.subscribe(topic, 1)
    publisher = make_client(V5)
    publisher.publish(topic, b"1", 1)
    publisher.publish(topic, b"2", 1)
    first = subscriber.receive()
    # What the broker may send it has sent before this SUBACK.
    subscriber.subscribe(topic + "/other", 1)
    assert subscriber.inbox.empty()
    subscriber.paho.ack(first.mid, first.qos)
    assert subscriber.receive().payload == b"2"
