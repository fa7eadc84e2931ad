//! The command line of `midge bench`.

use clap::{ArgAction, Args, ValueEnum};

use super::error::BenchError;
use super::generator::handshake::Protocol;
use super::generator::wire::{MARK_BYTES, STAMP_BYTES};
use crate::endpoint::{BrokerUrl, Endpoint, PasswordArgs, Secret, TlsArgs};

const EXAMPLES: &str = "\
Examples:
  midge bench p2p                                    100 pairs, as fast as the broker goes
  midge bench fan-out -h broker.example.org --clients 500 --qos 1
  midge bench latency --rate 5000 --seconds 30       with the percentiles of the delay
  midge bench p2p -L mqtts://localhost --cafile tls/ca.pem
  midge bench idle --clients 20000 --pid 1234        memory of the broker with process id 1234";

/// The variable that holds a password for the benchmark alone.
const PASSWORD_VARIABLE: &str = "MIDGE_BENCH_PASSWORD";

/// Put a load on an MQTT broker and measure what it does with it.
///
/// Saturated scenarios keep a window of messages under way for each publisher, so that no broker
/// has to drop any. Exit code 0: all is well; 1: the connection or the protocol failed, or messages
/// above QoS 0 were lost; 2: the command line makes no sense.
#[derive(Args, Clone, Debug)]
#[command(disable_help_flag = true, next_help_heading = "Load", after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,
    /// Quality of Service of publishers and subscribers.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub(crate) size: usize,
    /// The N of the scenario: pairs, subscribers, publishers or connections [default: 100; fan-out
    /// and fan-in 1000; idle 5000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) clients: Option<u32>,
    /// Members of the group in `shared`.
    #[arg(long, default_value_t = 10, value_name = "M")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) members: u32,
    /// Messages under way per publisher [default: 64; fan-in 16].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) window: Option<u16>,
    /// Seconds to measure, or to hold the connections in `idle`.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// Measure so many messages (connections in `connect`) in all instead of a time, and without a
    /// warm-up; in `drain` so many are published to the queues [default there: 500 per publisher].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,
    /// Seconds under load before the measurement begins.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) warmup: f64,
    /// Seconds without any arrival after which missing messages count as lost.
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) patience: f64,
    /// Messages per second in all, for `latency`.
    #[arg(long, default_value_t = 1000.0, value_name = "PER_SECOND", value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// Subscribers have persistent sessions, which are made for the run and removed after it.
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Do only this part of `drain`, with the same options in both; `fill` leaves the sessions with
    /// their queues behind [default: both parts].
    #[arg(long, value_enum)]
    pub(crate) phase: Option<DrainPhase>,
    /// In `drain`: one publisher fills the queues of all sessions with the same messages.
    #[arg(long)]
    pub(crate) to_all: bool,
    /// With QUIC: what clients publish and subscribe to goes on a data stream of each.
    #[arg(long)]
    pub(crate) data_streams: bool,
    /// First level of all topics and Client Identifiers.
    #[arg(long, default_value = "bench", value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// The broker's host name or address [default: 127.0.0.1].
    #[arg(
        short = 'h',
        long,
        value_name = "HOST",
        conflicts_with = "url",
        help_heading = "Connection"
    )]
    pub(crate) host: Option<String>,
    /// The broker's port [default: 1883, with TLS 8883].
    #[arg(short = 'p', long, value_name = "PORT", conflicts_with = "url",
          value_parser = clap::value_parser!(u16).range(1..), help_heading = "Connection")]
    pub(crate) port: Option<u16>,
    /// The broker, instead: mqtt://HOST:PORT, mqtts:// (TLS), quic://, ws:// or wss:// (WebSocket,
    /// with a path), unix:PATH.
    #[arg(short = 'L', long, value_name = "URL", help_heading = "Connection")]
    pub(crate) url: Option<Secret>,
    /// User name to connect with.
    #[arg(
        short = 'u',
        long,
        visible_alias = "username",
        value_name = "NAME",
        help_heading = "Connection"
    )]
    pub(crate) user: Option<String>,
    #[command(flatten, next_help_heading = "Connection")]
    pub(crate) password: PasswordArgs,
    /// MQTT version to speak.
    #[arg(
        short = 'V',
        long,
        visible_alias = "protocol-version",
        value_enum,
        default_value = "3.1.1",
        value_name = "VERSION",
        help_heading = "Connection"
    )]
    pub(crate) protocol: Protocol,
    /// Keep Alive of the connections. No PINGREQ is sent: a run has to be shorter.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", help_heading = "Connection")]
    pub(crate) keep_alive: u16,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// Process id of the broker on this machine (repeatable, or a list with commas): adds its CPU
    /// time per message and its memory.
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',', help_heading = "Report")]
    pub(crate) pids: Vec<u32>,
    /// Print the result as one JSON object.
    #[arg(long, help_heading = "Report")]
    pub(crate) json: bool,
    /// Show progress on standard error even if it is no terminal.
    #[arg(long, help_heading = "Report")]
    pub(crate) progress: bool,
    /// Print help.
    #[arg(long, action = ArgAction::Help, help_heading = "Report")]
    pub(crate) help: Option<bool>,
}

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// N pairs of a publisher and a subscriber, as fast as the broker goes.
    P2p,
    /// One publisher, N subscribers.
    FanOut,
    /// N publishers, one subscriber.
    FanIn,
    /// N publishers, one shared subscription with M members.
    Shared,
    /// N pairs at a fixed rate; latency counts from the time at which a message was to be sent.
    Latency,
    /// Connect and disconnect, N at a time, as fast as the broker goes.
    Connect,
    /// N connections with one subscription each, held without traffic.
    Idle,
    /// N persistent sessions get messages while they are offline, and then come back.
    Drain,
}

