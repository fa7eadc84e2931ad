//! Unix sockets in a directory of each test's own.

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixListener as StdListener, UnixStream as StdStream};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::User;

use super::*;
use crate::listen::{Listen, ListenAddress};
use crate::listener::{Listener, Yielding};
use crate::testing::Directory;

fn listen(path: &Path) -> Listen {
    Listen { address: ListenAddress::Unix(path.to_path_buf()), ..Listen::new("") }
}

fn refusal(path: &Path) -> String {
    Listener::open(&listen(path)).unwrap_err().to_string()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn connections_come_with_the_process_behind_them() {
    let directory = Directory::new();
    let listener = Listener::open(&listen(&directory.socket())).unwrap();
    let path = directory.socket();
    assert_eq!(listener.local_address().to_string(), format!("unix:{}", path.display()));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut client = StdStream::connect(&path).unwrap();
    let (mut socket, peer) = listener.accept().unwrap();
    let expected = PeerAddress::Process {
        user: nix::unistd::getuid().as_raw(),
        group: nix::unistd::getgid().as_raw(),
        process: cfg!(target_os = "linux").then(|| std::process::id().cast_signed()),
    };
    assert_eq!((peer, peer.ip()), (expected, None));
    client.write_all(b"hello").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut into = [0; 8];
    assert_eq!(socket.read(&mut into).unwrap(), 5);
    assert_eq!(socket.read(&mut into).unwrap(), 0);
}

#[test]
fn the_owner_and_the_group_may_connect_unless_something_else_is_said() {
    let directory = Directory::new();
    let _listener = Listener::open(&listen(&directory.socket())).unwrap();
    assert_eq!(mode(&directory.socket()), 0o660);
    assert_eq!(directory.names(), ["s"]);
}

#[test]
fn mode_and_owner_are_as_asked_for() {
    let directory = Directory::new();
    let mut listen = listen(&directory.socket());
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    listen.unix = UnixOptions {
        owner: User::from_uid(user).unwrap().map(|user| user.name),
        group: Some(group.to_string()),
        mode: Some(0o606),
    };
    let _listener = Listener::open(&listen).unwrap();
    let metadata = fs::metadata(directory.socket()).unwrap();
    assert_eq!(mode(&directory.socket()), 0o606);
    assert_eq!((metadata.uid(), metadata.gid()), (user.as_raw(), group.as_raw()));
}

/// Root can give sockets away; others cannot, and are told so.
#[test]
fn a_socket_is_given_to_another_user() {
    let directory = Directory::new();
    let mut listen = listen(&directory.socket());
    listen.unix.owner = Some("12345".to_string());
    if nix::unistd::geteuid().is_root() {
        let _listener = Listener::open(&listen).unwrap();
        assert_eq!(fs::metadata(directory.socket()).unwrap().uid(), 12345);
        assert_eq!(mode(&directory.socket()), 0o660);
    } else {
        let error = Listener::open(&listen).unwrap_err().to_string();
        assert!(error.contains("owner '12345'"), "{error}");
        assert!(directory.names().is_empty());
    }
}

/// A thread watches the name all the time: whenever the name exists, it is a socket that answers
/// and has its rights. There is no moment in between.
#[test]
fn the_name_appears_with_everything_in_place() {
    let directory = Directory::new();
    let path = directory.socket();
    let stops = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !stops.load(Ordering::Acquire) || seen == 0 {
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
                match StdStream::connect(&path) {
                    // The name was taken away meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    connected => drop(connected.unwrap()),
                }
                seen += 1;
            }
        });
        let mut listeners = Vec::new();
        for _ in 0..200 {
            // The name is taken away from the last listener, which goes on answering.
            let mut listen = listen(&path);
            listen.unix.mode = Some(0o640);
            let aside = directory.0.join("aside");
            let _ = fs::rename(&path, &aside);
            listeners.push(Listener::open(&listen).unwrap());
            if watcher.is_finished() {
                break;
            }
        }
        stops.store(true, Ordering::Release);
        watcher.join().unwrap();
    });
}

