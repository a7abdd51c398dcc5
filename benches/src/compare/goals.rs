//! What the figures must reach and what they aim at, and the rows that tell it beside what was reached.
//!
//! The numbers are the project's; nothing here measures, and a figure that falls short is told, not hidden.

use std::fmt::Write as _;

use crate::measure::markdown::grouped;
use crate::measure::spread::Spread;

/// A figure that something was asked of, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    BuildSpeed,
    IndexBytes,
    BuildMemory,
    RedisThroughput,
    RedisCpu,
    RateP99,
    Postgres,
    Python,
    Pipeline,
    PrefixTable,
    PrefixClustered,
    EngineThreads,
    ReadyWarm,
    ReadyCold,
    IdleMemory,
    IdleEach,
    Held,
    WordsCommon,
    WordsRare,
    WordsP99,
    FuzzyOne,
    FuzzyThree,
    FuzzyP99,
    WordIndexBytes,
    FilterBytes,
    WordIndexTime,
    Batch,
    AllClient,
    AllServer,
    BesideFuzzy,
    FullMemory,
    EngineScale,
}

/// Which side of the number is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Good {
    AtLeast,
    AtMost,
}

use Good::{AtLeast, AtMost};

impl Goal {
    const ALL: [Self; 32] = [
        Self::BuildSpeed,
        Self::IndexBytes,
        Self::BuildMemory,
        Self::RedisThroughput,
        Self::RedisCpu,
        Self::RateP99,
        Self::Postgres,
        Self::Python,
        Self::Pipeline,
        Self::PrefixTable,
        Self::PrefixClustered,
        Self::EngineThreads,
        Self::ReadyWarm,
        Self::ReadyCold,
        Self::IdleMemory,
        Self::IdleEach,
        Self::Held,
        Self::WordsCommon,
        Self::WordsRare,
        Self::WordsP99,
        Self::FuzzyOne,
        Self::FuzzyThree,
        Self::FuzzyP99,
        Self::WordIndexBytes,
        Self::FilterBytes,
        Self::WordIndexTime,
        Self::Batch,
        Self::AllClient,
        Self::AllServer,
        Self::BesideFuzzy,
        Self::FullMemory,
        Self::EngineScale,
    ];

