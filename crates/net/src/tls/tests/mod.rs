//! Sessions against rustls' own buffered connections, in memory. Certificates are made on the spot.

mod bytes;
mod clients;
mod files;
mod handshake;
mod memory;
mod pair;
pub(crate) mod pki;
mod reload;
mod resumption;
