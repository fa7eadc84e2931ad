//! The `midge` binary end to end: real processes, a real broker, the clients of others as peers.

mod broker;
mod command;
mod directory;

mod bench;
mod certs;
mod config;
mod listeners;
mod options;
mod publish;
mod request;
mod serve;
mod store;
mod subscribe;
mod transports;
