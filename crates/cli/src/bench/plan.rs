//! Who takes part in a scenario: the clients of each thread, their topics and their windows.

use std::sync::Arc;
use std::time::Instant;

use midge_net::Poller;

use super::args::{BenchArgs, Scenario};
use super::error::BenchError;
use super::generator::client::{Client, Common, Part};
use super::generator::flow::{Flow, Timed};
use super::generator::handshake;
use super::generator::progress::Progress;
use super::generator::publisher::{Pace, Publisher};
use super::generator::shard::{Shard, new_poller};
use super::generator::subscriber::{Source, Subscriber};
use super::generator::wire::{MARK_BYTES, STAMP_BYTES, Template};
use crate::endpoint::Waker;

/// How many bytes a packet may have besides its payload: topic, identifiers, properties.
const OVERHEAD_BYTES_MAX: usize = 1024;

/// A scenario laid out over threads.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    args: &'a BenchArgs,
    common: Arc<Common>,
    pub(crate) progress: Arc<Progress>,
    base: Instant,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(args: &'a BenchArgs) -> Result<Self, BenchError> {
        let common = Common {
            endpoint: args.endpoint()?,
            protocol: args.protocol,
            qos: args.qos,
            keep_alive_seconds: args.keep_alive,
            user_name: args.user_name()?,
            password: args.password()?,
            data_streams: args.data_streams,
        };
        let threads = usize::from(args.threads);
        let broadcast_to = match args.is_broadcast() {
            true => (0..threads.min(args.clients())).collect(),
            false => Vec::new(),
        };
        let progress = Progress::new(threads, publishers(args), broadcast_to);
        let (common, progress) = (Arc::new(common), Arc::new(progress));
        Ok(Self { args, common, progress, base: Instant::now() })
    }

    /// Makes the shards, one for each thread.
    pub(crate) fn shards(&self) -> Result<Vec<Shard>, BenchError> {
        let threads = usize::from(self.args.threads);
        let pollers = (0..threads).map(|_| new_poller()).collect::<Result<Vec<_>, _>>()?;
        let wakers = Arc::new(pollers.iter().map(|(_, waker)| waker.clone()).collect());
        let shard = |(thread, poller)| self.shard(thread, poller, &wakers);
        pollers.into_iter().enumerate().map(shard).collect()
    }

    fn shard(
        &self,
        thread: usize,
        poller: (Poller, Waker),
        wakers: &Arc<Vec<Waker>>,
    ) -> Result<Shard, BenchError> {
        let threads = usize::from(self.args.threads);
        let clients = clients_of(self.args, thread)?;
        let timed = Timed {
            deliveries: self.args.scenario == Scenario::Latency,
            acknowledgements: self.args.qos > 0,
        };
        let mut flow = Flow::new(thread, threads, self.progress.clone(), self.base, timed);
        if self.args.is_broadcast() {
            let is_subscriber = |client: &&Client| matches!(client.part, Part::Subscriber(_));
            clients.iter().filter(is_subscriber).for_each(|_| flow.completion.add_member());
        }
        let packet_bytes_max = self.args.size + self.args.topic.len() + OVERHEAD_BYTES_MAX;
        let (common, wakers) = (self.common.clone(), wakers.clone());
        Shard::new(poller, wakers, common, clients, flow, packet_bytes_max)
    }
}

/// Returns how many publishers the scenario has in all.
fn publishers(args: &BenchArgs) -> usize {
    match args.scenario {
        _ if args.is_broadcast() => 1,
        Scenario::Connect | Scenario::Idle => 0,
        _ => args.clients(),
    }
}

/// Returns how many subscribers each message has to reach.
pub(crate) fn receivers_per_message(args: &BenchArgs) -> u64 {
    if args.is_broadcast() { args.clients() as u64 } else { 1 }
}

