//! `midge pub`: publishes a message, a message many times, or each line of standard input.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{ArgAction, Args};
use midge_codec::QoS;

use super::args::{ConnectArgs, Setup, check_topic_name, parse_qos, parse_seconds, usage};
use super::driver::{Driver, Wake};
use super::error::ClientError;
use super::finish;
use super::lines::Lines;
use super::payload::PayloadArgs;
use super::session::{Answer, Event, Publication};
use super::source::{Next, Source};
use super::{property, reason};

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
    #[arg(short = 't', long)]
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

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Runs `midge pub`.
pub(crate) fn run(args: &PublishArgs) -> ExitCode {
    finish(execute(args), args.connect.terminal())
}

fn execute(args: &PublishArgs) -> Result<(), ClientError> {
    let setup = args.connect.resolve()?;
    let publication = publication(args, &setup)?;
    let Some(payload) = args.payload.read()?.or(args.stdin_line.then(Rc::default)) else {
        return usage("there is no message: add -m TEXT, -f FILE, -l, -s or -n");
    };
    if args.data_streams
        && let Err(text) = setup.endpoint.check_data_streams()
    {
        return usage(text);
    }
    let mut driver = Driver::new(setup.endpoint, setup.options, setup.terminal)?;
    driver.connect(setup.deadline)?;
    if args.data_streams {
        let stream = driver.open_data_stream()?;
        driver.session().ask_on(stream);
    }
    let mut source = if args.stdin_line {
        Source::lines(publication, Lines::of_stdin(driver.waker()))
    } else {
        let publication = Publication { payload, ..publication };
        Source::repeated(publication, args.repeat, args.repeat_delay.unwrap_or_default())
    };
    let outcome = publish_all(&mut driver, &mut source, setup.deadline);
    driver.close(&setup.properties.disconnect);
    outcome
}

/// The message without its payload.
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

/// Publishes everything that `source` has, and waits until it is sent and acknowledged.
fn publish_all(
    driver: &mut Driver,
    source: &mut Source,
    deadline: Option<Instant>,
) -> Result<(), ClientError> {
    let mut refused = 0_u64;
    loop {
        let pause = match feed(driver, source)? {
            Next::End if driver.is_settled() => break,
            Next::At(time) => Some(time),
            _ => None,
        };
        let until = [deadline, pause].into_iter().flatten().min();
        match driver.wait(until)? {
            Wake::Event(Event::Published { topic, answer }) => {
                refused += u64::from(report(driver, &topic, &answer));
            }
            Wake::Deadline if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                let left = driver.session().in_flight();
                let text = format!("not finished in time: {left} messages not acknowledged");
                return Err(ClientError::TimedOut(text));
            }
            _ => {}
        }
    }
    match refused {
        0 => Ok(()),
        1 => Err(ClientError::Refused("the broker refused a message".to_owned())),
        _ => Err(ClientError::Refused(format!("the broker refused {refused} messages"))),
    }
}

/// Publishes as much as the broker takes now, and says what the rest waits for.
fn feed(driver: &mut Driver, source: &mut Source) -> Result<Next, ClientError> {
    while driver.can_publish(source.qos()) {
        match source.next(driver.is_settled(), Instant::now())? {
            Next::Message(publication) => driver.publish(&publication)?,
            other => return Ok(other),
        }
    }
    Ok(Next::Pending)
}

/// Tells of a message that was refused, or that nobody received.
fn report(driver: &Driver, topic: &str, answer: &Answer) -> bool {
    let failed = reason::is_failure(answer.reason_code);
    if failed {
        let reason = reason::describe(answer.reason_code, answer.reason_string.as_deref());
        driver.terminal().warning(&format!("message to '{topic}' refused: {reason}"));
    }
    failed
}
