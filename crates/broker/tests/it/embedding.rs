//! The embedding API: starting, publishing, subscribing, asking, disconnecting.

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use midge_broker::{
    Broker, ClientCursor, DropReason, Event, ListenError, OwnedMessage, QoS, ReasonCode,
    RequestError, StartError, Stopped,
};

use crate::client::{Client, Received};
use crate::support::{
    DEADLINE, address, block_on, broker, builder, counters, dropped, in_time, until, usage,
};

fn message(topic: &str, payload: &str) -> OwnedMessage {
    OwnedMessage::new(topic, payload).unwrap()
}

#[test]
fn a_broker_without_addresses_serves_its_program() {
    let broker = Broker::builder().workers(1).start().unwrap();
    assert!(broker.local_addresses().is_empty());
    let subscription = broker.handle().subscribe("a", QoS::AtMostOnce).wait().unwrap();
    assert_eq!(broker.handle().publish(message("a", "1")).wait(), Ok(1));
    assert_eq!(subscription.recv().unwrap().payload(), b"1");
}

#[test]
fn two_brokers_in_one_process_know_nothing_of_each_other() {
    let (one, two) = (broker(2), broker(2));
    assert_ne!(address(&one), address(&two));
    let heard = two.handle().subscribe("#", QoS::AtMostOnce).wait().unwrap();
    let mut client = Client::connect(address(&one), "c");
    client.publish("t", b"one", QoS::AtMostOnce);
    client.ping();
    Client::connect(address(&two), "c").publish("t", b"two", QoS::AtMostOnce);
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap().payload(), b"two");
    client.ping();
    assert_eq!(one.handle().clients().wait().unwrap().len(), 1);
}

#[test]
fn all_addresses_are_listened_on() {
    let broker = Broker::builder().listen("127.0.0.1:0").listen("[::1]:0").start();
    let broker = broker.unwrap_or_else(|_| broker_on_two_ports());
    for address in broker.local_addresses() {
        Client::connect(address.network().unwrap(), "").ping();
    }
    assert_eq!(broker.local_addresses().len(), 2);
}

/// Starts a broker on two IPv4 ports, for machines without IPv6.
fn broker_on_two_ports() -> Broker {
    builder(1).listen("127.0.0.1:0").start().unwrap()
}

#[test]
fn a_port_in_use_is_an_error_that_names_it_and_leaves_nothing_behind() {
    let first = broker(1);
    let taken = address(&first).to_string();
    let spare = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let free = address(&spare).to_string();
    drop(spare);
    let error = Broker::builder().listen(&free).listen(&taken).start().err().unwrap();
    assert!(matches!(error, StartError::Listen(ListenError::Bind(_))));
    assert!(error.to_string().contains(&taken), "{error}");
    let again = Broker::builder().listen(&free).start();
    assert!(again.is_ok(), "the first address was let go again");
    Client::connect(address(&first), "still there").ping();
}

#[test]
fn messages_go_from_program_to_client_and_back() {
    let broker = broker(2);
    let handle = broker.handle();
    let from_clients = handle.subscribe("up/+", QoS::AtLeastOnce).wait().unwrap();
    let mut client = Client::connect(address(&broker), "c");
    client.subscribe("down/#", QoS::AtLeastOnce);

    client.publish("up/1", b"hello", QoS::AtLeastOnce);
    let received = from_clients.recv_timeout(DEADLINE).unwrap();
    assert_eq!((received.topic(), received.payload()), ("up/1", &b"hello"[..]));
    assert_eq!((received.publisher(), received.qos()), ("c", QoS::AtLeastOnce));

    let down = message("down/1", "world").qos(QoS::AtLeastOnce);
    assert_eq!(handle.publish(down).wait(), Ok(1));
    let found = client.receive();
    assert!(matches!(found, Received::Ack { .. }), "{found:?}");
    let received = client.message();
    assert_eq!((&*received.topic, &received.payload[..]), ("down/1", &b"world"[..]));
}

