"""A Unix socket: MQTT by a file, for those whom its rights let in."""

import os
import stat

from raw import Connection


def test_messages_pass(broker, topic):
    with Connection.unix(broker.unix_path("unix")) as connection:
        connection.open().talk(topic)


def test_meets_tcp(broker, topic):
    with Connection.unix(broker.unix_path("unix")) as by_file, \
            Connection.tcp(broker.place("plain")) as by_port:
        by_file.open()
        by_port.open().talk(topic)
        by_file.talk(topic)
        assert by_port.receive()[0] == 0x30


def test_rights_are_as_configured(broker):
    found = os.stat(broker.unix_path("unix"))
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600
