//! Answers a request from one open generation and its SQLite rows.
//!
//! [`Snapshot::answer`] is a function from a request to a reply: no sockets, no coroutines, no clock. Tests and benches call it directly.

mod batch;
mod lookup;
mod rows;
mod snapshot;

pub use lookup::Plan;
pub use snapshot::{OpenError, Snapshot};

#[cfg(test)]
mod tests;
