//! Listeners that come, change and go while the broker runs.

use std::array;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use midge_broker::{
    Broker, BrokerHandle, Capabilities, Durability, Limits, Listen, ListenerChange,
    ListenerSettings, ProtocolVersion, QoS, ReasonCode, Settings, TopicRules, WebSocketOptions,
};
use midge_codec::{Packet, PublishProperties, TopicName, Will};

use crate::client::{Client, Received, bytes_of, connect_packet};
use crate::support::{address, builder, until};

fn settings(limits: Limits) -> Settings {
    Settings {
        limits: Arc::new(limits),
        topics: Arc::new(TopicRules::default()),
        durability: Durability::Fsync,
        topic_durabilities: Vec::new(),
        response_prefix: None,
    }
}

fn listening_on(address: impl AsRef<str>) -> ListenerSettings {
    ListenerSettings::new(address)
}

/// Changes the listeners and nothing else.
fn reconfigure(handle: &BrokerHandle, listeners: &[ListenerSettings]) -> Vec<ListenerChange> {
    handle.reconfigure_with(settings(Limits::default()), listeners).unwrap()
}

fn addresses(handle: &BrokerHandle) -> Vec<SocketAddr> {
    handle.listeners().iter().map(|listener| listener.address.network().unwrap()).collect()
}

fn will() -> Will<'static> {
    Will {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: TopicName::new("will").unwrap(),
        payload: b"gone",
        delay_interval_seconds: None,
        properties: PublishProperties::default(),
    }
}

fn free_port() -> SocketAddr {
    let [port] = free_ports();
    port
}

/// Returns addresses that differ, and that nobody listened on a moment ago.
fn free_ports<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let all_bound: [_; COUNT] = array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    all_bound.map(|listener| listener.local_addr().unwrap())
}

/// Tells a thread to end when the scope is left, whether in order or by a panic.
struct EndsWithScope<'a>(&'a AtomicBool);

impl Drop for EndsWithScope<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn with_a_listener_its_connections_end_and_no_others() {
    for workers in [1, 3] {
        let broker = builder(workers).listen(free_port().to_string()).start().unwrap();
        let handle = broker.handle();
        let [first, second] = addresses(&handle)[..] else { panic!("two listeners") };
        let mut stays = Client::connect(second, "stays");
        stays.subscribe("will", QoS::AtMostOnce);
        let mut connect = connect_packet(ProtocolVersion::V5, "goes");
        connect.properties.session_expiry_interval = Some(100);
        connect.will = Some(will());
        let mut goes = Client::open(first).connected(&connect);
        let mut old = Client::connect_v3(first, "old");
        let mut stranger = Client::open(first);
        until("four connections", || handle.listener_figures()[0].1.open == 3);

        let kept = handle.listeners()[1].settings.clone();
        let changes = reconfigure(&handle, &[kept]);
        assert!(matches!(&changes[..], [ListenerChange::Removed(_)]), "{changes:?}");
        TcpStream::connect(first).unwrap_err();
        assert_eq!(goes.receive(), Received::Disconnect(ReasonCode::AdministrativeAction));
        assert_eq!(goes.receive(), Received::Closed);
        assert_eq!(old.receive(), Received::Closed);
        assert_eq!(stranger.receive(), Received::Closed);
        assert_eq!(stays.message().payload, b"gone");
        stays.ping();
        // The Session is still there, whichever listener its Client uses.
        connect.clean_start = false;
        connect.will = None;
        let answer = Client::open(second).request(&connect);
        let code = ReasonCode::Success;
        assert_eq!(answer, Received::ConnAck { session_present: true, code, data: None });
    }
}

#[test]
fn as_many_connections_as_there_are_end_with_their_listener() {
    let broker = builder(2).listen(free_port().to_string()).start().unwrap();
    let handle = broker.handle();
    let first = addresses(&handle)[0];
    let clients: Vec<_> =
        (0..2_500).map(|number| Client::connect_v3(first, &format!("c{number}"))).collect();
    let kept = handle.listeners()[1].settings.clone();
    reconfigure(&handle, &[kept]);
    for mut client in clients {
        assert_eq!(client.receive(), Received::Closed);
    }
}

