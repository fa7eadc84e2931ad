"""MQTT by hand over any socket: for what no client does, such as a header of the PROXY protocol."""

import socket
import ssl
import struct
import uuid

from broker import DEADLINE


def unique_client_id():
    """At most 23 characters."""
    return "tr" + uuid.uuid4().hex[:18]


def string(text):
    """A UTF-8 encoded string."""
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def packet(first_byte, body):
    """A Control Packet of less than 16 KB."""
    length = len(body)
    assert length < 16384
    sizes = [length] if length < 128 else [length % 128 | 128, length // 128]
    return bytes([first_byte, *sizes]) + body


def connect(client_id=None, version=4):
    """A CONNECT with a clean session and without Keep Alive."""
    body = string("MQTT") + bytes([version, 2, 0, 0]) + (b"\0" if version == 5 else b"")
    return packet(0x10, body + string(client_id or unique_client_id()))


def subscribe(topic, qos=0):
    """A SUBSCRIBE of MQTT 3.1.1 with Packet Identifier 1."""
    return packet(0x82, b"\0\1" + string(topic) + bytes([qos]))


def publish(topic, payload):
    """A PUBLISH at QoS 0 of MQTT 3.1.1."""
    return packet(0x30, string(topic) + payload)


PINGREQ = b"\xc0\0"


class Connection:
    """A socket that reads whole Control Packets."""

    def __init__(self, sock):
        self.socket = sock
        self.socket.settimeout(DEADLINE)

    @classmethod
    def tcp(cls, place):
        """A connection to host and port."""
        return cls(socket.create_connection(place, DEADLINE))

    @classmethod
    def unix(cls, path):
        """A connection to a Unix socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        sock.connect(path)
        return cls(sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def secure(self, broker, certificate=None):
        """Goes on with TLS, and shows a certificate if one is named."""
        context = ssl.create_default_context(cafile=broker.file("ca.pem"))
        if certificate is not None:
            context.load_cert_chain(
                broker.file(certificate + ".pem"), broker.file(certificate + ".key"))
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        return self

    def send(self, data):
        """Sends bytes as they are."""
        self.socket.sendall(data)
        return self

    def _take(self, count):
        taken = b""
        while len(taken) < count:
            piece = self.socket.recv(count - len(taken))
            if not piece:
                raise EOFError(f"the broker closed the connection after {taken!r}")
            taken += piece
        return taken

    def receive(self):
        """The first byte and the body of the next packet."""
        first_byte, length, shift = self._take(1)[0], 0, 0
        while True:
            byte = self._take(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first_byte, self._take(length)

    def open(self, client_id=None):
        """Sends CONNECT and expects a good CONNACK; another return code raises."""
        self.send(connect(client_id))
        answer = self.receive()
        if answer != (0x20, b"\0\0"):
            raise ConnectionRefusedError(answer)
        return self

    def talk(self, topic):
        """Subscribes, publishes to itself and receives it: MQTT works here in both directions."""
        self.send(subscribe(topic))
        assert self.receive() == (0x90, b"\0\1\0")
        self.send(publish(topic, b"payload"))
        assert self.receive() == (0x30, string(topic) + b"payload")
        return self

    def expect_closed(self):
        """Expects the end, with whatever is sent before it."""
        received = b""
        try:
            while piece := self.socket.recv(65536):
                received += piece
        except (ConnectionError, ssl.SSLError):
            pass
        return received
