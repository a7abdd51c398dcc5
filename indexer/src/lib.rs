//! Reads a registry once and publishes an index generation of it.
//!
//! The way of a build: rowid ranges are scanned in parallel, their keys sorted batch by batch into runs, the runs merged shard by shard
//! into the index's writers, and the generation published. No sockets, no wire; the bytes of the index are `balcao-index`'s.

pub mod args;

mod anomaly;
mod batch;
mod build;
mod cluster;
mod held;
mod keys;
mod merge;
mod packed;
mod progress;
mod ranges;
mod ranking;
mod run;
mod scan;
mod stats;
mod verify;
mod window;

pub use build::{BuildError, BuildPlan, MEMORY_MIN, Summary, build, build_with};
pub use progress::{Progress, Silent};
pub use stats::{Stats, stats};
pub use verify::{VerifyError, verify};
