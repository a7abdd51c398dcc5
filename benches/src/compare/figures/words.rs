//! `match: words` beside SQLite's FTS5 through Python: two common words, and a rare one beside a common one.
//!
//! The peer is asked for the same rows, in the order of the names; what its own order costs is told beside.

use super::Report;
use super::typed::{self, Side, Turn, WARMUP};
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::ground::asked::Kind;
use crate::compare::peers;
use crate::compare::peers::fts5::{self, Order};
use crate::load::list::Listed;

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let index = ground.index()?;
    let fts5 = ground.fts5()?;
    let server = ground.server(&index, &[])?;
    let ask = |turn: &Turn<'_>, order: Order| -> anyhow::Result<Listed> {
        let Turn { questions, connections: threads, first, at_most, within } = *turn;
        let (questions, seconds, warm_seconds) = (questions.bare.as_path(), within.as_secs_f64(), WARMUP.as_secs_f64());
        fts5::ask(&fts5, &fts5::Asked { questions, order, first, at_most, seconds, threads, warm_seconds })
    };
    let sides = [
        Side::ours(&server),
        Side::new("FTS5, in name order", usize::MAX, |turn| ask(turn, Order::Name)).warms_itself(),
        Side::new("FTS5, in its own order", 1, |turn| ask(turn, Order::Rowid)).warms_itself(),
    ];
    let outcome = typed::compare(ground, &[Kind::COMMON, Kind::RARE], &sides)?;
    drop(sides);
    server.stop()?;
    let goals = [(Goal::WordsCommon, outcome.times(0, 1)), (Goal::WordsRare, outcome.times(1, 1))];
    let p99 = (Goal::WordsP99, outcome.slowest_p99_ms());
    let reached = goals.into_iter().chain([p99]).filter_map(|(goal, value)| Some(Reached::new(goal, value?)));
    Ok(Report {
        heading: "Words of names beside SQLite's FTS5".to_owned(),
        text: format!(
            "Two words of a row's name in random order, the last one as a beginning, the first page of 50 rows in name order. Common are the 50 words \
             that most names have (particles aside), rare one that a name in a hundred thousand has, together with a common one of the same name; \
             every question is a different one. [FTS5](../benches/compare/fts5.py) ({}) over the same table, its segments merged, all in the page \
             cache: `MATCH`, the whole rows, `ORDER BY nome LIMIT 50`, which are our rows, and without the order, which are any. It is asked in its \
             own process, a connection for each thread with 256 MiB of cache and 2 GiB mapped, and pays for no network; ours is asked over loopback. \
             Before anything is measured each side is asked the list without measuring, for {} s at most: ours once for each kind of question, every \
             connection of FTS5 in each turn, since its process is a new one. Each side asks the same questions from \
             the same place of the list on for {} s in each round, 1000 at most. Ratios are those of the medians of the questions that both answered, one at a time; the p99 of fewer than a \
             hundred questions is the greatest.\n\n{}",
            peers::python::version()?,
            WARMUP.as_secs(),
            ground.plan.seconds as f64 / 4.0,
            outcome.table(),
        ),
        reached: reached.collect(),
        errors: outcome.errors(),
        ..Report::default()
    })
}
