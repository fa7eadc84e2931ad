//! The life of a Network Connection: CONNECT, authentication, CONNACK, silence, the end and the
//! Will Message; its data streams; and subscribers and publishers inside the process.
//!
//! Nothing of a Client is touched before its CONNECT is accepted.

pub(crate) mod admitting;
pub(crate) mod answering;
pub(crate) mod authenticating;
pub(crate) mod connect;
pub(crate) mod data_streams;
pub(crate) mod ending;
pub(crate) mod local;
pub(crate) mod silence;
