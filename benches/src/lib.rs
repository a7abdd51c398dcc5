//! The measuring side of the house: a load generator, an oracle that compares every answer with a plain scan, damaged indexes, and the
//! figures of `docs/results.md`.
//!
//! It sees the other programs as a user does, by their command lines and the wire: none of their internals is linked here.

pub mod compare;
pub mod cost;
pub mod faults;
pub mod hostile;
pub mod load;
mod measure;
pub mod oracle;
pub mod reload;

pub mod exit;
pub mod processes;
pub mod rng;
pub mod scratch;
pub mod table;
