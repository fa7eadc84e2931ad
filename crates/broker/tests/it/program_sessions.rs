//! Sessions of the embedding program: kept, acknowledged and limited like those of Clients.

use std::sync::Arc;
use std::time::Duration;

use midge_broker::{
    Acknowledge, Broker, BrokerHandle, DropReason, Hook, Identity, Limits, OwnedMessage,
    ProgramSession, QoS, ReasonCode, RequestError, SessionMessage, SessionOptions, Storage,
};
use midge_codec::ProtocolVersion;
use midge_store::testing::FaultyDisk;

use crate::client::{Client, Received, connect_packet};
use crate::support::{
    DEADLINE, address, broker, builder, counters, dropped, limited, until, usage,
};

const BY_HAND: SessionOptions = SessionOptions {
    acknowledge: Acknowledge::ByHand,
    expiry_seconds: u32::MAX,
    unacknowledged_max: 100,
};
const WHEN_TAKEN: SessionOptions =
    SessionOptions { acknowledge: Acknowledge::WhenTaken, ..BY_HAND };

fn open(handle: &BrokerHandle, options: SessionOptions) -> ProgramSession {
    handle.open_session("archive", &[("t/#", QoS::ExactlyOnce)], options).wait().unwrap()
}

fn publish(handle: &BrokerHandle, number: u32, qos: QoS) {
    let message = OwnedMessage::new("t/a", number.to_string()).unwrap().qos(qos);
    handle.publish(message).wait().unwrap();
}

/// Takes the next message; returns its payload as a number, and whether it may have come before.
fn next(session: &ProgramSession) -> Option<(u32, bool)> {
    let message = session.recv_timeout(DEADLINE)?;
    assert_eq!(message.topic(), "t/a");
    let number = std::str::from_utf8(message.payload()).unwrap().parse().unwrap();
    Some((number, message.comes_again()))
}

/// Waits until nothing of the Session is under way or waits any more.
fn until_empty(broker: &Broker) {
    let handle = broker.handle();
    until("everything is acknowledged", || {
        let client = handle.client("$program/archive").wait().unwrap().unwrap();
        (client.info.queued_messages, client.info.in_flight) == (0, 0)
    });
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    for workers in [1, 2, 3] {
        let broker = broker(workers);
        let handle = broker.handle();
        let session = open(&handle, BY_HAND);
        assert!(!session.was_present());
        for (number, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce), (3, QoS::AtLeastOnce)] {
            publish(&handle, number, qos);
            let message = session.recv_timeout(DEADLINE).unwrap();
            assert_eq!((message.payload(), message.qos()), (number.to_string().as_bytes(), qos));
            if number == 2 {
                message.acknowledge();
                message.acknowledge();
            }
        }
        drop(session);
        publish(&handle, 4, QoS::AtLeastOnce);
        let session = open(&handle, BY_HAND);
        assert!(session.was_present());
        let all: Vec<_> = (0..3).filter_map(|_| next(&session)).collect();
        assert_eq!(all, [(1, true), (3, true), (4, false)], "{workers} workers");
        broker.stop(DEADLINE);
        assert!(session.recv().is_none());
    }
}

#[test]
fn nothing_acknowledged_to_a_publisher_is_lost_however_many_wait() {
    const COUNT: u32 = 12_000;
    let broker = limited(|limits| limits.queue_messages_max = COUNT);
    let handle = broker.handle();
    let session = open(&handle, WHEN_TAKEN);
    let replies: Vec<_> = (0..COUNT)
        .map(|number| {
            let message = OwnedMessage::new("t/a", number.to_string()).unwrap();
            handle.publish(message.qos(QoS::AtLeastOnce))
        })
        .collect();
    replies.into_iter().for_each(|reply| assert!(reply.wait().is_ok()));
    for number in 0..COUNT {
        assert_eq!(next(&session), Some((number, false)));
    }
    until_empty(&broker);
    assert_eq!(session.missed(), 0);
    broker.stop(DEADLINE);
}

