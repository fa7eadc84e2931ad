"""What the tests share: the broker's address, clients that end with the test, unique topics."""

import contextlib
import os
import uuid

import pytest
from client import V31, V311, V5, Client

NAMES = {V31: "v31", V311: "v311", V5: "v5"}


@pytest.fixture(scope="session")
def address():
    """Where the broker listens, from MIDGE_TEST_ADDRESS=host:port."""
    text = os.environ.get("MIDGE_TEST_ADDRESS")
    if not text:
        pytest.exit("set MIDGE_TEST_ADDRESS=host:port, or run `cargo xtask clients`", 2)
    host, _, port = text.rpartition(":")
    return host, int(port)


@pytest.fixture(params=[V31, V311, V5], ids=NAMES.get)
def version(request):
    """Each protocol version in turn."""
    return request.param


@pytest.fixture
def make_client(address):
    """Makes connected clients and ends them with the test."""
    with contextlib.ExitStack() as stack:
        def make(version, client_id=None, **options):
            client = stack.enter_context(Client(address, version, client_id, **options))
            client.connack = client.connect()
            return client
        yield make


@pytest.fixture
def topic():
    """A Topic Name that no other test uses."""
    return "python/" + uuid.uuid4().hex


def differs(peer, reason):
    """Marks a test that the named other broker is known to fail; Midge never is that broker."""
    is_peer = os.environ.get("MIDGE_TEST_PEER") == peer
    return pytest.mark.xfail(is_peer, reason=reason, strict=False)
