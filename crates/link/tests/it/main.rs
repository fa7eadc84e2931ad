//! Two ends of a link, joined by a transport in memory, on virtual time.

mod random;
mod scenarios;
mod transport;
