//! The arguments that all client commands share, and the setup that they ask for.
//!
//! Flags and their meaning are mosquitto's wherever mosquitto has them. Contradictions must be
//! found here, before anything is connected.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{ArgAction, Args};
use midge_codec::{ProtocolVersion, QoS, TopicFilter, TopicName};

use super::error::ClientError;
use super::property::Properties;
use super::random;
use super::session::{ConnectOptions, WillOptions};
use super::terminal::Terminal;
use crate::endpoint::{BrokerUrl, Endpoint, PasswordArgs, Secret, TlsArgs};

/// The sections of the help that follow those about the connection and TLS.
const WILL: &str = "Will Message";
const GENERAL: &str = "General";

/// How to connect to a broker.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// The broker's host name or address [default: localhost]
    #[arg(short = 'h', long, value_name = "HOST", conflicts_with = "url")]
    host: Option<String>,

    /// The broker's port; 8883 means TLS with the system's authorities [default: 1883, with TLS
    /// 8883]
    #[arg(short = 'p', long, value_name = "PORT", conflicts_with = "url",
          value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Host, port, user, password and topic at once: mqtt://USER:PASSWORD@HOST:PORT/TOPIC, of
    /// which all but HOST may be left out. Also mqtts:// (TLS), quic://, ws:// and wss://
    /// (WebSocket; what follows the host is its path, /mqtt if there is none), and unix:PATH
    #[arg(short = 'L', long, value_name = "URL")]
    url: Option<UrlArgument>,

    /// The path of the broker's Unix socket
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port", "url"])]
    unix: Option<String>,

    /// User name
    #[arg(short = 'u', long, value_name = "NAME", allow_hyphen_values = true)]
    username: Option<String>,

    #[command(flatten)]
    password: PasswordArgs,

    /// Client identifier [default: assigned by the broker]
    #[arg(short = 'i', long, value_name = "ID", conflicts_with = "id_prefix")]
    id: Option<String>,

    /// Client identifier made of this and the process id
    #[arg(short = 'I', long, value_name = "PREFIX")]
    id_prefix: Option<String>,

    /// Keep alive in seconds, 0 for none
    #[arg(short = 'k', long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,

    /// Protocol version: 5, 311 or 31, or mqttv5, mqttv311, mqttv31 (mosquitto's default is 311)
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5",
          value_parser = parse_version, hide_default_value = false)]
    protocol_version: ProtocolVersion,

    /// Resume the session of this client identifier, and leave it behind (needs -i or -I)
    #[arg(short = 'c', long)]
    disable_clean_session: bool,

    /// Keep the session this long after the connection, -1 for ever [default: 0, with -c for ever]
    #[arg(short = 'x', long, value_name = "SECONDS", allow_negative_numbers = true,
          value_parser = parse_expiry)]
    session_expiry_interval: Option<u32>,

    /// The most QoS 1 and 2 messages sent and not yet acknowledged
    // Before 5.0 a broker cannot say its limit; mosquitto 2.0 loses what goes beyond 20.
    #[arg(short = 'M', long, value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u16).range(1..))]
    max_inflight: u16,

    /// A property for a packet: `-D publish content-type text/plain`,
    /// `-D connect user-property NAME VALUE`
    #[arg(short = 'D', long, num_args = 3..=4, value_names = ["PACKET", "PROPERTY", "VALUE"],
          action = ArgAction::Append, allow_negative_numbers = true)]
    property: Vec<String>,

    #[command(flatten)]
    tls: TlsArgs,

    /// Topic of the Will Message, which the broker publishes when this command dies
    #[arg(long, value_name = "TOPIC", help_heading = WILL)]
    will_topic: Option<String>,

    /// Payload of the Will Message [default: empty]
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true,
          help_heading = WILL)]
    will_payload: Option<String>,

    /// QoS of the Will Message
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = parse_qos,
          default_value = "0", help_heading = WILL)]
    will_qos: QoS,

    /// Make the Will Message a retained one
    #[arg(long, requires = "will_topic", help_heading = WILL)]
    will_retain: bool,

    /// Give up this many seconds after the start (exit code 27)
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = parse_seconds,
          help_heading = GENERAL)]
    timeout: Option<Duration>,

    /// Print each packet sent and received, on standard error
    #[arg(short = 'd', long, help_heading = GENERAL)]
    debug: bool,

    /// Print no errors but those of usage
    #[arg(long, help_heading = GENERAL)]
    quiet: bool,

    /// Accepted for mosquitto's sake: small packets are always sent at once
    #[arg(long, hide = true)]
    nodelay: bool,

    /// Print help
    #[arg(long, action = ArgAction::Help, help_heading = GENERAL)]
    help: Option<bool>,
}

