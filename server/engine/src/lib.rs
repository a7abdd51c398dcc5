//! Answers a request from one open generation and its SQLite rows.
//!
//! [`Snapshot::answer`] is a function from a request to a reply: no sockets, no coroutines, no
//! clock. Tests and benches call it directly.

mod asked;
mod batch;
mod lookup;
mod quota;
mod rows;
mod search;
mod snapshot;
mod verify;

pub use batch::holds_search;
pub use lookup::Plan;
pub use snapshot::{Answer, OpenError, Sight, Snapshot};

/// Faults of mapped files become `unavailable` answers, see there. [`Snapshot::open`] calls it; who installs signal handlers later calls it again.
pub use balcao_index::catch_map_faults;

#[cfg(test)]
mod tests;
