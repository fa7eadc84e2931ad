"""The PROXY protocol, versions 1 and 2, from a socket that writes its header by hand."""

import socket
import struct

import pytest

from raw import PINGREQ, Connection, connect, unique_client_id

V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 40001 1883\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 40002 1883\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(family, addresses, records=b"", command=0x21):
    """A header of version 2."""
    body = addresses + records
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def v2_ipv4(source="203.0.113.9", port=40003, records=b""):
    """A header of version 2 for TCP over IPv4."""
    packed = socket.inet_aton(source) + socket.inet_aton("198.51.100.1")
    return v2(0x11, packed + struct.pack("!HH", port, 1883), records)


def v2_ipv6():
    """A header of version 2 for TCP over IPv6."""
    packed = b"".join(socket.inet_pton(socket.AF_INET6, text) for text in [
        "2001:db8::9", "2001:db8::1"])
    return v2(0x21, packed + struct.pack("!HH", 40004, 1883))


def record(kind, value):
    """A record behind the addresses of version 2."""
    return struct.pack("!BH", kind, len(value)) + value


HEADERS = pytest.mark.parametrize("header, shown", [
    (V1, "203.0.113.7:40001"), (V1_IPV6, "[2001:db8::7]:40002"),
    (v2_ipv4(), "203.0.113.9:40003"), (v2_ipv6(), "[2001:db8::9]:40004"),
    (v2_ipv4(port=40005, records=record(1, b"mqtt") + record(0xE0, b"x" * 500)),
     "203.0.113.9:40005")],
    ids=["v1", "v1 ipv6", "v2", "v2 ipv6", "v2 with records"])


@HEADERS
@pytest.mark.parametrize("name", ["proxy", "proxy_optional"])
def test_log_shows_the_source(broker, topic, name, header, shown):
    mark, client_id = broker.log_mark(), unique_client_id()
    with Connection.tcp(broker.place(name)) as connection:
        connection.send(header).open(client_id).talk(topic)
        broker.wait_for_log(mark, client_id, shown)


@HEADERS
def test_header_and_packets_come_in_any_pieces(broker, topic, header, shown):
    for size in (1, 7, len(header) - 1, len(header) + 1):
        with Connection.tcp(broker.place("proxy")) as connection:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = header + connect()
            for start in range(0, len(data), size):
                connection.send(data[start:start + size])
            assert connection.receive() == (0x20, b"\0\0"), shown
            connection.talk(topic)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0, b"", command=0x20)],
                         ids=["v1 unknown", "v2 local"])
def test_health_check_of_the_proxy(broker, topic, header):
    with Connection.tcp(broker.place("proxy")) as connection:
        connection.send(header).open().talk(topic)


def test_tls_behind_a_header(broker, topic):
    with Connection.tcp(broker.place("proxy_tls")) as connection:
        connection.send(v2_ipv4()).secure(broker).open().talk(topic)


@pytest.mark.parametrize("first", [
    connect(), PINGREQ, b"PROXY TCP4 nonsense\r\n", b"PROXY " + b"x" * 200,
    SIGNATURE + b"\x31\x11\0\0", SIGNATURE + b"\x21\x11\0\4abcd", b"GET / HTTP/1.1\r\n\r\n"])
def test_missing_or_broken_header_is_refused(broker, first):
    with Connection.tcp(broker.place("proxy")) as connection:
        connection.send(first)
        assert connection.expect_closed() == b""


def test_optional_header_may_be_missing(broker, topic):
    with Connection.tcp(broker.place("proxy_optional")) as connection:
        connection.open().talk(topic)


def test_header_of_a_stranger_is_refused(broker, topic):
    with Connection.tcp(broker.place("proxy_elsewhere")) as connection:
        connection.send(V1 + connect())
        assert connection.expect_closed() == b""
    with Connection.tcp(broker.place("proxy_elsewhere")) as connection:
        connection.open().talk(topic)


def test_header_where_none_is_expected_is_no_mqtt(broker):
    with Connection.tcp(broker.place("plain")) as connection:
        connection.send(V1 + connect())
        assert b"\x20" not in connection.expect_closed()[:1]
