"""Will Messages: sent when a connection is cut, not when it is ended, with all that they carry."""

import time

import pytest
from paho.mqtt.packettypes import PacketTypes

from client import V5, Client, properties
from conftest import differs


@pytest.fixture
def make_with_will(address, make_client):
    """Connects a client with a Will Message; `values` are the will's properties."""
    def make(version, topic, payload=b"gone", qos=1, retain=False, session=False, keep_alive=60,
             **values):
        client = Client(address, version, session=session, keep_alive=keep_alive)
        carried = properties(PacketTypes.WILLMESSAGE, **values) if version == V5 else None
        client.paho.will_set(topic, payload, qos, retain, carried)
        client.connect()
        return client
    return make


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_will_is_sent_when_the_connection_is_cut(
        make_client, make_with_will, version, topic, qos, retain):
    watcher = make_client(version)
    watcher.subscribe(topic, 2)
    make_with_will(version, topic, b"gone", qos, retain).cut()
    message = watcher.receive()
    assert (message.payload, message.qos, message.retain) == (b"gone", qos, False)
    late = make_client(version)
    late.subscribe(topic, 2)
    if retain:
        assert late.receive().retain
    make_client(version).publish(topic, b"end", 1)
    assert late.receive_until(b"end") == []


def test_will_is_not_sent_after_disconnect(make_client, make_with_will, version, topic):
    watcher = make_client(version)
    watcher.subscribe(topic, 1)
    client = make_with_will(version, topic)
    client.disconnect()
    # Once the same Client Identifier is connected again, the first connection is history.
    make_client(version, client.client_id)
    make_client(version).publish(topic, b"end", 1)
    assert watcher.receive_until(b"end") == []


def test_will_is_sent_on_takeover(make_client, make_with_will, version, topic):
    watcher = make_client(version)
    watcher.subscribe(topic, 1)
    client = make_with_will(version, topic)
    make_client(version, client.client_id)
    assert watcher.receive().payload == b"gone"


def test_will_of_a_client_that_falls_silent(make_client, make_with_will, version, topic):
    watcher = make_client(version)
    watcher.subscribe(topic, 1)
    client = make_with_will(version, topic, keep_alive=1)
    # Nobody sends PINGREQ any more, and the connection stays open.
    client.paho.loop_stop()
    assert watcher.receive().payload == b"gone"


def test_disconnect_with_will(make_client, make_with_will, topic):
    watcher = make_client(V5)
    watcher.subscribe(topic, 1)
    make_with_will(V5, topic).disconnect(0x04)
    assert watcher.receive().payload == b"gone"


def test_will_carries_its_properties(make_client, make_with_will, topic):
    watcher = make_client(V5)
    watcher.subscribe(topic, 1)
    make_with_will(
        V5, topic, UserProperty=[("a", "1"), ("a", "2")], ContentType="text/plain",
        ResponseTopic="answers", CorrelationData=b"\x00\x01", PayloadFormatIndicator=1,
        MessageExpiryInterval=60).cut()
    carried = watcher.receive().properties
    assert carried.UserProperty == [("a", "1"), ("a", "2")]
    assert (carried.ContentType, carried.ResponseTopic) == ("text/plain", "answers")
    assert (carried.CorrelationData, carried.PayloadFormatIndicator) == (b"\x00\x01", 1)
    assert 0 < carried.MessageExpiryInterval <= 60


def test_will_delay_is_kept(make_client, make_with_will, topic):
    watcher = make_client(V5)
    watcher.subscribe(topic, 1)
    client = make_with_will(V5, topic, session=True, WillDelayInterval=2)
    began = time.monotonic()
    client.cut()
    assert watcher.receive().payload == b"gone"
    assert time.monotonic() - began > 0.9, "sent without the delay"


def test_will_delay_ends_with_the_return_of_the_client(make_client, make_with_will, topic):
    watcher = make_client(V5)
    watcher.subscribe(topic, 1)
    client = make_with_will(V5, topic, session=True, WillDelayInterval=1)
    client.cut()
    make_client(V5, client.client_id, session=True)
    # Another client's will with a longer delay is the clock: after it the first would have come.
    clock = make_with_will(V5, topic, b"clock", session=True, WillDelayInterval=3)
    clock.cut()
    assert watcher.receive_until(b"clock") == []


@differs("mosquitto", "2.0.11 keeps the will back although no session is left")
def test_will_delay_ends_with_the_session(make_client, make_with_will, topic):
    watcher = make_client(V5)
    watcher.subscribe(topic, 1)
    client = make_with_will(V5, topic, WillDelayInterval=3600)
    client.cut()
    assert watcher.receive().payload == b"gone"
