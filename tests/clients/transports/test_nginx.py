"""Behind a real proxy: Debian's nginx passes WebSocket on, ends TLS, and writes PROXY headers."""

import pathlib
import queue
import shutil
import socket
import subprocess
import time
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest

from broker import DEADLINE, LOOK
from raw import Connection, unique_client_id

STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")

CONFIGURATION = """
load_module {module};
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{ws};
        listen 127.0.0.1:{wss} ssl;
        ssl_certificate {server}.pem;
        ssl_certificate_key {server}.key;
        location /mqtt {{
            proxy_pass http://{to_ws};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
stream {{
    server {{
        listen 127.0.0.1:{plain};
        proxy_pass {to_proxy};
        proxy_protocol on;
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {server}.pem;
        ssl_certificate_key {server}.key;
        proxy_pass {to_proxy};
        proxy_protocol on;
    }}
    server {{
        listen 127.0.0.1:{stream_ws};
        proxy_pass {to_proxy_ws};
        proxy_protocol on;
    }}
}}
"""


def free_ports(*names):
    """A port for each name that nobody listened on a moment ago."""
    held = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: listener.getsockname()[1] for name, listener in held.items()}
    for listener in held.values():
        listener.close()
    return ports


def wait_until_it_accepts(port, process, directory):
    """Waits for a server that tells nobody when it is ready."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            said = (directory / "said.log").read_text(encoding="utf-8")
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(LOOK)


@pytest.fixture(scope="module")
def nginx(broker, tmp_path_factory):
    """The ports of a running nginx."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None or not STREAM_MODULE.is_file():
        pytest.fail("nginx with its stream module is missing: run `cargo xtask clients`")
    directory = tmp_path_factory.mktemp("nginx")
    ports = free_ports("ws", "wss", "plain", "tls", "stream_ws")
    address = {name: "127.0.0.1:%d" % broker.place(name)[1] for name in ("ws", "proxy", "proxy_ws")}
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(
        module=STREAM_MODULE, directory=directory, server=broker.file("server"), **ports,
        to_ws=address["ws"], to_proxy=address["proxy"], to_proxy_ws=address["proxy_ws"]),
        encoding="utf-8")
    with open(directory / "said.log", "wb") as said:
        process = subprocess.Popen(
            [program, "-p", str(directory), "-c", str(configuration)], stdout=said, stderr=said)
    try:
        for port in ports.values():
            wait_until_it_accepts(port, process, directory)
        yield ports
    finally:
        process.terminate()
        process.wait(DEADLINE)


def paho_client(port, path="/mqtt", authority=None):
    """A connected paho client and its messages, over WebSocket."""
    events, messages = queue.Queue(), queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=unique_client_id(),
                         protocol=paho.MQTTv5, transport="websockets")
    client.ws_set_options(path=path)
    if authority is not None:
        client.tls_set(authority)
    client.on_connect = lambda c, u, flags, reason, p: events.put(reason)
    client.on_subscribe = lambda c, u, mid, reasons, p: events.put(reasons)
    client.on_message = lambda c, u, message: messages.put(message.payload)
    client.connect("localhost", port)
    client.loop_start()
    assert not events.get(timeout=DEADLINE).is_failure
    return client, events, messages


@pytest.mark.parametrize("name", ["ws", "wss", "stream_ws"])
@pytest.mark.parametrize("size", [1, 200_000])
def test_websocket_behind_nginx(broker, nginx, topic, name, size):
    authority = broker.file("ca.pem") if name == "wss" else None
    path = urlsplit(broker.url("ws")).path
    client, events, messages = paho_client(nginx[name], path, authority)
    client.subscribe(topic, 1)
    events.get(timeout=DEADLINE)
    payload = bytes(number % 251 for number in range(size))
    client.publish(topic, payload, 1).wait_for_publish(DEADLINE)
    assert messages.get(timeout=DEADLINE) == payload
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("name", ["plain", "tls"])
def test_address_comes_through_nginx(broker, nginx, topic, name):
    mark, client_id = broker.log_mark(), unique_client_id()
    with Connection.tcp(("localhost", nginx[name])) as connection:
        if name == "tls":
            connection.secure(broker)
        host, port = connection.socket.getsockname()[:2]
        connection.open(client_id).talk(topic)
        broker.wait_for_log(mark, client_id, f"{host}:{port}")
