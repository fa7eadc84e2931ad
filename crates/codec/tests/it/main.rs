//! The codec through its public API: one table of packets and what is generated from it.

mod packet_table;
mod table;