/// The parts of `drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DrainPhase {
    /// Make the sessions and queue messages for them; this is what is measured.
    Fill,
    /// Come back for what an earlier `fill` has queued, and remove the sessions.
    Drain,
}

impl DrainPhase {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Scenario {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl BenchArgs {
    /// Returns the N of the scenario.
    pub(crate) fn clients(&self) -> usize {
        let default = match self.scenario {
            Scenario::FanOut | Scenario::FanIn => 1000,
            Scenario::Idle => 5000,
            _ => 100,
        };
        self.clients.unwrap_or(default) as usize
    }

    /// Returns the seconds of load before the measurement; a run of a given number of messages has
    /// none.
    pub(crate) fn warmup(&self) -> f64 {
        if self.messages.is_some() { 0.0 } else { self.warmup }
    }

    /// Whether one publisher's messages go to all subscribers.
    pub(crate) fn is_broadcast(&self) -> bool {
        self.scenario == Scenario::FanOut || self.to_all
    }

    /// Whether the run ends with messages in the queues.
    pub(crate) fn only_fills(&self) -> bool {
        self.phase == Some(DrainPhase::Fill)
    }

    /// Returns how many messages are under way per publisher.
    pub(crate) fn window(&self) -> u16 {
        self.window.unwrap_or(if self.scenario == Scenario::FanIn { 16 } else { 64 })
    }

    /// Refuses arguments that no scenario can follow.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let least = match self.scenario {
            Scenario::FanIn | Scenario::Shared => MARK_BYTES,
            Scenario::Latency => MARK_BYTES + STAMP_BYTES,
            _ => 0,
        };
        if self.size < least {
            let name = self.scenario.name();
            return Err(BenchError::usage(format!("{name} needs a --size of at least {least}")));
        }
        if self.size > 200_000_000 {
            return Err(BenchError::usage("--size is more than a packet can hold"));
        }
        if self.scenario == Scenario::Drain && self.qos == 0 {
            return Err(BenchError::usage("drain needs --qos 1 or 2: QoS 0 is not queued"));
        }
        if self.scenario != Scenario::Drain && (self.phase.is_some() || self.to_all) {
            return Err(BenchError::usage("--phase and --to-all are for drain"));
        }
        if self.data_streams && self.scenario == Scenario::Connect {
            return Err(BenchError::usage("connect has nothing to send on --data-streams"));
        }
        if self.persistent && matches!(self.scenario, Scenario::Connect | Scenario::Idle) {
            let name = self.scenario.name();
            return Err(BenchError::usage(format!("{name} has no sessions for --persistent")));
        }
        self.endpoint()?;
        let password = self.password()?;
        if password.is_some() && self.user_name()?.is_none() && self.protocol == Protocol::V3_1_1 {
            return Err(BenchError::usage("MQTT 3.1.1 has no password without --user"));
        }
        if self.topic.is_empty() || self.topic.contains(['+', '#', '\0']) {
            return Err(BenchError::usage("--topic must be a Topic Name without wildcards"));
        }
        Ok(())
    }

