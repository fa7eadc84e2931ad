//! The codec through its public API: one table of packets and what is generated from it.

mod extremes;
mod fuzz_bodies;
mod generate;
mod mutations;
mod packet_table;
mod round_trip;
mod seeds;
mod specification;
mod table;
