"""Retained messages: set, replaced, cleared, and given to new subscriptions as they ask."""

import pytest

from client import V5, let_time_pass


@pytest.fixture
def publisher(make_client, version):
    return make_client(version)


def retained(make_client, version, topic_filter, end, **options):
    """The retained messages that a new subscription to `topic_filter` gets."""
    client = make_client(version)
    client.subscribe(topic_filter, 2, **options)
    client.subscribe(end)
    make_client(version).publish(end, b"end")
    return {message.topic: message for message in client.receive_until(b"end")}


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_message_is_set(make_client, version, publisher, topic, qos):
    publisher.publish(topic, b"kept", qos, retain=True)
    publisher.settle()
    subscriber = make_client(version)
    subscriber.subscribe(topic, 2)
    received = subscriber.receive()
    assert (received.payload, received.qos, received.retain) == (b"kept", qos, True)


def test_retained_message_is_replaced(make_client, version, publisher, topic):
    publisher.publish(topic, b"old", 1, retain=True)
    publisher.publish(topic, b"new", 1, retain=True)
    found = retained(make_client, version, topic, topic + "/end")
    assert [message.payload for message in found.values()] == [b"new"]


def test_retained_message_is_cleared_by_an_empty_payload(make_client, version, publisher, topic):
    publisher.publish(topic, b"kept", 1, retain=True)
    publisher.publish(topic, b"", 1, retain=True)
    assert retained(make_client, version, topic, topic + "/end") == {}


def test_message_without_retain_leaves_the_retained_one(make_client, version, publisher, topic):
    publisher.publish(topic, b"kept", 1, retain=True)
    publisher.publish(topic, b"passing", 1)
    found = retained(make_client, version, topic, topic + "/end")
    assert found[topic].payload == b"kept"


def test_wildcards_find_retained_messages(make_client, version, publisher, topic):
    for name in ["a/1", "a/2", "b/1"]:
        publisher.publish(f"{topic}/{name}", name, 1, retain=True)
    found = retained(make_client, version, topic + "/a/+", topic + "/end")
    assert set(found) == {topic + "/a/1", topic + "/a/2"}
    found = retained(make_client, version, topic + "/#", topic + "-end")
    assert set(found) == {f"{topic}/{name}" for name in ["a/1", "a/2", "b/1"]}


def test_established_subscription_sees_it_without_the_flag(make_client, version, publisher, topic):
    subscriber = make_client(version)
    subscriber.subscribe(topic, 1)
    publisher.publish(topic, b"live", 1, retain=True)
    assert not subscriber.receive().retain


def test_retain_as_published_keeps_the_flag(make_client, topic):
    subscriber, publisher = make_client(V5), make_client(V5)
    subscriber.subscribe(topic, 1, retainAsPublished=True)
    publisher.publish(topic, b"live", 1, retain=True)
    assert subscriber.receive().retain
    publisher.publish(topic, b"passing", 1)
    assert not subscriber.receive().retain


@pytest.mark.parametrize("handling, first, again", [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling(make_client, topic, handling, first, again):
    publisher, subscriber = make_client(V5), make_client(V5)
    publisher.publish(topic, b"kept", 1, retain=True)
    subscriber.subscribe(topic + "/end", 1)
    for number, expected in enumerate([first, again]):
        subscriber.subscribe(topic, 1, retainHandling=handling)
        publisher.publish(topic + "/end", f"end {number}", 1)
        assert len(subscriber.receive_until(f"end {number}".encode())) == expected


def test_retained_message_expires(make_client, topic):
    publisher = make_client(V5)
    publisher.publish(topic, b"short", 1, retain=True, MessageExpiryInterval=1)
    let_time_pass(2.1)
    assert retained(make_client, V5, topic, topic + "/end") == {}
