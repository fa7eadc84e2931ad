"""Session State: resumed with what was queued, discarded when asked, owned by one connection."""

import pytest

from client import V5, V31, let_time_pass
from conftest import differs

SESSION_TAKEN_OVER = 0x8E
NO_SUBSCRIPTION_EXISTED = 0x11


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("end", ["cut", "disconnect"])
def test_queued_messages_arrive_on_resume(make_client, version, topic, qos, end):
    first = make_client(version, session=True)
    first.subscribe(topic + "/#", 2)
    getattr(first, end)()
    publisher = make_client(version)
    for number in range(20):
        publisher.publish(f"{topic}/{number}", str(number), qos)
    second = make_client(version, first.client_id, session=True)
    if version != V31:
        assert second.connack.session_present
    messages = [second.receive() for _ in range(20)]
    assert [message.payload for message in messages] == [b"%d" % n for n in range(20)]
    assert {message.qos for message in messages} == {qos}
    publisher.publish(topic, b"live", qos)
    assert second.receive_until(b"live") == []


def test_clean_start_discards_the_session(make_client, version, topic):
    first = make_client(version, session=True)
    first.subscribe(topic, 1)
    first.disconnect()
    make_client(version).publish(topic, b"for the old session", 1)
    second = make_client(version, first.client_id)
    assert not second.connack.session_present
    second.subscribe(topic + "/end", 1)
    publisher = make_client(version)
    publisher.publish(topic, b"to nobody", 1)
    publisher.publish(topic + "/end", b"end", 1)
    assert second.receive_until(b"end") == []


def test_session_is_not_present_the_first_time(make_client, version):
    assert not make_client(version, session=True).connack.session_present


def test_session_ends_with_the_connection_without_an_expiry(make_client, topic):
    first = make_client(V5, session=True, SessionExpiryInterval=0)
    first.subscribe(topic, 1)
    first.disconnect()
    second = make_client(V5, first.client_id, session=True)
    assert not second.connack.session_present


def test_session_expires(make_client, topic):
    first = make_client(V5, session=True, SessionExpiryInterval=1)
    first.subscribe(topic, 1)
    first.cut()
    let_time_pass(2.5)
    second = make_client(V5, first.client_id, session=True)
    assert not second.connack.session_present


def test_disconnect_changes_the_expiry(make_client, topic):
    first = make_client(V5, session=True, SessionExpiryInterval=300)
    first.disconnect(SessionExpiryInterval=0)
    second = make_client(V5, first.client_id, session=True, SessionExpiryInterval=1)
    assert not second.connack.session_present
    second.disconnect(SessionExpiryInterval=300)
    let_time_pass(2.1)
    third = make_client(V5, first.client_id, session=True)
    assert third.connack.session_present


@differs("mosquitto", "2.0.11 closes the connection without a DISCONNECT")
def test_takeover_is_explained_to_the_first_connection(make_client):
    first = make_client(V5, session=True)
    make_client(V5, first.client_id, session=True)
    assert first.wait_for_end() == SESSION_TAKEN_OVER


def test_takeover_ends_the_first_connection(make_client, version):
    first = make_client(version, session=True)
    make_client(version, first.client_id, session=True)
    first.wait_for_end()


def test_takeover_keeps_the_session(make_client, version, topic):
    first = make_client(version, session=True)
    first.subscribe(topic, 1)
    second = make_client(version, first.client_id, session=True)
    first.wait_for_end()
    make_client(version).publish(topic, b"to the second", 1)
    assert second.receive().payload == b"to the second"


def test_client_identifier_is_assigned(make_client):
    first, second = make_client(V5, ""), make_client(V5, "")
    names = [client.connack.properties.AssignedClientIdentifier for client in (first, second)]
    assert all(names) and names[0] != names[1]


def test_assigned_client_identifier_can_be_used(make_client, topic):
    first = make_client(V5, "", SessionExpiryInterval=300)
    first.subscribe(topic, 1)
    name = first.connack.properties.AssignedClientIdentifier
    first.disconnect()
    assert make_client(V5, name, session=True).connack.session_present


def test_unsubscribe_says_whether_there_was_a_subscription(make_client, topic):
    client = make_client(V5)
    client.subscribe(topic)
    assert client.unsubscribe(topic) == [0]
    assert client.unsubscribe(topic) == [NO_SUBSCRIPTION_EXISTED]


def test_keep_alive_keeps_the_connection(make_client, version):
    client = make_client(version, keep_alive=1)
    let_time_pass(2.5)
    assert client.paho.is_connected()
