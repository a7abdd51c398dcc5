//! The shipped `indexer`, end to end: exit codes, summaries, remedies, and what lies in the folder afterwards.

mod cluster;
mod command;
mod disk;
mod faulty;
mod small_disk;

mod anomalies;
mod builds;
mod damage;
mod faults;
mod folders;
mod full_disk;
mod kills;
mod pages;
mod refusals;
mod registry;
mod search;
