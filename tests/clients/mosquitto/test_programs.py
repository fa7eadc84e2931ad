"""What the manual pages of mosquitto_pub, mosquitto_sub and mosquitto_rr promise, one by one."""

import threading

import pytest
from programs import DEADLINE, unique_client_id

QOS = pytest.mark.parametrize("qos", ["0", "1", "2"])


def session(version):
    """Arguments for a session that outlives its connection."""
    expiry = ["-x", "300"] if version == "mqttv5" else []
    return ["-c", "-i", unique_client_id(), *expiry]


@QOS
@pytest.mark.parametrize("granted", ["0", "1", "2"])
def test_quality_of_service(programs, subscriber, version, topic, qos, granted):
    window = subscriber("-t", topic, "-q", granted, "-F", "%q %p", version=version)
    programs.publish(topic, "-m", "x", "-q", qos, version=version)
    assert window.receive() == f"{min(qos, granted)} x"


def test_wildcards(programs, subscriber, version, topic):
    window = subscriber("-t", topic + "/+/c", "-t", topic + "/d/#", "-v", version=version)
    for name in ["a/c", "a/b/c", "/c", "d", "d/e/f", "c"]:
        # Each is a connection of its own: only the acknowledgement puts them in order.
        programs.publish(f"{topic}/{name}", "-m", "x", "-q", "1", version=version)
    programs.publish(topic + "/d/end", "-m", "end", "-q", "1", version=version)
    received = window.receive_until(f"{topic}/d/end end")
    assert received == [f"{topic}/{name} x" for name in ["a/c", "/c", "d", "d/e/f"]]


@QOS
def test_lines_arrive_in_order(programs, subscriber, version, topic, qos, differs):
    if (version, qos) == ("mqttv5", "2"):
        differs("mosquitto", "2.0.11 goes beyond the Receive Maximum, and mosquitto_sub ends")
    window = subscriber("-t", topic, "-q", qos, version=version)
    lines = [f"line {number}" for number in range(300)]
    with programs.publish_lines(topic, lines, "-q", qos, version=version):
        assert [window.receive() for _ in lines] == lines


@QOS
def test_retained_message(programs, subscriber, version, topic, qos):
    window = subscriber("-t", topic, version=version)
    programs.publish(topic, "-m", "kept", "-r", "-q", qos, version=version)
    # Without an acknowledgement, its arrival says that the broker has it.
    assert window.receive() == "kept"
    wanted = ["-t", topic + "/#", "-q", "2", "-C", "1", "-F", "%t %r %q %p"]
    said = programs.run_subscriber(*wanted, version=version)
    assert said.decode() == f"{topic} 1 {qos} kept\n"


def test_retained_message_is_replaced_and_cleared(programs, subscriber, version, topic):
    programs.publish(topic, "-m", "old", "-r", "-q", "1", version=version)
    programs.publish(topic, "-m", "new", "-r", "-q", "1", version=version)
    assert programs.run_subscriber("-t", topic, "-C", "1", version=version) == b"new\n"
    programs.publish(topic, "-n", "-r", "-q", "1", version=version)
    window = subscriber("-t", topic, "-q", "1", version=version)
    programs.publish(topic, "-m", "end", "-q", "1", version=version)
    assert window.receive_until("end") == []


@QOS
def test_will_of_a_killed_client(programs, subscriber, version, topic, qos):
    window = subscriber("-t", topic, "-q", "2", "-F", "%q %p", version=version)
    will = ["--will-topic", topic, "--will-payload", "gone", "--will-qos", qos]
    subscriber("-t", topic + "/other", *will, version=version).kill()
    assert window.receive() == f"{qos} gone"


@pytest.mark.parametrize("qos", ["1", "2"])
def test_queued_messages(programs, version, topic, qos):
    same = session(version)
    programs.run_subscriber("-t", topic, "-q", "2", "-E", *same, version=version)
    for number in range(10):
        programs.publish(topic, "-m", str(number), "-q", qos, version=version)
    said = programs.run_subscriber("-t", topic, "-q", "2", "-C", "10", *same, version=version)
    assert said.decode().split() == [str(number) for number in range(10)]


def test_takeover_ends_the_first(subscriber, version, topic):
    same = ["-i", unique_client_id()]
    first = subscriber("-t", topic, *same, version=version)
    subscriber("-t", topic, *same, version=version)
    # mosquitto_sub says when it is told (5.0), else that it connects again shows it was ended.
    first.wait_until_it_says("Received DISCONNECT", "sending CONNECT")


