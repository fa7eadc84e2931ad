//! Further streams of one connection.

use super::*;
use crate::poller::Poller;
use crate::scratch::Scratch;

/// Returns a data stream of the client, which has sent a greeting, and its end at the server.
fn data_stream(
    world: &World,
    client: &mut QuicStream,
    server: &mut QuicStream,
) -> (QuicDataStream, QuicDataStream) {
    let mut near = world.signals.drive(|| pending(client.open_data_stream()).unwrap());
    near.set_waker(world.signals.waker(10));
    world.write_all(&mut near, b"data");
    let mut far = world.signals.drive(|| server.accept_data_stream());
    far.set_waker(world.signals.waker(11));
    assert_eq!(near.number(), far.number());
    assert_eq!(world.read_exactly(&mut far, 4), b"data");
    (near, far)
}

#[test]
fn data_streams_have_bytes_of_their_own() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    assert!(server.accept_data_stream().is_none());
    let (mut near, mut far) = data_stream(&world, &mut client, &mut server);
    let (mut near_too, mut far_too) = data_stream(&world, &mut client, &mut server);
    assert_eq!((near.number(), near_too.number()), (4, 8));
    world.write_all(&mut far_too, b"second");
    world.write_all(&mut far, b"first");
    world.write_all(&mut server, b"control");
    assert_eq!(world.read_exactly(&mut client, 7), b"control");
    assert_eq!(world.read_exactly(&mut near, 5), b"first");
    assert_eq!(world.read_exactly(&mut near_too, 6), b"second");
    // Each stream ends by itself.
    near.shutdown_write();
    world.read_to_end(&mut far).1.unwrap();
    drop(far);
    world.read_to_end(&mut near).1.unwrap();
    world.write_all(&mut near_too, b"goes on");
    assert_eq!(world.read_exactly(&mut far_too, 7), b"goes on");
}

#[test]
fn a_stream_that_is_not_read_holds_up_only_itself() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let mut full = Vec::new();
    for _ in 0..4 {
        let (mut near, mut far) = data_stream(&world, &mut client, &mut server);
        // Fill both directions until there is no room.
        while pending(near.write(&[1; 10_000])).unwrap().is_some() {}
        while pending(far.write(&[2; 10_000])).unwrap().is_some() {}
        full.push((near, far));
    }
    let (mut near, mut far) = data_stream(&world, &mut client, &mut server);
    for _ in 0..20 {
        world.write_all(&mut near, &pattern(0, 20_000));
        assert!(world.read_exactly(&mut far, 20_000) == pattern(0, 20_000));
        world.write_all(&mut server, &pattern(0, 20_000));
        assert!(world.read_exactly(&mut client, 20_000) == pattern(0, 20_000));
    }
    // A peer that is read goes on, and has lost nothing.
    let (mut near, mut far) = full.pop().unwrap();
    near.shutdown_write();
    let (bytes, end) = world.read_to_end(&mut far);
    end.unwrap();
    assert!(bytes.len() > 50_000 && bytes.iter().all(|byte| *byte == 1), "{}", bytes.len());
}

#[test]
fn there_are_as_many_as_the_listener_allows() {
    let options = QuicOptions { data_streams_max: 2, ..QuicOptions::default() };
    let world = World::with(&Wanted { options, ..Wanted::default() });
    let (mut client, mut server) = world.pair();
    let first = data_stream(&world, &mut client, &mut server);
    let _second = data_stream(&world, &mut client, &mut server);
    assert!(pending(client.open_data_stream()).unwrap().is_none(), "a third one");
    let (mut near, mut far) = first;
    near.shutdown_write();
    world.read_to_end(&mut far).1.unwrap();
    drop(far);
    world.read_to_end(&mut near).1.unwrap();
    drop(near);
    let mut near = None;
    eventually("there is room", || {
        near = pending(client.open_data_stream()).unwrap();
        near.is_some()
    });
}

#[test]
fn a_listener_without_data_streams_has_none() {
    let options = QuicOptions { data_streams_max: 0, ..QuicOptions::default() };
    let world = World::with(&Wanted { options, ..Wanted::default() });
    let (mut client, mut server) = world.pair();
    assert!(pending(client.open_data_stream()).unwrap().is_none());
    assert!(server.accept_data_stream().is_none());
}

