//! Ours on registries of several sizes: building, bytes, memory, start, the load of many connections, lookups of the engine alone.
//!
//! No peer: what grows with the rows, and what does not.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

use super::build::{self, Built, gib};
use super::engine::{self, Asked};
use super::{Report, loads, memory, start};
use crate::compare::asking::Subject;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::plots::{self, Line};
use crate::compare::rounds::{in_turns, over, ratio};
use crate::load::Protocol;
use crate::measure::markdown::{grouped, mib, per_row};
use crate::measure::spread::Spread;
use crate::measure::{index_files, settle};
use crate::processes::Server;
use crate::scratch::Scratch;
use crate::table::Registry;

/// From so many rows on an index is built once, not in every round: it takes minutes.
const ROWS_BUILT_ONCE: u64 = 50_000_000;

/// CPFs of the load and of the lookups.
const KEYS: usize = 500_000;

/// Everything that is measured of one size.
struct Size {
    rows: u64,
    registry: Registry,
    index: PathBuf,
    keys: PathBuf,
    built: Vec<Built>,
    ready: [Spread; 2],
    idle: [u64; 3],
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let folder = Scratch::new_in(ground.folder())?;
    let mut sizes = Vec::new();
    for &rows in &ground.plan.sizes {
        sizes.push(size(ground, rows, folder.path().join(rows.to_string()))?);
    }
    let loads = load(ground, &sizes)?;
    let lookups = lookups(ground, &sizes)?;
    let largest = sizes.last().context("no size was asked for")?;
    let p50 = |figures: &Value| figures["p50_ns"].as_f64().unwrap_or(f64::NAN);
    let of_all =
        |value: fn(&Value) -> f64| -> Vec<Spread> { lookups.iter().map(|rounds| over(rounds, value)).collect() };
    let mut text = format!(
        "Registries of {} rows. Each index is built with `--memory 1GiB`, {} times where there are fewer than {} million rows and else once; \
         the database in the page cache as far as it fits. {} starts of the server of each kind. Then one server for each, asked in turns over {} \
         connections, one request in flight on each, for {} CPFs of its table at most; and the engine alone on one thread, each lookup timed \
         by itself, after all of them were made once.\n\n",
        sizes.iter().map(|size| grouped(size.rows)).collect::<Vec<_>>().join(", "),
        ground.plan.rounds,
        ROWS_BUILT_ONCE / 1_000_000,
        ground.plan.rounds,
        grouped(ground.plan.connections as u64),
        grouped(KEYS as u64),
    );
    // Writing to memory cannot fail.
    let _ = table(&mut text, &sizes, &of_all(p50), &of_all(|figures| figures["p99_ns"].as_f64().unwrap_or(f64::NAN)));
    let _ = write!(text, "\n{}", loads.table());
    Ok(Report {
        heading: "Ours on registries of several sizes".to_owned(),
        text,
        reached: vec![
            Reached::new(Goal::FullMemory, over(&largest.built, gib)),
            Reached::new(Goal::ReadyWarm, largest.ready[0].clone()),
            Reached::new(Goal::ReadyCold, largest.ready[1].clone()),
            Reached::new(Goal::EngineScale, ratio(&lookups[lookups.len() - 1], &lookups[0], p50)),
        ],
        plots: vec![
            growth(&sizes)?,
            loads.throughput_plot(
                "scale",
                &format!("CPF lookups, {} connections", grouped(ground.plan.connections as u64)),
            )?,
        ],
        errors: loads.errors(),
        ..Report::default()
    })
}

fn size(ground: &Ground<'_>, rows: u64, index: PathBuf) -> anyhow::Result<Size> {
    let registry = ground.registry_of(rows)?;
    let keys = ground.keys_of(&registry.db, KEYS)?;
    let rounds = if rows < ROWS_BUILT_ONCE { ground.plan.rounds } else { 1 };
    let mut built = Vec::new();
    for round in 1..=rounds {
        ground.say(&format!("{rows} rows: building, round {round} of {rounds}"));
        built.push(build::ours(&registry.db, &index, &[])?);
    }
    ground.say(&format!("{rows} rows: starting the server"));
    let ready = start::starts(ground, &registry.db, &index)?;
    let idle = memory::idle(ground, &registry.db, &index)?;
    Ok(Size { rows, registry, index, keys, built, ready, idle })
}

