"""What openssl s_client sees: versions, ALPN, the certificate that a name gets."""

import subprocess

import pytest

from broker import DEADLINE


def look(broker, name, *arguments):
    """Shakes hands and says what openssl says."""
    host, port = broker.place(name)
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-CAfile",
               broker.file("ca.pem"), *arguments]
    done = subprocess.run(command, input=b"", timeout=DEADLINE, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace")


VERSIONS = pytest.mark.parametrize("option, version", [
    ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])


@VERSIONS
def test_version_and_trust(broker, option, version):
    said = look(broker, "tls", option, "-servername", "localhost", "-verify_hostname", "localhost")
    assert f"New, {version}" in said
    assert "Verify return code: 0 (ok)" in said


@VERSIONS
def test_alpn(broker, option, version):
    said = look(broker, "tls", option, "-alpn", "mqtt")
    if not broker.is_midge:
        pytest.skip("only Midge promises ALPN without being told")
    assert "ALPN protocol: mqtt" in said, version


def test_alpn_among_others(broker):
    if not broker.is_midge:
        pytest.skip("only Midge promises ALPN without being told")
    assert "ALPN protocol: mqtt" in look(broker, "tls", "-alpn", "http/1.1,mqtt")


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(broker, option):
    said = look(broker, "tls", option, "-cipher", "DEFAULT@SECLEVEL=0")
    assert "Cipher is (NONE)" in said


def test_1_2_is_refused_where_1_3_is_the_oldest(broker):
    assert "New, TLSv1.3" in look(broker, "tls13")
    assert "Cipher is (NONE)" in look(broker, "tls13", "-tls1_2")


@VERSIONS
@pytest.mark.parametrize("name, subject", [
    ("localhost", "localhost"), ("other.test", "other.test"), ("a.wild.test", "other.test"),
    ("a.b.wild.test", "localhost"), ("unknown.test", "localhost"), (None, "localhost")])
def test_name_chooses_the_certificate(broker, option, version, name, subject):
    if not broker.is_midge:
        pytest.skip("mosquitto has one certificate for each listener")
    asked = ["-noservername"] if name is None else ["-servername", name]
    said = look(broker, "tls", option, *asked)
    assert f"subject=CN = {subject}\n" in said, version


@VERSIONS
def test_certificate_is_asked_for(broker, option, version):
    said = look(broker, "tls_required", option)
    assert "Acceptable client certificate CA names" in said, version
    assert "No client certificate CA names sent" in look(broker, "tls", option), version


def test_session_is_resumed(broker, tmp_path):
    ticket = str(tmp_path / "session")
    look(broker, "tls", "-tls1_2", "-sess_out", ticket)
    assert "Reused, TLSv1.2" in look(broker, "tls", "-tls1_2", "-sess_in", ticket)
