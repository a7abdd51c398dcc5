//! Cheap lookups while others ask for what is not in memory: a registry that is larger than the page cache that the server may have.
//!
//! The server runs in a memory cgroup. Its files are dropped from the page cache before, so that it alone is charged for what it reads.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use super::{Report, loads};
use crate::compare::asking::{Asked, Shape, Subject, ask};
use crate::compare::cage::Cage;
use crate::compare::ground::Ground;
use crate::compare::plots::{self, Line};
use crate::compare::rounds::{in_turns, over, ratio};
use crate::load::Pace;
use crate::measure::markdown::{grouped, mib};
use crate::measure::observing::{self, read_bytes};
use crate::measure::spread::Spread;
use crate::measure::{drop_from_cache, index_files, seconds};
use crate::processes::Server;

const HEADING: &str = "Cheap lookups beside a cold cache";

/// Of the table's bytes one in so many fits into the server's memory.
const TABLE_ONE_IN: u64 = 3;

/// What the server has of memory beside that: what it needs privately, in bytes.
const PRIVATE_BYTES: u64 = 16 << 20;

/// The cheap lookups: over so many connections, so many a second, among so many keys, whose rows fit into memory many times.
const CONNECTIONS: usize = 50;
const PER_SECOND: f64 = 5000.0;
const HOT_KEYS: usize = 2000;

/// Requests of a cheap connection in flight at most: one that hangs delays those behind it, and they are counted from when they were due.
const PIPELINE: usize = 8;

/// What is asked beside the cheap lookups, each by connections of its own, as fast as it is answered.
#[derive(Clone, Copy)]
struct Beside {
    name: &'static str,
    connections: usize,
    pipeline: usize,
    asks_pages: bool,
}

const BESIDE: [Beside; 5] = [
    Beside { name: "nothing", connections: 0, pipeline: 0, asks_pages: false },
    Beside { name: "1 × cold pages", connections: 1, pipeline: 4, asks_pages: true },
    Beside { name: "1 × cold CPFs", connections: 1, pipeline: 16, asks_pages: false },
    Beside { name: "8 × cold pages", connections: 8, pipeline: 4, asks_pages: true },
    Beside { name: "8 × cold CPFs", connections: 8, pipeline: 16, asks_pages: false },
];

/// Points of the latency, as a load tells them.
const POINTS: [&str; 4] = ["p50", "p99", "p99.9", "greatest"];

/// What the kernel counted of the server.
#[derive(Clone, Copy)]
struct Reads {
    /// Waits of the sessions' workers, and of all threads, for a page from the disk.
    workers: u64,
    all: u64,
    /// Bytes that came from the disk.
    bytes: u64,
}

impl Reads {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let threads = observing::threads(pid)?;
        let workers = threads.iter().filter(|thread| thread.name.starts_with("worker"));
        Ok(Self {
            workers: workers.map(|thread| thread.waits).sum(),
            all: threads.iter().map(|thread| thread.waits).sum(),
            bytes: read_bytes(pid).context("the kernel does not tell what the server read")?,
        })
    }
}

/// One load of cheap lookups.
struct Round {
    cheap: Asked,
    beside: Option<Asked>,
    /// Per second, from before the first connection to behind the last answer.
    reads: [f64; 3],
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    // Before anything is made for it.
    if let Err(error) = Cage::try_out() {
        let why = format!(
            "it takes a memory cgroup, so that the server has less memory than the registry has bytes: {error:#}"
        );
        return Ok(Report { heading: HEADING.to_owned(), skipped: Some(why), ..Report::default() });
    }
    let (db, index) = (ground.registry()?.db, ground.index()?);
    let [hot, cold] = [ground.keys_of(&db, HOT_KEYS)?, ground.keys()?];
    let pages = ground.openings()?;
    let mut files = index_files(&index)?;
    let index_bytes = bytes(&files)?;
    let table_bytes = bytes(std::slice::from_ref(&db))?;
    let allowed = table_bytes / TABLE_ONE_IN + PRIVATE_BYTES;
    let cage = Cage::new(allowed)?;
    files.push(db.clone());
    drop_from_cache(&files)?;
    let arguments = ["--db".as_ref(), db.as_os_str(), "--index".as_ref(), index.as_os_str()];
    let server = Server::start_inside(&cage.entrance(), &arguments)?;
    let subject = ground.ours("cheap", &server, &hot);
    let plan = ground.plan;
    // Once without measuring: the first use of a page of the index reads all that its checksum covers.
    ask(&subject, &Shape { seconds: 1, ..loads::shape(plan, CONNECTIONS) })?;
    let rounds = in_turns(plan.rounds, BESIDE.len(), |round, side| {
        ground.say(&format!("round {} of {}: beside {}", round + 1, plan.rounds, BESIDE[side].name));
        let keys = if BESIDE[side].asks_pages { &pages } else { &cold };
        let pace = Pace::Fixed { per_second: PER_SECOND };
        let cheap = Shape { pace, pipeline: PIPELINE, ..loads::shape(plan, CONNECTIONS) };
        one(&subject, &cheap, &BESIDE[side], keys, server.pid())
    })?;
    server.stop()?;
    drop(cage);
    let ratios: Vec<String> = (1..BESIDE.len())
        .map(|side| {
            let p99 = ratio(&rounds[side], &rounds[0], |round| round.cheap.summary.latency_us[1] as f64);
            format!("beside {} {p99:.1}", BESIDE[side].name)
        })
        .collect();
    let late = Spread::new(
        rounds.iter().flatten().filter_map(|round| Some(round.cheap.summary.sending?.noticed_us[1] as f64)),
    );
    let late = late.map_or(String::new(), |late| late.grouped());
    Ok(Report {
        heading: HEADING.to_owned(),
        text: format!(
            "A table of {:.0} MiB and an index of {:.0} MiB, served within a memory cgroup of {:.0} MiB, page cache included: a third of the table, \
             and {:.0} MiB. {CONNECTIONS} connections ask, {} a second in all, for CPFs out of {} whose rows fit in well; latency counts from when a \
             question was due. Beside them connections ask as fast as they are answered, each with 4 pages of 50 rows in flight, by beginnings of \
             names out of the whole registry, or with 16 CPFs out of all of it. Waits are the kernel's major faults: a thread that stood still for a \
             page from the disk. Bytes read tell that the cache was cold.\n\n{}\nThe p99 of the cheap lookups, times that of those alone: {}. They hold \
             what the load generator itself was late, in the p99 {late} µs over all loads.\n",
            mib(table_bytes),
            mib(index_bytes),
            mib(allowed),
            mib(PRIVATE_BYTES),
            grouped(PER_SECOND as u64),
            grouped(HOT_KEYS as u64),
            table(&rounds),
            ratios.join(", "),
        ),
        plots: vec![plot(&rounds)?],
        errors: rounds.iter().flatten().map(errors).sum(),
        ..Report::default()
    })
}

