//! Clients that move from one worker to another, by any transport, notice nothing. A broker that
//! places its Clients by itself has them where they belong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use midge_broker::{
    Broker, Hook, Identity, Listen, Placement, ProtocolVersion, QoS, ReasonCode, Transport,
};
use midge_codec::{Packet, PacketType};
use midge_net::{Connector, Target, TlsClientOptions};

use crate::bridge::Bridge;
use crate::client::{Client, Received, connect_packet};
use crate::support::{DEADLINE, address, builder, until, usage};

const WORKERS: usize = 3;
/// How many messages each publisher publishes.
const MESSAGES: u32 = 1_200;

/// A broker whose last listener is of the transport to be tested, and a way to it.
fn start(listen: Listen, transport: Transport) -> (Broker, Option<Bridge>) {
    let broker = builder(WORKERS).listen(listen).start().expect("free ports");
    let last = broker.local_addresses().last().expect("there are two");
    let (host, port) = match last.network() {
        Some(address) => ("127.0.0.1".to_string(), address.port()),
        None => (last.to_string().trim_start_matches("unix:").to_string(), 0),
    };
    let target = Target { transport, host, port, path: "/mqtt".into() };
    let tls = TlsClientOptions { insecure: true, ..TlsClientOptions::default() };
    let bridge = Bridge::new(Connector::new(target, &tls).expect("no files"));
    (broker, Some(bridge))
}

/// Publishes messages of all QoS, which carry its name and a number each, and waits for what
/// acknowledges them.
fn publish(mut client: Client, name: u8) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut open = 0;
        for number in 0..MESSAGES {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number as usize % 3];
            let mut payload = vec![name];
            payload.extend_from_slice(&number.to_be_bytes());
            client.publish("t/1", &payload, qos);
            open += u32::from(qos > QoS::AtMostOnce);
            while open > 8 || number == MESSAGES - 1 && open > 0 {
                match client.receive() {
                    Received::Ack { kind: PacketType::PubAck | PacketType::PubComp, .. } => {
                        open -= 1;
                    }
                    Received::Ack { kind: PacketType::PubRec, id, code } => {
                        assert!(!code.is_error(), "{code:?}");
                        client.acknowledge(PacketType::PubRel, id);
                    }
                    other => panic!("{other:?} came to a publisher"),
                }
            }
        }
        client.disconnect();
    })
}

/// Receives everything that both publishers publish, and expects it once and in order.
fn receive_all(client: &mut Client) {
    let mut next: BTreeMap<(u8, QoS), u32> = BTreeMap::new();
    let mut left = 2 * MESSAGES;
    while left > 0 {
        match client.receive() {
            Received::Publish(message) => {
                let number = u32::from_be_bytes(message.payload[1..].try_into().expect("four"));
                let expected = next.entry((message.payload[0], message.qos));
                let expected = expected.or_insert(message.qos as u32);
                assert_eq!((number, message.dup), (*expected, false), "{:?}", message.qos);
                *expected += 3;
                left -= 1;
                match (message.qos, message.id) {
                    (QoS::AtLeastOnce, Some(id)) => client.acknowledge(PacketType::PubAck, id),
                    (QoS::ExactlyOnce, Some(id)) => client.acknowledge(PacketType::PubRec, id),
                    _ => (),
                }
            }
            Received::Ack { kind: PacketType::PubRel, id, .. } => {
                client.acknowledge(PacketType::PubComp, id);
            }
            other => panic!("{other:?} came to the subscriber"),
        }
    }
}

/// Moves Clients from worker to worker, until it is told to end; returns how many have begun to.
fn keep_moving(
    broker: &Broker,
    clients: &'static [&'static str],
    ends: &Arc<AtomicBool>,
) -> JoinHandle<usize> {
    let (handle, ends) = (broker.handle(), Arc::clone(ends));
    thread::spawn(move || {
        let mut moved = 0;
        for round in 0.. {
            if ends.load(Ordering::Relaxed) {
                break;
            }
            let client = clients[round % clients.len()];
            let to = round / clients.len() % WORKERS;
            let begins = handle.move_client(client, to).wait().expect("it runs");
            moved += usize::from(begins);
            thread::park_timeout(Duration::from_micros(300));
        }
        moved
    })
}

fn nothing_is_lost_by(listen: Listen, transport: Transport) {
    let (broker, bridge) = start(listen, transport);
    let way = bridge.as_ref().map_or(address(&broker), Bridge::address);
    let mut subscriber = Client::connect(way, "subscriber");
    subscriber.subscribe("t/#", QoS::ExactlyOnce);
    let ends = Arc::new(AtomicBool::new(false));
    let moving = keep_moving(&broker, &["subscriber", "one", "two"], &ends);
    let one = publish(Client::connect(way, "one"), 1);
    let two = publish(Client::connect(address(&broker), "two"), 2);
    receive_all(&mut subscriber);
    one.join().expect("no panic");
    two.join().expect("no panic");
    ends.store(true, Ordering::Relaxed);
    let moved = moving.join().expect("no panic");
    assert!(moved > 20, "only {moved} moves have begun");
    subscriber.ping();
    assert_eq!(usage(&broker).sessions, 1);
}

