//! Tests of the crate through its public API, some of them beside a real mosquitto.

mod acl_file;
mod dynamic_security;
mod mosquitto;
mod naive;
mod policies;
mod precedence;
mod queries;
mod substitution;