fn bytes(files: &[PathBuf]) -> anyhow::Result<u64> {
    files.iter().map(|path| Ok(std::fs::metadata(path)?.len())).sum()
}

fn errors(round: &Round) -> u64 {
    let others = round.beside.as_ref().map_or(0, |asked| asked.summary.errors_total());
    round.cheap.summary.errors_total() + others
}

/// The cheap lookups, and what is asked beside them in the same time.
fn one(subject: &Subject, cheap: &Shape, beside: &Beside, keys: &Path, pid: u32) -> anyhow::Result<Round> {
    let (before, began) = (Reads::of(pid)?, Instant::now());
    let (asked, others) = std::thread::scope(|scope| {
        let others = (beside.connections > 0).then(|| {
            let subject = Subject { keys: keys.to_owned(), pid: None, ..subject.clone() };
            let Beside { connections, pipeline, .. } = *beside;
            let shape = Shape { connections, pipeline, pace: Pace::Closed, threads: 1, ..cheap.clone() };
            scope.spawn(move || ask(&subject, &shape))
        });
        let asked = ask(subject, cheap);
        (asked, others.map(|others| others.join().expect("the asking thread panicked")))
    });
    // Over the same time as the counts: connecting, warming up and the last answers belong to it.
    let (after, seconds) = (Reads::of(pid)?, seconds(began.elapsed()));
    let reads = [(before.workers, after.workers), (before.all, after.all), (before.bytes, after.bytes)];
    let reads = reads.map(|(before, after)| after.saturating_sub(before) as f64 / seconds);
    Ok(Round { cheap: asked?, beside: others.transpose()?, reads })
}

fn table(rounds: &[Vec<Round>]) -> String {
    let mut out = "| beside | cheap: p50 µs | p99 µs | p99.9 µs | greatest µs | others: answers a second | bytes an answer | waits a second, workers | \
                   all threads | read MiB/s | errors |\n| --- | --- | --- | --- | --- | --- | ---: | --- | --- | --- | ---: |\n"
        .to_owned();
    for (beside, rounds) in BESIDE.iter().zip(rounds) {
        let latency = |at: usize| over(rounds, |round| round.cheap.summary.latency_us[at] as f64).grouped();
        let others = |value: fn(&Asked) -> f64| {
            Spread::new(rounds.iter().filter_map(|round| Some(value(round.beside.as_ref()?))))
        };
        let answers = others(|asked| asked.summary.per_second()).map_or(String::new(), |answers| answers.grouped());
        let size = others(|asked| asked.summary.reply_bytes as f64 / asked.summary.requests as f64);
        let size = size.map_or(String::new(), |size| format!("{:.0}", size.median()));
        // Writing to memory cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {answers} | {size} | {} | {} | {:.1} | {} |",
            beside.name,
            latency(0),
            latency(1),
            latency(2),
            latency(3),
            over(rounds, |round| round.reads[0]).grouped(),
            over(rounds, |round| round.reads[1]).grouped(),
            over(rounds, |round| mib(round.reads[2] as u64)),
            rounds.iter().map(errors).sum::<u64>(),
        );
    }
    out
}

fn plot(rounds: &[Vec<Round>]) -> anyhow::Result<plots::Plot> {
    let line = |(beside, rounds): (&Beside, &Vec<Round>)| Line {
        name: format!("beside {}", beside.name),
        values: (0..POINTS.len())
            .map(|at| over(rounds, |round| round.cheap.summary.latency_us[at] as f64).median())
            .collect(),
    };
    let lines: Vec<Line> = BESIDE.iter().zip(rounds).map(line).collect();
    plots::lines("cold-latency", HEADING, "µs", &POINTS, &lines)
}
