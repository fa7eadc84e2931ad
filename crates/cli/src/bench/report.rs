//! What a run found, in its printed form: a table, or JSON for scripts.

use midge_core::counted;
use serde::Serialize;

use super::args::{BenchArgs, DrainPhase, Scenario};
use super::measure::histogram::Histogram;
use super::measure::process::Usage;

/// Above this share of its threads' cores, the generator is busy.
const BUSY: f64 = 0.9;
/// Below this share of a core, the broker is not the limit.
const BROKER_IDLE: f64 = 0.8;
/// A generator that sends later than this, at the 99th percentile, measures itself.
const LAG_NANOS_MAX: u64 = 1_000_000;

/// The result of a run. Names end with their units.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    /// The part of the scenario, if only one was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phase: Option<String>,
    pub(crate) url: String,
    pub(crate) protocol: String,
    pub(crate) qos: u8,
    pub(crate) size_bytes: usize,
    pub(crate) clients: usize,
    /// Whether subscribers have sessions that outlive their connections.
    pub(crate) persistent: bool,
    /// Whether everything except the handshakes of MQTT went on data streams.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) data_streams: bool,
    pub(crate) threads: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<u16>,
    /// The length of the measured part of the run.
    pub(crate) measured_seconds: f64,
    /// Messages (or connections, in `connect`) in the measured part.
    pub(crate) measured: u64,
    pub(crate) per_second: f64,
    /// Over the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) totals: Option<Totals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    /// From writing a message above QoS 0 to its PUBACK or PUBREC; in `drain` while it fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledgement_latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<BrokerUsage>,
    pub(crate) generator: GeneratorUsage,
    /// What the reader has to know before believing the figures.
    pub(crate) warnings: Vec<String>,
}

/// What was sent and what was received, with warm-up and stragglers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) unacknowledged: u64,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

/// What the broker used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct BrokerUsage {
    pub(crate) cpu_seconds: f64,
    pub(crate) cores: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_message: Option<f64>,
    /// Before the first connection; in a run that only fills queues, before the first message.
    pub(crate) rss_before_bytes: u64,
    /// At the end of the measured part.
    pub(crate) rss_after_bytes: u64,
    pub(crate) rss_growth_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_growth_bytes_per_connection: Option<f64>,
}

/// What the generator used, with all its threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct GeneratorUsage {
    pub(crate) cpu_seconds: f64,
    pub(crate) cores: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_message: Option<f64>,
    /// Whether the generator, and not the broker, limited the rate.
    pub(crate) is_limit: bool,
}

/// The bare figures of a run, from which a report is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measurement {
    pub(crate) seconds: f64,
    pub(crate) count: u64,
    pub(crate) totals: Option<Totals>,
    pub(crate) latency: Option<Histogram>,
    pub(crate) acknowledgement: Option<Histogram>,
    pub(crate) lag: Option<Histogram>,
    /// The broker's usage: before the first connection, and around the measured part.
    pub(crate) broker_at_rest: Usage,
    pub(crate) broker: (Usage, Usage),
    pub(crate) generator: (Usage, Usage),
    /// How many connections are held, if the question is how much memory they need.
    pub(crate) connections: Option<u64>,
    pub(crate) uses_window: bool,
    /// Whether the generator waits actively, so that its CPU time says nothing.
    pub(crate) is_paced: bool,
}

impl Totals {
    pub(crate) fn new(sent: u64, expected: u64, received: u64) -> Self {
        let lost = expected.saturating_sub(received);
        let duplicates = received.saturating_sub(expected);
        Self { sent, expected, received, lost, duplicates, unacknowledged: 0 }
    }

    /// Whether a promise was broken: above QoS 0 nothing may be lost, at QoS 2 nothing repeated.
    pub(crate) fn break_promise(&self, qos: u8) -> bool {
        let lost = self.lost > 0 || self.unacknowledged > 0;
        qos > 0 && lost || qos == 2 && self.duplicates > 0
    }
}

