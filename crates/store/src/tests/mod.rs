//! The whole store against a naive model of what it has to keep: random histories, power cuts,
//! damage, full disks.

mod backups;
mod checks;
mod damage;
mod exports;
mod full_disk;
mod fuzzing;
mod generator;
mod histories;
mod imports;
mod long_queues;
mod model;
