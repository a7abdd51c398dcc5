//! The oracle: asks a running server for everything that its table holds and compares each answer with a plain scan of the table.
//!
//! It shares no code with the product beyond the third-party crates: what a key means is written down here a second time. It
//! measures no speed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::table::Registry;

pub mod make;

pub(crate) mod reading;
pub(crate) mod scan;

mod filters;
mod fuzzy;
mod search;
mod spelling_key;
mod words;

mod claims;
mod filter_questions;
mod prefixes;
pub(crate) mod questions;
mod search_questions;
mod spelling;
mod spoil;

pub(crate) mod asking;
pub(crate) mod judging;
mod manners;
mod report;

pub use questions::Kind;

pub use report::{Count, Difference, Report};

/// What to ask of which server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The table that the server serves.
    pub registry: Registry,
    /// Where it answers.
    pub server: SocketAddr,
    /// Prefixes to draw.
    pub prefixes: usize,
    /// No prefix but the few largest finds more rows than this.
    pub prefix_rows_max: usize,
    /// Questions by words to draw.
    pub words: usize,
    /// Fuzzy questions to draw.
    pub fuzzy: usize,
    /// Questions with a filter to draw.
    pub filtered: usize,
    /// Claims to draw.
    pub claims: usize,
    /// CPFs to draw at random.
    pub absent: usize,
    /// Strange CPFs, and strange names, to draw.
    pub strange: usize,
    /// Connections, at least 1.
    pub connections: usize,
    /// Questions in flight on each, at least 1.
    pub pipeline: usize,
    /// Draws everything that is random.
    pub seed: u64,
}

impl Plan {
    /// The usual run against the usual table in `db`.
    #[must_use]
    pub fn new(db: &Path, server: SocketAddr) -> Self {
        Self {
            registry: Registry::new(db),
            server,
            prefixes: 20_000,
            prefix_rows_max: 20_000,
            words: 3000,
            fuzzy: 3000,
            filtered: 1000,
            claims: 500,
            absent: 10_000,
            strange: 10_000,
            connections: 4,
            pipeline: 16,
            seed: 1,
        }
    }
}

/// Reads the table, asks everything, compares.
///
/// # Errors
/// When the table cannot be read or the server not be reached. A wrong answer is no error: it is in the report.
pub fn run(plan: &Plan) -> anyhow::Result<Report> {
    let table = scan::Table::scan(&plan.registry)?;
    let searchable = search::Searchable::new(&table);
    let catalogue = questions::Catalogue::new(&searchable, plan);
    let mut total = manners::ask(&table, plan.server, plan.words + plan.fuzzy + plan.filtered + plan.claims > 0)?;
    total.table = [table.rows.len(), table.cpfs.keys.len(), table.names.keys.len()];
    let next = AtomicUsize::new(0);
    let reports = std::thread::scope(|scope| {
        let connection = || asking::ask(&table, &catalogue, &next, plan.server, plan.pipeline);
        let askers: Vec<_> = (0..plan.connections).map(|_| scope.spawn(connection)).collect();
        askers.into_iter().map(|asker| asker.join().expect("an asking thread panicked")).collect::<Vec<_>>()
    });
    for report in reports {
        total.merge(report?);
    }
    let unasked = catalogue.len().saturating_sub(next.load(Ordering::Relaxed));
    if unasked > 0 {
        let what = format!("{unasked} questions could not be asked: no connection was left");
        total.add(Difference { kind: Kind::Manners, rowid: None, what });
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
