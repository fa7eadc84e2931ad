"""Several subscriptions for one message: overlapping, identified, shared, not for its sender."""

import queue

import pytest

from client import V5, V31, V311, publish_properties
from conftest import differs


def identifiers(message):
    """The Subscription Identifiers of a message, sorted."""
    return sorted(getattr(message.properties, "SubscriptionIdentifier", []))


# Version 5 may send a copy for each: see the test of their identifiers.
@differs("mosquitto", "2.0.11 sends one copy at the QoS of the subscription it finds first")
@pytest.mark.parametrize("version", [V31, V311])
def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos(make_client, version, topic):
    subscriber, publisher = make_client(version), make_client(version)
    for topic_filter, qos in [(topic + "/#", 0), (topic + "/+", 2), (topic + "/a", 1)]:
        subscriber.subscribe(topic_filter, qos)
    publisher.publish(topic + "/a", b"x", 2)
    publisher.publish(topic + "/a", b"end", 2)
    assert [message.qos for message in subscriber.receive_until(b"end")] == [2]


def test_each_overlapping_subscription_is_named_once(make_client, topic):
    subscriber, publisher = make_client(V5), make_client(V5)
    subscriber.subscribe(topic + "/#", 1, identifier=1)
    subscriber.subscribe(topic + "/+", 1, identifier=268_435_455)
    subscriber.subscribe(topic + "/b", 1, identifier=3)
    publisher.publish(topic + "/a", b"x", 1)
    publisher.publish(topic + "/b/c", b"end", 1)
    received = subscriber.receive_until(b"end")
    named = [number for message in received for number in identifiers(message)]
    assert sorted(named) == [1, 268_435_455]


def test_subscription_identifier_is_replaced(make_client, topic):
    subscriber, publisher = make_client(V5), make_client(V5)
    subscriber.subscribe(topic, 1, identifier=1)
    subscriber.subscribe(topic, 1, identifier=2)
    publisher.publish(topic, b"x", 1)
    assert identifiers(subscriber.receive()) == [2]


def test_no_local_keeps_a_client_from_hearing_itself(make_client, topic):
    client, other = make_client(V5), make_client(V5)
    client.subscribe(topic, 1, noLocal=True)
    client.publish(topic, b"mine", 1)
    other.publish(topic, b"theirs", 1)
    assert client.receive_until(b"theirs") == []


def test_without_no_local_a_client_hears_itself(make_client, version, topic):
    client = make_client(version)
    client.subscribe(topic, 1)
    client.publish(topic, b"mine", 1)
    assert client.receive().payload == b"mine"


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_shared_subscription_gives_each_message_to_one_member(make_client, version, topic, qos):
    inboxes = [queue.Queue(), queue.Queue()]
    members = [make_client(version, inbox=inbox) for inbox in inboxes]
    publisher = make_client(version)
    for member in members:
        member.subscribe(f"$share/group/{topic}/shared", qos)
        member.subscribe(topic + "/end", qos)
    for number in range(40):
        publisher.publish(topic + "/shared", str(number), qos)
    publisher.publish(topic + "/end", b"end", qos)
    received = [[m.payload for m in member.receive_until(b"end")] for member in members]
    assert all(received), "one member got nothing"
    together = sorted(payload for payloads in received for payload in payloads)
    assert together == sorted(b"%d" % number for number in range(40))


def test_shared_and_ordinary_subscription_both_get_it(make_client, version, topic):
    member, ordinary, publisher = (make_client(version) for _ in range(3))
    member.subscribe(f"$share/group/{topic}", 1)
    ordinary.subscribe(topic, 1)
    publisher.publish(topic, b"x", 1)
    assert member.receive().payload == ordinary.receive().payload == b"x"


def test_message_goes_to_a_member_that_stays(make_client, version, topic):
    leaving, staying, publisher = (make_client(version) for _ in range(3))
    for member in (leaving, staying):
        member.subscribe(f"$share/group/{topic}", 1)
    leaving.unsubscribe(f"$share/group/{topic}")
    for number in range(6):
        publisher.publish(topic, str(number), 1)
    assert staying.receive_payloads(6) == [b"%d" % number for number in range(6)]


def test_topic_alias_of_the_client(make_client, topic):
    subscriber, publisher = make_client(V5), make_client(V5)
    assert publisher.connack.properties.TopicAliasMaximum > 0
    subscriber.subscribe(topic + "/#", 1)
    publisher.publish(topic + "/a", b"1", 1, TopicAlias=1)
    publisher.publish("", b"2", 1, TopicAlias=1)
    publisher.publish(topic + "/b", b"3", 1, TopicAlias=1)
    publisher.publish("", b"4", 1, TopicAlias=1)
    received = [(m.topic, m.payload) for m in (subscriber.receive() for _ in range(4))]
    expected = [("/a", b"1"), ("/a", b"2"), ("/b", b"3"), ("/b", b"4")]
    assert received == [(topic + name, payload) for name, payload in expected]


def test_topic_alias_does_not_reach_the_subscriber(make_client, topic):
    subscriber, publisher = make_client(V5), make_client(V5)
    subscriber.subscribe(topic, 1)
    publisher.publish(topic, b"x", 1, TopicAlias=1)
    # This client allows no alias (Topic Alias Maximum is 0 unless it says otherwise).
    assert not hasattr(subscriber.receive().properties, "TopicAlias")
    assert hasattr(publish_properties(TopicAlias=1), "TopicAlias")