#[test]
fn nothing_is_lost_when_clients_of_tcp_move() {
    nothing_is_lost_by(Listen::new("127.0.0.1:0"), Transport::Tcp);
}

#[test]
fn nothing_is_lost_when_clients_of_a_unix_socket_move() {
    let path = std::env::temp_dir().join(format!("midge-moving-{}", std::process::id()));
    nothing_is_lost_by(Listen::from(format!("unix:{}", path.display())), Transport::Unix);
}

#[cfg(feature = "websocket")]
#[test]
fn nothing_is_lost_when_clients_of_websocket_move() {
    let listen = Listen::new("127.0.0.1:0").websocket(midge_broker::WebSocketOptions::default());
    nothing_is_lost_by(listen, Transport::WebSocket);
}

#[cfg(feature = "tls")]
#[test]
fn nothing_is_lost_when_clients_of_tls_move() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a key");
    let directory = std::env::temp_dir().join(format!("midge-moving-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let [certificate, private] = ["c.pem", "k.pem"].map(|name| directory.join(name));
    std::fs::write(&certificate, key.cert.pem()).expect("it can be written");
    std::fs::write(&private, key.signing_key.serialize_pem()).expect("it can be written");
    let tls = midge_broker::TlsOptions::new(&certificate, &private);
    nothing_is_lost_by(Listen::new("127.0.0.1:0").tls(tls), Transport::Tls);
    std::fs::remove_dir_all(&directory).expect("it is there");
}

/// Whatever a Client does while its Session moves, it has one Session, and finds it.
#[test]
fn a_client_that_comes_back_while_its_session_moves_finds_it() {
    let broker = builder(WORKERS).start().expect("a free port");
    let mut connect = connect_packet(ProtocolVersion::V5, "client");
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(3600);
    let mut client = Client::open(address(&broker)).connected(&connect);
    client.subscribe("t", QoS::AtLeastOnce);
    let mut publisher = Client::connect(address(&broker), "publisher");
    for round in 0..150_usize {
        let moving = broker.handle().move_client("client", round % WORKERS);
        if round % 3 == 0 {
            drop(client); // it is absent while it moves
            publisher.publish_acknowledged("t", &[round as u8]);
        } else if round % 3 == 1 {
            publisher.publish("t", &[round as u8], QoS::AtMostOnce);
        }
        let mut next = Client::open(address(&broker));
        let answer = next.request(&connect);
        let is_present = matches!(answer, Received::ConnAck { session_present: true, .. });
        assert!(is_present, "round {round}: {answer:?}");
        client = next;
        if round % 3 == 0 {
            assert_eq!(client.message().payload, [round as u8], "round {round}");
        }
        moving.wait().expect("it runs");
        publisher.ping();
        client.ping();
        let sessions = broker.handle().clients().wait().expect("it runs");
        assert!(sessions.len() <= 2, "{sessions:?}");
    }
}

#[test]
fn a_client_is_found_and_disconnected_while_it_moves() {
    let broker = builder(WORKERS).start().expect("a free port");
    let handle = broker.handle();
    for round in 0..100_usize {
        let mut client = Client::connect(address(&broker), "client");
        let moving: Vec<_> =
            (round..round + 3).map(|to| handle.move_client("client", to % WORKERS)).collect();
        let found = handle.client("client").wait().expect("it runs");
        assert!(found.is_some_and(|it| it.info.version.is_some()), "round {round}");
        let code = ReasonCode::AdministrativeAction;
        assert!(handle.disconnect("client", code).wait().expect("it runs"), "round {round}");
        moving.into_iter().for_each(|it| assert!(it.wait().is_ok()));
        while client.receive() != Received::Closed {}
    }
}

#[test]
fn a_client_that_moves_is_opened_once() {
    let broker = builder(WORKERS).start().expect("a free port");
    let clients = ["one", "two", "three", "four"];
    let mut all: Vec<_> = clients.map(|it| Client::connect(address(&broker), it)).into();
    let ends = Arc::new(AtomicBool::new(false));
    let moving = keep_moving(&broker, &["one", "two", "three", "four"], &ends);
    for _ in 0..300 {
        let (counters, _) = broker.handle().figures().wait().expect("it runs");
        assert_eq!(counters.connections_opened, 4);
    }
    ends.store(true, Ordering::Relaxed);
    let moved = moving.join().expect("no panic");
    assert!(moved > 20, "only {moved} moves have begun");
    all.iter_mut().for_each(Client::ping);
    assert_eq!(usage(&broker).connections, 4);
}

fn placed_broker() -> Broker {
    builder(2).placement(Placement::Auto).start().expect("a free port")
}

fn connections(broker: &Broker) -> Vec<usize> {
    broker.handle().workers().into_iter().map(|(_, connections)| connections).collect()
}

fn connect_many(broker: &Broker, count: usize) -> Vec<Client> {
    (0..count).map(|it| Client::connect(address(broker), &format!("c{it}"))).collect()
}

/// Has each Client publish to itself as fast as it can, until told to end.
fn work(way: SocketAddr, name: usize, ends: &Arc<AtomicBool>) -> JoinHandle<()> {
    let ends = Arc::clone(ends);
    thread::spawn(move || {
        let mut client = Client::connect(way, &format!("w{name}"));
        let topic = format!("w/{name}");
        client.subscribe(&topic, QoS::AtMostOnce);
        while !ends.load(Ordering::Relaxed) {
            for _ in 0..200 {
                client.publish(&topic, &[0; 16], QoS::AtMostOnce);
            }
            client.ping();
            client.forget_early();
        }
        client.disconnect();
    })
}

#[test]
fn at_low_load_all_clients_are_on_one_worker() {
    let broker = placed_broker();
    let mut clients = connect_many(&broker, 20);
    clients[3].subscribe("t", QoS::AtLeastOnce);
    clients[7].publish_acknowledged("t", b"1");
    assert_eq!(clients[3].message().payload, b"1");
    gather(&broker, &mut clients);
    let begins = broker.handle().move_client("c5", 1).wait();
    assert_eq!(begins, Ok(true));
    until("it has moved", || connections(&broker) == [19, 1]);
    // There is little to do: it comes back.
    gather(&broker, &mut clients);
}

/// Waits until all Clients, which do little, are on the first worker. On a busy machine, their
/// coming may have kept that worker busy for a while.
fn gather(broker: &Broker, clients: &mut [Client]) {
    let deadline = Instant::now() + DEADLINE;
    while connections(broker) != [clients.len(), 0] {
        assert!(Instant::now() < deadline, "{:?}", connections(broker));
        clients.iter_mut().for_each(Client::ping);
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_busy_worker_gives_clients_to_an_idle_one() {
    let broker = placed_broker();
    let ends = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..8).map(|it| work(address(&broker), it, &ends)).collect();
    until("both workers have Clients", || connections(&broker).iter().all(|&it| it > 0));
    ends.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|it| it.join().expect("nobody is disconnected"));
}

/// Holds the worker of each Client back that publishes to `hold`, until the test lets it go on.
#[derive(Default)]
struct Holding {
    held: AtomicUsize,
    let_go: Mutex<usize>,
    changed: Condvar,
}

impl Hook for Holding {
    fn may_publish(&self, _: &Identity, topic: &str, _: QoS, _: bool) -> bool {
        if topic == "hold" {
            let number = self.held.fetch_add(1, Ordering::Relaxed) + 1;
            let let_go = self.let_go.lock().unwrap();
            drop(self.changed.wait_while(let_go, |let_go| *let_go < number).unwrap());
        }
        true
    }
}

impl Holding {
    fn let_go(&self, count: usize) {
        *self.let_go.lock().unwrap() = count;
        self.changed.notify_all();
    }
}

/// A CONNECT that waits for a Session to move is not forgotten when another Client, which had to
/// wait for its own old connection, is let in meanwhile.
#[test]
fn a_connect_that_waits_for_a_move_is_handled_whatever_else_has_waited() {
    let hook = Arc::new(Holding::default());
    let broker = builder(2).hook(Arc::clone(&hook) as Arc<dyn Hook>).start().expect("a free port");
    // Each new connection goes to the worker with the fewest: to the first one, then the second.
    let come = |count: usize| {
        let client = Client::open(address(&broker));
        until("it is placed", || connections(&broker) == [count.div_ceil(2), count / 2]);
        client
    };
    let connect = |client_id| connect_packet(ProtocolVersion::V5, client_id);
    let _moving = come(1).connected(&connect("moving"));
    let _other = come(2).connected(&connect("other"));
    let mut holding = come(3).connected(&connect("holding"));
    let mut returns = come(4);
    let others: Vec<_> = (5..65).map(come).collect();
    // The first worker begins the move and is held back in the same turn.
    holding.publish("hold", b"", QoS::AtMostOnce);
    until("it is held back", || hook.held.load(Ordering::Relaxed) == 1);
    let begins = broker.handle().move_client("moving", 1);
    holding.publish("hold", b"", QoS::AtMostOnce);
    hook.let_go(1);
    until("it is held back again", || hook.held.load(Ordering::Relaxed) == 2);

    returns.send(&Packet::Connect(Box::new(connect("moving"))));
    assert_eq!(returns.receive_within(Duration::from_millis(100)), None, "it waits");
    // Every second one is at the worker where the CONNECT waits.
    let others = others.into_iter().skip(1).step_by(2);
    let _others: Vec<_> = others.map(|it| it.connected(&connect("other"))).collect();
    hook.let_go(2);
    let answer = returns.receive();
    assert!(matches!(answer, Received::ConnAck { code: ReasonCode::Success, .. }), "{answer:?}");
    assert_eq!(begins.wait(), Ok(true));
}
