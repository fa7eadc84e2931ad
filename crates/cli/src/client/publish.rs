//! `midge pub`: publishes a message, a message many times, or each line of standard input.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use midge_codec::{ProtocolVersion, QoS};

use super::args::{ConnectArgs, Setup, check_topic_name, parse_qos, parse_seconds, usage};
use super::driver::Driver;
use super::error::ClientError;
use super::finish;
use super::lines::Lines;
use super::payload::PayloadArgs;
use super::property;
use super::publisher::Publisher;
use super::reconnect::{self, Retry};
use super::session::Publication;
use super::source::Source;

const EXAMPLES: &str = "\
Examples:
  midge pub -t sensors/kitchen -m 21.5               one message
  midge pub -t sensors/kitchen -m 21.5 -r -q 1       retained, and acknowledged by the broker
  midge pub -t sensors/kitchen -n -r                 remove the retained message
  tail -f log | midge pub -t log -l -q 1             each line is a message
  midge pub -t photo -f a.jpg -D publish content-type image/jpeg
  midge pub -L mqtt://user:password@example.org:1883/a/b -m hello
  midge pub -L mqtts://example.org/a/b -m hello      over TLS; --cafile if it has its own authority

";
const EXIT_CODES: &str = "
Exit codes: 0 all messages sent (and, above QoS 0, accepted); 1 a connection or a message was
refused, or the connection broke; 2 wrong usage; 27 the time of -W was over.";

/// Publish messages
#[derive(Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true,
          after_help = format!("{EXAMPLES}{}{EXIT_CODES}", property::help()))]
pub(crate) struct PublishArgs {
    /// The topic to publish to
    #[arg(short = 't', long, help_heading = "Message")]
    topic: Option<String>,

    #[command(flatten)]
    payload: PayloadArgs,

    /// Send each line of standard input as a message
    #[arg(short = 'l', long, conflicts_with = "payload", help_heading = "Message")]
    stdin_line: bool,

    /// QoS of the messages
    #[arg(short = 'q', long, value_parser = parse_qos, default_value = "0",
          help_heading = "Message")]
    qos: QoS,

    /// Have the broker keep the message for later subscribers
    #[arg(short = 'r', long, help_heading = "Message")]
    retain: bool,

    /// Send the message this many times
    #[arg(long, value_name = "COUNT", conflicts_with = "stdin_line", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..), help_heading = "Message")]
    repeat: u64,

    /// Wait between two of them, from one's delivery to the next one's start
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, requires = "repeat",
          help_heading = "Message")]
    repeat_delay: Option<Duration>,

    /// With QUIC: send the messages on a stream beside the control stream
    #[arg(long, help_heading = "Message")]
    data_streams: bool,

    #[command(flatten)]
    connect: ConnectArgs,

    /// When to connect again: never, lost (after a connection that was lost), always (also when
    /// the first attempt fails) [default: with -l and --repeat lost, else never]
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        hide_possible_values = true,
        help_heading = "Connection"
    )]
    retry: Option<Retry>,
}

/// Runs `midge pub`.
pub(crate) fn run(args: &PublishArgs) -> ExitCode {
    finish(execute(args), args.connect.terminal())
}

fn execute(args: &PublishArgs) -> Result<(), ClientError> {
    let mut setup = args.connect.resolve()?;
    let publication = publication(args, &setup)?;
    let Some(payload) = args.payload.read()?.or(args.stdin_line.then(Rc::default)) else {
        return usage("there is no message: add -m TEXT, -f FILE, -l, -s or -n");
    };
    if args.data_streams
        && let Err(text) = setup.endpoint.check_data_streams()
    {
        return usage(text);
    }
    let retry = args.retry();
    if retry != Retry::Never && args.qos == QoS::ExactlyOnce {
        keep_session_for_a_while(&mut setup);
    }
    let mut driver = Driver::new(setup.endpoint, setup.options, setup.terminal)?;
    let source = if args.stdin_line {
        Source::lines(publication, Lines::of_stdin(driver.waker()))
    } else {
        let publication = Publication { payload, ..publication };
        Source::repeated(publication, args.repeat, args.repeat_delay.unwrap_or_default())
    };
    let mut publisher = Publisher::new(source, setup.deadline, args.data_streams);
    let outcome = reconnect::run(&mut publisher, &mut driver, retry, setup.deadline);
    driver.close(&setup.properties.disconnect);
    publisher.finish(outcome, &mut driver)
}

/// How long the broker keeps the session of a publisher that may come back.
const SESSION_KEPT_SECONDS: u32 = 300;

/// Has the broker keep the session, because only a session says which QoS 2 messages the broker had
/// before the connection was lost. The session ends with the command. A command with a Will Message
/// gets none, because it would change the Will Message's delay.
fn keep_session_for_a_while(setup: &mut Setup) {
    const NAME: &str = "session-expiry-interval";
    let options = &mut setup.options;
    let is_asked_for = options.properties.number(NAME).is_some();
    if options.version == ProtocolVersion::V5 && !is_asked_for && options.will.is_none() {
        options.properties.set_number(NAME, SESSION_KEPT_SECONDS);
        setup.properties.disconnect.set_number(NAME, 0);
    }
}

impl PublishArgs {
    fn retry(&self) -> Retry {
        let goes_on = self.stdin_line || self.repeat > 1;
        self.retry.unwrap_or(if goes_on { Retry::Lost } else { Retry::Never })
    }
}

/// Makes the message without its payload.
fn publication(args: &PublishArgs, setup: &Setup) -> Result<Publication, ClientError> {
    let Some(topic) = args.topic.as_ref().or(setup.url_topic.as_ref()) else {
        return usage("there is no topic: add -t TOPIC");
    };
    check_topic_name("-t", topic)?;
    let properties = setup.properties.publish.clone();
    if let Some(response_topic) = properties.text("response-topic") {
        check_topic_name("-D publish response-topic", response_topic)?;
    }
    Ok(Publication {
        topic: topic.as_str().into(),
        payload: Rc::default(),
        qos: args.qos,
        retain: args.retain,
        properties: properties.into(),
    })
}
