"""paho-mqtt over TLS with a client certificate, over WebSocket, and over both."""

import queue
import ssl
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest

from broker import DEADLINE
from raw import unique_client_id


class Refused(Exception):
    """The broker ended the connection before CONNACK, or said no."""


# What a broker that refuses makes paho raise, or this client.
REFUSALS = (OSError, Refused, paho.WebsocketConnectionError)


class Client:
    """A connected paho client whose messages are in a queue."""

    def __init__(self, broker, name, version, certificate=None, tls=None):
        url = urlsplit(broker.url(name))
        transport = "websockets" if url.scheme.startswith("ws") else "tcp"
        self.messages, self._events = queue.Queue(), queue.Queue()
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=unique_client_id(), protocol=version,
            transport=transport, reconnect_on_failure=False)
        if transport == "websockets":
            self.paho.ws_set_options(path=url.path)
        if url.scheme in ("mqtts", "wss"):
            files = [broker.file(f"{certificate}.{end}") for end in ("pem", "key")]
            context = ssl.create_default_context(cafile=broker.file("ca.pem"))
            if certificate is not None:
                context.load_cert_chain(*files)
            if tls is not None:
                context.minimum_version = context.maximum_version = tls
            self.paho.tls_set_context(context)
        self.paho.on_connect = lambda c, u, flags, reason, p: self._events.put(reason)
        # An end where an answer is waited for is one, too.
        self.paho.on_disconnect = lambda c, u, flags, reason, p: self._events.put(None)
        self.paho.on_subscribe = lambda c, u, mid, reasons, p: self._events.put(reasons[0])
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.connect(url.hostname, url.port)
        self.paho.loop_start()
        reason = self._events.get(timeout=DEADLINE)
        if reason is None or reason.is_failure:
            self.paho.loop_stop()
            raise Refused(reason)

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
    # Two clients, because one that sends and receives QoS 2 does not keep its own order: at a
    # PUBREL, paho 2.1 and 2.2 count the message that was received as one that they have sent, and
    # do so outside their lock (`_handle_pubrel`). A publish() of another thread then finds room in
    # the window and overtakes everything that is queued. Who only sends takes no PUBREL.
    subscriber = Client(broker, name, version, certificate)
    publisher = Client(broker, name, version, certificate)
    with subscriber, publisher:
        subscriber.subscribe(topic, 2)
        payloads = [b"%d" % number for number in range(200)]
        for number, payload in enumerate(payloads):
            publisher.paho.publish(topic, payload, number % 3)
        # Each QoS has an order of its own.
        received = [subscriber.messages.get(timeout=DEADLINE) for _ in payloads]
        for qos in range(3):
            of_qos = [message.payload for message in received if message.qos == qos]
            assert of_qos == payloads[qos::3]


@LISTENERS
@VERSIONS
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 900_000])
def test_payloads_of_every_size(broker, topic, name, certificate, version, size):
    if size > 100_000 and name.startswith("ws") and not broker.is_midge:
        pytest.skip("mosquitto takes a second for each 10 KB of a WebSocket message")
    with Client(broker, name, version, certificate) as client:
        client.subscribe(topic, 1)
        payload = bytes(number % 251 for number in range(size))
        client.publish(topic, payload, 1)
        assert client.messages.get(timeout=DEADLINE).payload == payload


@pytest.mark.parametrize("name", ["tls_required", "wss_required"])
@pytest.mark.parametrize("certificate", [None, "revoked", "stranger"])
def test_wrong_certificate_is_refused(broker, name, certificate):
    broker.url(name)
    with pytest.raises(REFUSALS):
        Client(broker, name, paho.MQTTv5, certificate)


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls(broker, topic, tls):
    with Client(broker, "tls_required", paho.MQTTv5, "client", tls) as client:
        client.subscribe(topic, 1)
        client.publish(topic, b"a" * 100_000, 1)
        assert len(client.messages.get(timeout=DEADLINE).payload) == 100_000


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