impl Latency {
    /// Makes the percentiles; `None` if nothing was timed.
    fn of(histogram: Option<&Histogram>) -> Option<Self> {
        let histogram = histogram.filter(|histogram| histogram.len() > 0)?;
        let us = |nanos: u64| nanos as f64 / 1000.0;
        Some(Self {
            p50_us: us(histogram.quantile(0.5)),
            p90_us: us(histogram.quantile(0.9)),
            p99_us: us(histogram.quantile(0.99)),
            p999_us: us(histogram.quantile(0.999)),
            max_us: us(histogram.max()),
        })
    }

    fn row(&self) -> String {
        let Self { p50_us, p90_us, p99_us, p999_us, max_us } = self;
        format!(
            "p50 {p50_us:.0}  p90 {p90_us:.0}  p99 {p99_us:.0}  p99.9 {p999_us:.0}  \
             max {max_us:.0} us"
        )
    }
}

impl Report {
    /// Makes the report of a run with these arguments.
    pub(crate) fn new(args: &BenchArgs, found: &Measurement) -> Self {
        let broker = (!args.pids.is_empty()).then(|| broker_usage(found));
        let generator = generator_usage(args, found, broker.as_ref());
        let mut report = Self {
            scenario: args.scenario.name(),
            phase: args.phase.map(DrainPhase::name),
            // Not the URL as it was given, which may have a password.
            url: args.endpoint().map_or_else(|_| String::new(), |endpoint| endpoint.to_url()),
            protocol: args.protocol.name().to_owned(),
            qos: args.qos,
            size_bytes: args.size,
            clients: args.clients(),
            persistent: args.persistent || args.scenario == Scenario::Drain,
            data_streams: args.data_streams,
            threads: args.threads,
            window: found.uses_window.then(|| args.window()),
            measured_seconds: found.seconds,
            measured: found.count,
            per_second: if found.seconds > 0.0 { found.count as f64 / found.seconds } else { 0.0 },
            totals: found.totals,
            latency: Latency::of(found.latency.as_ref()),
            acknowledgement_latency: Latency::of(found.acknowledgement.as_ref()),
            broker,
            generator,
            warnings: Vec::new(),
        };
        report.warn(found);
        report
    }

    fn warn(&mut self, found: &Measurement) {
        if self.generator.is_limit {
            let broker = match &self.broker {
                Some(broker) => format!("while the broker used {:.2}", broker.cores),
                None => "and may have been the limit (--pid would tell)".to_owned(),
            };
            self.warnings.push(format!(
                "the generator used {:.2} of its {} {broker}: the rate is its own, not the \
                 broker's",
                self.generator.cores,
                counted(self.threads, "core")
            ));
        }
        if let Some(lag) = found.lag.as_ref().filter(|lag| lag.quantile(0.99) > LAG_NANOS_MAX) {
            let late = lag.quantile(0.99) as f64 / 1e6;
            self.warnings.push(format!(
                "the generator sent late (p99 {late:.1} ms): part of the latency is its own"
            ));
        }
        if let Some(totals) = self.totals.filter(|totals| totals.lost > 0) {
            self.warnings.push(format!("lost: {}", counted(totals.lost, "message")));
        }
        if let Some(totals) = self.totals.filter(|totals| totals.unacknowledged > 0) {
            let messages = counted(totals.unacknowledged, "message");
            self.warnings.push(format!("never acknowledged: {messages}"));
        }
        if self.broker.is_some_and(|broker| broker.cpu_seconds < 0.2) && self.measured > 0 {
            self.warnings.push(
                "the broker used less than 20 ticks of CPU time: measure for longer".to_owned(),
            );
        }
    }

