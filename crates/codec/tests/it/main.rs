//! The codec through its public API: one table of packets and what is generated from it.

mod extremes;
mod generate;
mod packet_table;
mod round_trip;
mod specification;
mod table;
