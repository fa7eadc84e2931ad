//! Clients and the program come and go while Sessions move: nothing is left over, and nobody waits
//! in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use midge_broker::{
    Broker, BrokerHandle, OwnedMessage, ProtocolVersion, QoS, ReasonCode, RequestError,
    SessionOptions,
};

use crate::alone::figure;
use crate::client::{Client, Received, connect_packet};
use crate::support::{DEADLINE, address, broker, builder, until, usage};

/// How long a storm lasts.
const STORM: Duration = Duration::from_millis(2_500);

/// A source of choices that needs no crate.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn keep_moving(handle: BrokerHandle, workers: usize, ends: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let ends = Arc::clone(ends);
    thread::spawn(move || {
        let (mut dice, mut moved) = (Dice(99), 0);
        while !ends.load(Ordering::Relaxed) {
            let client = format!("c{}", dice.roll(6));
            let begins = handle.move_client(&client, dice.roll(workers as u64) as usize).wait();
            moved += usize::from(begins == Ok(true));
        }
        moved
    })
}

/// Comes and goes in every way, under names that others have, too.
fn come_and_go(
    broker: &Broker,
    seed: u64,
    ends: &Arc<AtomicBool>,
) -> JoinHandle<(usize, Duration)> {
    let (way, ends) = (address(broker), Arc::clone(ends));
    thread::spawn(move || {
        let (mut dice, mut count, mut longest) = (Dice(seed), 0, Duration::ZERO);
        while !ends.load(Ordering::Relaxed) {
            let name = format!("c{}", dice.roll(6));
            let mut connect = connect_packet(ProtocolVersion::V5, &name);
            connect.clean_start = dice.roll(2) == 0;
            let mut client = Client::open(way);
            let begun = Instant::now();
            let answer = client.request(&connect);
            longest = longest.max(begun.elapsed());
            count += 1;
            match answer {
                Received::ConnAck { code: ReasonCode::Success, .. } => (),
                // Somebody else has come meanwhile.
                Received::Closed
                | Received::Disconnect(ReasonCode::SessionTakenOver)
                | Received::ConnAck { .. } => continue,
                other => panic!("{other:?}"),
            }
            if dice.roll(2) == 0 {
                client.send_subscribe(&["t/#", "u"], QoS::ExactlyOnce);
            }
            for _ in 0..dice.roll(4) {
                let _ = client.try_send_bytes(&[0x30, 6, 0, 3, b't', b'/', b'1', 0]);
            }
            match dice.roll(4) {
                0 => drop(client.try_send_bytes(&[0xE0, 0])),
                1 => drop(client.try_send_bytes(&[0x32, 200, 0, 3, b't'])),
                2 => thread::park_timeout(Duration::from_micros(300)),
                _ => (),
            }
        }
        (count, longest)
    })
}

#[test]
fn clients_that_come_and_go_while_they_move_leave_nothing() {
    for workers in [2, 3, 8] {
        let broker = broker(workers);
        let ends = Arc::new(AtomicBool::new(false));
        let moving = keep_moving(broker.handle(), workers, &ends);
        let coming: Vec<_> = (1..5).map(|seed| come_and_go(&broker, seed, &ends)).collect();
        thread::park_timeout(STORM);
        ends.store(true, Ordering::Relaxed);
        let moved = moving.join().expect("no panic");
        let came: Vec<_> = coming.into_iter().map(|it| it.join().expect("no panic")).collect();
        figure(&format!("{workers} workers: {moved} moves, {came:?}"));
        assert!(came.iter().all(|(_, longest)| *longest < DEADLINE / 2), "{came:?}");
        until("nothing is left", || {
            let usage = usage(&broker);
            (usage.connections, usage.connected, usage.sessions) == (0, 0, 0)
        });
        let workers = broker.handle().workers();
        assert!(workers.iter().all(|(_, connections)| *connections == 0), "{workers:?}");
        for name in 0..6 {
            Client::connect(address(&broker), &format!("c{name}")).ping();
        }
        broker.stop(DEADLINE);
    }
}

#[test]
fn it_stops_while_sessions_move() {
    for round in 0..8 {
        let broker = builder(3).start().unwrap();
        let handle = broker.handle();
        let mut clients: Vec<_> =
            (0..6).map(|it| Client::connect(address(&broker), &format!("c{it}"))).collect();
        clients.iter_mut().for_each(|it| it.subscribe("t", QoS::AtLeastOnce));
        for client in 0..6 {
            drop(handle.move_client(&format!("c{client}"), (round + client) % 3));
        }
        let begun = Instant::now();
        broker.stop(DEADLINE);
        assert!(begun.elapsed() < Duration::from_secs(5), "round {round}: {:?}", begun.elapsed());
        for mut client in clients {
            let code = ReasonCode::ServerShuttingDown;
            assert_eq!(client.receive(), Received::Disconnect(code), "round {round}");
        }
    }
}

#[test]
fn a_session_of_the_program_loses_nothing_however_it_is_opened_and_closed() {
    for workers in [1, 2, 8] {
        let broker = broker(workers);
        let handle = broker.handle();
        let options = SessionOptions { unacknowledged_max: 7, ..SessionOptions::default() };
        let open = |handle: &BrokerHandle| {
            handle.open_session("archive", &[("t/#", QoS::ExactlyOnce)], options)
        };
        drop(open(&handle).wait().unwrap());
        let publishing = {
            let handle = handle.clone();
            thread::spawn(move || {
                for number in 0..600_u32 {
                    let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number as usize % 2];
                    let message = OwnedMessage::new("t/a", number.to_be_bytes()).unwrap();
                    handle.publish(message.qos(qos)).wait().unwrap();
                    if number % 16 == 0 {
                        thread::park_timeout(Duration::from_micros(200));
                    }
                }
            })
        };
        let (mut dice, mut next, mut opened) = (Dice(5), 0_u32, 0);
        let deadline = Instant::now() + DEADLINE;
        while next < 600 {
            assert!(Instant::now() < deadline, "{next} of 600 have come, {opened} opened");
            let session = match dice.roll(3) {
                0 => {
                    let (lost, session) = (open(&handle), open(&handle));
                    drop(lost);
                    session
                }
                _ => open(&handle),
            };
            let session = match session.wait() {
                Ok(session) => session,
                Err(RequestError::Refused(ReasonCode::SessionTakenOver)) => continue,
                Err(error) => panic!("{error:?}"),
            };
            opened += 1;
            assert!(session.was_present());
            for _ in 0..dice.roll(200) {
                let Some(message) = session.recv_timeout(Duration::from_millis(300)) else {
                    break;
                };
                let number = u32::from_be_bytes(message.payload().try_into().unwrap());
                // One of two that are opened together closes the other: acknowledgements from then
                // on have no effect.
                let is_again = number < next && message.comes_again();
                assert!(is_again || number == next, "{number}, not {next}; {opened} opened");
                if dice.roll(20) == 0 {
                    break;
                }
                message.acknowledge();
                next = next.max(number + 1);
            }
        }
        publishing.join().unwrap();
        until("all is acknowledged", || {
            let client = handle.client("$program/archive").wait().unwrap().unwrap();
            (client.info.queued_messages, client.info.in_flight) == (0, 0)
        });
        broker.stop(DEADLINE);
    }
}
