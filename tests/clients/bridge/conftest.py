"""What the tests share: the broker's address, Debian's mosquitto beside it, and paho clients."""

import contextlib
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import time
import uuid

import paho.mqtt.client as paho
import pytest

# Nothing that works takes this long; something that does not work is told by it.
DEADLINE = 20.0
# Where Debian puts it, which is in the path of root only.
PROGRAM = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
# Between two looks at something that tells nobody when it changes.
LOOK = 0.02


@pytest.fixture(scope="session")
def address():
    """Where the broker listens, from MIDGE_TEST_ADDRESS=host:port."""
    text = os.environ.get("MIDGE_TEST_ADDRESS")
    if not text:
        pytest.exit("set MIDGE_TEST_ADDRESS=host:port, or run `cargo xtask clients`", 2)
    host, _, port = text.rpartition(":")
    return host, int(port)


class Client:
    """A paho client of MQTT 5.0 whose messages become a queue."""

    def __init__(self, address):
        self._inbox, self._answers = queue.Queue(), queue.Queue()
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="bridge" + uuid.uuid4().hex[:12],
            protocol=paho.MQTTv5, reconnect_on_failure=False)
        self.paho.on_connect = lambda c, u, f, reason, p: self._answers.put([reason])
        self.paho.on_subscribe = lambda c, u, mid, reasons, p: self._answers.put(reasons)
        self.paho.on_message = lambda c, u, message: self._inbox.put(message)
        self.paho.connect(*address, keepalive=60)
        self.paho.loop_start()
        self._expect_success()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.paho.loop_stop()

    def _expect_success(self):
        reasons = self._answers.get(timeout=DEADLINE)
        assert not any(reason.is_failure for reason in reasons), reasons

    def subscribe(self, topic_filter):
        """Subscribes with RETAIN as published, so that the flag is seen."""
        options = paho.SubscribeOptions(qos=1, retainAsPublished=True)
        self.paho.subscribe(topic_filter, options=options)
        self._expect_success()

    def publish(self, topic, payload, retain=False):
        """Publishes at QoS 1 and waits for the PUBACK."""
        info = self.paho.publish(topic, payload, 1, retain)
        info.wait_for_publish(DEADLINE)
        assert info.is_published(), "not acknowledged in time"

    def receive(self):
        """Topic, payload and RETAIN of the next message."""
        message = self._inbox.get(timeout=DEADLINE)
        return message.topic, message.payload.decode(), bool(message.retain)

    def receive_until(self, payload):
        """Every message up to the one with this payload, which is the last."""
        messages = []
        while not messages or messages[-1][1] != payload:
            messages.append(self.receive())
        return messages


@pytest.fixture
def client():
    """Makes connected clients and ends them with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda address: stack.enter_context(Client(address))


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Mosquitto:
    """A mosquitto with a bridge to the broker under test."""

    def __init__(self, directory, address, lines):
        port = _free_port()
        self.address = ("127.0.0.1", port)
        self.name = "edge" + uuid.uuid4().hex[:12]
        self.state = f"$SYS/broker/connection/{self.name}/state"
        self.log = directory / "mosquitto.log"
        configuration = directory / "mosquitto.conf"
        own = [
            f"listener {port} 127.0.0.1", "allow_anonymous true", "connection_messages true",
            f"log_dest file {self.log}", "log_type all", "user root",
            f"connection {self.name}", f"address {address[0]}:{address[1]}",
            f"remote_clientid {self.name}", "restart_timeout 1",
        ]
        configuration.write_text("\n".join(own + lines) + "\n", encoding="utf-8")
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(configuration)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_until_it_listens()

    def _wait_until_it_listens(self):
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self.address, DEADLINE):
                return
            time.sleep(LOOK)
        pytest.fail(f"mosquitto does not listen: {self.tail()}")

    def kill(self):
        """Ends it without a DISCONNECT."""
        self._process.kill()
        self._process.wait(DEADLINE)

    def tail(self):
        """The end of its log, for the message of a test that fails."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return text[-2000:]


@pytest.fixture
def bridge(address, tmp_path_factory):
    """Starts mosquittos with a bridge and ends them with the test."""
    with contextlib.ExitStack() as stack:
        def start(*lines):
            directory = pathlib.Path(tmp_path_factory.mktemp("bridge"))
            directory.chmod(0o755)
            mosquitto = Mosquitto(directory, address, list(lines))
            stack.callback(mosquitto.kill)
            return mosquitto
        yield start


@pytest.fixture
def root():
    """The first level of topics that no other test uses."""
    return "bridge" + uuid.uuid4().hex