#[test]
fn futures_work_on_any_runtime() {
    let broker = broker(2);
    let handle = broker.handle();
    let received = block_on(async {
        let mut subscription = handle.subscribe("f/#", QoS::ExactlyOnce).await.unwrap();
        for number in 0..100 {
            let sent = handle.publish(message("f/1", &number.to_string())).await;
            assert_eq!(sent, Ok(1));
        }
        let mut received = Vec::new();
        while received.len() < 100 {
            received.push(subscription.next().await.unwrap());
        }
        received
    });
    for (number, message) in received.iter().enumerate() {
        assert_eq!(message.payload(), number.to_string().as_bytes());
    }
}

#[test]
fn one_handle_keeps_the_order_of_a_topic() {
    let broker = broker(4);
    let handle = broker.handle();
    let subscriptions: Vec<_> =
        (0..4).map(|_| handle.subscribe("o", QoS::AtMostOnce).wait().unwrap()).collect();
    for number in 0..2000_u32 {
        drop(handle.publish(message("o", &number.to_string())));
    }
    for subscription in &subscriptions {
        for number in 0..2000_u32 {
            let received = subscription.recv_timeout(DEADLINE).unwrap();
            assert_eq!(received.payload(), number.to_string().as_bytes());
        }
    }
}

#[test]
fn a_retained_message_says_that_it_is_one() {
    let broker = broker(2);
    let handle = broker.handle();
    let retained = message("r", "kept").retain().content_type("text/plain");
    handle.publish(retained.user_property("a", "b")).wait().unwrap();
    let subscription = handle.subscribe("r", QoS::AtMostOnce).wait().unwrap();
    let received = subscription.recv_timeout(DEADLINE).unwrap();
    assert!(received.is_retained());
    assert_eq!(received.properties().content_type, Some("text/plain"));
    assert_eq!(received.user_properties().iter().next(), Some(("a", "b")));
    assert_eq!(usage(&broker).retained_messages, 1);
}

#[test]
fn dropping_a_subscription_ends_it() {
    let broker = broker(2);
    let handle = broker.handle();
    let one = handle.subscribe("d", QoS::AtMostOnce).wait().unwrap();
    let two = handle.subscribe("d", QoS::AtMostOnce).wait().unwrap();
    assert_eq!(usage(&broker).subscriptions, 2);
    drop(one);
    until("one subscription is left", || usage(&broker).subscriptions == 1);
    drop(two);
    until("no subscription is left", || usage(&broker).subscriptions == 0);
    until("its session is gone", || usage(&broker).sessions == 0);
    handle.publish(message("d", "nobody")).wait().unwrap();
    until("nobody is counted", || dropped(&broker, DropReason::NoSubscriber) == 1);
}

#[test]
fn a_subscription_that_nobody_waits_for_any_more_ends() {
    let broker = broker(2);
    let handle = broker.handle();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..20 {
        let mut subscribing = Box::pin(handle.subscribe("x", QoS::AtMostOnce));
        let _ = subscribing.as_mut().poll(&mut context);
    }
    until("all of them were made", || counters(&broker).connections_opened == 20);
    until("none of them is left", || usage(&broker).subscriptions == 0);
}

#[test]
fn a_receiver_that_does_not_receive_loses_messages_and_they_are_counted() {
    const WAITING_MAX: u32 = 10_000;
    let broker = broker(1);
    let handle = broker.handle();
    let slow = handle.subscribe("s", QoS::AtLeastOnce).wait().unwrap();
    for number in 0..WAITING_MAX + 500 {
        drop(handle.publish(message("s", &number.to_string()).qos(QoS::AtLeastOnce)));
    }
    handle.publish(message("other", "")).wait().unwrap();
    assert_eq!(dropped(&broker, DropReason::LocalReceiverFull), 500);
    assert_eq!(slow.missed(), 500);
    for number in 0..WAITING_MAX {
        assert_eq!(slow.recv().unwrap().payload(), number.to_string().as_bytes());
    }
    drop(handle.publish(message("s", "again")));
    assert_eq!(slow.recv_timeout(DEADLINE).unwrap().payload(), b"again");
}

