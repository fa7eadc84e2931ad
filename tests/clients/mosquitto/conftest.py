"""What the tests share: the programs, told where the broker is, and unique topics."""

import contextlib
import os
import uuid

import pytest
from programs import VERSIONS, Programs


@pytest.fixture(scope="session")
def programs():
    """The mosquitto programs for the broker at MIDGE_TEST_ADDRESS=host:port."""
    text = os.environ.get("MIDGE_TEST_ADDRESS")
    if not text:
        pytest.exit("set MIDGE_TEST_ADDRESS=host:port, or run `cargo xtask clients`", 2)
    host, _, port = text.rpartition(":")
    return Programs(host, port)


@pytest.fixture(params=VERSIONS)
def version(request):
    """Each protocol version in turn."""
    return request.param


@pytest.fixture
def subscriber(programs):
    """Starts subscribers that end with the test."""
    with contextlib.ExitStack() as stack:
        def start(*arguments, **options):
            return stack.enter_context(programs.subscriber(*arguments, **options))
        yield start


@pytest.fixture
def topic():
    """A Topic Name that no other test uses."""
    return "mosquitto/" + uuid.uuid4().hex


@pytest.fixture
def differs(request):
    """Marks a test that the named other broker is known to fail; Midge never is that broker."""
    def mark(peer, reason):
        if os.environ.get("MIDGE_TEST_PEER") == peer:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=False))
    return mark
