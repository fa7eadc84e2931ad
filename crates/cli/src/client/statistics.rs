//! `midge stats`: prints what a broker says about itself below `$SYS`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use midge_codec::{QoS, SubscriptionOptions};
use serde_json::{Map, Value};

use super::args::ConnectArgs;
use super::driver::{Driver, Wake};
use super::error::ClientError;
use super::finish;
use super::message::Message;
use super::property::Properties;
use super::reason;
use super::session::Event;

const HELP: &str = "\
Examples:
  midge stats                                        a table
  midge stats --json | jq '.[\"publish/messages/dropped\"]'
  midge stats -L mqtts://broker.example.org

Works with every broker that publishes below $SYS; what Midge tells is in docs/statistics.md of its
sources.

Exit codes: 0 printed; 1 the connection or the subscription was refused, or the broker tells
nothing; 2 wrong usage; 27 the time of -W was over.";

/// Print what a broker has counted, from its $SYS topics
#[derive(Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true, after_help = HELP)]
pub(crate) struct StatisticsArgs {
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// What all topics begin with.
const PREFIX: &str = "$SYS/broker/";
/// The last one of Midge's topics, in their order.
const LAST: &str = "version";
/// How long to wait for another topic after one has come.
const PAUSE: Duration = Duration::from_millis(500);
/// The same once the last one of Midge's topics has come: the subscription makes Midge publish what
/// has changed since.
const SHORT_PAUSE: Duration = Duration::from_millis(250);
/// How long to wait for the first topic.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `midge stats`.
pub(crate) fn run(args: &StatisticsArgs) -> ExitCode {
    finish(execute(args), args.connect.terminal())
}

fn execute(args: &StatisticsArgs) -> Result<(), ClientError> {
    let setup = args.connect.resolve()?;
    let properties = setup.properties;
    let mut driver = Driver::new(setup.endpoint, setup.options, setup.terminal)?;
    driver.connect(setup.deadline)?;
    let figures = collect(&mut driver, &properties, setup.deadline);
    driver.close(&properties.disconnect);
    print(&figures?, args.json)
}

/// Collects the retained messages below `$SYS`, until no more come.
fn collect(
    driver: &mut Driver,
    properties: &Properties,
    deadline: Option<Instant>,
) -> Result<BTreeMap<String, String>, ClientError> {
    let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..SubscriptionOptions::default() };
    let filters = ["$SYS/#".to_string()];
    driver.session().subscribe(&filters, options, &properties.subscribe, Instant::now());
    let mut figures = BTreeMap::new();
    let mut end = Instant::now() + PATIENCE;
    loop {
        let until = deadline.map_or(end, |deadline| deadline.min(end));
        match driver.wait(Some(until))? {
            Wake::Event(Event::Subscribed { results, reason_string }) => {
                let refused = results.iter().find(|(_, code)| reason::is_failure(*code));
                if let Some((filter, code)) = refused {
                    let reason = reason::describe(*code, reason_string.as_deref());
                    let text = format!("subscription to '{filter}' refused: {reason}");
                    return Err(ClientError::Refused(text));
                }
            }
            Wake::Event(Event::Message(message)) => {
                take(*message, &mut figures);
                let pause = if figures.contains_key(LAST) { SHORT_PAUSE } else { PAUSE };
                end = Instant::now() + pause;
            }
            Wake::Deadline if figures.is_empty() && Some(until) == deadline => {
                let text = "the time is over, and the broker has told nothing".to_string();
                return Err(ClientError::TimedOut(text));
            }
            Wake::Deadline if figures.is_empty() => {
                let text = "the broker tells nothing below $SYS: with Midge, see interval_seconds \
                            of [sys_topics]; with others, whether you may read it";
                return Err(ClientError::Refused(text.to_string()));
            }
            Wake::Deadline => return Ok(figures),
            _ => {}
        }
    }
}

fn take(message: Message, figures: &mut BTreeMap<String, String>) {
    let Message { topic, payload, .. } = message;
    let name = topic.strip_prefix(PREFIX).unwrap_or(&topic);
    figures.insert(name.to_string(), String::from_utf8_lossy(&payload).into_owned());
}

fn print(figures: &BTreeMap<String, String>, is_json: bool) -> Result<(), ClientError> {
    let text = if is_json { json(figures) } else { table(figures) };
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|_| ClientError::OutputClosed)
}

/// Writes one JSON object, in which numbers are numbers and not text.
fn json(figures: &BTreeMap<String, String>) -> String {
    let value = |text: &String| match serde_json::from_str(text) {
        Ok(Value::Number(number)) => Value::Number(number),
        _ => Value::String(text.clone()),
    };
    let object: Map<_, _> =
        figures.iter().map(|(name, text)| (name.clone(), value(text))).collect();
    format!("{:#}\n", Value::Object(object))
}

fn table(figures: &BTreeMap<String, String>) -> String {
    let printable = |text: &str| text.replace(char::is_control, "?");
    let width = figures.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |(name, text): (&String, &String)| {
        format!("{:<width$}  {}\n", printable(name), printable(text))
    };
    figures.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{json, table};

    #[test]
    fn figures_are_a_table_or_an_object() {
        let figures = [("clients/total", "7"), ("load/sockets/1min", "0.50"), ("version", "x\x1b")];
        let figures = figures.map(|(name, text)| (name.to_string(), text.to_string()));
        let figures = BTreeMap::from(figures);
        let expected = "clients/total      7\nload/sockets/1min  0.50\nversion            x?\n";
        assert_eq!(table(&figures), expected);
        let object: serde_json::Value = serde_json::from_str(&json(&figures)).unwrap();
        assert_eq!(
            (&object["clients/total"], &object["load/sockets/1min"]),
            (&7.into(), &0.5.into())
        );
        assert_eq!(object["version"], "x\x1b");
    }
}