#[test]
fn what_is_refused_says_why() {
    let broker = broker(2);
    let handle = broker.handle();
    let refused = handle.subscribe("a/#/b", QoS::AtMostOnce).wait().err();
    assert_eq!(refused, Some(RequestError::Refused(ReasonCode::TopicFilterInvalid)));
    assert_eq!(
        handle.subscribe("", QoS::AtMostOnce).wait().err().map(|e| e.to_string().is_empty()),
        Some(false)
    );
    assert!(OwnedMessage::new("a/+", "").is_err());
    assert!(OwnedMessage::new("", "").is_err());
    until("nothing of them is left", || usage(&broker).connections == 0);
}

#[test]
fn waiting_has_an_end() {
    let broker = broker(1);
    let subscription = broker.handle().subscribe("w", QoS::AtMostOnce).wait().unwrap();
    assert!(subscription.recv_timeout(Duration::ZERO).is_none());
    assert!(subscription.recv_timeout(Duration::from_millis(20)).is_none());
    drop(broker.handle().publish(message("w", "")));
    assert!(subscription.recv_timeout(Duration::MAX).is_some());
}

#[test]
fn clients_and_figures_are_those_of_all_workers() {
    let broker = broker(4);
    let handle = broker.handle();
    let mut clients: Vec<_> =
        (0..8).map(|n| Client::connect(address(&broker), &format!("c{n}"))).collect();
    for client in &mut clients {
        client.subscribe("a", QoS::AtLeastOnce);
        client.subscribe("b", QoS::AtLeastOnce);
    }
    Client::connect_for_long(address(&broker), "away").disconnect();
    let mut infos = handle.clients().wait().unwrap();
    infos.sort_by(|one, two| one.client_id.cmp(&two.client_id));
    let names: Vec<_> = infos.iter().map(|info| &*info.client_id).collect();
    assert_eq!(names, ["away", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"]);
    assert!(infos[0].version.is_none() && infos[1].version.is_some());
    assert_eq!(infos[1].subscriptions, 2);
    until("the closed connection is gone", || usage(&broker).connections == 8);
    let (counters, usage) = handle.figures().wait().unwrap();
    assert_eq!((usage.sessions, usage.subscriptions), (9, 16));
    assert_eq!((counters.connections_opened, counters.connections_closed), (9, 1));
}

#[test]
fn a_list_of_clients_goes_on_where_it_ended_whoever_comes_and_goes() {
    for workers in [1, 3] {
        let broker = broker(workers);
        let handle = broker.handle();
        let connect = |name: String| Client::connect(address(&broker), &name);
        let staying: Vec<_> = (0..20).map(|number| connect(format!("stays {number}"))).collect();
        let mut passing: Vec<_> = (0..20).map(|number| connect(format!("goes {number}"))).collect();
        let (mut found, mut next, mut pages) = (Vec::new(), Some(ClientCursor::default()), 0);
        while let Some(cursor) = next {
            // As a program would keep it between two requests.
            let cursor = ClientCursor::from_number(cursor.to_number());
            let (clients, after) = block_on(handle.list_clients(cursor, 3)).unwrap();
            assert!(clients.len() <= 3);
            found.extend(clients.into_iter().map(|client| client.client_id));
            (next, pages) = (after, pages + 1);
            if let Some(client) = passing.pop() {
                client.disconnect();
                drop(connect(format!("comes {pages}")));
            }
        }
        assert!(pages > 6, "{pages}");
        let mut stayed: Vec<_> = found.iter().filter(|name| name.starts_with("stays")).collect();
        stayed.sort();
        stayed.dedup();
        assert_eq!(stayed.len(), staying.len());
        let twice = found.iter().filter(|name| name.starts_with("stays")).count();
        assert_eq!(twice, staying.len(), "each once");
        let nowhere = ClientCursor::from_number(u64::MAX);
        assert_eq!(block_on(handle.list_clients(nowhere, 3)), Ok((Vec::new(), None)));
    }
}

#[test]
fn one_client_is_shown_in_depth() {
    let broker = broker(2);
    let handle = broker.handle();
    assert_eq!(handle.client("c").wait(), Ok(None));
    let mut client = Client::connect_for_long(address(&broker), "c");
    client.subscribe("a/#", QoS::AtLeastOnce);
    client.subscribe("$share/g/b", QoS::AtMostOnce);
    let details = handle.client("c").wait().unwrap().unwrap();
    assert_eq!((&*details.identity.client_id, details.info.subscriptions), ("c", 2));
    assert_eq!((details.shared_subscriptions, details.ends_in_ms), (1, None));
    let mut filters: Vec<_> = details.subscriptions.iter().map(|it| &*it.filter).collect();
    filters.sort_unstable();
    assert_eq!(filters, ["$share/g/b", "a/#"]);
    client.disconnect();
    until("it is away", || handle.client("c").wait().unwrap().unwrap().info.version.is_none());
    drop(handle.publish(OwnedMessage::new("a/1", "x").unwrap().qos(QoS::AtLeastOnce)));
    until("it waits", || handle.client("c").wait().unwrap().unwrap().info.queued_messages == 1);
}

#[test]
fn events_come_in_order_and_those_that_are_missed_are_counted() {
    let broker = broker(2);
    let (events, mut narrow) = (broker.handle().events(100), broker.handle().events(1));
    let gone = broker.handle().events(100);
    drop(gone);
    let mut client = Client::connect(address(&broker), "c");
    client.subscribe("t", QoS::AtMostOnce);
    client.disconnect();
    let mut names = Vec::new();
    while names.last() != Some(&"session ended") {
        names.push(match events.recv_timeout(DEADLINE).unwrap() {
            Event::Connected { client, .. } if &*client.client_id == "c" => "connected",
            Event::Subscribed { filter, .. } if &*filter == "t" => "subscribed",
            Event::Disconnected { .. } => "disconnected",
            Event::SessionEnded { .. } => "session ended",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(names, ["connected", "subscribed", "disconnected", "session ended"]);
    assert_eq!(events.missed(), 0);
    assert!(matches!(block_on(narrow.next()), Some(Event::Connected { .. })));
    until("the others are missed", || narrow.missed() == 3);
    let handle = broker.handle();
    drop(broker);
    assert_eq!((events.recv(), block_on(narrow.next())), (None, None));
    assert_eq!(handle.events(1).recv(), None, "there is no broker any more");
}

#[test]
fn disconnect_tells_a_client_of_5_why() {
    let broker = broker(4);
    let handle = broker.handle();
    let mut v5 = Client::connect(address(&broker), "five");
    let mut v3 = Client::connect_v3(address(&broker), "three");
    let code = ReasonCode::AdministrativeAction;
    assert_eq!(handle.disconnect("five", code).wait(), Ok(true));
    assert_eq!(v5.receive(), Received::Disconnect(code));
    assert_eq!(v5.receive(), Received::Closed);
    assert_eq!(handle.disconnect("three", code).wait(), Ok(true));
    assert_eq!(v3.receive(), Received::Closed);
    assert_eq!(handle.disconnect("five", code).wait(), Ok(false));
    assert_eq!(handle.disconnect("nobody", code).wait(), Ok(false));
}

#[test]
fn a_handle_outlives_its_broker_and_says_so() {
    let broker = broker(2);
    let handle = broker.handle();
    let subscription = handle.subscribe("a", QoS::AtMostOnce).wait().unwrap();
    drop(broker);
    in_time("a stopped broker answers", move || {
        assert!(subscription.recv().is_none());
        assert_eq!(handle.publish(message("a", "late")).wait(), Err(RequestError::Stopped));
        assert_eq!(
            handle.subscribe("a", QoS::AtMostOnce).wait().err(),
            Some(RequestError::Stopped)
        );
        assert_eq!(handle.clients().wait(), Err(Stopped));
        assert_eq!(handle.client("a").wait(), Err(Stopped));
        assert!(handle.figures().wait().is_err());
        assert_eq!(handle.disconnect("a", ReasonCode::Success).wait(), Err(Stopped));
        assert_eq!(block_on(handle.publish(message("a", "late"))), Err(RequestError::Stopped));
    });
}

#[test]
fn every_thread_that_waits_for_a_message_learns_of_the_end() {
    let broker = broker(1);
    let subscription = Arc::new(broker.handle().subscribe("a", QoS::AtMostOnce).wait().unwrap());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let subscription = Arc::clone(&subscription);
            thread::spawn(move || subscription.recv().is_none())
        })
        .collect();
    drop(broker);
    until("all threads end", || waiting.iter().all(thread::JoinHandle::is_finished));
    assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
}
