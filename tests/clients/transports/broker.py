"""The broker under test as `transports.json` describes it: where it listens, its files, its log."""

import json
import os
import pathlib
import time
from urllib.parse import urlsplit

import pytest

# Nothing that works takes this long; something that does not work is told by it.
DEADLINE = 10.0
# Between two looks at something that tells nobody when it changes.
LOOK = 0.05


class Broker:
    """What xtask wrote about the broker that it started."""

    def __init__(self, path):
        described = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        self.directory = pathlib.Path(described["directory"])
        self.program = described["program"]
        self._listeners = described["listeners"]
        self._log = pathlib.Path(described["log"])
        self.is_midge = os.environ.get("MIDGE_TEST_PEER") == "midge"

    def url(self, name):
        """The URL of a listener; a test of one that the broker does not have is left out."""
        url = self._listeners.get(name)
        if url is None:
            pytest.skip(f"the broker has no listener {name!r}")
        return url

    def place(self, name):
        """Host and port of a listener."""
        parts = urlsplit(self.url(name))
        return parts.hostname, parts.port

    def unix_path(self, name):
        """The path of a Unix socket."""
        return self.url(name).removeprefix("unix:")

    def file(self, name):
        """The path of a file that belongs to the broker's listeners."""
        return str(self.directory / name)

    def log_mark(self):
        """Where the log ends now."""
        return self._log.stat().st_size

    def log_since(self, mark):
        """What the log has had since."""
        with self._log.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def wait_for_log(self, mark, *words):
        """Waits for a line with all these words, written after `mark`, and returns it."""
        deadline = time.monotonic() + DEADLINE
        while True:
            for line in self.log_since(mark).splitlines():
                if all(word in line for word in words):
                    return line
            assert time.monotonic() < deadline, f"no {words} in:\n{self.log_since(mark)}"
            time.sleep(LOOK)