#[test]
fn its_queue_has_the_limits_of_any_session() {
    let broker = limited(|limits| limits.queue_messages_max = 5);
    let handle = broker.handle();
    let options = SessionOptions { unacknowledged_max: 3, ..BY_HAND };
    let session = open(&handle, options);
    (0..10).for_each(|number| publish(&handle, number, QoS::AtLeastOnce));
    assert_eq!(dropped(&broker, DropReason::QueueFull), 2, "three under way, and five wait");
    let first: Vec<_> = (0..3).filter_map(|_| session.recv_timeout(DEADLINE)).collect();
    first.iter().for_each(SessionMessage::acknowledge);
    let rest: Vec<_> = (0..3).filter_map(|_| next(&session)).collect();
    assert_eq!(rest.len(), 3, "there is room for three more, and no more");
    broker.stop(DEADLINE);
}

#[test]
fn it_survives_a_restart_with_everything_that_is_not_acknowledged() {
    let disk = Arc::new(FaultyDisk::new(1));
    let start = |disk: &Arc<FaultyDisk>| {
        builder(2).storage(Storage::on_disk(disk.clone())).start().unwrap()
    };
    let broker = start(&disk);
    let handle = broker.handle();
    let session = open(&handle, BY_HAND);
    for number in 0..10 {
        publish(&handle, number, if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce });
    }
    for _ in 0..4 {
        session.recv_timeout(DEADLINE).unwrap().acknowledge();
    }
    until("four are gone", || {
        let client = handle.client("$program/archive").wait().unwrap().unwrap();
        client.info.queued_messages + client.info.in_flight == 6
    });
    broker.stop(DEADLINE);
    drop(session);
    let disk = Arc::new(disk.power_cut());

    let broker = start(&disk);
    let handle = broker.handle();
    let session = open(&handle, WHEN_TAKEN);
    assert!(session.was_present());
    for number in 4..10 {
        assert_eq!(next(&session).map(|(number, _)| number), Some(number));
    }
    until_empty(&broker);
    broker.stop(DEADLINE);

    let broker = start(&disk);
    let session = open(&broker.handle(), WHEN_TAKEN);
    publish(&broker.handle(), 77, QoS::AtLeastOnce);
    assert_eq!(next(&session), Some((77, false)), "and none of the others");
    broker.stop(DEADLINE);
}

#[test]
fn opening_it_again_takes_it_over_and_ending_it_leaves_nothing() {
    let broker = broker(2);
    let handle = broker.handle();
    let first = open(&handle, BY_HAND);
    let second = open(&handle, BY_HAND);
    assert!(second.was_present());
    assert!(first.recv().is_none(), "the second one has it now");
    drop(first);
    publish(&handle, 1, QoS::AtLeastOnce);
    assert_eq!(next(&second), Some((1, false)));
    second.end();
    until("it is gone", || usage(&broker).sessions == 0);
    assert!(!open(&handle, BY_HAND).was_present());
    broker.stop(DEADLINE);
}

#[test]
fn no_client_can_have_it() {
    let broker = broker(1);
    let mut client = Client::open(address(&broker));
    match client.request(&connect_packet(ProtocolVersion::V5, "$program/archive")) {
        Received::ConnAck { code: ReasonCode::ClientIdentifierNotValid, .. } => (),
        other => panic!("{other:?}"),
    }
    broker.stop(DEADLINE);
}

struct RefusesSecrets;

