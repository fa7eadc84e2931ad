//! `midge sub`: subscribes and prints what arrives.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use midge_codec::{ProtocolVersion, QoS, RetainHandling, SubscriptionOptions};

use super::args::{ConnectArgs, check_topic_filter, parse_qos, usage};
use super::driver::Driver;
use super::error::ClientError;
use super::finish;
use super::output_args::{FORMAT_HELP, OutputArgs};
use super::property;
use super::reconnect::Retry;
use super::subscriber::{Plan, Subscriber};

const EXAMPLES: &str = "\
Examples:
  midge sub -t sensors/kitchen                       payloads only
  midge sub -t 'sensors/#' -t 'log/+' -v             topics and payloads
  midge sub -t '#' -C 1 -W 5                         one message, within five seconds
  midge sub -t '#' -F '%I %t %x'                     time, topic, payload in hexadecimal
  midge sub -t jobs -q 1 -c -i worker-1              with a session that outlives the command
  midge sub -L ws://localhost:8083/mqtt -t '#' -v    by WebSocket
  midge sub -L quic://localhost -t 'a/#' -t 'b/#' --data-streams
  midge sub -t '#' --remove-retained --retained-only -W 5

";
const EXIT_CODES: &str = "
Exit codes: 0 ended as asked, or by a signal; 1 a connection or every subscription was refused;
2 wrong usage; 27 the time of -W was over.";

/// Subscribe and print messages
#[derive(Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true,
          next_help_heading = "Subscriptions and messages",
          after_help = format!("{EXAMPLES}{FORMAT_HELP}\n{}{EXIT_CODES}", property::help()))]
pub(crate) struct SubscribeArgs {
    /// A topic filter to subscribe to; may be repeated
    #[arg(short = 't', long, value_name = "FILTER")]
    topic: Vec<String>,

    /// Do not print messages whose topic matches this filter; may be repeated
    #[arg(short = 'T', long, value_name = "FILTER")]
    filter_out: Vec<String>,

    /// A topic filter to unsubscribe from; may be repeated
    #[arg(short = 'U', long, value_name = "FILTER")]
    unsubscribe: Vec<String>,

    /// The highest QoS to receive with
    #[arg(short = 'q', long, value_parser = parse_qos, default_value = "0")]
    qos: QoS,

    /// Exit after this many messages
    #[arg(short = 'C', long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Exit once the broker has answered the subscriptions
    #[arg(short = 'E', long)]
    exit_after_subscribe: bool,

    /// Do not print stale messages, those with the retain flag
    #[arg(short = 'R', long)]
    no_retained: bool,

    /// Print only messages with the retain flag, and exit at the first one without
    #[arg(long)]
    retained_only: bool,

    /// Remove each retained message received from the broker (but for those that -T filters out)
    #[arg(long)]
    remove_retained: bool,

    /// Have messages keep the retain flag that they were published with
    #[arg(long)]
    retain_as_published: bool,

    /// When a subscription gets the retained messages: always, new (if it is new), never
    #[arg(long, value_name = "WHEN", value_enum)]
    retain_handling: Option<WhenRetained>,

    /// Do not receive what this client publishes itself
    #[arg(long)]
    no_local: bool,

    /// With QUIC: subscribe to each filter on a stream of its own, so that a slow one does not hold
    /// up the others
    #[arg(long)]
    data_streams: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    connect: ConnectArgs,

    /// When to connect again: never, lost (after a connection that was lost), always (also when
    /// the first attempt fails) [default: lost, with -E never]
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        hide_possible_values = true,
        help_heading = "Connection"
    )]
    retry: Option<Retry>,
}

/// When a subscription gets the retained messages.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenRetained {
    #[value(alias = "0")]
    Always,
    #[value(alias = "1")]
    New,
    #[value(alias = "2")]
    Never,
}

/// Runs `midge sub`.
pub(crate) fn run(args: &SubscribeArgs) -> ExitCode {
    finish(execute(args), args.connect.terminal())
}

fn execute(args: &SubscribeArgs) -> Result<(), ClientError> {
    let setup = args.connect.resolve()?;
    let mut plan = args.plan()?;
    plan.filters.extend(setup.url_topic);
    if plan.data_streams
        && let Err(text) = setup.endpoint.check_data_streams()
    {
        return usage(text);
    }
    plan.timeout = setup.timeout.unwrap_or_default();
    plan.deadline = setup.deadline;
    if plan.filters.is_empty() && plan.unsubscribe.is_empty() {
        return usage("there is nothing to subscribe to: add -t FILTER");
    }
    for (argument, filters) in
        [("-t", &plan.filters), ("-T", &plan.filter_out), ("-U", &plan.unsubscribe)]
    {
        filters.iter().try_for_each(|filter| check_topic_filter(argument, filter))?;
    }
    let is_shared = |filter: &String| filter.starts_with("$share/");
    if plan.options.no_local && plan.filters.iter().any(is_shared) {
        return usage("--no-local cannot be used with a shared subscription");
    }
    let printer = args.output.printer()?;
    let mut driver = Driver::new(setup.endpoint, setup.options, setup.terminal)?;
    let mut subscriber = Subscriber::new(plan, setup.properties, printer);
    match subscriber.run_to_end(&mut driver) {
        // A signal is the way to end a subscriber that has no end of its own.
        Err(ClientError::Interrupted(_)) => Ok(()),
        outcome => outcome,
    }
}

impl SubscribeArgs {
    /// Makes the plan from the arguments, except those about the connection.
    fn plan(&self) -> Result<Plan, ClientError> {
        let v5_only = [
            (self.retain_as_published, "--retain-as-published"),
            (self.retain_handling.is_some(), "--retain-handling"),
            (self.no_local, "--no-local"),
        ];
        if self.connect.version() != ProtocolVersion::V5
            && let Some((_, name)) = v5_only.iter().find(|(given, _)| *given)
        {
            return usage(format!("{name} needs MQTT 5.0: leave -V out, or use -V 5"));
        }
        let default_retry = if self.exit_after_subscribe { Retry::Never } else { Retry::Lost };
        Ok(Plan {
            filters: self.topic.clone(),
            filter_out: self.filter_out.clone(),
            unsubscribe: self.unsubscribe.clone(),
            options: SubscriptionOptions {
                qos: self.qos,
                no_local: self.no_local,
                retain_as_published: self.retain_as_published,
                retain_handling: match self.retain_handling {
                    None | Some(WhenRetained::Always) => RetainHandling::SendAtSubscribe,
                    Some(WhenRetained::New) => RetainHandling::SendIfNew,
                    Some(WhenRetained::Never) => RetainHandling::DoNotSend,
                },
            },
            count: self.count,
            exit_after_subscribe: self.exit_after_subscribe,
            no_retained: self.no_retained,
            retained_only: self.retained_only,
            remove_retained: self.remove_retained,
            data_streams: self.data_streams,
            retry: self.retry.unwrap_or(default_retry),
            timeout: Duration::ZERO,
            deadline: None,
        })
    }
}
