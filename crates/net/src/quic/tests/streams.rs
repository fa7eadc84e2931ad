//! Bytes in both directions of control streams.

use std::io::IoSlice;

use super::*;
use crate::peer::{PeerAddress, Transport};

#[test]
fn bytes_go_both_ways_and_the_peer_is_known() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    world.write_all(&mut server, b"and back");
    assert_eq!(world.read_exactly(&mut client, 8), b"and back");

    let peer = server.peer();
    assert_eq!(peer.transport, Transport::Quic);
    let PeerAddress::Network(address) = peer.address else { panic!("{peer:?}") };
    assert!(address.ip().is_ipv4() && address.ip().is_loopback(), "IPv4 as IPv4: {address}");
    let tls = peer.tls.unwrap();
    assert_eq!((tls.version, tls.alpn.as_deref()), ("TLSv1.3", Some(&b"mqtt"[..])));
    assert_eq!((tls.server_name.as_deref(), &tls.certificate), (Some("localhost"), &None));
    assert_eq!(client.address(), PeerAddress::Network(world.address));
    let figures = world.admission.figures();
    assert_eq!((figures.accepted, figures.open, figures.handshaking), (1, 1, 0));
}

#[test]
fn slices_of_all_sizes_keep_their_order() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let bytes = pattern(0, 300_000);
    let mut sizes = [0, 1, 2, 70_000, 0, 5, 3000, 66_000, 1, 1, 20_000, 65_536].into_iter().cycle();
    let mut slices = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (slice, others) = rest.split_at(sizes.next().unwrap().min(rest.len()));
        slices.push(slice);
        rest = others;
    }
    let (mut written, mut received) = (0, Vec::new());
    world.signals.drive(|| {
        loop {
            let mut skipped = written;
            let rest = slices.iter().filter_map(|slice| {
                let from = skipped.min(slice.len());
                skipped -= from;
                Some(IoSlice::new(&slice[from..])).filter(|_| skipped == 0)
            });
            let rest: Vec<_> = rest.collect();
            match pending(client.write_vectored(&rest)).unwrap() {
                Some(count) => written += count,
                None => break,
            }
            if written == bytes.len() {
                break;
            }
        }
        let mut buffer = vec![0; 10_000];
        while let Some(Received::Bytes { count, .. }) = pending(server.read(&mut buffer)).unwrap() {
            received.extend_from_slice(&buffer[..count]);
        }
        (received.len() == bytes.len()).then_some(())
    });
    assert!(received == bytes, "the bytes are not the same");
}

#[test]
fn many_clients_are_served() {
    const CLIENTS: usize = 200;
    let world = World::new();
    let mut clients: Vec<_> = (0..CLIENTS).map(|number| world.connect(number)).collect();
    let mut asked = [false; CLIENTS];
    let mut answers: Vec<Vec<u8>> = vec![Vec::new(); CLIENTS];
    let mut servers = Vec::new();
    world.signals.drive(|| {
        for (number, client) in clients.iter_mut().enumerate() {
            if !asked[number] {
                asked[number] = pending(client.write(&pattern(number, 100))).unwrap().is_some();
            }
            let mut buffer = [0; 256];
            if let Some(Received::Bytes { count, .. }) = pending(client.read(&mut buffer)).unwrap()
            {
                answers[number].extend_from_slice(&buffer[..count]);
            }
        }
        for accepted in world.accepted.lock().unwrap().drain(..) {
            let mut stream = quic(accepted.stream);
            stream.set_waker(world.signals.waker(CLIENTS + servers.len()));
            servers.push(stream);
        }
        for server in &mut servers {
            let mut buffer = [0; 256];
            if let Some(Received::Bytes { count, .. }) = pending(server.read(&mut buffer)).unwrap()
            {
                assert_eq!(server.write(&buffer[..count]).unwrap(), count);
            }
        }
        answers.iter().all(|answer| answer.len() == 100).then_some(())
    });
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer, &pattern(number, 100));
    }
    assert_eq!(world.admission.figures().open, CLIENTS as u32);
    drop((clients, servers));
    eventually("all are gone", || world.admission.figures().open == 0);
}

/// Writes until there is no room. Returns how much was written.
fn fill(stream: &mut impl Polled, from: usize, most: usize) -> usize {
    let mut written = 0;
    while written < most {
        let next = pattern(from + written, (most - written).min(50_000));
        match pending(stream.write(&next)).unwrap() {
            Some(count) => written += count,
            None => break,
        }
    }
    written
}

#[test]
fn a_slow_reader_holds_back_the_writer_and_loses_nothing() {
    const ALL: usize = 3_000_000;
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let mut sent = fill(&mut client, 0, ALL);
    assert!(sent < ALL, "a reader that reads nothing is sent everything");
    // The server reads little at a time and sends it back; the client reads only when the server
    // cannot write.
    let (mut echo, mut echoed, mut received) = (Vec::new(), 0, 0);
    world.signals.drive(|| {
        loop {
            sent += fill(&mut client, sent, ALL - sent);
            if echo.is_empty() {
                let mut buffer = vec![0; 7001];
                match pending(server.read(&mut buffer)).unwrap() {
                    Some(Received::Bytes { count, .. }) => echo = buffer[..count].to_vec(),
                    Some(Received::End) => panic!("the end"),
                    None if echoed < ALL => return None,
                    None => {}
                }
            }
            if let Some(count) = pending(server.write(&echo)).unwrap()
                && echoed < ALL
            {
                echo.drain(..count);
                echoed += count;
                continue;
            }
            let mut buffer = vec![0; 9001];
            match pending(client.read(&mut buffer)).unwrap() {
                Some(Received::Bytes { count, .. }) => {
                    assert!(buffer[..count] == pattern(received, count), "wrong at {received}");
                    received += count;
                }
                Some(Received::End) => panic!("the end"),
                None => return (received == ALL).then_some(()),
            }
        }
    });
}

#[test]
fn the_stream_moves_with_the_client() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let before = server.address();
    world.client.rebind().unwrap();
    world.write_all(&mut client, b"from elsewhere");
    assert_eq!(world.read_exactly(&mut server, 14), b"from elsewhere");
    eventually("the new address is told", || server.address() != before);
    // Both directions work, also for more than one datagram.
    for _ in 0..3 {
        world.write_all(&mut server, &pattern(0, 50_000));
        assert!(world.read_exactly(&mut client, 50_000) == pattern(0, 50_000));
    }
    assert_eq!(world.admission.figures().accepted, 1);
}

#[test]
fn another_owner_gets_the_signals() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let mut buffer = [0; 10];
    assert!(pending(server.read(&mut buffer)).unwrap().is_none(), "nothing is there");
    // The next worker has a poller of its own.
    let other = Arc::new(Signals::default());
    let thread = std::thread::spawn({
        let other = Arc::clone(&other);
        move || {
            server.set_waker(other.waker(55));
            other.drive(|| match pending(server.read(&mut buffer)).unwrap() {
                Some(Received::Bytes { count, .. }) => Some(buffer[..count].to_vec()),
                Some(Received::End) => panic!("the end"),
                None => None,
            })
        }
    });
    world.write_all(&mut client, b"to the next");
    assert_eq!(thread.join().unwrap(), b"to the nex");
}
