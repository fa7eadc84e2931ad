//! The tests of the normative statements, by specification and chapter, and of the tables.
//!
//! A scenario tests what both versions demand alike; a test names the statements that it proves.

mod scenario;
mod table;
mod v311_connect;
mod v311_format;
mod v311_only;
mod v311_operation;
mod v311_publish;
mod v311_subscribe;
mod v311_websocket;
mod v311_will;
mod v5_alias;
mod v5_authentication;
mod v5_connect;
mod v5_connect_properties;
mod v5_disconnect;
mod v5_enhanced_authentication;
mod v5_expiry;
mod v5_flow;
mod v5_format;
mod v5_operation;
mod v5_options;
mod v5_properties;
mod v5_publish;
mod v5_shared;
mod v5_size;
mod v5_subscribe;
mod v5_websocket;
mod v5_will;
