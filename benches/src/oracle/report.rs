//! What a run found: counts by kind of question, and the first differences.
//!
//! No key and no value of the table is kept in it.

use std::collections::BTreeMap;
use std::fmt;

use super::questions::{Kind, SEARCH_ROWS_MAX};

/// How many differences are kept in full.
const SHOWN_MAX: usize = 10;

/// An answer that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What was asked.
    pub kind: Kind,
    /// The row that should have come, where another came.
    pub rowid: Option<i64>,
    /// What differs, without personal data.
    pub what: String,
}

/// Counts of one kind of question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Questions.
    pub questions: u64,
    /// Questions that were rightly told of at least one row, and claims on a CPF of the table.
    pub found: u64,
    /// Requests: one for each page.
    pub requests: u64,
    /// Rows that came and were right, of questions that were answered to their end or as far as they were asked.
    pub rows: u64,
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows of the table, its distinct CPFs and its distinct normalised names.
    pub table: [usize; 3],
    /// Counts by kind.
    pub counts: BTreeMap<Kind, Count>,
    /// How often the server was overloaded, or had told a connection of enough claims, and the same was asked again.
    pub overloaded: u64,
    /// Pages that said to be cut short by the bound on work.
    pub bounded: u64,
    /// Pages that told of how many rows there are at least.
    pub uncounted: u64,
    /// Searches with so many rows that they are mostly not paged to their end.
    pub long: u64,
    /// Those of them whose every page came and was right.
    pub paged: u64,
    /// All differences.
    pub differences: u64,
    /// The first ten of them.
    pub shown: Vec<Difference>,
}

impl Report {
    pub(crate) fn count(&mut self, kind: Kind) -> &mut Count {
        self.counts.entry(kind).or_default()
    }

    pub(crate) fn add(&mut self, difference: Difference) {
        self.differences += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(difference);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            let sum = self.count(kind);
            sum.questions += count.questions;
            sum.found += count.found;
            sum.requests += count.requests;
            sum.rows += count.rows;
        }
        self.overloaded += other.overloaded;
        self.bounded += other.bounded;
        self.uncounted += other.uncounted;
        self.long += other.long;
        self.paged += other.paged;
        self.differences += other.differences;
        self.shown.extend(other.shown);
        self.shown.truncate(SHOWN_MAX);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, cpfs, names] = self.table;
        writeln!(f, "table: {rows} rows, {cpfs} distinct CPFs, {names} distinct names")?;
        writeln!(f, "{:<22} {:>10} {:>10} {:>10} {:>12}", "kind", "questions", "found", "requests", "rows")?;
        for (kind, count) in &self.counts {
            let Count { questions, found, requests, rows } = count;
            writeln!(f, "{:<22} {questions:>10} {found:>10} {requests:>10} {rows:>12}", kind.as_str())?;
        }
        if self.overloaded > 0 {
            writeln!(f, "asked again because the server was overloaded: {}", self.overloaded)?;
        }
        if self.bounded + self.uncounted > 0 {
            writeln!(f, "pages cut short by the bound: {}, with `total_at_least`: {}", self.bounded, self.uncounted)?;
        }
        if self.long > 0 {
            writeln!(
                f,
                "searches of more than {SEARCH_ROWS_MAX} rows paged to the end: {} of {}",
                self.paged, self.long
            )?;
        }
        for Difference { kind, rowid, what } in &self.shown {
            let rowid = rowid.map_or_else(|| "-".to_owned(), |rowid| rowid.to_string());
            writeln!(f, "difference: {}, rowid {rowid}: {what}", kind.as_str())?;
        }
        write!(f, "differences: {}", self.differences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_long_searches_were_paged_to_the_end_is_told() {
        let mut report = Report { long: 5, paged: 2, ..Report::default() };
        report.merge(Report { long: 3, paged: 1, ..Report::default() });
        assert!(report.to_string().contains("of more than 4000 rows paged to the end: 3 of 8\n"), "{report}");
        assert!(!Report::default().to_string().contains("paged to the end"));
    }
}