@QOS
def test_large_payload(programs, subscriber, version, topic, qos, tmp_path):
    payload = b"0123456789abcdef" * (900 * 64)
    (tmp_path / "payload").write_bytes(payload)
    window = subscriber("-t", topic, "-q", qos, "-F", "%l %p", version=version)
    programs.publish(topic, "-f", str(tmp_path / "payload"), "-q", qos, version=version)
    assert window.receive() == f"{len(payload)} {payload.decode()}"


def test_empty_payload_and_utf8(programs, subscriber, version, topic):
    window = subscriber("-t", topic + "/#", "-F", "%t [%p]", version=version)
    programs.publish(topic + "/grün/温度/🌡", "-n", version=version)
    assert window.receive() == f"{topic}/grün/温度/🌡 []"
    programs.publish(topic + "/ü", "-m", "größe", version=version)
    assert window.receive() == f"{topic}/ü [größe]"


@QOS
def test_shared_subscription(programs, subscriber, version, topic, qos):
    shared = ["-t", f"$share/group/{topic}", "-t", topic + "/end", "-q", qos]
    windows = [subscriber(*shared, version=version) for _ in range(2)]
    witness = subscriber("-t", topic, "-q", qos, version=version)
    lines = [str(number) for number in range(20)]
    with programs.publish_lines(topic, lines, "-q", qos, version=version):
        assert [witness.receive() for _ in lines] == lines
    programs.publish(topic + "/end", "-m", "end", "-q", qos, version=version)
    received = [window.receive_until("end") for window in windows]
    assert all(received), "one member got nothing"
    assert sorted(sum(received, [])) == sorted(lines)


def test_properties(programs, subscriber, topic):
    form = "%C|%D|%R|%E|%F|%P|%p"
    window = subscriber("-t", topic, "-q", "1", "-F", form, version="mqttv5")
    sent = {
        "content-type": ["text/plain"], "correlation-data": ["c 1"], "response-topic": ["answers"],
        "message-expiry-interval": ["60"], "payload-format-indicator": ["1"],
    }
    arguments = [word for name, value in sent.items() for word in ["-D", "publish", name, *value]]
    pairs = ["-D", "publish", "user-property", "b", "1", "-D", "publish", "user-property", "a", "2"]
    programs.publish(topic, "-q", "1", "-m", "x", *arguments, *pairs, version="mqttv5")
    line = window.receive().replace("|59|", "|60|")
    assert line == "text/plain|c 1|answers|60|1|b:1 a:2|x"


def test_subscription_identifier(programs, subscriber, topic):
    identifier = ["-D", "subscribe", "subscription-identifier", "77"]
    window = subscriber("-t", topic, "-F", "%S %p", *identifier, version="mqttv5")
    programs.publish(topic, "-m", "x", version="mqttv5")
    assert window.receive() == "77 x"


def test_retain_as_published(programs, subscriber, topic):
    window = subscriber(
        "-t", topic, "-F", "%r %p", "--retain-as-published", version="mqttv5")
    programs.publish(topic, "-m", "x", "-r", version="mqttv5")
    assert window.receive() == "1 x"


def test_topic_alias(programs, subscriber, topic):
    window = subscriber("-t", topic, "-v", version="mqttv5")
    alias = ["-D", "publish", "topic-alias", "4"]
    with programs.publish_lines(topic, ["1", "2", "3"], *alias, version="mqttv5"):
        assert [window.receive() for _ in range(3)] == [f"{topic} {number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("version", ["mqttv5", "mqttv311"])
def test_request_and_response(programs, subscriber, topic, version):
    window = subscriber("-t", topic, "-F", "%R", version="mqttv5")

    def answer():
        where = window.receive()
        programs.publish(where or topic + "/answer", "-m", "4", version="mqttv5")

    responder = threading.Thread(target=answer)
    responder.start()
    said = programs.request(topic, topic + "/answer", "-m", "2 + 2", "-V", version)
    responder.join(DEADLINE)
    assert said == b"4\n"


def test_nobody_is_disturbed_by_clients_that_come_and_go(programs, subscriber, version, topic):
    window = subscriber("-t", topic, "-q", "1", version=version)
    for number in range(10):
        subscriber("-t", topic, "-q", "1", version=version).kill()
        programs.publish(topic, "-m", str(number), "-q", "1", version=version)
    assert [window.receive() for _ in range(10)] == [str(number) for number in range(10)]