impl Hook for RefusesSecrets {
    fn may_subscribe(&self, client: &Identity, filter: &str, _qos: QoS) -> bool {
        assert_eq!(&*client.client_id, "$program/archive");
        !filter.starts_with("secret")
    }
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let broker = builder(2).hook(Arc::new(RefusesSecrets)).start().unwrap();
    let handle = broker.handle();
    let refusal = |name: &str, filter: &str| {
        let filters = [("fine", QoS::AtLeastOnce), (filter, QoS::AtLeastOnce)];
        match handle.open_session(name, &filters, BY_HAND).wait() {
            Err(RequestError::Refused(code)) => code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal("", "t"), ReasonCode::ClientIdentifierNotValid);
    assert_eq!(refusal("a\0", "t"), ReasonCode::ClientIdentifierNotValid);
    let long = "x".repeat(usize::from(Limits::default().client_identifier_bytes_max));
    assert_eq!(refusal(&long, "t"), ReasonCode::ClientIdentifierNotValid);
    assert_eq!(refusal("archive", "t/#/x"), ReasonCode::TopicFilterInvalid);
    assert_eq!(refusal("archive", "secret/#"), ReasonCode::NotAuthorized);
    let session = handle.open_session("archive", &[], BY_HAND).wait().unwrap();
    assert!(session.was_present(), "it has the filters that were not refused");
    broker.stop(DEADLINE);
}

#[test]
fn messages_of_qos_0_and_retained_ones_come_too() {
    let broker = broker(2);
    let handle = broker.handle();
    let retained = OwnedMessage::new("t/a", "5").unwrap().qos(QoS::AtLeastOnce).retain();
    handle.publish(retained).wait().unwrap();
    let session = open(&handle, WHEN_TAKEN);
    let message = session.recv_timeout(DEADLINE).unwrap();
    assert!(message.is_retained());
    publish(&handle, 6, QoS::AtMostOnce);
    let message = session.recv_timeout(DEADLINE).unwrap();
    assert_eq!((message.payload(), message.qos()), (&b"6"[..], QoS::AtMostOnce));
    until_empty(&broker);
    drop(session);
    let session = open(&handle, WHEN_TAKEN);
    publish(&handle, 7, QoS::AtLeastOnce);
    assert_eq!(next(&session), Some((7, false)), "what is retained does not come once more");
    broker.stop(DEADLINE);
}

/// Whoever is the program need not show that it is there.
#[test]
fn it_stays_open_however_little_the_program_does() {
    let broker = limited(|limits| limits.keep_alive_seconds_max = 1);
    let session = open(&broker.handle(), BY_HAND);
    assert!(session.recv_timeout(Duration::from_millis(2_500)).is_none(), "nothing was published");
    publish(&broker.handle(), 1, QoS::AtLeastOnce);
    assert_eq!(next(&session), Some((1, false)));
    assert_eq!(counters(&broker).keep_alive_timeouts, 0);
    broker.stop(DEADLINE);
}

#[test]
fn whoever_loses_it_while_opening_it_is_told_why() {
    for workers in [1, 2, 3] {
        let broker = broker(workers);
        let handle = broker.handle();
        for round in 0..50 {
            let filters = [("t/#", QoS::ExactlyOnce)];
            let [first, second] = [0; 2].map(|_| handle.open_session("archive", &filters, BY_HAND));
            // They may come to their worker in any order.
            let results = [first.wait(), second.wait()];
            for result in &results {
                let code = ReasonCode::SessionTakenOver;
                let is_told = match result {
                    Ok(_) => true,
                    Err(error) => *error == RequestError::Refused(code),
                };
                assert!(is_told, "{workers} workers, round {round}: {results:?}");
            }
            assert!(results.iter().any(Result::is_ok), "{workers} workers, round {round}");
        }
        broker.stop(DEADLINE);
    }
}

#[test]
fn what_no_packet_can_carry_is_refused() {
    let broker = broker(2);
    let handle = broker.handle();
    let long = "x".repeat(70_000);
    for filter in ["", "a\0b", &long, "$share/g", "$share/a\0b/t"] {
        let opened = handle.open_session("archive", &[(filter, QoS::AtLeastOnce)], BY_HAND).wait();
        assert!(matches!(opened, Err(RequestError::Refused(_))), "{opened:?}");
    }
    let many: Vec<_> = (0..5_000).map(|it| format!("t/{it}")).collect();
    let many: Vec<_> = many.iter().map(|it| (&**it, QoS::AtLeastOnce)).collect();
    let session = handle.open_session("archive", &many, BY_HAND).wait().unwrap();
    handle.publish(OwnedMessage::new("t/4999", "").unwrap()).wait().unwrap();
    assert!(session.recv_timeout(DEADLINE).is_some());
    broker.stop(DEADLINE);
}
