//! Conformance: the building blocks of all tests of normative statements.
//!
//! A test is a short conversation of [`Client`]s with the broker at [`target::endpoint`], over TCP,
//! TLS, WebSocket, both, or QUIC. The suite has its own implementation of the protocol ([`wire`],
//! [`packet`], [`request`]). It shares no code with the broker that it judges, because two sides
//! with one codec agree on its mistakes; and it can send what a correct codec refuses to encode.
//! Everything received is checked strictly while it is read: lengths, reserved bits, and which
//! properties and Reason Codes a packet may have.
//!
//! The tables in `statements/` say for each statement whom it binds and which tests prove it;
//! [`statement`] reads them and [`report`] prints them. No test sleeps to show that something does
//! not happen if a round trip ([`Client::until_ping`], [`Fence`]) can show it.

mod client;
pub mod connect;
pub mod endpoint;
mod fence;
mod in_process;
pub mod packet;
pub mod property;
pub mod reason;
pub mod report;
pub mod request;
pub mod sources;
pub mod statement;
pub mod target;
pub mod toy_method;
pub mod transport;
mod unique;
pub mod wire;

pub use client::Client;
pub use connect::{Connect, Will};
pub use fence::Fence;
pub use packet::{Packet, Publish};
pub use request::{Ack, Auth, Disconnect, Encode, PingReq, Raw, Subscribe, Unsubscribe};
pub use unique::{client_id, topic};
pub use wire::Version;
