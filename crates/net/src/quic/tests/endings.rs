//! How streams and connections end, and that the last bytes arrive.

use super::relay::Relay;
use super::*;

#[test]
fn the_last_bytes_of_a_dropped_stream_arrive() {
    let world = World::new();
    for last in [1, 1000, 100_000] {
        let (mut client, mut server) = world.pair();
        world.write_all(&mut server, &pattern(0, last));
        drop(server);
        let (bytes, end) = world.read_to_end(&mut client);
        assert!(bytes == pattern(0, last), "{} of {last} bytes", bytes.len());
        end.unwrap();
    }
    eventually("all are gone", || world.admission.figures().open == 0);
}

#[test]
fn the_last_bytes_arrive_when_the_listeners_stop() {
    let mut world = World::new();
    let pairs: Vec<_> = (0..20).map(|_| world.pair()).collect();
    let mut clients = Vec::new();
    for (client, mut server) in pairs {
        world.write_all(&mut server, &pattern(0, 20_000));
        clients.push(client);
    }
    drop(world.listeners.take());
    for client in &mut clients {
        let (bytes, end) = world.read_to_end(client);
        assert!(bytes == pattern(0, 20_000), "{} bytes", bytes.len());
        end.unwrap();
    }
}

#[test]
fn the_last_bytes_of_a_client_arrive_when_it_stops() {
    let World { client, trust, signals, accepted, listeners, address, directory, .. } =
        World::new();
    let mut stream = client.connect(address, "localhost", &trust).unwrap();
    stream.set_waker(signals.waker(1));
    signals.drive(|| pending(stream.write(b"goodbye")).unwrap());
    drop((stream, client));
    let mut server = quic(signals.drive(|| accepted.lock().unwrap().pop()).stream);
    let mut buffer = [0; 100];
    let received = server.read(&mut buffer).unwrap();
    assert_eq!(received, Received::Bytes { count: 7, more: true });
    assert_eq!(server.read(&mut buffer).unwrap(), Received::End);
    assert_eq!(server.read(&mut buffer).unwrap(), Received::End, "it is told again");
    drop((listeners, directory));
}

#[test]
fn the_end_of_one_direction_leaves_the_other() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    client.shutdown_write();
    let (bytes, end) = world.read_to_end(&mut server);
    end.unwrap();
    assert!(bytes.is_empty());
    world.write_all(&mut server, b"not yet");
    assert_eq!(world.read_exactly(&mut client, 7), b"not yet");
    let error = client.write(b"more").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
}

#[test]
fn a_connection_closed_with_a_code_is_reset() {
    let world = World::new();
    let (client, mut server) = world.pair();
    client.close(2);
    let error = world.failure(&mut server);
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    let error = world.failure(&mut server);
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it is told again: {error}");
    assert_eq!(server.write(b"x").unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_silent_connection_ends_after_the_idle_timeout() {
    let silent = QuicOptions {
        idle_timeout: Duration::from_millis(200),
        keep_alive: Duration::ZERO,
        ..QuicOptions::default()
    };
    let wanted = Wanted { options: silent.clone(), client_options: silent, ..Wanted::default() };
    let world = World::with(&wanted);
    let (mut client, mut server) = world.pair();
    assert_eq!(world.failure(&mut server).kind(), io::ErrorKind::TimedOut);
    assert_eq!(world.failure(&mut client).kind(), io::ErrorKind::TimedOut);
    drop(server);
    assert_eq!(world.admission.figures().open, 0);
}

#[test]
fn keep_alive_holds_a_silent_connection() {
    let options = QuicOptions {
        idle_timeout: Duration::from_millis(400),
        keep_alive: Duration::from_millis(50),
        ..QuicOptions::default()
    };
    let client_options = QuicOptions { keep_alive: Duration::ZERO, ..QuicOptions::default() };
    let world = World::with(&Wanted { options, client_options, ..Wanted::default() });
    let (mut client, mut server) = world.pair();
    let begin = Instant::now();
    eventually("twice the idle timeout is over", || {
        assert!(pending(server.read(&mut [0; 8])).unwrap().is_none());
        begin.elapsed() > Duration::from_millis(800)
    });
    world.write_all(&mut client, b"still here");
    assert_eq!(world.read_exactly(&mut server, 10), b"still here");
}

#[test]
fn a_peer_that_vanishes_is_given_up() {
    let options = QuicOptions {
        idle_timeout: Duration::from_millis(400),
        keep_alive: Duration::from_millis(50),
        ..QuicOptions::default()
    };
    let world = World::with(&Wanted { options, ..Wanted::default() });
    let relay = Relay::new(world.address);
    let mut client = world.connect_to(relay.address(), 1);
    world.write_all(&mut client, b"hello");
    let mut server = world.accept(2);
    assert_eq!(world.read_exactly(&mut server, 5), b"hello");
    relay.lose(true, true);
    assert_eq!(world.failure(&mut server).kind(), io::ErrorKind::TimedOut);
    // Nobody acknowledges the last bytes, but the connection still goes away.
    drop(server);
    eventually("its place is free", || world.admission.figures().open == 0);
}

#[test]
fn a_stream_whose_peer_vanished_is_kept_for_a_second_at_most() {
    let world = World::new();
    let relay = Relay::new(world.address);
    let mut client = world.connect_to(relay.address(), 1);
    world.write_all(&mut client, b"hello");
    let mut server = world.accept(2);
    assert_eq!(world.read_exactly(&mut server, 5), b"hello");
    relay.lose(true, true);
    world.write_all(&mut server, b"who hears?");
    let begin = Instant::now();
    drop(server);
    eventually("its place is free", || world.admission.figures().open == 0);
    assert!(begin.elapsed() < Duration::from_secs(20), "long before the idle timeout");
}

#[test]
fn stopped_listeners_refuse_and_keep_what_they_have() {
    let world = World::new();
    let (mut client, mut server) = world.pair();
    world.listeners.as_ref().unwrap().stop_accepting();
    let error = world.failure(&mut world.connect(3));
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    world.write_all(&mut client, b"still here");
    assert_eq!(world.read_exactly(&mut server, 10), b"still here");
}