/// The value of `-L`, or what is wrong with it. clap's own message would repeat the whole value,
/// with the password.
#[derive(Clone, Debug)]
struct UrlArgument(Result<BrokerUrl, String>);

impl FromStr for UrlArgument {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(BrokerUrl::parse(text)))
    }
}

/// The setup that the arguments ask for.
pub(crate) struct Setup {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: ConnectOptions,
    pub(crate) properties: Properties,
    pub(crate) terminal: Terminal,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    /// The topic of `-L`.
    pub(crate) url_topic: Option<String>,
}

impl ConnectArgs {
    /// Returns where errors of this command go.
    pub(crate) fn terminal(&self) -> Terminal {
        Terminal::new(self.quiet)
    }

    /// The version of the protocol.
    pub(crate) fn version(&self) -> ProtocolVersion {
        self.protocol_version
    }

    /// Checks the arguments against each other, and reads those that have a syntax of their own.
    pub(crate) fn resolve(&self) -> Result<Setup, ClientError> {
        let url = self.url()?;
        let mut properties = Properties::parse(&self.property).map_err(ClientError::Usage)?;
        if self.protocol_version == ProtocolVersion::V5 {
            self.add_expiry_interval(&mut properties)?;
        } else {
            self.refuse_v5_arguments()?;
        }
        Ok(Setup {
            endpoint: self.endpoint(url).map_err(ClientError::Usage)?,
            options: self.connect_options(url, &mut properties)?,
            properties,
            terminal: self.terminal(),
            timeout: self.timeout,
            deadline: self.timeout.map(|timeout| Instant::now() + timeout),
            url_topic: url.and_then(|url| url.topic.clone()),
        })
    }

    fn url(&self) -> Result<Option<&BrokerUrl>, ClientError> {
        let url = self.url.as_ref().map(|UrlArgument(url)| url.as_ref()).transpose();
        url.map_err(|error| ClientError::Usage(format!("-L: {error}")))
    }

    /// Sets the Session Expiry Interval of `-x` or of `-D`. With `-c` alone the session never
    /// expires.
    fn add_expiry_interval(&self, properties: &mut Properties) -> Result<(), ClientError> {
        const NAME: &str = "session-expiry-interval";
        let given_with_d = properties.connect.number(NAME).is_some();
        let interval = match self.session_expiry_interval {
            Some(_) if given_with_d => {
                return usage("the session expiry interval is given twice, with -x and with -D");
            }
            None if self.disable_clean_session && !given_with_d => Some(u32::MAX),
            interval => interval,
        };
        if let Some(interval) = interval {
            properties.connect.set_number(NAME, interval);
        }
        Ok(())
    }

    fn refuse_v5_arguments(&self) -> Result<(), ClientError> {
        if !self.property.is_empty() {
            return usage("-D needs MQTT 5.0: leave -V out, or use -V 5");
        }
        if self.session_expiry_interval.is_some() {
            return usage("-x needs MQTT 5.0: leave -V out, or use -V 5");
        }
        Ok(())
    }

    fn endpoint(&self, url: Option<&BrokerUrl>) -> Result<Endpoint, String> {
        match (url, &self.unix) {
            (Some(url), _) => Endpoint::of_url(url, &self.tls),
            (None, Some(path)) => Endpoint::of_socket(path, &self.tls),
            (None, None) => {
                let host = self.host.as_deref().unwrap_or("localhost");
                Endpoint::of_host(host, self.port, &self.tls)
            }
        }
    }

    fn connect_options(
        &self,
        url: Option<&BrokerUrl>,
        properties: &mut Properties,
    ) -> Result<ConnectOptions, ClientError> {
        let user_name = self.username.clone().or_else(|| url?.user_name.clone());
        let of_url = url.and_then(|url| url.password.as_ref());
        let password = self.password.resolve(of_url, user_name.is_some());
        let password = password.map_err(ClientError::Usage)?;
        if password.is_some() && user_name.is_none() && self.version() != ProtocolVersion::V5 {
            return usage("a password without -u needs MQTT 5.0: add -u, or leave -V out");
        }
        let outlives = self.disable_clean_session || self.session_expiry_interval == Some(u32::MAX);
        if outlives && self.id.is_none() && self.id_prefix.is_none() {
            return usage("a session that outlives the connection needs a name: add -i ID");
        }
        self.check_lengths(password.as_ref())?;
        let will = self.will(properties)?;
        Ok(ConnectOptions {
            version: self.protocol_version,
            client_id: self.client_id(),
            clean_start: !self.disable_clean_session,
            keep_alive_seconds: self.keepalive,
            user_name,
            password,
            will,
            properties: std::mem::take(&mut properties.connect),
            in_flight_max: self.max_inflight,
            trace: self.debug,
        })
    }

