"""mosquitto_pub, mosquitto_sub and mosquitto_rr as a user starts them."""

import contextlib
import queue
import subprocess
import threading
import uuid

# Nothing that works takes this long; something that does not work is told by it.
DEADLINE = 10.0
VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]


def unique_client_id():
    """At most 23 characters, as MQTT 3.1 wants."""
    return "mo" + uuid.uuid4().hex[:18]


class Programs:
    """The three programs, told where the broker is."""

    def __init__(self, host, port):
        self._where = ["-h", host, "-p", str(port)]

    def publish(self, topic, *arguments, version="mqttv311", **options):
        """Runs mosquitto_pub to its end, which has to be a good one."""
        command = ["mosquitto_pub", *self._where, "-V", version, "-t", topic, *arguments]
        done = subprocess.run(
            command, timeout=DEADLINE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        assert done.returncode == 0, done.stdout.decode(errors="replace")

    @contextlib.contextmanager
    def publish_lines(self, topic, lines, *arguments, version="mqttv311"):
        """Runs mosquitto_pub -l, whose input ends with the block. The block should wait until the
        lines have arrived: where the end of the input meets the end of the last message's way,
        mosquitto_pub misses both and never ends, whatever the broker.
        """
        command = ["mosquitto_pub", *self._where, "-V", version, "-t", topic, "-l", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            process.stdin.write("".join(line + "\n" for line in lines).encode())
            process.stdin.flush()
            yield
            _, complaints = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, complaints.decode(errors="replace")

    def run_subscriber(self, *arguments, version="mqttv311"):
        """Runs a mosquitto_sub that ends by itself (-C, -E) and returns the bytes it wrote."""
        command = ["mosquitto_sub", *self._where, "-V", version, *arguments]
        return subprocess.run(
            command, timeout=DEADLINE, check=True, stdout=subprocess.PIPE).stdout

    def subscriber(self, *arguments, version="mqttv311"):
        """Starts a mosquitto_sub and waits until its subscriptions are acknowledged."""
        return Subscriber(["mosquitto_sub", *self._where, "-V", version, *arguments])

    def request(self, topic, answers, *arguments):
        """Runs mosquitto_rr to its end and returns the answer's bytes."""
        command = ["mosquitto_rr", *self._where, "-t", topic, "-e", answers, *arguments]
        return subprocess.run(
            command, timeout=DEADLINE, check=True, stdout=subprocess.PIPE).stdout


class Subscriber:
    """A running mosquitto_sub."""

    def __init__(self, command):
        # Debug output names the SUBACK; a line leaves when it is written, not when a block is full.
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", *command, "-d"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.said = []
        while not self._next_line().startswith("Subscribed "):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)

    def _next_line(self):
        try:
            line = self._lines.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError(f"nothing more in time, only {self.said}") from None
        assert line is not None, f"mosquitto_sub ended: {self.said}"
        self.said.append(line)
        return line

    def receive(self):
        """The next line that is a message and not mosquitto_sub talking about itself."""
        while (line := self._next_line()).startswith("Client "):
            pass
        return line

    def wait_until_it_says(self, *words):
        """Waits for a line with any of these words, whatever else is said before."""
        while not any(word in line for line in [self._next_line()] for word in words):
            pass

    def receive_until(self, end):
        """The messages before the line `end`: so absence is seen without a wait."""
        before = []
        while (line := self.receive()) != end:
            before.append(line)
        return before

    def kill(self):
        """Ends the process and with it the connection, without DISCONNECT."""
        self._process.kill()
        self._process.wait()
        self._reader.join(DEADLINE)
