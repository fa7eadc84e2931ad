//! `midge rr`: publishes a request and prints the response.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use midge_codec::{ProtocolVersion, QoS, ReasonCode, RetainHandling, SubscriptionOptions};

use super::args::{ConnectArgs, Setup, check_topic_name, parse_qos, usage};
use super::driver::{Driver, Wake};
use super::error::ClientError;
use super::finish;
use super::message::Message;
use super::output_args::{FORMAT_HELP, OutputArgs};
use super::payload::PayloadArgs;
use super::printer::Printer;
use super::property::{self, Properties, PropertySet};
use super::random;
use super::reason;
use super::session::{Answer, Event, Publication};

const EXAMPLES: &str = "\
Examples:
  midge rr -t rooms/kitchen/get -m temperature       the response topic is made up
  midge rr -t get -e get/answer -m temperature -W 5  at most five seconds
  midge rr -V 311 -t get -e get/answer -n            MQTT 3.1.1, where both sides know the topic

A responder publishes to the request's response topic and sends its correlation data back.

";
const EXIT_CODES: &str = "
Exit codes: 0 a response was printed; 1 the connection or the request was refused, or the
connection broke; 2 wrong usage; 27 the time of -W was over.";

/// Publish a request and print the response
#[derive(Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true,
          next_help_heading = "Message",
          after_help = format!("{EXAMPLES}{FORMAT_HELP}\n{}{EXIT_CODES}", property::help()))]
pub(crate) struct RequestArgs {
    /// The topic to publish the request to
    #[arg(short = 't', long)]
    topic: Option<String>,

    /// The topic of the response [default in MQTT 5.0: one of its own]
    #[arg(short = 'e', long, value_name = "TOPIC")]
    response_topic: Option<String>,

    /// Do not take a stale message, one with the retain flag, for the response
    #[arg(short = 'R', long)]
    no_retained: bool,

    #[command(flatten)]
    payload: PayloadArgs,

    /// QoS of the request and of the response
    #[arg(short = 'q', long, value_parser = parse_qos, default_value = "0",
          help_heading = "Message")]
    qos: QoS,

    /// Have the broker keep the request for later subscribers
    #[arg(short = 'r', long, help_heading = "Message")]
    retain: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// A request under way.
struct Exchange {
    request: Publication,
    response_topic: String,
    correlation_data: Option<Vec<u8>>,
    no_retained: bool,
    timeout: Duration,
    deadline: Option<Instant>,
}

/// Runs `midge rr`.
pub(crate) fn run(args: &RequestArgs) -> ExitCode {
    finish(execute(args), args.connect.terminal())
}

fn execute(args: &RequestArgs) -> Result<(), ClientError> {
    let mut setup = args.connect.resolve()?;
    args.check(&setup)?;
    let mut printer = args.output.printer()?;
    let Some(payload) = args.payload.read()? else {
        return usage("there is no request: add -m TEXT, -f FILE, -s or -n");
    };
    let asks_for_prefix = args.response_topic(&setup.properties).is_none();
    if asks_for_prefix && setup.options.properties.number(RESPONSE_INFORMATION).is_none() {
        setup.options.properties.set_number(RESPONSE_INFORMATION, 1);
    }
    let version = setup.options.version;
    let mut driver = Driver::new(setup.endpoint, setup.options, setup.terminal)?;
    driver.connect(setup.deadline)?;
    let mut properties = setup.properties.publish.clone();
    let response_topic = match args.response_topic(&setup.properties) {
        Some(topic) => topic.to_owned(),
        None => own_response_topic(driver.session().response_information()),
    };
    if version == ProtocolVersion::V5 {
        complete(&mut properties, &response_topic);
    }
    let exchange = Exchange {
        correlation_data: properties.text(CORRELATION_DATA).map(|data| data.as_bytes().to_vec()),
        request: Publication {
            topic: args.topic.as_ref().or(setup.url_topic.as_ref()).map_or("", |t| t).into(),
            payload,
            qos: args.qos,
            retain: args.retain,
            properties: properties.into(),
        },
        response_topic,
        no_retained: args.no_retained,
        timeout: setup.timeout.unwrap_or_default(),
        deadline: setup.deadline,
    };
    let outcome = exchange.run(&mut driver, &setup.properties.subscribe, &mut printer);
    driver.close(&setup.properties.disconnect);
    outcome
}

const RESPONSE_INFORMATION: &str = "request-response-information";
const RESPONSE_TOPIC: &str = "response-topic";
const CORRELATION_DATA: &str = "correlation-data";

