//! Building our index and SQLite's two, round by round, so that a slow minute of the machine meets both.
//!
//! The registry is in the page cache and on the disk before each build; making a copy for SQLite is not timed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Report;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::{Ground, can_cluster};
use crate::compare::plots;
use crate::compare::rounds::{in_turns, over};
use crate::measure::markdown::{grouped, mib, per_row};
use crate::measure::observing::{Memory, Watch};
use crate::measure::spread::Spread;
use crate::measure::{count_rows, index_files, seconds, settle};
use crate::processes::{self, Guard};
use crate::scratch::Scratch;

/// The memory that a build is told to stay within.
const MEMORY: &str = "1GiB";

/// Leaves out what SQLite's two indexes have nothing of: words, and columns to filter by.
const TWO_INDEXES: [&str; 5] = ["--no-words", "--sex-column", "", "--birth-column", ""];

/// One build, by either side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Built {
    /// From the start of the program to its end; of SQLite, for the index on the CPF and that on the name.
    pub(crate) seconds: [f64; 2],
    /// Bytes of the index, and likewise; without the copy of the rows.
    pub(crate) bytes: [u64; 2],
    /// Bytes of the copy of the rows in name order, of ours where it was asked for.
    copy_bytes: u64,
    pub(crate) peak: Memory,
}

impl Built {
    fn all_seconds(&self) -> f64 {
        self.seconds[0] + self.seconds[1]
    }

    pub(crate) fn all_bytes(&self) -> u64 {
        self.bytes[0] + self.bytes[1]
    }
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let registry = ground.registry()?;
    let rows = count_rows(&registry)?;
    let folder = Scratch::new_in(ground.folder())?;
    let index = folder.path().join("index");
    let rounds = ground.plan.rounds;
    let built = in_turns(rounds, 2, |round, side| {
        ground.say(&format!("round {} of {rounds}: building, {}", round + 1, ["ours", "SQLite's"][side]));
        if side == 0 { ours(&registry.db, &index, &TWO_INDEXES) } else { peer(&registry.db, folder.path()) }
    })?;
    let parts_of_ours = stats(&index)?;
    let clustered = clustered(ground, &registry.db, &index)?;
    let (ours, peer) = (&built[0], &built[1]);
    let speed = Spread::new(ours.iter().zip(peer).map(|(ours, peer)| peer.all_seconds() / ours.all_seconds()));
    let speed = speed.context("no round was asked for")?;
    let bytes = ours.iter().zip(peer).map(|(ours, peer)| ours.all_bytes() as f64 / peer.all_bytes() as f64);
    let bytes = Spread::new(bytes).context("no round was asked for")?;
    let mut text = format!(
        "{rounds} rounds, each builds both, page cache warm, both durable: `indexer build --memory {MEMORY} --no-words` without columns to filter \
         by (what those cost stands [below](#what-words-and-filters-cost)), and SQLite {} with its default settings, `CREATE INDEX` on `cpf` and on `nome` of a copy of the file. The registry has {} bytes ({} a row).\n\n",
        rusqlite::version(),
        grouped(std::fs::metadata(&registry.db)?.len()),
        per_row(std::fs::metadata(&registry.db)?.len(), rows),
    );
    // Writing to memory cannot fail.
    let _ = table(&mut text, rows, ours, peer);
    let _ = parts(&mut text, rows, &parts_of_ours, ours[0].all_bytes());
    text.push_str(&clustered.map_or(String::new(), |built| copy_text(&built, rows)));
    let bars =
        |value: fn(&Built) -> f64| [("ours".to_owned(), over(ours, value)), ("SQLite".to_owned(), over(peer, value))];
    let per_row = move |built: &Built| built.all_bytes() as f64;
    let of_bytes = [("ours".to_owned(), over(ours, per_row)), ("SQLite".to_owned(), over(peer, per_row))];
    Ok(Report {
        heading: "Building, beside SQLite's `CREATE INDEX` on both columns".to_owned(),
        text,
        reached: vec![
            Reached::new(Goal::BuildSpeed, speed),
            Reached::new(Goal::IndexBytes, bytes),
            Reached::new(Goal::BuildMemory, over(ours, gib)),
        ],
        plots: vec![
            plots::bars(
                "build-seconds",
                &format!("Two indexes over {} rows", grouped(rows)),
                "seconds",
                &bars(Built::all_seconds),
            )?,
            plots::bars("build-bytes", &format!("Two indexes over {} rows", grouped(rows)), "bytes", &of_bytes)?,
        ],
        ..Report::default()
    })
}

/// Peak private memory in GiB.
pub(crate) fn gib(built: &Built) -> f64 {
    mib(built.peak.private) / 1024.0
}

