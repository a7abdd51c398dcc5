//! The engine alone: an open snapshot is asked for CPFs, in batches on so many threads or one by one, and the rate and the median are
//! printed as JSON.
//!
//! An example, so that only it links the engine: the library and the other programs of this package see the house from outside.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use balcao_engine::Snapshot;
use balcao_wire::{Id, Item, Lookup, Operation, Request, decode};
use clap::{Parser, Subcommand};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Asks the engine for CPFs without a server.
#[derive(Debug, Parser)]
#[command(name = "engine")]
struct Arguments {
    /// The registry.
    #[arg(long)]
    db: PathBuf,
    /// Its index.
    #[arg(long)]
    index: PathBuf,
    /// A file of CPFs of the registry, one a line.
    #[arg(long)]
    keys: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// All of them, in batches.
    Batches {
        /// Threads of the pool.
        #[arg(long)]
        threads: usize,
        /// Items of a batch.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        items: u32,
    },
    /// Each by itself, timed by itself, on one thread.
    Lookups,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let snapshot = Snapshot::open(&arguments.db, &arguments.index)?;
    let text = std::fs::read_to_string(&arguments.keys).context("cannot read the keys")?;
    let lookups: Vec<Lookup> = text.lines().map(lookup).collect::<anyhow::Result<_>>()?;
    let figures = match arguments.command {
        Command::Batches { threads, items } => batches(&snapshot, lookups, threads, items as usize)?,
        Command::Lookups => singles(&snapshot, lookups)?,
    };
    println!("{figures}");
    Ok(())
}

/// The question for one row of a CPF, as the wire gives it.
fn lookup(cpf: &str) -> anyhow::Result<Lookup> {
    let line = json!({"cpf": cpf, "limit": 1}).to_string();
    match decode(line.as_bytes()).operation {
        Ok(Operation::Lookup(lookup)) => Ok(lookup),
        other => anyhow::bail!("the keys hold something that is no CPF: {:?}", other.map(drop)),
    }
}

fn request(operation: Operation) -> Request {
    Request { id: Id::Absent, operation: Ok(operation), deadline_ms: None }
}

/// Answers everything twice: the first time brings the pages into memory.
fn batches(snapshot: &Snapshot, lookups: Vec<Lookup>, threads: usize, items: usize) -> anyhow::Result<Value> {
    let count = lookups.len();
    let mut lookups = lookups.into_iter();
    let mut requests = Vec::new();
    loop {
        let batch: Vec<Item> =
            lookups.by_ref().take(items).map(|lookup| Item { id: Id::Absent, lookup: Ok(lookup) }).collect();
        if batch.is_empty() {
            break;
        }
        requests.push(request(Operation::Batch(batch)));
    }
    snapshot.reserve_readers(threads)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut out = Vec::new();
    let mut took = 0.0;
    for _ in 0..2 {
        let started = Instant::now();
        for request in &requests {
            out.clear();
            let answer = pool.install(|| snapshot.answer(request, &mut out));
            ensure!(answer.is_ok(), "the engine refused a batch");
            black_box(&out);
        }
        took = started.elapsed().as_secs_f64();
    }
    let rows = requests.last().map_or(0, |request| match &request.operation {
        Ok(Operation::Batch(items)) => items.len(),
        _ => 0,
    });
    let found = out.windows(ONE_ROW.len()).filter(|window| *window == ONE_ROW).count();
    ensure!(found == rows, "of {rows} items of the last batch {found} found their row");
    Ok(json!({"requests": count, "threads": threads, "seconds": took, "per_second": count as f64 / took}))
}

/// What every reply to a CPF of the table holds once.
const ONE_ROW: &[u8] = b"\"rows\":[{";

/// Answers everything twice, and times each answer of the second time.
fn singles(snapshot: &Snapshot, lookups: Vec<Lookup>) -> anyhow::Result<Value> {
    let requests: Vec<Request> = lookups.into_iter().map(|lookup| request(Operation::Lookup(lookup))).collect();
    let mut out = Vec::new();
    let mut nanoseconds = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    for round in 0..2 {
        for request in &requests {
            out.clear();
            let started = Instant::now();
            let answer = snapshot.answer(black_box(request), &mut out);
            let took = started.elapsed();
            ensure!(answer.is_ok() && out.windows(ONE_ROW.len()).any(|window| window == ONE_ROW), "a CPF has no row");
            if round == 1 {
                nanoseconds.saturating_record(took.as_nanos() as u64);
            }
        }
    }
    let at = |quantile| nanoseconds.value_at_quantile(quantile);
    Ok(json!({"requests": requests.len(), "p50_ns": at(0.5), "p99_ns": at(0.99)}))
}
