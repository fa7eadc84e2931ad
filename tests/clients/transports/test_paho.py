"""paho-mqtt over TLS with a client certificate, over WebSocket, and over both."""

import queue
import ssl
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest

from broker import DEADLINE
from raw import unique_client_id


class Client:
    """A connected paho client whose messages are in a queue."""

    def __init__(self, broker, name, version, certificate=None):
        url = urlsplit(broker.url(name))
        transport = "websockets" if url.scheme.startswith("ws") else "tcp"
        self.messages, self._events = queue.Queue(), queue.Queue()
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=unique_client_id(), protocol=version,
            transport=transport, reconnect_on_failure=False)
        if transport == "websockets":
            self.paho.ws_set_options(path=url.path)
        if url.scheme in ("mqtts", "wss"):
            files = [certificate and broker.file(f"{certificate}.{end}") for end in ("pem", "key")]
            self.paho.tls_set(broker.file("ca.pem"), *files, cert_reqs=ssl.CERT_REQUIRED)
        self.paho.on_connect = lambda c, u, flags, reason, p: self._events.put(reason)
        self.paho.on_subscribe = lambda c, u, mid, reasons, p: self._events.put(reasons[0])
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.connect(url.hostname, url.port)
        self.paho.loop_start()
        assert not self._events.get(timeout=DEADLINE).is_failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, topic, qos):
        """Subscribes and waits for the SUBACK."""
        self.paho.subscribe(topic, qos)
        assert self._events.get(timeout=DEADLINE).value == qos

    def publish(self, topic, payload, qos):
        """Publishes and waits for the acknowledgement."""
        info = self.paho.publish(topic, payload, qos)
        info.wait_for_publish(DEADLINE)
        assert info.is_published()


LISTENERS = pytest.mark.parametrize("name, certificate", [
    ("tls", None), ("tls_required", "client"), ("ws", None), ("wss", None),
    ("wss_required", "client"), ("plain", None)])
VERSIONS = pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])


@LISTENERS
@VERSIONS
def test_messages_arrive_in_order(broker, topic, name, certificate, version):
    with Client(broker, name, version, certificate) as client:
        client.subscribe(topic, 2)
        payloads = [b"%d" % number for number in range(200)]
        for number, payload in enumerate(payloads):
            client.paho.publish(topic, payload, number % 3)
        # Each QoS has an order of its own.
        received = [client.messages.get(timeout=DEADLINE) for _ in payloads]
        for qos in range(3):
            of_qos = [message.payload for message in received if message.qos == qos]
            assert of_qos == payloads[qos::3]


@LISTENERS
@VERSIONS
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 900_000])
def test_payloads_of_every_size(broker, topic, name, certificate, version, size):
    with Client(broker, name, version, certificate) as client:
        client.subscribe(topic, 1)
        payload = bytes(number % 251 for number in range(size))
        client.publish(topic, payload, 1)
        assert client.messages.get(timeout=DEADLINE).payload == payload


@pytest.mark.parametrize("name", ["tls_required", "wss_required"])
@pytest.mark.parametrize("certificate", [None, "revoked", "stranger"])
def test_wrong_certificate_is_refused(broker, name, certificate):
    broker.url(name)
    with pytest.raises((OSError, queue.Empty, paho.WebsocketConnectionError)):
        # TLS 1.3 tells a client only when it reads: the CONNACK is missing then.
        Client(broker, name, paho.MQTTv5, certificate)


def test_transports_meet(broker, topic):
    names = [("plain", None), ("tls", None), ("ws", None), ("wss", None)]
    clients = [Client(broker, name, paho.MQTTv5, certificate) for name, certificate in names]
    for client in clients:
        client.subscribe(topic, 1)
    for (name, _), client in zip(names, clients):
        client.publish(topic, name, 1)
    for client in clients:
        received = {client.messages.get(timeout=DEADLINE).payload.decode() for _ in names}
        assert received == {name for name, _ in names}
        client.__exit__()
