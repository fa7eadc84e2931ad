//! Scenarios for the core: scripted Clients, virtual time, one and several workers.

mod client;
mod connect;
mod node;
mod packets;
mod received;
mod rules;
