//! Scenarios for the core: scripted Clients, virtual time, one and several workers.

mod acknowledgements;
mod client;
mod connect;
mod data_streams;
mod data_streams_ending;
mod data_streams_random;
mod data_streams_waiting;
mod destinations;
mod drops;
mod flow;
mod late_timers;
mod lifetime;
mod limits;
mod model;
mod node;
mod packets;
mod policy;
mod received;
mod refusals;
mod retained;
mod robustness;
mod rules;
mod shared;
mod subscriptions;
mod unsubscribing;
mod waiting_answers;
