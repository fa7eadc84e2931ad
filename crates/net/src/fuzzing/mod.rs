//! What fuzz targets and benchmarks need of the inside; no part of the API.
//!
//! The ordinary tests run the fuzz targets too, on their seeds and on random changes of them. Must
//! never be needed by anything that is shipped.

mod proxy_header;
#[cfg(test)]
mod tests;
mod websocket;

pub use proxy_header::check_proxy_header;
pub use websocket::{Session, check_websocket};