#[test]
fn an_aborted_stream_is_reset_and_the_others_go_on() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let (mut near, far) = data_stream(&world, &mut client, &mut server);
    far.abort(0x81);
    let error = world.failure(&mut near);
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    assert!(error.to_string().contains("129"), "{error}");
    assert_eq!(world.failure(&mut near).kind(), io::ErrorKind::ConnectionReset, "told again");
    // The two directions may end in different packets.
    eventually("the writing side learns of it", || {
        near.write(b"x").is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    });

    let (near, mut far) = data_stream(&world, &mut client, &mut server);
    near.abort(9);
    assert_eq!(world.failure(&mut far).kind(), io::ErrorKind::ConnectionReset);
    world.write_all(&mut client, b"still here");
    assert_eq!(world.read_exactly(&mut server, 10), b"still here");
}

#[test]
fn data_streams_end_with_their_connection() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    let (_near, mut far) = data_stream(&world, &mut client, &mut server);
    drop(client);
    world.read_to_end(&mut server).1.unwrap();
    world.read_to_end(&mut far).1.unwrap();
    assert!(server.accept_data_stream().is_none());
}

#[test]
fn data_streams_that_came_first_wait_for_the_control_stream() {
    let world = World::new();
    let mut client = world.connect(1);
    // The control stream is open, but nothing has been sent on it yet.
    let mut near = world.signals.drive(|| pending(client.open_data_stream()).unwrap());
    near.set_waker(world.signals.waker(10));
    world.write_all(&mut near, b"early bird");
    let mut server = world.accept(2);
    world.write_all(&mut client, b"CONNECT");
    assert_eq!(world.read_exactly(&mut server, 7), b"CONNECT");
    let mut far = world.signals.drive(|| server.accept_data_stream());
    far.set_waker(world.signals.waker(11));
    assert_eq!(world.read_exactly(&mut far, 10), b"early bird");
}

/// Streams of any kind are read as a worker does it, with its poller.
#[test]
fn a_poller_tells_of_all_streams() {
    let world = World::new();
    let mut client = world.connect(1);
    world.write_all(&mut client, b"CONNECT");
    let control = world.signals.drive(|| world.accepted.lock().unwrap().pop()).stream;
    let mut near = world.signals.drive(|| pending(client.open_data_stream()).unwrap());
    near.set_waker(world.signals.waker(10));
    world.write_all(&mut near, b"PUBLISH");

    let mut poller = Poller::new().unwrap();
    let mut scratch = Scratch::new();
    let mut streams = vec![(control, Vec::new())];
    assert!(streams[0].0.may_have_data_streams());
    poller.register(&mut streams[0].0, 0).unwrap();
    let begin = Instant::now();
    while streams.len() < 2 || streams.iter().any(|(_, bytes)| bytes.len() < 7) {
        assert!(begin.elapsed() < PATIENCE, "the poller tells nothing");
        poller.wait(Some(PATIENCE)).unwrap();
        let ready: Vec<_> = poller.ready().collect();
        for readiness in ready {
            let (stream, bytes) = &mut streams[readiness.number];
            let mut buffer = [0; 100];
            if let Some(received) = pending(stream.read(&mut buffer, &mut scratch)).unwrap() {
                let Received::Bytes { count, more } = received else { panic!("the end") };
                bytes.extend_from_slice(&buffer[..count]);
                assert!(!more, "it has read until nothing was left");
            }
            while let Some(mut stream) = streams[0].0.accept_data_stream() {
                poller.register(&mut stream, streams.len()).unwrap();
                streams.push((stream, Vec::new()));
            }
        }
    }
    assert_eq!((&streams[0].1[..], &streams[1].1[..]), (&b"CONNECT"[..], &b"PUBLISH"[..]));
    let (mut data, _) = streams.pop().unwrap();
    assert_eq!(data.address(), streams[0].0.address());
    poller.deregister(&mut data).unwrap();
    data.abort(0x82);
    assert!(world.failure(&mut near).to_string().contains("130"));
    let (control, _) = streams.pop().unwrap();
    control.abort(2);
    assert_eq!(world.failure(&mut client).kind(), io::ErrorKind::ConnectionReset);
}