#[test]
fn what_a_crash_has_left_is_replaced() {
    let directory = Directory::new();
    let path = directory.socket();
    // The standard library does not remove the file.
    drop(StdListener::bind(&path).unwrap());
    StdStream::connect(&path).unwrap_err();
    let _listener = Listener::open(&listen(&path)).unwrap();
    StdStream::connect(&path).unwrap();
    assert_eq!(directory.names(), ["s"]);
}

#[test]
fn a_socket_that_somebody_answers_at_is_left_alone() {
    let directory = Directory::new();
    let path = directory.socket();
    let first = Listener::open(&listen(&path)).unwrap();
    assert!(refusal(&path).contains("the socket is in use"), "{}", refusal(&path));
    StdStream::connect(&path).unwrap();
    drop(first);
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    assert!(refusal(&path).contains("the socket is in use"), "{}", refusal(&path));
    assert_eq!(directory.names(), ["s"]);
}

#[test]
fn a_socket_with_a_full_backlog_is_in_use_too() {
    let directory = Directory::new();
    let path = directory.socket();
    let mut one = listen(&path);
    one.tcp.backlog = 0;
    let _first = Listener::open(&one).unwrap();
    let _waits = StdStream::connect(&path).unwrap();
    assert!(refusal(&path).contains("the socket is in use"), "{}", refusal(&path));
}

#[test]
fn a_foreign_file_is_left_alone() {
    let directory = Directory::new();
    let path = directory.socket();
    fs::write(&path, "precious").unwrap();
    assert!(refusal(&path).contains("not a socket"), "{}", refusal(&path));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(refusal(&path).contains("not a socket"), "{}", refusal(&path));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(refusal(&path).contains("not a socket"), "{}", refusal(&path));
}

#[test]
fn the_file_is_removed_in_the_end_if_it_is_still_ours() {
    let directory = Directory::new();
    let path = directory.socket();
    drop(Listener::open(&listen(&path)).unwrap());
    assert!(directory.names().is_empty());

    let first = Listener::open(&listen(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Listener::open(&listen(&path)).unwrap();
    drop(first);
    StdStream::connect(&path).unwrap();
    drop(second);
    assert!(directory.names().is_empty());
}

#[test]
fn names_that_a_crash_has_left_are_not_in_the_way() {
    let directory = Directory::new();
    for number in 0..3 {
        let name = format!(".m{:x}-{number:x}", std::process::id());
        drop(StdListener::bind(directory.0.join(name)).unwrap());
    }
    let _listener = Listener::open(&listen(&directory.socket())).unwrap();
    assert_eq!(directory.names().len(), 4);
}

#[test]
fn what_cannot_be_is_explained() {
    let directory = Directory::new();
    let missing = directory.0.join("no/s");
    assert!(refusal(&missing).contains("make it first"), "{}", refusal(&missing));
    let long = directory.0.join("x".repeat(120));
    assert!(refusal(&long).contains("too long for a Unix socket"), "{}", refusal(&long));
    let file = directory.0.join("f");
    fs::write(&file, "").unwrap();
    let below = file.join("s");
    assert!(refusal(&below).contains("is not a directory"), "{}", refusal(&below));
    for (owner, group, part) in [
        (Some("no-such-user"), None, "no user 'no-such-user'"),
        (None, Some("no-such-group"), "no group 'no-such-group'"),
    ] {
        let mut listen = listen(&directory.socket());
        listen.unix.owner = owner.map(str::to_string);
        listen.unix.group = group.map(str::to_string);
        let error = Listener::open(&listen).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(directory.names(), ["f"]);
}

#[test]
fn a_path_without_a_directory_is_one_of_the_working_directory() {
    // The working directory is the package's, and the same for all tests, so that only the refusal
    // of a taken name is tried there.
    let error = refusal(Path::new("Cargo.toml"));
    assert!(error.contains("unix:Cargo.toml") && error.contains("not a socket"), "{error}");
}

#[test]
fn a_socket_has_its_name_when_it_listens() {
    let directory = Directory::new();
    let path = directory.socket();
    let mut first = Listener::bind(&listen(&path), Yielding::default()).unwrap();
    let mut second = Listener::bind(&listen(&path), Yielding::default()).unwrap();
    assert!(StdStream::connect(&path).is_err());
    first.listen().unwrap();
    StdStream::connect(&path).unwrap();
    let error = second.listen().unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    drop((first, second));
    assert_eq!(directory.names(), [""; 0]);
}
