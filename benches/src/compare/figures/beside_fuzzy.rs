//! CPF lookups while other connections ask for mistyped names without pause: one server, in turns with and without them.
//!
//! What becomes of the dear questions is told: how many were answered, and how many the server refused or gave up in time.

use std::fmt::Write as _;

use super::typed::errors;
use super::{Report, loads};
use crate::compare::asking::{Asked, Shape, Subject, ask};
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::ground::asked::Kind;
use crate::compare::rounds::{in_turns, over, ratio};
use crate::measure::markdown::grouped;
use crate::measure::spread::Spread;

/// Connections that ask for mistyped names, one question in flight on each.
const CONNECTIONS: usize = 16;

const SIDES: [&str; 2] = ["alone", "beside `fuzzy`"];

/// CPF lookups, and what was asked beside them.
struct Round {
    cpfs: Asked,
    fuzzy: Option<Asked>,
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let (index, keys) = (ground.index()?, ground.keys()?);
    let questions = ground.questions(&Kind::FUZZY_THREE)?;
    let server = ground.server(&index, &[])?;
    let subject = ground.ours("CPFs", &server, &keys);
    let dear = Subject { pid: None, ..ground.ours("fuzzy", &server, &questions.requests) };
    let shape = loads::shape(ground.plan, ground.plan.connections);
    let rounds = in_turns(ground.plan.rounds, SIDES.len(), |round, side| {
        ground.say(&format!("round {} of {}: CPFs, {}", round + 1, ground.plan.rounds, SIDES[side]));
        one(&subject, &shape, (side == 1).then_some(&dear))
    })?;
    server.stop()?;
    let dear: Vec<&Asked> = rounds.iter().flatten().filter_map(|round| round.fuzzy.as_ref()).collect();
    let refused: u64 = dear.iter().map(|asked| asked.summary.refusals()).sum();
    let failed: u64 = dear.iter().map(|asked| asked.summary.errors_total() - asked.summary.refusals()).sum();
    let codes = errors(dear.iter().map(|asked| &asked.summary.errors));
    Ok(Report {
        heading: "CPF lookups beside mistyped names".to_owned(),
        text: format!(
            "{} connections ask for CPFs, one request in flight on each, as fast as they are answered; in turns alone, and beside {CONNECTIONS} \
             connections that ask for three words with one mistyped, likewise. Of the mistyped ones, over all rounds, {} were refused as \
             `overloaded` or given up as `deadline_exceeded`, which counts as no failure here, and {} failed (by code: {codes}).\n\n{}",
            grouped(shape.connections as u64),
            grouped(refused),
            grouped(failed),
            table(&rounds),
        ),
        reached: vec![Reached::new(
            Goal::BesideFuzzy,
            ratio(&rounds[1], &rounds[0], |round| round.cpfs.summary.per_second()),
        )],
        errors: failed + rounds.iter().flatten().map(|round| round.cpfs.summary.errors_total()).sum::<u64>(),
        ..Report::default()
    })
}

fn one(subject: &Subject, shape: &Shape, beside: Option<&Subject>) -> anyhow::Result<Round> {
    let (cpfs, fuzzy) = std::thread::scope(|scope| {
        let fuzzy = beside.map(|dear| {
            let shape = Shape { connections: CONNECTIONS, threads: 1, ..shape.clone() };
            scope.spawn(move || ask(dear, &shape))
        });
        let cpfs = ask(subject, shape);
        (cpfs, fuzzy.map(|fuzzy| fuzzy.join().expect("the asking thread panicked")))
    });
    Ok(Round { cpfs: cpfs?, fuzzy: fuzzy.transpose()? })
}

fn table(rounds: &[Vec<Round>]) -> String {
    let mut out =
        "| CPFs | a second | p50 µs | p99 µs | p99.9 µs | errors | `fuzzy` answered a second | p50 ms | p99 ms |\n\
                   | --- | --- | --- | --- | --- | ---: | --- | --- | --- |\n"
            .to_owned();
    for (name, rounds) in SIDES.iter().zip(rounds) {
        let latency = |at: usize| over(rounds, |round| round.cpfs.summary.latency_us[at] as f64).grouped();
        let of_fuzzy = |value: &dyn Fn(&Asked) -> f64| {
            let spread = Spread::new(rounds.iter().filter_map(|round| round.fuzzy.as_ref()).map(value));
            spread.map_or_else(String::new, |spread| format!("{spread:.1}"))
        };
        // Writing to memory cannot fail.
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
            over(rounds, |round| round.cpfs.summary.per_second()).grouped(),
            latency(0),
            latency(1),
            latency(2),
            rounds.iter().map(|round| round.cpfs.summary.errors_total()).sum::<u64>(),
            of_fuzzy(&|asked| asked.summary.well_per_second()),
            of_fuzzy(&|asked| asked.summary.latency_us[0] as f64 / 1e3),
            of_fuzzy(&|asked| asked.summary.latency_us[1] as f64 / 1e3),
        );
    }
    out
}
