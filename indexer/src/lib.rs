//! Reads a registry once and publishes an index generation of it.
//!
//! The way of a build: rowid ranges are scanned in parallel, their keys sorted batch by batch into runs, the runs merged shard by shard
//! into the index's writers, and the generation published. No sockets, no wire; the bytes of the index are `balcao-index`'s.

pub mod args;

mod anomaly;
mod batch;
mod build;
mod cluster;
mod filters;
mod held;
mod keys;
mod merge;
mod occurrences;
mod packed;
mod progress;
mod ranges;
mod ranking;
mod run;
mod scan;
mod segments;
mod stats;
mod store;
mod verify;
mod window;
mod writer;

pub use build::{BuildError, BuildPlan, MEMORY_MIN, Summary, WordSummary, build, build_with};
pub use filters::{FilterSummary, SearchPlan};
pub use progress::{Progress, Silent};
pub use stats::{Stats, stats};
pub use verify::{VerifyError, verify};
