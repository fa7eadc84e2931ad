"""Topic Filters with wildcards, Topic Names beyond ASCII, payloads at both ends of their size."""

import pytest


@pytest.mark.parametrize("topic_filter, matching, other", [
    ("{}/+/c", ["{}/b/c", "{}//c"], ["{}/c", "{}/b/x/c", "{}/b"]),
    ("{}/#", ["{}", "{}/a", "{}/a/b"], ["{}x", "x{}/a"]),
    ("{}/+", ["{}/", "{}/a"], ["{}", "{}/a/b"]),
    ("{}/+/#", ["{}/a", "{}/a/b/c"], ["{}"]),
    ("{}/a", ["{}/a"], ["{}/A", "{}/a/"]),
])
def test_filter_matches_what_it_says(make_client, version, topic, topic_filter, matching, other):
    subscriber, publisher = make_client(version), make_client(version)
    subscriber.subscribe(topic_filter.format(topic))
    subscriber.subscribe(topic + "/end/of/this/test")
    for name in matching + other:
        publisher.publish(name.format(topic), b"x")
    publisher.publish(topic + "/end/of/this/test", b"end")
    received = {message.topic for message in subscriber.receive_until(b"end")}
    assert received == {name.format(topic) for name in matching}


@pytest.mark.parametrize("name", ["grün/温度/🌡", " spaces around ", "\u00e9 and e\u0301"])
def test_topic_beyond_ascii(make_client, version, topic, name):
    client = make_client(version)
    client.subscribe(f"{topic}/{name}")
    client.publish(f"{topic}/{name}", "größe")
    message = client.receive()
    assert message.topic == f"{topic}/{name}"
    assert message.payload.decode() == "größe"


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_large_payload(make_client, version, topic, qos):
    payload = bytes(range(256)) * (900 * 4)
    subscriber, publisher = make_client(version), make_client(version)
    subscriber.subscribe(topic, qos)
    publisher.publish(topic, payload, qos)
    assert subscriber.receive().payload == payload


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_empty_payload(make_client, version, topic, qos):
    subscriber, publisher = make_client(version), make_client(version)
    subscriber.subscribe(topic, qos)
    publisher.publish(topic, b"", qos)
    message = subscriber.receive()
    assert (message.payload, message.qos) == (b"", qos)


def test_unsubscribe_ends_delivery(make_client, version, topic):
    subscriber, publisher = make_client(version), make_client(version)
    subscriber.subscribe(topic + "/#", 1)
    subscriber.subscribe(topic + "/end", 1)
    subscriber.unsubscribe(topic + "/#")
    publisher.publish(topic + "/a", b"not wanted any more", 1)
    publisher.publish(topic + "/end", b"end", 1)
    assert subscriber.receive_until(b"end") == []
