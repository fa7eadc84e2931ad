//! A broker with listeners of every kind, for the suites about transports.
//!
//! The suites read one file, `transports.json`. It says where the listeners are, which directory
//! has their files, and which process the broker is. What a broker does not have is not in the
//! file, and the suites leave it out.

use crate::{
    certificates,
    failure::{Failure, Result},
};
use serde_json::{Map, Value, json};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

/// The variable that tells the suites where the file is that describes the broker.
pub const FILE_VARIABLE: &str = "MIDGE_TEST_TRANSPORTS";

/// A listener of the test: its name, the scheme of its URL, and its lines of configuration.
struct Listener {
    name: &'static str,
    scheme: &'static str,
    lines: &'static str,
}

const SERVER: &str = "tls.certificate = \"server.pem\"\ntls.key = \"server.key\"\n";
const REQUIRED: &str = "tls.client_ca = \"ca.pem\"\ntls.client_crl = \"crl.pem\"\n";

/// The listeners of Midge. `SERVER` and `REQUIRED` stand for lines that several of them have.
const MIDGE: &[Listener] = &[
    Listener { name: "plain", scheme: "mqtt", lines: "" },
    Listener {
        name: "tls",
        scheme: "mqtts",
        lines: "tls.certificate = [\"server.pem\", \"other.pem\"]\n\
                tls.key = [\"server.key\", \"other.key\"]\n",
    },
    Listener { name: "tls13", scheme: "mqtts", lines: "SERVER tls.version_min = \"1.3\"\n" },
    Listener { name: "tls_required", scheme: "mqtts", lines: "SERVER REQUIRED" },
    Listener {
        name: "tls_optional",
        scheme: "mqtts",
        lines: "SERVER REQUIRED tls.client_certificates = \"optional\"\n",
    },
    Listener {
        name: "tls_renewed",
        scheme: "mqtts",
        lines: "tls.certificate = \"live.pem\"\ntls.key = \"live.key\"\n",
    },
    Listener { name: "ws", scheme: "ws", lines: "protocol = \"websocket\"\n" },
    Listener {
        name: "ws_origin",
        scheme: "ws",
        lines: "protocol = \"websocket\"\nwebsocket.path = \"/broker\"\n\
                websocket.origins = [\"https://page.test\"]\n",
    },
    Listener { name: "wss", scheme: "wss", lines: "protocol = \"websocket\"\nSERVER" },
    Listener {
        name: "wss_required",
        scheme: "wss",
        lines: "protocol = \"websocket\"\nSERVER REQUIRED",
    },
    Listener { name: "quic", scheme: "quic", lines: "protocol = \"quic\"\nSERVER" },
    Listener {
        name: "quic_required",
        scheme: "quic",
        lines: "protocol = \"quic\"\nSERVER REQUIRED",
    },
    Listener { name: "unix", scheme: "unix", lines: "unix.mode = \"0600\"\n" },
    Listener { name: "proxy", scheme: "mqtt", lines: "proxy_protocol = \"required\"\n" },
    Listener { name: "proxy_optional", scheme: "mqtt", lines: "proxy_protocol = \"optional\"\n" },
    Listener {
        name: "proxy_elsewhere",
        scheme: "mqtt",
        lines: "proxy_protocol = \"optional\"\nproxy_protocol_from = [\"192.0.2.0/24\"]\n",
    },
    Listener { name: "proxy_tls", scheme: "mqtts", lines: "proxy_protocol = \"required\"\nSERVER" },
    Listener {
        name: "proxy_ws",
        scheme: "ws",
        lines: "protocol = \"websocket\"\nproxy_protocol = \"required\"\n",
    },
    Listener { name: "limited", scheme: "mqtt", lines: "connections_max = 3\n" },
    Listener { name: "limited_tls", scheme: "mqtts", lines: "connections_max = 3\nSERVER" },
    Listener {
        name: "limited_ws",
        scheme: "ws",
        lines: "protocol = \"websocket\"\nconnections_max = 3\n",
    },
    Listener { name: "hurried", scheme: "mqtt", lines: "connect_deadline_ms = 1000\n" },
    Listener { name: "hurried_tls", scheme: "mqtts", lines: "connect_deadline_ms = 1000\nSERVER" },
    Listener {
        name: "hurried_ws",
        scheme: "ws",
        lines: "protocol = \"websocket\"\nconnect_deadline_ms = 1000\n",
    },
];