    /// Writes one JSON object.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Writes a table for people: a name and a value on each line.
    pub(crate) fn to_table(&self) -> String {
        let mut rows = self.rows();
        rows.extend(self.warnings.iter().map(|warning| ("warning", warning.clone())));
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = rows.iter().map(|(name, value)| format!("{name:<width$}  {value}"));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { scenario, url, protocol, qos, size_bytes, clients, .. } = self;
        let window = self.window.map_or(String::new(), |window| format!(", window {window}"));
        let phase = self.phase.as_ref().map_or(String::new(), |phase| format!(" ({phase})"));
        let sessions = if self.persistent { ", persistent sessions" } else { "" };
        let setup = format!(
            "{scenario}{phase} to {url}, MQTT {protocol}, QoS {qos}, {}, {}{window}{sessions}",
            counted(*size_bytes, "byte"),
            counted(*clients, "client"),
        );
        let mut rows = vec![("scenario", setup)];
        if self.measured > 0 || self.totals.is_some() {
            let (measured, seconds) = (self.measured, self.measured_seconds);
            rows.push(("measured", format!("{measured} in {seconds:.2} s")));
            rows.push(("rate", format!("{:.0} per second", self.per_second)));
        }
        if let Some(totals) = self.totals {
            let Totals { expected, received, lost, duplicates, .. } = totals;
            let duplicates = counted(duplicates, "duplicate");
            let text = format!("{received} of {expected}, {lost} lost, {duplicates}");
            rows.push(("received in all", text));
        }
        rows.extend(self.latency.iter().map(|latency| ("latency", latency.row())));
        let acknowledged = self.acknowledgement_latency.iter();
        rows.extend(acknowledged.map(|latency| ("acknowledged", latency.row())));
        rows.extend(self.broker.iter().flat_map(BrokerUsage::rows));
        let (cores, seconds) = (self.generator.cores, self.generator.cpu_seconds);
        rows.push(("generator CPU", format!("{cores:.2} cores, {seconds:.2} s")));
        rows
    }
}

impl BrokerUsage {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let each = self.cpu_us_per_message.map(|us| format!(", {us:.3} us each"));
        let (cores, seconds) = (self.cores, self.cpu_seconds);
        let cpu = format!("{cores:.2} cores, {seconds:.2} s{}", each.unwrap_or_default());
        let kb = |bytes: f64| bytes / 1024.0;
        let each = self.rss_growth_bytes_per_connection;
        let each = each.map(|bytes| format!(", {bytes:.0} bytes per connection"));
        let memory = format!(
            "{:.0} KB, grown by {:.0} KB{}",
            kb(self.rss_after_bytes as f64),
            kb(self.rss_growth_bytes as f64),
            each.unwrap_or_default()
        );
        vec![("broker CPU", cpu), ("broker memory", memory)]
    }
}

fn broker_usage(found: &Measurement) -> BrokerUsage {
    let (before, after) = found.broker;
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let growth = after.rss_bytes as i64 - found.broker_at_rest.rss_bytes as i64;
    BrokerUsage {
        cpu_seconds,
        cores: cores(cpu_seconds, found.seconds),
        cpu_us_per_message: per_message(cpu_seconds, found.count),
        rss_before_bytes: found.broker_at_rest.rss_bytes,
        rss_after_bytes: after.rss_bytes,
        rss_growth_bytes: growth,
        rss_growth_bytes_per_connection: found
            .connections
            .map(|count| growth as f64 / count as f64),
    }
}

fn generator_usage(
    args: &BenchArgs,
    found: &Measurement,
    broker: Option<&BrokerUsage>,
) -> GeneratorUsage {
    let (before, after) = found.generator;
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let cores = cores(cpu_seconds, found.seconds);
    let is_busy = cores > BUSY * f64::from(args.threads);
    let broker_is_idle = broker.is_none_or(|broker| broker.cores < BROKER_IDLE);
    GeneratorUsage {
        cpu_seconds,
        cores,
        cpu_us_per_message: per_message(cpu_seconds, found.count),
        is_limit: is_busy && broker_is_idle && !found.is_paced,
    }
}

fn cores(cpu_seconds: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { cpu_seconds / seconds } else { 0.0 }
}

