//! The server over the index that was built: start, private memory, and the load of many connections.
//!
//! The load generator runs on the same machine and takes its share of the cores; that is part of what is told.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rusqlite::types::ValueRef;
use rustix::fs::{Advice, fadvise};
use serde_json::Value;

use super::observing::{Memory, Thread, process_cpu, threads, worked};
use super::spread::Spread;
use super::{Plan, count_rows, index_files, seconds, settle};
use crate::oracle::read_cpf;
use crate::processes::{self, Guard, Server};
use crate::table::{Registry, quoted};

/// About so many CPFs of the table are asked.
const KEYS_MAX: u64 = 1_000_000;

/// How long the server is left alone before its memory is looked at.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// Seconds for which idle connections are held: enough to look at the server.
const IDLE_SECONDS: u64 = 3;

/// Seconds of asking before the load is measured.
const WARMUP_SECONDS: u64 = 2;

/// What the server came to.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Seconds from start to `ready`, with the index in the page cache.
    pub(crate) ready_warm: Spread,
    /// The same, with the index dropped from it.
    pub(crate) ready_cold: Spread,
    /// Private memory without a connection, and with all of them idle.
    pub(crate) idle: [Memory; 2],
    pub(crate) loads: Vec<Load>,
}

impl Serving {
    /// Errors of all loads.
    pub(crate) fn errors(&self) -> u64 {
        self.loads.iter().map(|load| load.summary["errors"].as_u64().unwrap_or(1)).sum()
    }
}

/// One run of the load generator.
#[derive(Debug)]
pub(crate) struct Load {
    /// Workers of the server.
    pub(crate) workers: usize,
    /// What `load --json` printed.
    pub(crate) summary: Value,
    /// CPU time of each of the server's threads from before the first connection to after the last.
    pub(crate) threads: Vec<Thread>,
    /// CPU time of the load generator, in seconds.
    pub(crate) generator_cpu: f64,
    /// Private memory at the end.
    pub(crate) memory: Memory,
}

/// Starts and asks servers over `index`, one after the other.
pub(crate) fn run(
    plan: &Plan,
    registry: &Registry,
    index: &Path,
    folder: &Path,
    progress: impl Fn(&str),
) -> anyhow::Result<Serving> {
    let files = [OsStr::new("--db"), registry.db.as_os_str(), OsStr::new("--index"), index.as_os_str()];
    progress("starting the server");
    settle(&registry.db)?;
    let ready_warm = starts(plan, &files, || index_files(index)?.iter().try_for_each(|file| settle(file)))?;
    let ready_cold = starts(plan, &files, || drop_from_cache(index))?;
    progress("holding idle connections");
    let idle = idle(plan, &files)?;
    let keys = folder.join("keys.txt");
    write_keys(registry, &keys)?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut loads = Vec::new();
    for workers in if all > 1 { vec![1, all] } else { vec![1] } {
        progress(&format!("load on {workers} of {all} workers"));
        loads.push(load(plan, &files, workers, &keys)?);
    }
    Ok(Serving { ready_warm, ready_cold, idle, loads })
}

/// Starts and stops a server several times, each time after `prepare`.
fn starts(plan: &Plan, files: &[&OsStr], prepare: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Spread> {
    let mut took = Vec::new();
    for _ in 0..plan.starts {
        prepare()?;
        let server = Server::start(files)?;
        took.push(seconds(server.ready_after));
        server.stop()?;
    }
    Spread::new(took).context("no start was asked for")
}

/// Asks the kernel to forget the index's pages; it does so where no process maps them.
fn drop_from_cache(index: &Path) -> anyhow::Result<()> {
    for path in index_files(index)? {
        let file = File::open(path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed).context("cannot drop the index from the page cache")?;
    }
    Ok(())
}

fn idle(plan: &Plan, files: &[&OsStr]) -> anyhow::Result<[Memory; 2]> {
    let server = Server::start(files)?;
    std::thread::sleep(SETTLED_AFTER);
    let before = Memory::of(server.pid()).context("the server has ended")?;
    let mut command = processes::command("load")?;
    command.args(["--idle", "--server", &server.address.to_string()]).stdout(Stdio::piped());
    command.args(["--connections", &plan.connections.to_string(), "--seconds", &IDLE_SECONDS.to_string()]);
    let mut guard = Guard::spawn(command)?;
    let mut stdout = BufReader::new(guard.stdout().context("`load` has no standard output")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    std::thread::sleep(SETTLED_AFTER);
    let held = Memory::of(server.pid()).context("the server has ended")?;
    stdout.read_to_string(&mut line)?;
    guard.finish().context("not every idle connection was answered")?;
    ensure!(line.starts_with("holding "), "`load --idle` did not say that it holds");
    server.stop()?;
    Ok([before, held])
}

fn load(plan: &Plan, files: &[&OsStr], workers: usize, keys: &Path) -> anyhow::Result<Load> {
    let workers_text = workers.to_string();
    let mut arguments = files.to_vec();
    arguments.extend([OsStr::new("--workers"), OsStr::new(&workers_text)]);
    let server = Server::start(&arguments)?;
    let before = threads(server.pid())?;
    let mut command = processes::command("load")?;
    command.args(["--json", "--expect-rows", "--server", &server.address.to_string()]).stdout(Stdio::piped());
    command.arg("--keys").arg(keys).args(["--seed", &plan.make.seed.to_string()]);
    command.args(["--connections", &plan.connections.to_string(), "--threads", &plan.load_threads.to_string()]);
    command.args(["--seconds", &plan.seconds.to_string(), "--warmup", &WARMUP_SECONDS.to_string()]);
    let mut guard = Guard::spawn(command)?;
    let printed = guard.printed()?;
    let generator_cpu = process_cpu(guard.pid()).unwrap_or_default();
    // With errors it ends with 1 and prints all the same; without figures it has failed.
    let Ok(summary) = serde_json::from_str(&printed) else {
        return Err(guard.failure("it printed no figures"));
    };
    let threads = worked(&before, &threads(server.pid())?);
    let memory = Memory::of(server.pid()).context("the server has ended")?;
    server.stop()?;
    Ok(Load { workers, summary, threads, generator_cpu, memory })
}

/// Writes CPFs of rows spread over the whole table, as their eleven digits.
pub(crate) fn write_keys(registry: &Registry, path: &Path) -> anyhow::Result<()> {
    let stride = (count_rows(registry)? / KEYS_MAX).max(1);
    let database = registry.open()?;
    let (column, table) = (quoted(&registry.cpf_column), quoted(&registry.table));
    let mut statement = database.prepare(&format!("SELECT {column} FROM {table} WHERE rowid % ? = 0"))?;
    let mut rows = statement.query([stride as i64])?;
    let mut file = BufWriter::new(File::create_new(path).context("cannot make the file of keys")?);
    while let Some(row) = rows.next()? {
        let text = match row.get_ref(0)? {
            ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            ValueRef::Integer(number) => number.to_string(),
            _ => continue,
        };
        if let Some(digits) = read_cpf(&text) {
            writeln!(file, "{digits}")?;
        }
    }
    Ok(file.flush()?)
}
