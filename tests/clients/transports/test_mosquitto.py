"""mosquitto_sub and mosquitto_pub over TLS, with certificates of every kind, and a Unix socket."""

import queue
import subprocess
import threading

import pytest

from broker import DEADLINE

VERSIONS = pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])


def where(broker, name, *more, certificate=None, trusted="ca"):
    """Arguments that reach a TLS listener."""
    host, port = broker.place(name)
    arguments = ["-h", host, "-p", str(port), "--cafile", broker.file(trusted + ".pem"), *more]
    if certificate is not None:
        arguments += ["--cert", broker.file(certificate + ".pem")]
        arguments += ["--key", broker.file(certificate + ".key")]
    return arguments


def publish(arguments, topic, payload):
    """Runs mosquitto_pub at QoS 1; returns its exit code and what it said."""
    done = subprocess.run(
        ["mosquitto_pub", *arguments, "-t", topic, "-m", payload, "-q", "1"], timeout=DEADLINE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


class Subscriber:
    """A mosquitto_sub that has its SUBACK."""

    def __init__(self, arguments, topic):
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-d", *arguments, "-t", topic, "-q", "1"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for(lambda line: line.startswith("Subscribed "))

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def wait_for(self, is_right):
        """Waits for a line."""
        while True:
            line = self._lines.get(timeout=DEADLINE)
            assert line is not None, "mosquitto_sub ended"
            if is_right(line):
                return line

    def receive(self):
        """The next message."""
        return self.wait_for(lambda line: not line.startswith("Client "))


def round_trip(arguments, topic, version):
    """A message from mosquitto_pub to mosquitto_sub, both by the same listener."""
    arguments = [*arguments, "-V", version]
    with Subscriber(arguments, topic) as subscriber:
        assert publish(arguments, topic, "over TLS")[0] == 0
        assert subscriber.receive() == "over TLS"


@VERSIONS
@pytest.mark.parametrize("tls", ["tlsv1.2", "tlsv1.3"])
def test_message_over_tls(broker, topic, version, tls):
    round_trip(where(broker, "tls", "--tls-version", tls), topic, version)


@VERSIONS
def test_message_with_a_client_certificate(broker, topic, version):
    round_trip(where(broker, "tls_required", certificate="client"), topic, version)


def test_message_with_alpn(broker, topic):
    round_trip(where(broker, "tls", "--tls-alpn", "mqtt"), topic, "mqttv5")


def test_large_message(broker, topic):
    arguments = where(broker, "tls")
    with Subscriber(arguments, topic) as subscriber:
        payload = "large " * 15_000
        assert publish(arguments, topic, payload)[0] == 0
        assert subscriber.receive() == payload


def test_old_version_is_refused_where_1_3_is_the_oldest(broker, topic):
    assert publish(where(broker, "tls13", "--tls-version", "tlsv1.3"), topic, "x")[0] == 0
    code, said = publish(where(broker, "tls13", "--tls-version", "tlsv1.2"), topic, "x")
    assert code != 0, said


@pytest.mark.parametrize("certificate", [None, "revoked", "stranger"])
def test_wrong_certificate_is_refused(broker, topic, certificate):
    code, said = publish(where(broker, "tls_required", certificate=certificate), topic, "x")
    assert code != 0, said


@pytest.mark.parametrize("certificate", [None, "client"])
def test_optional_certificate(broker, topic, certificate):
    round_trip(where(broker, "tls_optional", certificate=certificate), topic, "mqttv5")


@pytest.mark.parametrize("certificate", ["revoked", "stranger"])
def test_optional_certificate_has_to_be_right(broker, topic, certificate):
    code, said = publish(where(broker, "tls_optional", certificate=certificate), topic, "x")
    assert code != 0, said


def test_broker_of_another_authority_is_not_trusted(broker, topic):
    code, said = publish(where(broker, "tls", trusted="strangers"), topic, "x")
    assert code != 0, said


@VERSIONS
def test_message_over_a_unix_socket(broker, topic, version):
    manual = subprocess.run(["mosquitto_pub", "--help"], stdout=subprocess.PIPE, check=False)
    if b"--unix" not in manual.stdout:
        pytest.skip("this mosquitto_pub has no --unix")
    arguments = ["--unix", broker.unix_path("unix"), "-V", version]
    with Subscriber(arguments, topic) as subscriber:
        assert publish(arguments, topic, "by a file")[0] == 0
        assert subscriber.receive() == "by a file"