#[test]
fn who_connects_while_a_listener_goes_is_not_left_behind() {
    let broker = builder(3).start().unwrap();
    let handle = broker.handle();
    let kept = handle.listeners()[0].settings.clone();
    for round in 0..30 {
        reconfigure(&handle, &[kept.clone(), listening_on("localhost:0")]);
        let address = addresses(&handle)[1];
        let clients = [0, 1, 2, 3].map(|number| {
            thread::spawn(move || come_and_stay(address, &format!("r{round}n{number}")))
        });
        until("somebody is there", || handle.listener_figures()[1].1.accepted > 20);
        reconfigure(&handle, std::slice::from_ref(&kept));
        for client in clients {
            client.join().unwrap();
        }
    }
    until("nobody is there", || handle.figures().wait().unwrap().1.connections == 0);
}

/// Connects again and again until nobody listens any more, under names that belong to different
/// workers. Every eighth connection stays until it is closed.
fn come_and_stay(address: SocketAddr, name: &str) {
    for turn in 0.. {
        let Ok(stream) = TcpStream::connect(address) else { return };
        let mut client = Client::over(stream);
        let client_id = format!("{name}t{turn}");
        let version = ProtocolVersion::V3_1_1;
        client.set_version(version);
        let connect = connect_packet(version, &client_id);
        let bytes = bytes_of(&Packet::Connect(Box::new(connect)), version);
        if client.try_send_bytes(&bytes).is_err() || client.receive() == Received::Closed {
            continue;
        }
        if turn % 8 == 7 {
            assert_eq!(client.receive(), Received::Closed);
        }
    }
}

