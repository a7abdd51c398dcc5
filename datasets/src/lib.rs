//! A synthetic registry: seeded rows with the real schema, clean or with listed defects, as an iterator or as a SQLite file.
//!
//! It holds no real person: CPFs, names and dates are drawn apart from each other. It knows nothing of indexes or of the wire.
//!
//! [`Recipe`] says which rows (and iterates them), [`write_registry`] puts them into a file, [`Defect`] lists what dirt there is.

mod calendar;
mod defect;
mod error;
mod names;
mod random;
mod recipe;
mod registry;
mod spoil;
mod syllables;
mod weighted;

pub use calendar::{AGE_MAX, REFERENCE_YEAR};
pub use defect::{Column, Defect};
pub use error::Error;
pub use names::Sex;
pub use recipe::{ROWS_MAX, Recipe, Row, Rows};
pub use registry::{Plan, Summary, write_registry, write_registry_until};
pub use spoil::{APOSTROPHES, PLACEHOLDERS};

#[cfg(test)]
mod tests;
