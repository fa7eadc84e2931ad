//! The `midge` binary end to end: real processes, a real broker, the clients of others as peers.

mod broker;
mod command;

mod options;
mod publish;
mod request;
mod subscribe;
