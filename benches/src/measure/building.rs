//! Building our index and SQLite's two, round by round, so that a slow minute of the machine meets both.
//!
//! The registry is in the page cache and on the disk before each build; making a copy for SQLite is not timed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::observing::{Memory, Watch};
use super::{Plan, index_files, seconds, settle};
use crate::processes::{self, Guard};

/// What the rounds came to.
#[derive(Debug)]
pub(crate) struct Building {
    pub(crate) rounds: Vec<Round>,
    /// Bytes of our index by part, as `indexer stats` tells them.
    pub(crate) parts: BTreeMap<String, u64>,
    /// Bytes of every file of the generation.
    pub(crate) bytes: u64,
}

/// One round.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) ours: Build,
    pub(crate) peer: Peer,
}

/// SQLite's two indexes.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Seconds of the index on the CPF and of that on the name.
    pub(crate) seconds: [f64; 2],
    /// Bytes of the same.
    pub(crate) bytes: [u64; 2],
    pub(crate) peak: Memory,
}

/// One build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    /// From the start of the program to its end.
    pub(crate) seconds: f64,
    pub(crate) peak: Memory,
}

/// Runs the rounds; the last round's index is left in `folder/index`.
pub(crate) fn run(plan: &Plan, db: &Path, folder: &Path, progress: impl Fn(&str)) -> anyhow::Result<Building> {
    let index = folder.join("index");
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        progress(&format!("round {round} of {}: building", plan.rounds));
        // Each goes first in turn.
        rounds.push(if round % 2 == 1 {
            Round { ours: ours(db, &index)?, peer: peer(db, folder)? }
        } else {
            let peer = peer(db, folder)?;
            Round { ours: ours(db, &index)?, peer }
        });
    }
    let mut stats = processes::command("indexer")?;
    stats.arg("stats").arg("--index").arg(&index).arg("--json");
    let stats: Value = serde_json::from_str(&processes::output(stats)?).context("`indexer stats --json` is no JSON")?;
    let parts = stats["bytes"].as_object().context("`indexer stats --json` has no `bytes` by part")?;
    let parts = parts.iter().filter_map(|(part, bytes)| Some((part.clone(), bytes.as_u64()?))).collect();
    let mut bytes = 0;
    for file in index_files(&index)? {
        bytes += std::fs::metadata(file)?.len();
    }
    Ok(Building { rounds, parts, bytes })
}

fn ours(db: &Path, index: &Path) -> anyhow::Result<Build> {
    if index.exists() {
        std::fs::remove_dir_all(index).context("cannot remove the index of the round before")?;
    }
    settle(db)?;
    let mut command = processes::command("indexer")?;
    command.arg("build").arg("--db").arg(db).arg("--out").arg(index).stdout(Stdio::null());
    let started = Instant::now();
    let guard = Guard::spawn(command)?;
    let watch = Watch::start(guard.pid());
    guard.finish()?;
    Ok(Build { seconds: seconds(started.elapsed()), peak: watch.peak() })
}

/// Runs SQLite in a process of its own (this program again), on a copy of the file.
fn peer(db: &Path, folder: &Path) -> anyhow::Result<Peer> {
    let copy = folder.join("sqlite.db");
    std::fs::copy(db, &copy).context("cannot copy the registry for SQLite")?;
    settle(&copy)?;
    let mut command = processes::command("measure")?;
    // The sorter's files belong to the disk that is measured, wherever the system's temporary folder lies.
    command.arg("peer").arg("--db").arg(&copy).env("SQLITE_TMPDIR", folder).stdout(Stdio::piped());
    let mut guard = Guard::spawn(command)?;
    let watch = Watch::start(guard.pid());
    let printed = guard.printed()?;
    guard.finish()?;
    let peak = watch.peak();
    std::fs::remove_file(&copy).context("cannot remove SQLite's copy")?;
    let figures: Value = serde_json::from_str(&printed).context("the peer printed no JSON")?;
    let columns = ["cpf", "nome"];
    let took = columns.map(|column| figures[column]["seconds"].as_f64().unwrap_or_default());
    let bytes = columns.map(|column| figures[column]["bytes"].as_u64().unwrap_or_default());
    ensure!(
        took.iter().all(|&took| took > 0.0) && bytes.iter().all(|&bytes| bytes > 0),
        "SQLite's figures are not whole"
    );
    Ok(Peer { seconds: took, bytes, peak })
}