#[test]
fn those_who_are_connected_keep_what_their_listener_has_offered() {
    let broker = builder(1).start().unwrap();
    let (handle, address) = (broker.handle(), address(&broker));
    let mut before = Client::connect(address, "before");
    let listener = handle.listeners()[0].settings.clone();
    let capabilities = Capabilities { qos_max: QoS::AtMostOnce, ..Capabilities::default() };
    let changes = reconfigure(&handle, &[ListenerSettings { capabilities, ..listener.clone() }]);
    assert!(matches!(&changes[..], [ListenerChange::Changed(_)]), "{changes:?}");
    assert_eq!(before.publish_acknowledged("t", b"x"), ReasonCode::NoMatchingSubscribers);
    let mut after = Client::connect(address, "after");
    after.publish("t", b"x", QoS::AtLeastOnce);
    assert_eq!(after.receive(), Received::Disconnect(ReasonCode::QoSNotSupported));

    // The same port may change to another protocol.
    let listen = listener.listen.websocket(WebSocketOptions::default());
    reconfigure(&handle, &[ListenerSettings { listen, ..ListenerSettings::new("") }]);
    before.ping();
    let mut wrong = TcpStream::connect(address).unwrap();
    wrong.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c").unwrap();
    let mut answer = String::new();
    wrong.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[test]
fn limits_of_connections_change_for_those_who_come() {
    let broker = builder(1).start().unwrap();
    let (handle, address) = (broker.handle(), address(&broker));
    let mut before = Client::connect(address, "before");
    let limits = Limits { connections_max: 2, packet_bytes_max: 200, ..Limits::default() };
    handle.reconfigure(settings(limits)).unwrap();
    assert_eq!(before.publish_acknowledged("t", &[0; 1000]), ReasonCode::NoMatchingSubscribers);
    let mut after = Client::connect(address, "after");
    let mut third = Client::open(address);
    let busy = third.request(&connect_packet(ProtocolVersion::V5, "third"));
    let refused =
        Received::ConnAck { session_present: false, code: ReasonCode::ServerBusy, data: None };
    assert_eq!(busy, refused);
    after.publish("t", &[0; 1000], QoS::AtLeastOnce);
    assert_eq!(after.receive(), Received::Disconnect(ReasonCode::PacketTooLarge));
    handle.reconfigure(settings(Limits::default())).unwrap();
    Client::connect(address, "fourth");
    // Packets may now be larger than the limit at the start allowed.
    let limits = Limits { packet_bytes_max: 30_000_000, ..Limits::default() };
    handle.reconfigure(settings(limits)).unwrap();
    let mut large = Client::connect(address, "large");
    let payload = vec![0; 20_000_000];
    assert_eq!(large.publish_acknowledged("t", &payload), ReasonCode::NoMatchingSubscribers);
}

#[test]
fn nothing_is_changed_if_a_listener_cannot_be() {
    let broker = builder(2).start().unwrap();
    let (handle, address) = (broker.handle(), address(&broker));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let before = handle.listeners()[0].settings.clone();
    let capabilities = Capabilities { mqtt_5_0: false, ..Capabilities::default() };
    let wanted = [
        ListenerSettings { capabilities, ..before },
        listening_on("127.0.0.1:0"),
        listening_on(taken.local_addr().unwrap().to_string()),
    ];
    let limits = Limits { connections_max: 0, ..Limits::default() };
    let error = handle.reconfigure_with(settings(limits), &wanted).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    assert_eq!(addresses(&handle), [address]);
    Client::connect(address, "c").ping();
    drop(broker);
    let error = handle.reconfigure(settings(Limits::default())).unwrap_err().to_string();
    assert!(error.contains("has stopped"), "{error}");
}

#[test]
fn a_thousand_changes_leave_nothing_behind() {
    let broker = builder(2).start().unwrap();
    let (handle, first) = (broker.handle(), address(&broker));
    let kept = handle.listeners()[0].settings.clone();
    let mut client = Client::connect(first, "stays");
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = descriptors();
    for round in 0..1_000 {
        let mut changed = kept.clone();
        changed.listen.limits.connections_max = 100 + round % 2;
        reconfigure(&handle, &[changed, listening_on("localhost:0")]);
        if round % 50 == 0 {
            Client::connect(addresses(&handle)[1], "comes and goes").ping();
        }
        // The next listener takes the place of this one.
        reconfigure(&handle, std::slice::from_ref(&kept));
    }
    client.ping();
    until("all are closed", || descriptors() <= before + 2);
    until("their numbers are free", || {
        reconfigure(&handle, &[kept.clone(), listening_on("localhost:0")]);
        let number = handle.listeners()[1].number;
        reconfigure(&handle, std::slice::from_ref(&kept));
        number == 1
    });
}

/// A Client may wait for one listener and take it as a sign that the other is open, too. The kernel
/// opens one after the other, so a Client that comes between is possible, but rare.
#[test]
fn who_finds_one_listener_open_finds_them_all() {
    const ROUNDS: usize = 20;
    let came_between = (0..ROUNDS).filter(|_| !finds_both_open()).count();
    assert!(came_between <= ROUNDS / 4, "{came_between} of {ROUNDS} Clients found one closed");
}

/// Starts a broker with two listeners. Returns whether a Client that tries without a pause finds
/// the second one open as soon as the first one is.
fn finds_both_open() -> bool {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let [first, second] = free_ports();
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = EndsWithScope(&ends);
        let client = scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                // Where nobody listens, the kernel may connect a socket with itself.
                if TcpStream::connect(first)
                    .is_ok_and(|it| it.local_addr().ok() != it.peer_addr().ok())
                {
                    return Some(TcpStream::connect(second).is_ok());
                }
            }
            None
        });
        let wrong = Broker::builder()
            .workers(2)
            .listen(first.to_string())
            .listen(Listen::new(taken.local_addr().unwrap().to_string()));
        assert!(wrong.start().is_err());
        assert!(!client.is_finished(), "nobody is let in where one cannot be");
        let broker = Broker::builder().workers(2);
        let broker = broker.listen(first.to_string()).listen(second.to_string());
        let broker = broker.start().unwrap();
        let found = client.join().unwrap();
        drop(broker);
        found == Some(true)
    })
}

#[test]
fn a_handshake_that_is_over_makes_room_while_its_connection_is_on_its_way_out() {
    let mut listen = Listen::new("127.0.0.1:0").websocket(WebSocketOptions::default());
    listen.limits.handshakes_max = 1;
    listen.limits.connect_deadline = Some(Duration::from_millis(100));
    let broker = Broker::builder().listen(listen).workers(1).start().unwrap();
    let (handle, address) = (broker.handle(), address(&broker));
    // The first request never ends, the second one is refused; neither Client closes.
    for words in ["GET ", "GET /other HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(words.as_bytes()).unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        let figures = &handle.listener_figures()[0].1;
        assert_eq!(figures.handshaking, 0, "{words}");
        let refused = figures.refused.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(refused, 0, "{words}");
    }
    assert_eq!(handle.listener_figures()[0].1.failed_handshakes, 2);
}