    /// What it is called; unique, since the rows of a page are known again by it.
    fn name(self) -> &'static str {
        match self {
            Self::BuildSpeed => "`indexer build` against SQLite's two `CREATE INDEX`, times as fast",
            Self::IndexBytes => "index bytes against those two indexes",
            Self::BuildMemory => "peak private memory of a build under `--memory 1GiB`, GiB",
            Self::RedisThroughput => {
                "CPF lookups over 1000 connections against Redis `GET` of the same JSON, throughput"
            }
            Self::RedisCpu => "the same, server's CPU time a request",
            Self::RateP99 => "the same at a fixed rate of half of Redis's throughput, p99",
            Self::Postgres => "CPF lookups against PostgreSQL's prepared point selects, throughput",
            Self::Python => "CPF lookups over 1000 connections against Python threads + sqlite3, throughput",
            Self::Pipeline => "64 connections, 32 requests in flight each, against Redis, throughput",
            Self::PrefixTable => "prefix pages of 50 rows against PostgreSQL, rows in table order, throughput",
            Self::PrefixClustered => "prefix pages of 50 rows against PostgreSQL, rows in name order, throughput",
            Self::EngineThreads => "engine alone, 1 M CPFs in batches, two threads against one",
            Self::ReadyWarm => "start to `ready`, the largest registry, index in the page cache, s",
            Self::ReadyCold => "start to `ready`, the largest registry, index cold, s",
            Self::IdleMemory => "private memory of the server with 1000 idle connections, MiB",
            Self::IdleEach => "private memory of each further idle connection, KiB",
            Self::Held => "10,000 connections held, 1000 of them busy, against 1000 held, throughput",
            Self::WordsCommon => {
                "`words`, two common ones, against FTS5 through Python for the same rows, p50, times as fast"
            }
            Self::WordsRare => "`words`, a rare one beside a common one, against the same",
            Self::WordsP99 => "`words` at 4 connections, p99 of the slower kind, ms",
            Self::FuzzyOne => "`fuzzy`, one word, against PostgreSQL's `pg_trgm`, p50, times as fast",
            Self::FuzzyThree => "`fuzzy`, three words, against the same",
            Self::FuzzyP99 => "`fuzzy` at 4 connections, p99 of the slower kind, ms",
            Self::WordIndexBytes => "word index, bytes a row",
            Self::FilterBytes => "filter columns, bytes a row",
            Self::WordIndexTime => "build with words against one with `--no-words`, time",
            Self::Batch => "a file of questions against a Python loop over SQLite in one process, lines a second",
            Self::AllClient => {
                "every answer to a common name: what the client's private memory grows behind the 10,000th row, MiB"
            }
            Self::AllServer => "the same of the server",
            Self::BesideFuzzy => "CPF lookups beside 16 connections that send `fuzzy` without pause, throughput kept",
            Self::FullMemory => "peak private memory of a build, the largest registry, GiB",
            Self::EngineScale => "p50 of an engine's CPF lookup, the largest registry against the smallest",
        }
    }

    /// Whether it must hold in every round and not in the middle one alone.
    fn is_of_every_round(self) -> bool {
        matches!(self, Self::AllClient | Self::AllServer)
    }

    /// What was asked and, where there is more, what is aimed at.
    fn asked(self) -> (Good, f64, Option<f64>) {
        match self {
            Self::BuildSpeed => (AtLeast, 3.0, Some(6.0)),
            Self::IndexBytes => (AtMost, 0.30, Some(0.20)),
            Self::BuildMemory | Self::FullMemory => (AtMost, 1.25, Some(1.0)),
            Self::RedisThroughput => (AtLeast, 0.75, Some(1.0)),
            Self::RedisCpu => (AtMost, 1.6, Some(1.1)),
            Self::RateP99 => (AtMost, 1.5, Some(1.0)),
            Self::Postgres => (AtLeast, 1.3, Some(2.0)),
            Self::Python => (AtLeast, 12.0, Some(16.0)),
            Self::Pipeline => (AtLeast, 0.25, Some(0.6)),
            Self::PrefixTable => (AtLeast, 0.3, Some(0.8)),
            Self::PrefixClustered => (AtLeast, 1.2, Some(3.0)),
            Self::EngineThreads => (AtLeast, 1.8, None),
            Self::ReadyWarm => (AtMost, 0.2, Some(0.05)),
            Self::ReadyCold => (AtMost, 2.0, Some(0.5)),
            Self::IdleMemory => (AtMost, 96.0, Some(48.0)),
            Self::IdleEach => (AtMost, 24.0, Some(12.0)),
            Self::Held => (AtLeast, 0.8, Some(0.95)),
            Self::WordsCommon | Self::WordsRare => (AtLeast, 3.0, None),
            Self::WordsP99 => (AtMost, 10.0, None),
            Self::FuzzyOne | Self::FuzzyThree => (AtLeast, 10.0, None),
            Self::FuzzyP99 => (AtMost, 50.0, None),
            Self::WordIndexBytes => (AtMost, 6.0, None),
            Self::FilterBytes => (AtMost, 3.0, None),
            Self::WordIndexTime => (AtMost, 1.6, None),
            Self::Batch => (AtLeast, 1.0, Some(3.0)),
            Self::AllClient | Self::AllServer => (AtMost, 20.0, None),
            Self::BesideFuzzy => (AtLeast, 0.9, None),
            Self::EngineScale => (AtMost, 2.5, None),
        }
    }
}

/// A goal and what was measured for it.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    goal: Goal,
    value: Spread,
}

impl Reached {
    pub(crate) fn new(goal: Goal, value: Spread) -> Self {
        Self { goal, value }
    }

    /// What is held against the goal: the median, but the greatest where one round that grows beyond bounds is one too many.
    fn judged(&self) -> f64 {
        if self.goal.is_of_every_round() { self.value.bounds()[1] } else { self.value.median() }
    }

    /// Whether that is where it should be.
    fn verdict(&self) -> &'static str {
        let (good, asked, aim) = self.goal.asked();
        let judged = self.judged();
        let is_reached = |bound: f64| match good {
            AtLeast => judged >= bound,
            AtMost => judged <= bound,
        };
        match aim {
            _ if !is_reached(asked) => "**missed**",
            Some(aim) if is_reached(aim) => "aim reached",
            Some(_) => "reached",
            None => "reached",
        }
    }

    /// The cells `asked | aim | reached |`; of a figure whose loads had so many errors.
    fn cells(&self, errors: u64) -> String {
        let (good, asked, aim) = self.goal.asked();
        let sign = if good == AtLeast { '≥' } else { '≤' };
        let aim = aim.map_or(String::new(), |aim| format!("{sign} {aim}"));
        let marred = match errors {
            0 => String::new(),
            1 => ", with 1 error".to_owned(),
            _ => format!(", with {} errors", grouped(errors)),
        };
        let by = if self.goal.is_of_every_round() { " by the greatest" } else { "" };
        format!("{sign} {asked} | {aim} | {}{by}{marred}: {} |", self.verdict(), figures(&self.value))
    }
}

