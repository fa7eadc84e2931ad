//! The `midge` binary end to end: real processes, a real broker, and others' clients as peers.

mod broker;
mod command;
mod directory;

mod access;
mod bench;
mod certs;
mod config;
mod import;
mod listeners;
mod logging;
mod options;
mod passwd;
mod passwd_terminal;
mod publish;
mod raw;
mod recipes;
mod reconnect;
mod reload;
mod request;
mod serve;
mod store;
mod subscribe;
mod transports;
mod wrong_port;
