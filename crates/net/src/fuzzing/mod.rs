//! Access to internals for fuzz targets and benchmarks; no part of the API.
//!
//! The ordinary tests run the fuzz targets too, on their seeds and on random changes of them.
//! Nothing that is shipped may need this module.

mod proxy_header;
#[cfg(test)]
mod tests;
mod websocket;

pub use proxy_header::check_proxy_header;
pub use websocket::{Session, check_websocket};
