"""A paho client whose callbacks become queues: a test waits on events, each with a deadline."""

import queue
import socket
import threading
import time
import uuid

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

V31, V311, V5 = paho.MQTTv31, paho.MQTTv311, paho.MQTTv5

# Nothing that works takes this long; something that does not work is told by it.
DEADLINE = 10.0
SESSION_EXPIRY = 300


def properties(packet, **values):
    """Properties of a packet, `properties(PacketTypes.PUBLISH, ContentType="text/plain")`."""
    result = Properties(packet)
    for name, value in values.items():
        setattr(result, name, value)
    return result


def publish_properties(**values):
    """Properties of a PUBLISH."""
    return properties(PacketTypes.PUBLISH, **values)


def unique_client_id():
    """At most 23 characters, as MQTT 3.1 wants."""
    return "py" + uuid.uuid4().hex[:18]


def let_time_pass(seconds):
    """For tests whose input is time itself, such as an expiry. Never to wait for an event."""
    time.sleep(seconds)


class Connack:
    """What the broker said to CONNECT."""

    def __init__(self, flags, reason, properties_):
        self.session_present = flags.session_present
        self.reason = reason
        self.properties = properties_


class Client:
    """One Network Connection of one Client Identifier."""

    def __init__(self, address, version, client_id=None, *, session=False, inbox=None,
                 manual_ack=False, keep_alive=60, **connect_properties):
        self.address = address
        self.version = version
        self.client_id = unique_client_id() if client_id is None else client_id
        self.inbox = inbox if inbox is not None else queue.Queue()
        self._session = session
        self._keep_alive = keep_alive
        self._connect_properties = connect_properties
        self._connacks = queue.Queue()
        self._ends = queue.Queue()
        self._answers = {}
        self._answered = threading.Condition()
        clean = None if version == V5 else not session
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=version,
            clean_session=clean, reconnect_on_failure=False, manual_ack=manual_ack)
        self.paho.on_connect = lambda c, u, flags, reason, p: self._connacks.put(
            Connack(flags, reason, p))
        self.paho.on_disconnect = lambda c, u, flags, reason, p: self._ends.put(reason)
        self.paho.on_message = lambda c, u, message: self.inbox.put(message)
        self.paho.on_subscribe = self._on_answer
        self.paho.on_unsubscribe = self._on_answer
        self._disconnect_reason = None
        self._paho_handle_disconnect = self.paho._handle_disconnect
        self.paho._handle_disconnect = self._keep_disconnect_reason

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.paho.loop_stop()

    def _keep_disconnect_reason(self):
        # paho 2.1 reads the Reason Code of a DISCONNECT only when properties follow it.
        packet = self.paho._in_packet["packet"]
        self._disconnect_reason = packet[0] if packet else 0
        return self._paho_handle_disconnect()

    def _on_answer(self, _client, _userdata, mid, reasons, _properties):
        with self._answered:
            self._answers[mid] = reasons
            self._answered.notify_all()

    def _answer_to(self, mid):
        with self._answered:
            arrived = self._answered.wait_for(lambda: mid in self._answers, DEADLINE)
            assert arrived, "no SUBACK or UNSUBACK in time"
            return self._answers.pop(mid)

    def connect(self):
        """Connects and returns the CONNACK; a refusal is a failure."""
        host, port = self.address
        if self.version == V5:
            values = dict(self._connect_properties)
            if self._session:
                values.setdefault("SessionExpiryInterval", SESSION_EXPIRY)
            self.paho.connect(host, port, self._keep_alive, clean_start=not self._session,
                              properties=properties(PacketTypes.CONNECT, **values))
        else:
            self.paho.connect(host, port, self._keep_alive)
        self.paho.loop_start()
        connack = self._connacks.get(timeout=DEADLINE)
        assert not connack.reason.is_failure, connack.reason
        return connack

    def subscribe(self, topic_filter, qos=0, identifier=None, **options):
        """Subscribes and returns the Reason Codes of the SUBACK as numbers."""
        if self.version == V5:
            values = {} if identifier is None else {"SubscriptionIdentifier": identifier}
            result, mid = self.paho.subscribe(
                topic_filter, options=SubscribeOptions(qos, **options),
                properties=properties(PacketTypes.SUBSCRIBE, **values))
        else:
            result, mid = self.paho.subscribe(topic_filter, qos)
        assert result == paho.MQTT_ERR_SUCCESS
        return [reason.value for reason in self._answer_to(mid)]

    def unsubscribe(self, topic_filter):
        """Unsubscribes and returns the Reason Codes of the UNSUBACK as numbers (none in 3.x)."""
        result, mid = self.paho.unsubscribe(topic_filter)
        assert result == paho.MQTT_ERR_SUCCESS
        return [reason.value for reason in self._answer_to(mid)]

    def publish(self, topic, payload=b"", qos=0, retain=False, **values):
        """Publishes and, above QoS 0, waits for the acknowledgement."""
        sent = publish_properties(**values) if self.version == V5 else None
        info = self.paho.publish(topic, payload, qos, retain, sent)
        info.wait_for_publish(DEADLINE)
        assert info.is_published(), "not acknowledged in time"

    def settle(self):
        """Waits until the broker has handled everything that this client sent, at QoS 0 too."""
        self.publish("python/settle/" + self.client_id, b"", 1)

    def receive(self):
        """The next message."""
        return self.inbox.get(timeout=DEADLINE)

    def receive_payloads(self, count):
        """The payloads of the next `count` messages."""
        return [self.receive().payload for _ in range(count)]

    def receive_until(self, payload):
        """Everything before the message with this payload: so absence is seen without a wait."""
        before = []
        while (message := self.receive()).payload != payload:
            before.append(message)
        return before

    def cut(self):
        """Ends the Network Connection without DISCONNECT."""
        self.paho.socket().shutdown(socket.SHUT_RDWR)
        self.wait_for_end()

    def disconnect(self, reason=None, **values):
        """Sends DISCONNECT and waits until the connection has ended."""
        if self.version == V5:
            code = None if reason is None else ReasonCode(PacketTypes.DISCONNECT, identifier=reason)
            self.paho.disconnect(code, properties(PacketTypes.DISCONNECT, **values))
        else:
            self.paho.disconnect()
        self.wait_for_end()

    def wait_for_end(self):
        """Waits until the connection has ended; the Reason Code of a DISCONNECT, or None."""
        self._ends.get(timeout=DEADLINE)
        self.paho.loop_stop()
        return self._disconnect_reason
