//! What a WebSocket frame costs, and what an idle WebSocket owns: our session against
//! tungstenite's `WebSocket`, which puts messages together.
//!
//! Binary frames of 64 bytes, many in a read, from and to memory; per frame the median of eleven
//! rounds, and the fastest. Ours copies what it is given to a buffer first, as a read from a socket
//! does, because it works in place.
//!
//! `cargo bench -p midge-net --features fuzzing`

#![allow(clippy::print_stdout)] // the figures are what it is for

use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use midge_net::fuzzing::Session;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const PAYLOAD: [u8; 64] = [7; 64];
/// Frames of a read or write.
const FRAMES: usize = 900;
const READS: usize = 200;
const ROUNDS: usize = 11;
/// Sessions whose memory is looked at.
const IDLE: usize = 2000;

/// A stream that gives the same bytes for ever, at most as many as are asked for, and counts what
/// is written.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
    written: usize,
}

impl Memory {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0, written: 0 }
    }
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.at == self.bytes.len() {
            self.at = 0;
        }
        let count = (&self.bytes[self.at..]).read(into)?;
        self.at += count;
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += black_box(bytes).len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() {
    let mut frames = Vec::new();
    let mut client = Session::client();
    client.seal(&PAYLOAD, &mut frames);
    idle(&frames);
    frames.clear();
    (0..FRAMES).for_each(|_| client.seal(&PAYLOAD, &mut frames));

    let mut ours = Session::server();
    let (mut scratch, mut out) = (vec![0; frames.len()], Vec::new());
    report("decode, ours", || {
        for _ in 0..READS {
            scratch.copy_from_slice(&frames);
            let count = ours.receive(black_box(&mut scratch), &mut out);
            assert_eq!(count, FRAMES * PAYLOAD.len());
        }
    });
    for (name, buffer) in [("128 KB", 128 * 1024), ("4 KB", 4096)] {
        let mut theirs = socket(frames.clone(), buffer);
        report(&format!("decode, tungstenite with {name}"), || {
            for _ in 0..READS * FRAMES {
                let message = black_box(theirs.read().unwrap());
                assert_eq!(message.len(), PAYLOAD.len());
            }
        });
    }

    let mut memory = Memory::new(Vec::new());
    report("encode, ours", || {
        for _ in 0..READS {
            out.clear();
            (0..FRAMES).for_each(|_| ours.seal(black_box(&PAYLOAD), &mut out));
            memory.write_all(&out).unwrap();
        }
    });
    let mut theirs = socket(Vec::new(), 128 * 1024);
    report("encode, tungstenite", || {
        for _ in 0..READS {
            for _ in 0..FRAMES {
                let message = Message::binary(black_box(&PAYLOAD).to_vec());
                theirs.write(message).unwrap();
            }
            theirs.flush().unwrap();
        }
    });
}

fn socket(bytes: Vec<u8>, buffer: usize) -> WebSocket<Memory> {
    let config = WebSocketConfig::default().read_buffer_size(buffer);
    WebSocket::from_raw_socket(Memory::new(bytes), Role::Server, Some(config))
}

fn report(name: &str, mut round: impl FnMut()) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let per_frame = |time: Duration| time.as_nanos() as f64 / (READS * FRAMES) as f64;
    let (median, fastest) = (per_frame(times[ROUNDS / 2]), per_frame(times[0]));
    println!("{name:32} {median:7.1} ns a frame, fastest round {fastest:.1} ns");
}

/// Sessions that have got one frame and wait for the next. All stay to the end, and this comes
/// before everything else: what is given back would be used again, and growth not be seen.
fn idle(frame: &[u8]) {
    println!("a session of ours is {} bytes", size_of::<Session>());
    let before = resident();
    let ours: Vec<_> = (0..IDLE)
        .map(|_| {
            let mut session = Session::server();
            session.receive(&mut frame.to_vec(), &mut Vec::new());
            session
        })
        .collect();
    tell_growth("idle, ours", before);
    let theirs = [("4 KB", 4096), ("128 KB", 128 * 1024)].map(|(name, buffer)| {
        let before = resident();
        let theirs: Vec<_> = (0..IDLE)
            .map(|_| {
                let mut socket = socket(frame.to_vec(), buffer);
                socket.read().unwrap();
                socket.get_mut().bytes = Vec::new();
                socket
            })
            .collect();
        tell_growth(&format!("idle, tungstenite with {name}"), before);
        theirs
    });
    drop(black_box((ours, theirs)));
}

fn tell_growth(name: &str, before: usize) {
    let each = resident().saturating_sub(before) / IDLE;
    println!("{name:32} {each:7} bytes of resident memory each");
}

/// Bytes of resident memory; 0 where the system does not tell.
fn resident() -> usize {
    const PAGE_BYTES: usize = 4096;
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * PAGE_BYTES
}
