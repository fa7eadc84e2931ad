"""Each listener keeps its own policy, whatever carries MQTT there: limits, paths, certificates."""

import contextlib
import http.client
import socket
import ssl
import time

import pytest

from broker import DEADLINE
from raw import Connection, connect
from test_paho import REFUSALS, Client, paho

WS_HEADERS = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mqtt"}


def ask(broker, name, path="/mqtt", method="GET", **headers):
    """The answer to the start of a WebSocket; a header that is None is left out."""
    host, port = broker.place(name)
    asking = http.client.HTTPConnection(host, port, timeout=DEADLINE)
    wanted = WS_HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    asking.request(method, path, headers={
        name: value for name, value in wanted.items() if value is not None})
    answer = asking.getresponse()
    if answer.status != 101:
        answer.text = answer.read().decode()
    asking.close()
    return answer


def test_opening_handshake(broker):
    answer = ask(broker, "ws")
    assert answer.status == 101
    assert answer.getheader("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.getheader("Sec-WebSocket-Protocol") == "mqtt"


@pytest.mark.parametrize("status, change", [
    (404, {"path": "/other"}), (404, {"path": "/"}),
    (400, {"Upgrade": None}), (400, {"Sec_WebSocket_Key": None}),
    (400, {"Sec_WebSocket_Protocol": "chat"}), (400, {"Sec_WebSocket_Protocol": None}),
    (426, {"Sec_WebSocket_Version": "8"}), (405, {"method": "POST"})])
def test_other_requests_are_refused_with_a_reason(broker, status, change):
    if not broker.is_midge:
        pytest.skip("what Midge says is Midge's choice")
    answer = ask(broker, "ws", **change)
    # What is no start of a WebSocket may be told so by either status.
    assert answer.status in ({status, 400, 426} if status in (405, 400) else {status})
    assert answer.text.strip()


@pytest.mark.parametrize("origin, status", [
    ("https://page.test", 101), (None, 101), ("https://other.test", 403),
    ("http://page.test", 403), ("https://page.test.evil.test", 403)])
def test_origin_of_pages(broker, origin, status):
    assert ask(broker, "ws_origin", path="/broker", Origin=origin).status == status


def test_origin_is_any_unless_configured(broker):
    assert ask(broker, "ws", Origin="https://anything.test").status == 101


def test_endless_head_is_cut(broker):
    broker.url("ws_origin")
    with Connection.tcp(broker.place("ws")) as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(b"GET /mqtt HTTP/1.1\r\n")
            for number in range(2000):
                connection.send(b"X-Filler-%d: %s\r\n" % (number, b"x" * 100))
        connection.expect_closed()


def open_when_there_is_room(broker, name):
    """The broker learns of the end of earlier connections, of other tests too, when it reads."""
    deadline = time.monotonic() + DEADLINE
    while True:
        connection = Connection.tcp(broker.place(name))
        try:
            return connection.open()
        except (EOFError, ConnectionError):
            connection.__exit__(None, None, None)
            assert time.monotonic() < deadline, "no room"


def fill(stack, broker, name):
    """Opens as many connections as a listener with a limit of three takes."""
    for _ in range(3):
        stack.enter_context(open_when_there_is_room(broker, name))


def test_too_many_connections_are_told_in_mqtt_5(broker):
    broker.url("limited")
    with contextlib.ExitStack() as stack:
        fill(stack, broker, "limited")
        beyond = stack.enter_context(Connection.tcp(broker.place("limited")))
        beyond.send(connect(version=5))
        answer = beyond.expect_closed()
        assert answer[:1] == b"\x20" and answer[3] == 0x89, answer  # Server busy
        old = stack.enter_context(Connection.tcp(broker.place("limited")))
        with contextlib.suppress(ConnectionError):
            old.send(connect())
        old.expect_closed()


def test_room_comes_back(broker):
    broker.url("limited")
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            fill(stack, broker, "limited")


@pytest.mark.parametrize("name", ["limited_tls", "limited_ws"])
def test_limits_hold_on_every_transport(broker, name):
    broker.url(name)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Client(broker, name, paho.MQTTv5))
        with pytest.raises(REFUSALS) as refusal:
            stack.enter_context(Client(broker, name, paho.MQTTv5))
    if name == "limited_ws":  # before TLS there is no word for it
        assert refusal.value.args[0] == "Server busy"


@pytest.mark.parametrize("name", ["hurried", "hurried_tls", "hurried_ws"])
def test_silence_hits_the_deadline(broker, name):
    with Connection.tcp(broker.place(name)) as connection:
        start = time.monotonic()
        connection.expect_closed()
        assert 0.9 < time.monotonic() - start < 4


def test_slow_drip_hits_the_deadline(broker):
    with Connection.tcp(broker.place("hurried")) as connection:
        start = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in connect("x" * 20) * 2:
                connection.send(bytes([byte]))
                time.sleep(0.2)
        assert 0.9 < time.monotonic() - start < 4


@pytest.mark.parametrize("name", ["wss_required", "tls_required"])
def test_certificate_is_required_on_every_transport(broker, name):
    host, port = broker.place(name)
    context = ssl.create_default_context(cafile=broker.file("ca.pem"))
    with socket.create_connection((host, port), DEADLINE) as plain:
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.settimeout(DEADLINE)
                secure.sendall(b"GET /mqtt HTTP/1.1\r\n\r\n")
                if secure.recv(1) == b"":
                    raise EOFError


def test_plain_bytes_are_refused_where_tls_is_spoken(broker):
    with Connection.tcp(broker.place("tls")) as connection:
        connection.send(connect())
        assert b"\x20\x02" not in connection.expect_closed()