/// The load of many connections on each.
fn load(ground: &Ground<'_>, sizes: &[Size]) -> anyhow::Result<loads::Loads> {
    let (mut servers, mut subjects) = (Vec::new(), Vec::new());
    for size in sizes {
        settle(&size.registry.db)?;
        index_files(&size.index)?.iter().try_for_each(|file| settle(file))?;
        let files = ["--db".as_ref(), size.registry.db.as_os_str(), "--index".as_ref(), size.index.as_os_str()];
        let server = Server::start(&files)?;
        let name = format!("{} rows", grouped(size.rows));
        let (address, pid, protocol, keys) = (server.address, Some(server.pid()), Protocol::Balcao, size.keys.clone());
        subjects.push(Subject { name, address, pid, protocol, keys });
        servers.push(server);
    }
    let loads = loads::compare(ground, subjects, &loads::shape(ground.plan, ground.plan.connections))?;
    servers.into_iter().try_for_each(Server::stop)?;
    Ok(loads)
}

/// What the engine alone tells of single lookups, by size and then by round.
fn lookups(ground: &Ground<'_>, sizes: &[Size]) -> anyhow::Result<Vec<Vec<Value>>> {
    in_turns(ground.plan.rounds, sizes.len(), |round, at| {
        let size = &sizes[at];
        ground.say(&format!("round {}: lookups of the engine, {} rows", round + 1, size.rows));
        engine::ask(&size.registry.db, &size.index, &size.keys, Asked::Lookups)
    })
}

fn table(out: &mut String, sizes: &[Size], p50: &[Spread], p99: &[Spread]) -> std::fmt::Result {
    let heads: Vec<String> = sizes.iter().map(|size| format!("{} rows", grouped(size.rows))).collect();
    writeln!(out, "| | {} |\n| --- |{}", heads.join(" | "), " --- |".repeat(sizes.len()))?;
    let mut row = |name: &str, cell: &dyn Fn(usize, &Size) -> String| {
        let cells: Vec<String> = sizes.iter().enumerate().map(|(at, size)| cell(at, size)).collect();
        writeln!(out, "| {name} | {} |", cells.join(" | "))
    };
    row("build, seconds", &|_, size| format!("{:.2}", over(&size.built, |built| built.seconds[0])))?;
    row("index, bytes", &|_, size| grouped(size.built[0].all_bytes()))?;
    row("index, bytes a row", &|_, size| per_row(size.built[0].all_bytes(), size.rows))?;
    row("peak private memory of the build, MiB", &|_, size| {
        format!("{:.0}", over(&size.built, |built| mib(built.peak.private)))
    })?;
    row("start to `ready`, index in the page cache, s", &|_, size| format!("{:.3}", size.ready[0]))?;
    row("start to `ready`, index dropped from it, s", &|_, size| format!("{:.3}", size.ready[1]))?;
    row("private memory of the server, MiB", &|_, size| format!("{:.1}", mib(size.idle[0])))?;
    row("the same with 1,000 idle connections, MiB", &|_, size| format!("{:.1}", mib(size.idle[1])))?;
    row("the same with 10,000, MiB", &|_, size| format!("{:.1}", mib(size.idle[2])))?;
    row("engine's lookup of a CPF, p50, ns", &|at, _| p50[at].grouped())?;
    row("engine's lookup of a CPF, p99, ns", &|at, _| p99[at].grouped())
}

/// How bytes and memory grow with the rows.
fn growth(sizes: &[Size]) -> anyhow::Result<plots::Plot> {
    let names: Vec<String> = sizes.iter().map(|size| grouped(size.rows)).collect();
    let points: Vec<&str> = names.iter().map(String::as_str).collect();
    let line = |name: &str, value: &dyn Fn(&Size) -> f64| Line {
        name: name.to_owned(),
        values: sizes.iter().map(value).collect(),
    };
    let lines = [
        line("index", &|size| mib(size.built[0].all_bytes())),
        line("build, peak private memory", &|size| over(&size.built, |built| mib(built.peak.private)).median()),
        line("server with 10,000 idle connections", &|size| mib(size.idle[2])),
    ];
    plots::lines("scale-memory", "Bytes and memory by rows", "MiB", &points, &lines)
}