/// Makes the clients of one thread. Publisher and subscriber `n` belong to the thread whose number
/// is `n` modulo the number of threads.
fn clients_of(args: &BenchArgs, thread: usize) -> Result<Vec<Client>, BenchError> {
    let mine = |count| (thread..count).step_by(usize::from(args.threads));
    let topic = &args.topic;
    let clients = args.clients();
    let mut all = Vec::new();
    match args.scenario {
        _ if args.is_broadcast() => {
            let filter = format!("{topic}/all");
            all.extend(
                mine(clients).map(|n| subscriber(args, n, filter.clone(), Source::Broadcast)),
            );
            for n in mine(1) {
                all.push(publisher(args, n, &filter)?);
            }
        }
        Scenario::P2p | Scenario::Latency | Scenario::Drain => {
            for n in mine(clients) {
                all.push(subscriber(args, n, format!("{topic}/{n}"), Source::Only(n)));
                all.push(publisher(args, n, &format!("{topic}/{n}"))?);
            }
        }
        Scenario::FanIn | Scenario::Shared => {
            let (members, filter) = match args.scenario {
                Scenario::Shared => (args.members as usize, format!("$share/bench/{topic}/+")),
                _ => (1, format!("{topic}/+")),
            };
            all.extend(mine(members).map(|n| subscriber(args, n, filter.clone(), Source::Marked)));
            for n in mine(clients) {
                all.push(publisher(args, n, &format!("{topic}/{n}"))?);
            }
        }
        Scenario::Idle => {
            let idle = |n| subscriber(args, n, format!("{topic}/{n}"), Source::Only(n));
            all.extend(mine(clients).map(idle));
        }
        Scenario::Connect | Scenario::FanOut => {}
    }
    Ok(all)
}

fn subscriber(args: &BenchArgs, n: usize, filter: String, source: Source) -> Client {
    let client_id = format!("{}-sub-{n}", args.topic);
    let part = Part::Subscriber(Subscriber::new(source, args.size));
    Client::new(client_id, Some(filter), part)
}

fn publisher(args: &BenchArgs, n: usize, topic: &str) -> Result<Client, BenchError> {
    let (pace, window) = match args.scenario {
        Scenario::Latency => (Pace::Scheduled, u16::MAX),
        Scenario::Drain => (Pace::Acknowledged, args.window()),
        _ => (Pace::Received, args.window()),
    };
    let frame = handshake::publish(args.protocol, topic, args.qos, &payload(args.size, n))?;
    let template = Template::new(frame, args.size, pace == Pace::Scheduled)?;
    let publisher = Publisher::new(n, template, args.qos, window, pace);
    Ok(Client::new(format!("{}-pub-{n}", args.topic), None, Part::Publisher(publisher)))
}

/// Makes a payload: the publisher's number, room for a time stamp, and padding.
fn payload(size: usize, publisher: usize) -> Vec<u8> {
    let mut payload = (publisher as u32).to_be_bytes().to_vec();
    payload.resize(MARK_BYTES + STAMP_BYTES, 0);
    payload.resize(size, b'x');
    payload
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::parse;
    use super::*;

    fn count(line: &str, thread: usize) -> (usize, usize) {
        let clients = clients_of(&parse(line).unwrap(), thread).unwrap();
        let subscribers = clients.iter().filter(|client| client.filter.is_some()).count();
        (clients.len() - subscribers, subscribers)
    }

    #[test]
    fn each_scenario_has_its_publishers_and_subscribers() {
        assert_eq!(count("p2p --clients 7", 0), (7, 7));
        assert_eq!(count("fan-out --clients 7", 0), (1, 7));
        assert_eq!(count("fan-in --clients 7", 0), (7, 1));
        assert_eq!(count("shared --clients 7 --members 3", 0), (7, 3));
        assert_eq!(count("idle --clients 7", 0), (0, 7));
        assert_eq!(count("drain --clients 7", 0), (7, 7));
        assert_eq!(count("drain --clients 7 --to-all", 0), (1, 7));
    }

    #[test]
    fn threads_share_the_clients_without_overlap() {
        assert_eq!(count("p2p --clients 7 --threads 2", 0), (4, 4));
        assert_eq!(count("p2p --clients 7 --threads 2", 1), (3, 3));
        assert_eq!(count("fan-out --clients 7 --threads 2", 1), (0, 3));
        assert_eq!(count("fan-in --clients 7 --threads 2", 1), (3, 0));
    }

    #[test]
    fn a_payload_of_any_size_begins_with_the_mark() {
        assert!(payload(0, 1).is_empty());
        assert_eq!(payload(4, 0x0102_0304), [1, 2, 3, 4]);
        assert_eq!(payload(13, 9)[3..], [9, 0, 0, 0, 0, 0, 0, 0, 0, b'x']);
    }
}
