"""Debian's mosquitto with a bridge to the broker: in, out, both, and its state."""

import pytest

# mosquitto marks a bridge of 3.x by bit 0x80 of the protocol level, and asks in 5.0 by the options
# of its subscriptions.
VERSIONS = ["mqttv31", "mqttv311", "mqttv50"]


@pytest.fixture(params=VERSIONS)
def version(request):
    """The line that chooses the protocol of a bridge."""
    return "bridge_protocol_version " + request.param


def wait_until_up(client, address, mosquitto):
    """A bridge writes "1" to its state once the broker has let it in."""
    watcher = client(address)
    watcher.subscribe(mosquitto.state)
    message = watcher.receive()
    while message[1] != "1":
        message = watcher.receive()
    assert message[0] == mosquitto.state, mosquitto.tail()
    return watcher


def test_the_default_bridge_tells_whether_it_is_there(address, bridge, client, root, version):
    mosquitto = bridge(version, f"topic {root}/# both 1")
    watcher = wait_until_up(client, address, mosquitto)
    mosquitto.kill()
    assert watcher.receive() == (mosquitto.state, "0", True), "its Will Message, retained"


def test_messages_go_both_ways_once_and_keep_retain(address, bridge, client, root, version):
    mosquitto = bridge(version, f"topic {root}/# both 1")
    wait_until_up(client, address, mosquitto)
    here = client(address)
    here.subscribe(f"{root}/#")
    # Retained on the far side first, so that it comes however late the bridge subscribes there.
    here.publish(f"{root}/down", "down", retain=True)
    assert here.receive() == (f"{root}/down", "down", True)
    there = client(mosquitto.address)
    there.subscribe(f"{root}/#")
    assert there.receive()[:2] == (f"{root}/down", "down")
    there.publish(f"{root}/up", "up", retain=True)
    assert here.receive() == (f"{root}/up", "up", True)
    here.publish(f"{root}/end", "end down")
    # A message that had come back would be between these.
    seen = there.receive_until("end down")
    assert [message[1] for message in seen] == ["up", "end down"], mosquitto.tail()
    there.publish(f"{root}/end", "end up")
    assert [message[1] for message in here.receive_until("end up")] == ["end down", "end up"]


def test_without_notifications_nothing_comes_back_either(address, bridge, client, root, version):
    mosquitto = bridge(version, "notifications false", f"topic {root}/# both 1")
    here, there = client(address), client(mosquitto.address)
    here.subscribe(f"{root}/#")
    there.subscribe(f"{root}/#")
    # Retained, so that it comes however late the bridge connects; then it is up.
    here.publish(f"{root}/down", "down", retain=True)
    assert there.receive()[:2] == (f"{root}/down", "down"), mosquitto.tail()
    there.publish(f"{root}/up", "up", retain=True)
    there.publish(f"{root}/end", "end up")
    seen = here.receive_until("end up")
    assert [message[1:] for message in seen] == [("down", True), ("up", True), ("end up", False)]
    here.publish(f"{root}/end", "end down")
    seen = there.receive_until("end down")
    assert [message[1] for message in seen] == ["up", "end up", "end down"], mosquitto.tail()


@pytest.mark.parametrize("direction", ["in", "out"])
def test_one_way_with_prefixes(address, bridge, client, root, version, direction):
    mosquitto = bridge(version, f"topic # {direction} 1 near{root}/ far{root}/")
    wait_until_up(client, address, mosquitto)
    here, there = client(address), client(mosquitto.address)
    here.subscribe(f"far{root}/#")
    there.subscribe(f"near{root}/#")
    if direction == "in":
        here.publish(f"far{root}/a", "in", retain=True)
        assert there.receive()[:2] == (f"near{root}/a", "in")
    else:
        there.publish(f"near{root}/a", "out", retain=True)
        assert here.receive() == (f"far{root}/a", "out", True)
