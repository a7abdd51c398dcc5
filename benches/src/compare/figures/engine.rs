//! The engine alone, without sockets: batches of CPFs on two threads beside one, and single lookups.
//!
//! The example `engine` of this package does the asking: it links the engine, which nothing else here does.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Report;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::rounds::{in_turns, over, ratio};
use crate::measure::markdown::grouped;
use crate::measure::settle;
use crate::processes;

/// CPFs of all batches of a round together.
const CPFS: usize = 1_000_000;

/// Items of a batch: as many as a batch may have rows.
const ITEMS: u64 = 10_000;

/// What the example is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// All CPFs in batches, on so many threads.
    Batches { threads: usize },
    /// Each CPF by itself.
    Lookups,
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let registry = ground.registry()?;
    let index = ground.index()?;
    let keys = ground.keys_of(&registry.db, CPFS)?;
    settle(&registry.db)?;
    let rounds = ground.plan.rounds;
    let figures = in_turns(rounds, 2, |round, side| {
        let threads = side + 1;
        ground.say(&format!("round {} of {rounds}: the engine on {threads} threads", round + 1));
        ask(&registry.db, &index, &keys, Asked::Batches { threads })
    })?;
    let rate = |figures: &Value| figures["per_second"].as_f64().unwrap_or(f64::NAN);
    let [one, two] = [0, 1].map(|side| over(&figures[side], rate).grouped());
    let asked = figures[0][0]["requests"].as_u64().unwrap_or_default();
    Ok(Report {
        heading: "The engine alone: batches on two threads beside one".to_owned(),
        text: format!(
            "{} CPFs of the table in random order, in batches of {} through `Snapshot::answer`, on rayon pools of one and of two threads; all \
             pages were read before, and every item has a row.\n\n| threads | CPFs a second |\n| ---: | --- |\n| 1 | {one} |\n| 2 | {two} |\n",
            grouped(asked),
            grouped(ITEMS),
        ),
        reached: vec![Reached::new(Goal::EngineThreads, ratio(&figures[1], &figures[0], rate))],
        ..Report::default()
    })
}

/// Runs the example once; the object that it prints.
pub(crate) fn ask(db: &Path, index: &Path, keys: &Path, asked: Asked) -> anyhow::Result<Value> {
    let beside = processes::find("compare")?;
    let folder = beside.parent().context("this program lies in no folder")?.join("examples");
    let program = folder.join(format!("engine{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        program.is_file(),
        "the example `engine` is not built: `cargo build --release --locked -p balcao-benches --example engine`"
    );
    let mut command = Command::new(program);
    command.arg("--db").arg(db).arg("--index").arg(index).arg("--keys").arg(keys);
    match asked {
        Asked::Batches { threads } => {
            command.args(["batches", "--threads", &threads.to_string(), "--items", &ITEMS.to_string()]);
        }
        Asked::Lookups => {
            command.arg("lookups");
        }
    }
    serde_json::from_str(&processes::output(command)?).context("the example `engine` printed no JSON")
}
