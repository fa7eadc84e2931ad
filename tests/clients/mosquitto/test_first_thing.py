"""The first thing that anybody runs: one window subscribes to everything, another one publishes."""

import pytest
from programs import VERSIONS


@pytest.mark.parametrize("qos", ["0", "1", "2"])
@pytest.mark.parametrize("publisher", VERSIONS)
def test_subscriber_to_everything_sees_it(programs, subscriber, version, publisher, qos, topic):
    window = subscriber("-t", "#", "-v", "-q", "2", version=version)
    programs.publish(topic, "-m", f"hello at {qos}", "-q", qos, version=publisher)
    while (line := window.receive()) != f"{topic} hello at {qos}":
        assert not line.startswith(topic), line