    /// Checks the texts that a packet gives with a length of two bytes, so that encoding cannot
    /// fail.
    fn check_lengths(&self, password: Option<&Secret>) -> Result<(), ClientError> {
        let texts = [
            (self.id.as_deref(), "-i"),
            (self.id_prefix.as_deref(), "-I"),
            (self.username.as_deref(), "-u"),
            (password.map(Secret::expose), "the password"),
            (self.will_payload.as_deref(), "--will-payload"),
        ];
        for (text, argument) in texts {
            // A process id after the prefix takes some bytes as well.
            if text.is_some_and(|text| text.len() > usize::from(u16::MAX) - 20) {
                return usage(format!("{argument} is too long: MQTT allows 65535 bytes"));
            }
        }
        Ok(())
    }

    /// Returns the Client Identifier. In MQTT 5.0 the broker chooses one and says which; before
    /// that, a name of our own is safer.
    fn client_id(&self) -> String {
        match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            (None, None) if self.protocol_version == ProtocolVersion::V5 => String::new(),
            (None, None) => format!("midge-{}", random::token()),
        }
    }

    fn will(&self, properties: &mut Properties) -> Result<Option<WillOptions>, ClientError> {
        let will_properties = std::mem::take(&mut properties.will);
        let Some(topic) = &self.will_topic else {
            if will_properties.is_empty() {
                return Ok(None);
            }
            return usage("-D will needs a Will Message: add --will-topic");
        };
        check_topic_name("--will-topic", topic)?;
        if let Some(response_topic) = will_properties.text("response-topic") {
            check_topic_name("-D will response-topic", response_topic)?;
        }
        let payload = self.will_payload.clone().unwrap_or_default().into_bytes();
        Ok(Some(WillOptions {
            topic: topic.clone(),
            payload,
            qos: self.will_qos,
            retain: self.will_retain,
            properties: will_properties,
        }))
    }
}

/// Makes a usage error.
pub(crate) fn usage<T>(message: impl Into<String>) -> Result<T, ClientError> {
    Err(ClientError::Usage(message.into()))
}

/// Checks the value of an argument that has to be a Topic Name.
pub(crate) fn check_topic_name(argument: &str, topic: &str) -> Result<(), ClientError> {
    match TopicName::new(topic) {
        Ok(_) => Ok(()),
        Err(error) => usage(format!("{argument}: '{topic}' is not a topic to publish to: {error}")),
    }
}

/// Checks the value of an argument that has to be a Topic Filter.
pub(crate) fn check_topic_filter(argument: &str, filter: &str) -> Result<(), ClientError> {
    let parsed = match TopicFilter::parse_shared(filter) {
        Some(shared) => shared.map(|(_, filter)| filter),
        None => TopicFilter::parse(filter),
    };
    match parsed {
        Ok(_) => Ok(()),
        Err(error) => usage(format!("{argument}: '{filter}' is not a topic filter: {error}")),
    }
}

fn parse_version(text: &str) -> Result<ProtocolVersion, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        "311" | "3.1.1" => Ok(ProtocolVersion::V3_1_1),
        "31" | "3.1" => Ok(ProtocolVersion::V3_1),
        _ => Err("the versions are 5, 311 and 31".to_owned()),
    }
}

/// Reads a QoS.
pub(crate) fn parse_qos(text: &str) -> Result<QoS, String> {
    let qos = text.parse().ok().and_then(QoS::from_bits);
    qos.ok_or_else(|| "QoS is 0, 1 or 2".to_owned())
}

fn parse_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "∞" => Ok(u32::MAX),
        _ => text.parse().map_err(|_| "a number of seconds up to 4294967295, or -1".to_owned()),
    }
}

/// Reads a time in seconds, which may have a fraction.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    // An Instant can always be moved by a time up to this.
    const SECONDS_MAX: f64 = 1e9;
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("a number of seconds from 0 to {SECONDS_MAX}")),
    }
}

#[cfg(test)]
mod tests;