/// The listeners of Debian's mosquitto that are like Midge's.
const MOSQUITTO: &[Listener] = &[
    Listener { name: "plain", scheme: "mqtt", lines: "" },
    Listener { name: "tls", scheme: "mqtts", lines: "SERVER" },
    Listener {
        name: "tls_required",
        scheme: "mqtts",
        lines: "SERVER require_certificate true\ncrlfile crl.pem\n",
    },
    Listener { name: "ws", scheme: "ws", lines: "protocol websockets\n" },
    Listener { name: "wss", scheme: "wss", lines: "protocol websockets\nSERVER" },
];

const MOSQUITTO_SERVER: &str = "cafile ca.pem\ncertfile server.pem\nkeyfile server.key\n";

/// What a broker with every transport is started with.
#[derive(Debug)]
pub struct Transports {
    /// The configuration file.
    pub configuration: PathBuf,
    /// The address of the broker's plain listener.
    pub plain: SocketAddr,
    /// The file that describes the broker to the suites.
    pub file: PathBuf,
    directory: PathBuf,
    listeners: Map<String, Value>,
}

impl Transports {
    /// Makes certificates and a configuration file for Midge in `directory`.
    ///
    /// # Errors
    /// Fails if openssl is not there, or if a file cannot be written.
    pub fn for_midge(directory: &Path) -> Result<Self> {
        Self::make(directory, MIDGE, |listener, bind| {
            let lines = listener.lines.replace("SERVER", SERVER).replace("REQUIRED", REQUIRED);
            let lines = lines.replace("\n ", "\n");
            format!("[[listener]]\nbind = {bind:?}\n{lines}\n")
        })
    }

    /// Does as [`Transports::for_midge`], for Debian's mosquitto.
    ///
    /// # Errors
    /// As for [`Transports::for_midge`].
    pub fn for_mosquitto(directory: &Path) -> Result<Self> {
        Self::make(directory, MOSQUITTO, |listener, bind| {
            // Started by root, mosquitto would become a user that cannot read the keys.
            let user = if listener.name == "plain" { "user root\n" } else { "" };
            let (host, port) = bind.rsplit_once(':').unwrap_or((bind, ""));
            let lines = listener.lines.replace("SERVER", MOSQUITTO_SERVER).replace("\n ", "\n");
            format!("{user}listener {port} {host}\nallow_anonymous true\n{lines}\n")
        })
    }

    fn make(
        directory: &Path,
        listeners: &[Listener],
        lines: impl Fn(&Listener, &str) -> String,
    ) -> Result<Self> {
        // No file of an earlier run may stay.
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory)
            .map_err(|error| Failure::because(directory.display(), error))?;
        certificates::make(directory)?;
        for kind in ["pem", "key"] {
            let (from, to) = (format!("server.{kind}"), format!("live.{kind}"));
            fs::copy(directory.join(&from), directory.join(to))
                .map_err(|error| Failure::because(from, error))?;
        }
        let (mut text, mut urls) = (String::new(), Map::new());
        let ports = free_ports(listeners.len())?;
        for (listener, port) in listeners.iter().zip(&ports) {
            let (bind, url) = place(listener, *port, directory);
            text.push_str(&lines(listener, &bind));
            urls.insert(listener.name.to_owned(), url.into());
        }
        let configuration = directory.join("broker.conf");
        write(&configuration, &text)?;
        Ok(Self {
            configuration,
            plain: (Ipv4Addr::LOCALHOST, ports[0]).into(),
            file: directory.join("transports.json"),
            directory: directory.to_path_buf(),
            listeners: urls,
        })
    }

    /// Writes the file for the suites, now that the broker `program` runs as `process`.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn describe(&self, process: u32, program: &Path, log: &Path) -> Result<()> {
        let described = json!({
            "process": process,
            "program": program,
            "log": log,
            "directory": self.directory,
            "listeners": self.listeners,
        });
        write(&self.file, &format!("{described:#}\n"))
    }
}

/// Returns where a listener binds, and its URL.
fn place(listener: &Listener, port: u16, directory: &Path) -> (String, String) {
    if listener.scheme == "unix" {
        let path = format!("unix:{}", directory.join("broker.sock").display());
        return (path.clone(), path);
    }
    let bind = format!("127.0.0.1:{port}");
    // The URL may say localhost: the certificates name that, too.
    let path = match (listener.scheme, listener.name) {
        ("ws" | "wss", "ws_origin") => "/broker",
        ("ws" | "wss", _) => "/mqtt",
        _ => "",
    };
    (bind, format!("{}://localhost:{port}{path}", listener.scheme))
}

/// Returns ports that nobody used a moment ago, neither for TCP nor for UDP.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    let failed = |error| Failure::because("a free port", error);
    while held.len() < count {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        if let Ok(udp) = UdpSocket::bind(address) {
            held.push((tcp, udp, address.port()));
        }
    }
    Ok(held.into_iter().map(|(_, _, port)| port).collect())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Failure::because(path.display(), error))
}