    /// Returns where the broker is.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, BenchError> {
        let endpoint = match self.broker_url()? {
            Some(url) if url.topic.is_some() => {
                return Err(BenchError::usage("--url has a topic: topics begin with --topic here"));
            }
            Some(url) => Endpoint::of_url(&url, &self.tls),
            None => {
                let host = self.host.as_deref().unwrap_or("127.0.0.1");
                Endpoint::of_host(host, self.port, &self.tls)
            }
        };
        let endpoint = endpoint.map_err(BenchError::usage)?;
        if self.data_streams {
            endpoint.check_data_streams().map_err(BenchError::usage)?;
        }
        Ok(endpoint)
    }

    /// Returns the user name, from its argument or from the URL.
    pub(crate) fn user_name(&self) -> Result<Option<String>, BenchError> {
        let of_url = self.broker_url()?.and_then(|url| url.user_name);
        Ok(self.user.clone().or(of_url))
    }

    /// Returns the password, from an argument, a variable or the URL.
    pub(crate) fn password(&self) -> Result<Option<Secret>, BenchError> {
        let variable = std::env::var(PASSWORD_VARIABLE).ok().map(Secret::new);
        let other = variable.or(self.broker_url()?.and_then(|url| url.password));
        let has_user_name = self.user_name()?.is_some();
        self.password.resolve(other.as_ref(), has_user_name).map_err(BenchError::usage)
    }

    fn broker_url(&self) -> Result<Option<BrokerUrl>, BenchError> {
        let url = self.url.as_ref().map(|url| BrokerUrl::parse(url.expose())).transpose();
        url.map_err(|error| BenchError::usage(format!("--url: {error}")))
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    parse_number(text, 0.0, 1e6)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    parse_number(text, 0.001, 1e8)
}

fn parse_number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let in_range = (least..=most).contains(&number);
    in_range.then_some(number).ok_or_else(|| format!("not between {least} and {most}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }

    pub(crate) fn parse(line: &str) -> Result<BenchArgs, clap::Error> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.bench)
    }

    #[test]
    fn scenarios_have_their_own_defaults() {
        for (line, clients, window) in
            [("p2p", 100, 64), ("fan-out", 1000, 64), ("fan-in", 1000, 16), ("idle", 5000, 64)]
        {
            let args = parse(line).unwrap();
            assert_eq!((args.clients(), args.window()), (clients, window), "{line}");
        }
    }

    #[test]
    fn process_ids_come_as_a_list_or_one_by_one() {
        assert_eq!(parse("p2p --pid 1,2 --pid 3").unwrap().pids, [1, 2, 3]);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "p3p", "p2p --qos 3", "p2p --window 0", "p2p --seconds -1", "p2p --rate x"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in [
            "drain",
            "fan-in --size 3",
            "latency --size 11",
            "p2p --topic a/#",
            "p2p --phase fill",
            "fan-out --to-all",
            "idle --persistent",
        ] {
            let error = parse(line).unwrap().check().unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        for line in ["drain --qos 1", "drain --qos 1 --phase fill --to-all", "p2p --persistent"] {
            parse(line).unwrap().check().unwrap();
        }
    }

    #[test]
    fn urls_are_those_of_the_client_commands() {
        for (url, address) in [
            ("mqtt://localhost", Some("localhost:1883")),
            ("mqtt://localhost:99/", Some("localhost:99")),
            ("mqtt://[::1]:99", Some("[::1]:99")),
            ("mqtts://h", Some("mqtts://h:8883")),
            ("ws://h/mqtt", Some("ws://h:8083/mqtt")),
            ("unix:/run/m.sock", Some("unix:/run/m.sock")),
            ("mqtt://h/topic", None),
            ("mqtt://h:0", None),
            ("mqtt://h --cafile ca.pem", None),
            ("localhost", None),
        ] {
            let endpoint = parse(&format!("p2p --url {url}")).unwrap().endpoint();
            let name = endpoint.as_ref().map(ToString::to_string).ok();
            assert_eq!(name.as_deref(), address, "{url}");
            assert!(endpoint.is_ok() || endpoint.is_err_and(|error| error.exit_code() == 2));
        }
    }

    #[test]
    fn a_url_may_have_the_user_and_the_password() {
        let args = parse("p2p --url mqtt://me:secret@h --user other").unwrap();
        assert_eq!(args.user_name().unwrap().as_deref(), Some("other"));
        assert_eq!(args.password().unwrap(), Some(Secret::new("secret")));
        assert!(!format!("{args:?}").contains("secret@"), "{args:?}");
        let args = parse("p2p -h other -u me -P -x").unwrap();
        assert_eq!(args.password().unwrap(), Some(Secret::new("-x")));
    }

    #[test]
    fn a_host_may_be_named_as_with_the_client_commands() {
        for (line, address) in [
            ("p2p", "127.0.0.1:1883"),
            ("p2p -h example.org", "example.org:1883"),
            ("p2p -h ::1 -p 1884", "[::1]:1884"),
            ("p2p -h h -p 8883", "mqtts://h:8883"),
            ("p2p -h h --cafile ca.pem", "mqtts://h:8883"),
            ("p2p -L ws://h", "ws://h:8083/mqtt"),
        ] {
            assert_eq!(parse(line).unwrap().endpoint().unwrap().to_string(), address, "{line}");
        }
        assert!(parse("p2p -h h --url mqtt://h").is_err());
    }
}
