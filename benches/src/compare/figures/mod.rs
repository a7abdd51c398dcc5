//! The figures, each a function from the ground to a section of the page.
//!
//! A figure tells what it measured and on what; what was asked of it stands in `goals`.

use std::fmt;

use super::goals::Reached;
use super::ground::Ground;
use super::plots::Plot;

mod all_answers;
mod batch;
mod beside_fuzzy;
mod build;
mod cold;
mod engine;
mod fuzzy;
mod held;
mod loads;
mod memory;
mod prefix;
mod redis;
mod scale;
mod sql;
mod start;
mod typed;
mod word_index;
mod words;

/// A figure, or a group of them that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Figure {
    /// Building beside SQLite's indexes.
    Build,
    /// CPF lookups beside Redis.
    Redis,
    /// Latency at a fixed rate, beside Redis.
    Rate,
    /// Pipelined lookups beside Redis.
    Pipeline,
    /// CPF lookups beside PostgreSQL.
    Postgres,
    /// Prefix pages beside PostgreSQL.
    Prefix,
    /// CPF lookups beside a Python server.
    Python,
    /// Batches in the engine alone, two threads beside one.
    Engine,
    /// From start to `ready`.
    Start,
    /// Private memory of idle connections.
    Memory,
    /// Many connections held, some busy.
    Held,
    /// Cheap lookups while others ask for what is not in memory.
    Cold,
    /// Words of names beside SQLite's FTS5.
    Words,
    /// Mistyped names beside PostgreSQL's `pg_trgm`.
    Fuzzy,
    /// What the word index and the filter columns cost.
    WordIndex,
    /// A file of questions beside a Python loop.
    Batch,
    /// Every answer to a common name.
    AllAnswers,
    /// CPF lookups while others ask for mistyped names.
    BesideFuzzy,
    /// Ours on registries of several sizes.
    Scale,
}

/// What a figure came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) heading: String,
    /// Markdown below the heading.
    pub(crate) text: String,
    pub(crate) reached: Vec<Reached>,
    pub(crate) plots: Vec<Plot>,
    /// Requests that were not answered as they should.
    pub(crate) errors: u64,
    /// Why nothing was measured, and what it takes: for what this machine lacks and a run may do without.
    pub(crate) skipped: Option<String>,
}

impl Figure {
    /// What `make bench` measures, in this order: figures with the same peer stand together.
    pub(crate) const BENCH: [Self; 18] = [
        Self::Build,
        Self::Redis,
        Self::Rate,
        Self::Pipeline,
        Self::Postgres,
        Self::Prefix,
        Self::Fuzzy,
        Self::Python,
        Self::Engine,
        Self::Start,
        Self::Memory,
        Self::Held,
        Self::Cold,
        Self::Words,
        Self::WordIndex,
        Self::Batch,
        Self::AllAnswers,
        Self::BesideFuzzy,
    ];

    pub(crate) fn measure(self, ground: &mut Ground<'_>) -> anyhow::Result<Report> {
        match self {
            Self::Build => build::measure(ground),
            Self::Redis => redis::closed_loop(ground),
            Self::Rate => redis::fixed_rate(ground),
            Self::Pipeline => redis::pipelined(ground),
            Self::Postgres => sql::postgres(ground),
            Self::Prefix => prefix::measure(ground),
            Self::Python => sql::python(ground),
            Self::Engine => engine::measure(ground),
            Self::Start => start::measure(ground),
            Self::Memory => memory::measure(ground),
            Self::Held => held::measure(ground),
            Self::Cold => cold::measure(ground),
            Self::Words => words::measure(ground),
            Self::Fuzzy => fuzzy::measure(ground),
            Self::WordIndex => word_index::measure(ground),
            Self::Batch => batch::measure(ground),
            Self::AllAnswers => all_answers::measure(ground),
            Self::BesideFuzzy => beside_fuzzy::measure(ground),
            Self::Scale => scale::measure(ground),
        }
    }

    pub(crate) fn needs_redis(self) -> bool {
        matches!(self, Self::Redis | Self::Rate | Self::Pipeline)
    }

    pub(crate) fn needs_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::Prefix | Self::Fuzzy)
    }
}

/// As the command line and the markers of its section name it.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self);
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
