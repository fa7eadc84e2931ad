//! Whole brokers and raw sockets: what only the driver can do wrong.

mod ownership;
mod pipelining;
mod raw;
mod stopping;