fn per_message(cpu_seconds: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| cpu_seconds * 1e6 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::parse;
    use super::*;

    fn usage(cpu_seconds: f64, rss_bytes: u64) -> Usage {
        Usage { cpu_seconds, rss_bytes }
    }

    fn measurement(broker_cpu_seconds: f64, generator_cpu_seconds: f64) -> Measurement {
        Measurement {
            seconds: 2.0,
            count: 1_000_000,
            totals: Some(Totals::new(10, 10, 10)),
            broker_at_rest: usage(0.5, 1 << 20),
            broker: (usage(1.0, 1 << 20), usage(1.0 + broker_cpu_seconds, 3 << 20)),
            generator: (usage(0.0, 0), usage(generator_cpu_seconds, 0)),
            connections: Some(1024),
            ..Measurement::default()
        }
    }

    #[test]
    fn cpu_time_is_given_per_message_and_memory_per_connection() {
        let report = Report::new(&parse("p2p --pid 1").unwrap(), &measurement(1.9, 0.5));
        let broker = report.broker.unwrap();
        assert!((broker.cpu_us_per_message.unwrap() - 1.9).abs() < 1e-6);
        assert_eq!(broker.rss_growth_bytes, 2 << 20);
        assert_eq!(broker.rss_growth_bytes_per_connection, Some(2048.0));
        assert_eq!(report.per_second, 500_000.0);
        assert!(report.warnings.is_empty());
    }

    #[test]
    fn it_says_when_the_generator_was_the_limit() {
        let args = parse("p2p --pid 1").unwrap();
        let is_limit = |broker, generator| {
            Report::new(&args, &measurement(broker, generator)).generator.is_limit
        };
        assert!(is_limit(0.8, 1.95));
        assert!(!is_limit(1.95, 1.95), "both are busy");
        assert!(!is_limit(0.8, 1.0), "the generator waits");
        let two_threads = parse("p2p --pid 1 --threads 2").unwrap();
        assert!(!Report::new(&two_threads, &measurement(0.8, 1.95)).generator.is_limit);
    }

    #[test]
    fn losses_break_a_promise_only_above_qos_0() {
        let lossy = Totals::new(10, 20, 19);
        assert_eq!((lossy.lost, lossy.duplicates), (1, 0));
        assert_eq!([0, 1, 2].map(|qos| lossy.break_promise(qos)), [false, true, true]);
        let repeated = Totals::new(10, 10, 11);
        assert_eq!([0, 1, 2].map(|qos| repeated.break_promise(qos)), [false, false, true]);
        let open = Totals { unacknowledged: 1, ..Totals::new(10, 10, 10) };
        assert!(open.break_promise(1));
    }

    #[test]
    fn the_json_is_one_object_and_leaves_out_what_was_not_measured() {
        let report = Report::new(&parse("p2p").unwrap(), &measurement(1.0, 1.0));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["totals"]["lost"], 0);
        assert!(json.get("broker").is_none());
        assert!(!report.to_json().contains('\n'));
    }

    #[test]
    fn acknowledgements_have_percentiles_of_their_own() {
        let mut acknowledgement = Histogram::new();
        acknowledgement.record(250_000);
        let empty = Some(Histogram::new());
        let (acknowledgement, latency) = (Some(acknowledgement), empty);
        let found = Measurement { acknowledgement, latency, ..measurement(1.0, 1.0) };
        let report = Report::new(&parse("p2p --qos 1 --persistent").unwrap(), &found);
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["acknowledgement_latency"]["p99_us"], 250.0, "{json}");
        assert_eq!((&json["persistent"], json.get("latency")), (&true.into(), None));
        let table = report.to_table();
        assert!(table.contains("acknowledged     p50 250  p90 250"), "{table}");
        assert!(table.contains(", persistent sessions"), "{table}");
    }

    #[test]
    fn the_table_aligns_its_values() {
        let mut found = measurement(1.0, 1.95);
        found.totals = Some(Totals::new(10, 10, 9));
        let table = Report::new(&parse("p2p --pid 1").unwrap(), &found).to_table();
        let is_aligned = |line: &str| line[..17].ends_with("  ") && &line[17..18] != " ";
        assert!(table.lines().all(is_aligned), "{table}");
        assert!(table.ends_with("lost: 1 message"), "{table}");
    }
}