impl RequestArgs {
    fn check(&self, setup: &Setup) -> Result<(), ClientError> {
        let Some(topic) = self.topic.as_ref().or(setup.url_topic.as_ref()) else {
            return usage("there is no topic for the request: add -t TOPIC");
        };
        check_topic_name("-t", topic)?;
        let given_with_d = setup.properties.publish.text(RESPONSE_TOPIC).is_some();
        if given_with_d && self.response_topic.is_some() {
            return usage("the response topic is given twice, with -e and with -D");
        }
        match self.response_topic(&setup.properties) {
            Some(topic) => check_topic_name("-e", topic),
            None if setup.options.version == ProtocolVersion::V5 => Ok(()),
            None => usage("before MQTT 5.0 a response topic has to be agreed on: add -e TOPIC"),
        }
    }

    fn response_topic<'a>(&'a self, properties: &'a Properties) -> Option<&'a str> {
        self.response_topic.as_deref().or_else(|| properties.publish.text(RESPONSE_TOPIC))
    }
}

/// Makes a response topic that nobody else uses, below the prefix that the broker offers for this.
fn own_response_topic(response_information: Option<&str>) -> String {
    let prefix = response_information.unwrap_or("midge/response").trim_end_matches('/');
    format!("{prefix}/{}", random::token())
}

/// Sets the properties that turn a message into a request.
fn complete(properties: &mut PropertySet, response_topic: &str) {
    properties.set_text(RESPONSE_TOPIC, response_topic);
    if properties.text(CORRELATION_DATA).is_none() {
        properties.set_text(CORRELATION_DATA, &random::token());
    }
}

impl Exchange {
    fn run(
        &self,
        driver: &mut Driver,
        subscribe_properties: &PropertySet,
        printer: &mut Printer,
    ) -> Result<(), ClientError> {
        // A retained message was there before the request was, so it is no response to it.
        let retain_handling = RetainHandling::DoNotSend;
        let options =
            SubscriptionOptions { qos: self.request.qos, retain_handling, ..Default::default() };
        let filters = [self.response_topic.clone()];
        driver.session().subscribe(&filters, options, subscribe_properties, Instant::now());
        loop {
            match driver.wait(self.deadline)? {
                Wake::Event(Event::Subscribed { results, reason_string }) => {
                    self.check_subscription(&results, reason_string.as_deref())?;
                    driver.publish(&self.request)?;
                }
                Wake::Event(Event::Published { answer, .. }) => {
                    self.check_answer(driver, &answer)?;
                }
                Wake::Event(Event::Message(message)) if self.is_response(&message) => {
                    printer.print(&message, driver.terminal())?;
                    printer.flush()?;
                    driver.settle();
                    return Ok(());
                }
                Wake::Deadline => return Err(self.timed_out()),
                _ => {}
            }
        }
    }

    fn check_subscription(
        &self,
        results: &[(String, ReasonCode)],
        reason_string: Option<&str>,
    ) -> Result<(), ClientError> {
        match results.iter().find(|(_, reason_code)| reason::is_failure(*reason_code)) {
            None => Ok(()),
            Some((filter, reason_code)) => Err(ClientError::Refused(format!(
                "subscription to the response topic '{filter}' refused: {}",
                reason::describe(*reason_code, reason_string)
            ))),
        }
    }

    fn check_answer(&self, driver: &Driver, answer: &Answer) -> Result<(), ClientError> {
        let topic = &self.request.topic;
        if reason::is_failure(answer.reason_code) {
            let reason = reason::describe(answer.reason_code, answer.reason_string.as_deref());
            let text = format!("the request to '{topic}' was refused: {reason}");
            return Err(ClientError::Refused(text));
        }
        if answer.reason_code == ReasonCode::NoMatchingSubscribers {
            driver.terminal().warning(&format!("nobody is subscribed to '{topic}' now"));
        }
        Ok(())
    }

    /// Whether a message answers this request. A response without correlation data is trusted; one
    /// with other correlation data answers somebody else.
    fn is_response(&self, message: &Message) -> bool {
        let is_stale = self.no_retained && message.retain;
        let is_other = message.correlation_data.is_some()
            && self.correlation_data.is_some()
            && message.correlation_data != self.correlation_data;
        !is_stale && !is_other && message.topic == self.response_topic
    }

    fn timed_out(&self) -> ClientError {
        ClientError::TimedOut(format!(
            "no response to '{}' on '{}' within {} s",
            self.request.topic,
            self.response_topic,
            self.timeout.as_secs_f64()
        ))
    }
}