/// With three digits that tell something, whatever its size.
fn figures(value: &Spread) -> String {
    match value.median().abs() {
        median if median >= 100.0 => format!("{value:.0}"),
        median if median >= 10.0 => format!("{value:.1}"),
        median if median >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The table of one figure's section, whose loads had so many errors.
pub(crate) fn table(reached: &[Reached], errors: u64) -> String {
    let mut out = "| figure | asked | aim | reached |\n| --- | --- | --- | --- |\n".to_owned();
    for one in reached {
        // Writing to memory cannot fail.
        let _ = writeln!(out, "| {} | {}", one.goal.name(), one.cells(errors));
    }
    out
}

/// The table of all figures: `former`, the one before, with the rows of `reached` in the place of its own.
pub(crate) fn overview(former: &str, reached: &[Reached], errors: u64, on: &str) -> String {
    let mut out = "| figure | asked | aim | reached | measured on |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for goal in Goal::ALL {
        let start = format!("| {} |", goal.name());
        let row = match reached.iter().find(|one| one.goal == goal) {
            Some(one) => Some(format!("{start} {} {on} |", one.cells(errors))),
            None => former.lines().find(|line| line.starts_with(&start)).map(str::to_owned),
        };
        if let Some(row) = row {
            out.push_str(&row);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(goal: Goal, values: &[f64], expected: &str) {
        let reached = Reached::new(goal, Spread::new(values.iter().copied()).unwrap());
        let row = table(&[reached], 0);
        assert!(row.ends_with(&format!("| {expected} |\n")), "{row}");
    }

    #[test]
    fn what_was_reached_stands_beside_what_was_asked() {
        check(Goal::RedisThroughput, &[0.8, 0.7, 0.9], "≥ 0.75 | ≥ 1 | reached: 0.80 (0.70–0.90)");
        check(Goal::RedisThroughput, &[0.7], "≥ 0.75 | ≥ 1 | **missed**: 0.70 (0.70–0.70)");
        check(Goal::RedisThroughput, &[1.0], "≥ 0.75 | ≥ 1 | aim reached: 1.00 (1.00–1.00)");
        check(Goal::IdleEach, &[12.5, 12.25], "≤ 24 | ≤ 12 | reached: 12.4 (12.2–12.5)");
        check(Goal::IdleEach, &[25.0], "≤ 24 | ≤ 12 | **missed**: 25.0 (25.0–25.0)");
        check(Goal::ReadyWarm, &[0.0131], "≤ 0.2 | ≤ 0.05 | aim reached: 0.0131 (0.0131–0.0131)");
        check(Goal::EngineThreads, &[1.9], "≥ 1.8 |  | reached: 1.90 (1.90–1.90)");
    }

    #[test]
    fn memory_is_judged_by_the_round_in_which_it_grew_most() {
        check(Goal::AllClient, &[1.0, 19.5, 2.0], "≤ 20 |  | reached by the greatest: 2.00 (1.00–19.50)");
        check(Goal::AllServer, &[1.0, 20.5, 2.0], "≤ 20 |  | **missed** by the greatest: 2.00 (1.00–20.50)");
    }

    #[test]
    fn a_renewed_figure_leaves_the_others() {
        let one = |goal, value| Reached::new(goal, Spread::new([value]).unwrap());
        let first = overview("", &[one(Goal::Held, 0.9), one(Goal::BuildSpeed, 5.0)], 0, "a day");
        let second = overview(&first, &[one(Goal::Held, 0.5), one(Goal::Python, 13.0)], 0, "another day");
        let rows: Vec<&str> = second.lines().skip(2).collect();
        assert_eq!(rows.len(), 3, "{second}");
        assert!(rows[0].contains("5.00") && rows[0].ends_with("| a day |"), "{second}");
        assert!(rows[1].contains("13.0") && rows[2].contains("**missed**: 0.50"), "{second}");
        assert!(rows[2].ends_with("| another day |"), "{second}");
    }

    #[test]
    fn errors_stand_beside_what_was_reached() {
        let reached = [Reached::new(Goal::RedisThroughput, Spread::new([0.8]).unwrap())];
        for (errors, expected) in [(1, "| reached, with 1 error: 0.80"), (1234, "| reached, with 1,234 errors: 0.80")] {
            for text in [table(&reached, errors), overview("", &reached, errors, "a day")] {
                assert!(text.contains(expected), "{text}");
            }
        }
    }

    #[test]
    fn names_are_told_apart_by_their_first_cell() {
        for goal in Goal::ALL {
            let of_that_name = Goal::ALL.iter().filter(|other| other.name() == goal.name()).count();
            assert_eq!((of_that_name, goal.name().contains('|')), (1, false), "{goal:?}");
        }
    }
}
