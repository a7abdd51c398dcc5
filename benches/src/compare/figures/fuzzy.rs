//! `match: fuzzy` beside PostgreSQL's `pg_trgm`: one word, and three, of which one is mistyped.
//!
//! The two do not mean the same by "similar": `pg_trgm` compares sets of three letters, ours counts edits. What each finds is told as rows, not judged.

use super::Report;
use super::typed::{self, Side};
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::ground::asked::Kind;
use crate::compare::peers;
use crate::compare::peers::postgres::USER;
use crate::load::list;
use crate::measure::markdown::{grouped, per_row};

/// Rounds in which PostgreSQL is asked: at ten million rows a question takes it seconds, and one is asked in each.
const ROUNDS_MAX: usize = 3;

/// Names that are similar as a whole: what is asked for.
const WHOLE: &str = "SELECT * FROM cpf WHERE nome % $1 ORDER BY similarity(nome, $1) DESC LIMIT 50";

/// Names that hold something similar, which is nearer to what ours means, and cheaper.
const PART: &str = "SELECT * FROM cpf WHERE $1 <% nome ORDER BY word_similarity($1, nome) DESC LIMIT 50";

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let index = ground.index()?;
    let keys = ground.questions(&Kind::FUZZY_ONE)?.bare;
    let [whole, part] = [ground.postgres(USER, WHOLE, &keys)?, ground.postgres(USER, PART, &keys)?];
    let trigrams = ground.running_postgres().map(|postgres| {
        ground.say("making the index on trigrams");
        postgres.trigrams()
    });
    let (bytes, built) = trigrams.transpose()?.unwrap_or_default();
    let server = ground.server(&index, &[])?;
    let similar = |name, subject: &crate::compare::asking::Subject| {
        let (address, protocol) = (subject.address, subject.protocol.clone());
        Side::new(name, 1, move |turn| list::ask(&turn.list(address, protocol.clone(), turn.questions.bare.clone())))
            .at_most(ROUNDS_MAX)
    };
    let sides = [Side::ours(&server), similar("pg_trgm, `%`", &whole), similar("pg_trgm, `<%`", &part)];
    let outcome = typed::compare(ground, &[Kind::FUZZY_ONE, Kind::FUZZY_THREE], &sides)?;
    drop(sides);
    let [one, three] = [0, 1].map(|kind| outcome.shared(kind, 1));
    server.stop()?;
    let goals = [(Goal::FuzzyOne, outcome.times(0, 1)), (Goal::FuzzyThree, outcome.times(1, 1))];
    let p99 = (Goal::FuzzyP99, outcome.slowest_p99_ms());
    let reached = goals.into_iter().chain([p99]).filter_map(|(goal, value)| Some(Reached::new(goal, value?)));
    let built = built.map_or_else(
        || "made by a run before this one".to_owned(),
        |seconds| format!("made in {seconds:.1} s with 1 GiB of memory for it"),
    );
    let rows = ground.plan.make.rows;
    Ok(Report {
        heading: "Mistyped names beside PostgreSQL's pg_trgm".to_owned(),
        text: format!(
            "Words of a row's name in random order, one of them with a letter left out, put in, taken for another or swapped with its neighbour (of \
             words of eight letters and more one in three has two letters taken for others), the first page of 50 rows, the most similar first; every question \
             is a different one. {} with a GIN index on `nome gin_trgm_ops` ({} bytes, {} a row, {built}), its defaults for similarity, the index \
             read into its buffers: `{WHOLE}`; and beside it `{PART}`. Both over loopback, prepared once; it is asked one question at a time, in the first {ROUNDS_MAX} rounds, since it takes seconds. Each side \
             asks the same questions from the same place of the list on for {} s in each round, one at least and 1000 at most, and to its end. Ratios are those of the medians of \
             the questions that both answered; that `%` is what was asked for: over {one} questions of one word and {three} of three, of all rounds \
             together. Before anything is measured each side is asked from the same places of the list on without measuring, for {} s at most for \
             each kind of question: ours gets through it or far, PostgreSQL as far as its seconds a question let it. The p99 of \
             fewer than a hundred questions is the greatest.\n\n{}",
            peers::postgres::version()?,
            grouped(bytes),
            per_row(bytes, rows),
            ground.plan.seconds as f64 / 4.0,
            typed::WARMUP.as_secs(),
            outcome.table(),
        ),
        reached: reached.collect(),
        errors: outcome.errors(),
        ..Report::default()
    })
}
