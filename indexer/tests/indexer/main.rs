//! The shipped `indexer`, end to end: exit codes, summaries, remedies, and what lies in the folder afterwards.

mod command;

mod anomalies;
mod builds;
mod damage;
mod folders;
mod refusals;
