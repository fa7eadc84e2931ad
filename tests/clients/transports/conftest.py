"""What the tests share: the broker that xtask started with every transport."""

import os
import uuid

import pytest
from broker import Broker


@pytest.fixture(scope="session")
def broker():
    """The broker that the file of MIDGE_TEST_TRANSPORTS describes."""
    path = os.environ.get("MIDGE_TEST_TRANSPORTS")
    if not path:
        pytest.exit("run `cargo xtask clients transports`: it starts a broker with them", 2)
    return Broker(path)


@pytest.fixture
def topic():
    """A Topic Name that no other test uses."""
    return "transports/" + uuid.uuid4().hex
