"""QUIC by the broker's own client commands: no client that Debian has speaks MQTT over it."""

import subprocess

import pytest

from broker import DEADLINE


def where(broker, name, certificate=None):
    """Arguments that reach a listener by its URL."""
    arguments = ["-L", broker.url(name)]
    if broker.url(name).startswith(("mqtts:", "wss:", "quic:")):
        arguments += ["--cafile", broker.file("ca.pem")]
    if certificate is not None:
        arguments += ["--cert", broker.file(certificate + ".pem")]
        arguments += ["--key", broker.file(certificate + ".key")]
    return arguments


def publish(broker, topic, payload, *arguments):
    """Runs `midge pub` at QoS 1 and returns its exit code."""
    command = [broker.program, "pub", *arguments, "-t", topic, "-m", payload, "-q", "1"]
    done = subprocess.run(command, timeout=DEADLINE, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode(errors="replace")


@pytest.mark.parametrize("name, certificate", [
    ("plain", None), ("tls", None), ("tls_required", "client"), ("ws", None), ("wss", None),
    ("wss_required", "client"), ("quic", None), ("quic_required", "client")])
@pytest.mark.parametrize("size", [1, 90_000])
def test_message_from_every_transport_to_quic(broker, topic, name, certificate, size):
    broker.url("quic")
    command = [broker.program, "sub", *where(broker, "quic"), "-t", topic, "-q", "1", "-C", "1"]
    payload = "x" * size
    # Retained: the order of subscriber and publisher does not matter.
    assert publish(broker, topic, payload, "-r", *where(broker, name, certificate))[0] == 0
    done = subprocess.run(command, timeout=DEADLINE, check=True, stdout=subprocess.PIPE)
    assert done.stdout.decode() == payload + "\n"
    assert publish(broker, topic, "", "-r", *where(broker, name, certificate))[0] == 0


@pytest.mark.parametrize("certificate", [None, "revoked", "stranger"])
def test_wrong_certificate_is_refused(broker, topic, certificate):
    code, said = publish(broker, topic, "x", *where(broker, "quic_required", certificate))
    assert code != 0, said


def test_broker_of_another_authority_is_not_trusted(broker, topic):
    arguments = ["-L", broker.url("quic"), "--cafile", broker.file("strangers.pem")]
    code, said = publish(broker, topic, "x", *arguments)
    assert code != 0, said
