//! The broker as programs meet it: through real sockets and through its embedding API.

mod alone;
mod bridge;
mod client;
mod clocks;
mod durability;
mod raw;
mod support;

mod closing;
mod embedding;
mod entering_store;
mod expired;
mod groups;
#[cfg(all(feature = "tls", feature = "websocket"))]
mod handshakes;
mod hooks;
mod hostile;
mod limits;
mod listeners;
mod long_turns;
mod memory;
mod moving;
mod old_before_new;
mod ownership;
mod pipelining;
mod program_sessions;
mod publishing;
#[cfg(feature = "quic")]
mod quic;
mod slow;
mod stopped;
mod stopping;
mod storms;
mod strain;
mod threads;
mod users;
mod workers;