fn table(out: &mut String, rows: u64, ours: &[Built], peer: &[Built]) -> std::fmt::Result {
    writeln!(
        out,
        "| | `indexer build` | SQLite: CPF | SQLite: name | SQLite: both |\n| --- | --- | --- | --- | --- |"
    )?;
    writeln!(
        out,
        "| seconds | {:.2} | {:.2} | {:.2} | {:.2} |",
        over(ours, Built::all_seconds),
        over(peer, |peer| peer.seconds[0]),
        over(peer, |peer| peer.seconds[1]),
        over(peer, Built::all_seconds),
    )?;
    writeln!(
        out,
        "| bytes a row | {} | {} | {} | {} |",
        per_row(ours[0].all_bytes(), rows),
        per_row(peer[0].bytes[0], rows),
        per_row(peer[0].bytes[1], rows),
        per_row(peer[0].all_bytes(), rows),
    )?;
    for (name, value) in [
        ("peak private memory, MiB", (|built: &Built| mib(built.peak.private)) as fn(&Built) -> f64),
        ("peak resident memory, MiB", |built| mib(built.peak.peak_resident)),
    ] {
        writeln!(out, "| {name} | {:.0} | | | {:.0} |", over(ours, value), over(peer, value))?;
    }
    writeln!(out, "\nPrivate is RssAnon, sampled every 20 ms; resident is VmHWM and counts mapped files too.\n")
}

fn parts(out: &mut String, rows: u64, parts: &BTreeMap<String, u64>, bytes: u64) -> std::fmt::Result {
    writeln!(out, "| part of the index | bytes | bytes a row |\n| --- | ---: | ---: |")?;
    for (part, bytes) in parts {
        writeln!(out, "| `{part}` | {} | {} |", grouped(*bytes), per_row(*bytes, rows))?;
    }
    let rest = bytes.saturating_sub(parts.values().sum());
    writeln!(out, "| other files of the generation | {} | {} |", grouped(rest), per_row(rest, rows))?;
    writeln!(out, "| together | {} | {} |", grouped(bytes), per_row(bytes, rows))
}

/// Bytes of the index by part, as `indexer stats` tells them.
fn stats(index: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut stats = processes::command("indexer")?;
    stats.arg("stats").arg("--index").arg(index).arg("--json");
    let stats: Value = serde_json::from_str(&processes::output(stats)?).context("`indexer stats --json` is no JSON")?;
    let parts = stats["bytes"].as_object().context("`indexer stats --json` has no `bytes` by part")?;
    Ok(parts.iter().filter_map(|(part, bytes)| Some((part.clone(), bytes.as_u64()?))).collect())
}

/// The build with a copy of the rows, once; none where the indexer does not know how.
fn clustered(ground: &Ground<'_>, db: &Path, index: &Path) -> anyhow::Result<Option<Built>> {
    if !can_cluster()? {
        return Ok(None);
    }
    ground.say("building once with a copy of the rows in name order");
    let more: Vec<&str> = TWO_INDEXES.into_iter().chain(["--cluster"]).collect();
    ours(db, index, &more).map(Some)
}

fn copy_text(built: &Built, rows: u64) -> String {
    format!(
        "\nWith `--cluster`, which also writes the rows in the order of their names, once: {:.2} s, {:.0} MiB of private and {:.0} MiB of resident \
         memory at most; the copy has {} bytes ({} a row), the index beside it {} ({} a row).\n",
        built.all_seconds(),
        mib(built.peak.private),
        mib(built.peak.peak_resident),
        grouped(built.copy_bytes),
        per_row(built.copy_bytes, rows),
        grouped(built.all_bytes()),
        per_row(built.all_bytes(), rows),
    )
}

/// Builds the index anew, with further arguments.
pub(crate) fn ours(db: &Path, index: &Path, more: &[&str]) -> anyhow::Result<Built> {
    if index.exists() {
        std::fs::remove_dir_all(index).context("cannot remove the index of the round before")?;
    }
    settle(db)?;
    let mut command = processes::command("indexer")?;
    command.args(["build", "--json", "--memory", MEMORY]).args(more);
    command.arg("--db").arg(db).arg("--out").arg(index).stdout(Stdio::piped());
    let started = Instant::now();
    let mut guard = Guard::spawn(command)?;
    let watch = Watch::start(guard.pid());
    let printed = guard.printed()?;
    guard.finish()?;
    let took = seconds(started.elapsed());
    let summary: Value = serde_json::from_str(&printed).context("`indexer build --json` printed no JSON")?;
    let copy_bytes = summary["cluster_bytes"].as_u64();
    ensure!(
        copy_bytes.is_some() == more.contains(&"--cluster"),
        "the indexer made a copy of the rows unasked, or none"
    );
    let copy_bytes = copy_bytes.unwrap_or(0);
    let mut bytes = 0;
    for file in index_files(index)? {
        bytes += std::fs::metadata(file)?.len();
    }
    Ok(Built { seconds: [took, 0.0], bytes: [bytes - copy_bytes, 0], copy_bytes, peak: watch.peak() })
}

/// Runs SQLite in a process of its own (this program again), on a copy of the file.
fn peer(db: &Path, folder: &Path) -> anyhow::Result<Built> {
    let copy = folder.join("sqlite.db");
    std::fs::copy(db, &copy).context("cannot copy the registry for SQLite")?;
    settle(&copy)?;
    let mut command = processes::command("compare")?;
    // The sorter's files belong to the disk that is measured, wherever the system's temporary folder lies.
    command.arg("sqlite").arg("--db").arg(&copy).env("SQLITE_TMPDIR", folder).stdout(Stdio::piped());
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
    Ok(Built { seconds: took, bytes, copy_bytes: 0, peak })
}
