//! Reload under load: a thousand connections ask while ten reloads happen, one of them to a damaged generation. Every reply is compared byte
//! for byte, all its rows are of one version, and that version was to be had while the question was on its way.
//!
//! The server is the real one, fed by the real indexer, met over its socket alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::load::{self, Summary};
use crate::measure::{machine, section};
use crate::oracle::make::{self, Make};
use crate::oracle::scan::Table;
use crate::processes::Server;
use crate::scratch::Scratch;
use crate::table::Registry;

mod questions;
mod switching;
mod versions;

mod markdown;

use questions::{Calendar, Judge, Questions};
use switching::{DATABASES, Stage, Switch};

/// Asking before anything is measured or reloaded.
const WARMUP: Duration = Duration::from_secs(2);

/// How long the server may hold what it does not serve any more, after the last question.
const LET_GO_WITHIN: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The registry to make.
    pub make: Make,
    /// Connections.
    pub connections: usize,
    /// How long is asked, over which the reloads are spread.
    pub time: Duration,
    /// The file whose marked section is replaced, if any.
    pub out: Option<PathBuf>,
}

/// What the run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) questions: usize,
    pub(crate) summary: Summary,
    pub(crate) switches: Vec<Switch>,
    /// Reloads that the server counted as taken and as refused.
    pub(crate) reloads: [u64; 2],
    /// Files that it still held and that are not served any more.
    pub(crate) held: Vec<String>,
    /// Its sockets before the first connection and after the last.
    pub(crate) sockets: [usize; 2],
}

impl Outcome {
    /// What falls short.
    pub(crate) fn shortcomings(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.summary.errors_total() > 0 {
            out.push(format!("replies that failed or were wrong: {:?}", self.summary.errors));
        }
        if !self.held.is_empty() {
            out.push(format!("the server still holds {}", self.held.join(", ")));
        }
        let asked_until = self.summary.began + Duration::from_secs_f64(self.summary.seconds);
        let late = self.switches.iter().filter(|switch| switch.done > asked_until).count();
        if late > 0 {
            out.push(format!("{late} reloads came when nobody asked any more: give more --seconds"));
        }
        if self.sockets[1] > self.sockets[0] {
            out.push(format!("the server has {} sockets, {} before", self.sockets[1], self.sockets[0]));
        }
        out
    }
}

/// Runs it, writes the section into the plan's file and returns it, with whether nothing fell short.
///
/// # Errors
/// When a program fails, the server ends, or a reload is neither taken nor refused as it must be; the file is left alone then.
pub fn run(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<(String, bool)> {
    // A file that cannot take the section is better known before than after.
    let document = plan.out.as_ref().map(|out| section::read(out, "reload")).transpose()?;
    let folder = Scratch::new_in(&std::env::temp_dir())?;
    let (db, index) = (folder.path().join("basecpf.db"), folder.path().join("index"));
    let keys = folder.path().join("questions.txt");
    progress(&format!("making a registry of {} rows in {} versions", plan.make.rows, DATABASES + 1));
    make::registry(&plan.make, &db)?;
    versions::mark_rows(&db, 1)?;
    let coming =
        (2..).take(DATABASES).map(|version| versions::make(&db, version)).collect::<anyhow::Result<Vec<_>>>()?;
    progress("drawing questions and what they must find");
    let questions = Questions::draw(&Table::scan(&Registry::new(&db))?, plan.make.seed, &keys)?;
    progress("building indexes");
    switching::build(&db, &index)?;
    let prepared = switching::prepare(&db, &coming, folder.path())?;
    let server = Server::start(&["--db".as_ref(), db.as_os_str(), "--index".as_ref(), index.as_os_str()])?;
    let calendar = Calendar::new(DATABASES + 1);
    let sockets = server.sockets()?;
    // Whether it can tell its reloads is better known before a minute of asking than after.
    switching::reloads(&switching::stats(&server)?, "taken")?;

    progress(&format!("asking over {} connections", plan.connections));
    calendar.may_begin(1);
    let judge = Judge { questions: &questions, calendar: &calendar };
    let load = load_plan(plan, &server, &keys);
    let stage = Stage { server: &server, db: &db, index: &index, coming, prepared, calendar: &calendar };
    let (summary, switches) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| load::run(&load, Some(&judge)));
        std::thread::sleep(WARMUP);
        let switches = stage.play(plan.time, &progress);
        (asking.join().expect("the asking thread panicked"), switches)
    });
    let (summary, switches) = (summary?, switches?);

    progress("looking at what the server still holds");
    let stats = switching::stats(&server)?;
    let reloads = [switching::reloads(&stats, "taken")?, switching::reloads(&stats, "refused")?];
    let serves = stats["generation"].as_str().context("`stats` tells no generation")?;
    ensure!(serves == switching::current(&index)?, "the server serves {serves}, not what CURRENT names");
    let began = Instant::now();
    let (mut held, mut after) = (stale_files(&server, &index, serves)?, server.sockets()?);
    while !(held.is_empty() && after <= sockets) && began.elapsed() < LET_GO_WITHIN {
        std::thread::sleep(Duration::from_millis(100));
        (held, after) = (stale_files(&server, &index, serves)?, server.sockets()?);
    }
    server.stop()?;
    let outcome = Outcome { questions: questions.len(), summary, switches, reloads, held, sockets: [sockets, after] };
    let text = markdown::render(plan, &outcome, &machine::describe(), &machine::today());
    if let (Some(out), Some(document)) = (&plan.out, &document) {
        section::write(out, document, &text)?;
    }
    Ok((text, outcome.shortcomings().is_empty()))
}

fn load_plan(plan: &Plan, server: &Server, keys: &Path) -> load::Plan {
    load::Plan {
        server: server.address,
        protocol: load::Protocol::Balcao,
        connections: plan.connections,
        pace: load::Pace::Closed,
        measured: plan.time,
        warmup: WARMUP,
        threads: 1,
        pipeline: 1,
        keys: keys.to_owned(),
        seed: plan.make.seed,
        expect_rows: true,
    }
}

/// Files of the index or of databases that the server maps or has open although they are not of what it serves: deleted ones, and other
/// generations.
fn stale_files(server: &Server, index: &Path, serves: &str) -> anyhow::Result<Vec<String>> {
    let served = index.join(serves);
    let folder = index.parent().context("the index lies in no folder")?;
    let stale = |path: &str| {
        let path = path.trim();
        let deleted = path.ends_with(" (deleted)");
        Path::new(path).starts_with(folder)
            && (deleted || (Path::new(path).starts_with(index) && !Path::new(path).starts_with(&served)))
    };
    let mut held: Vec<String> = server.files()?.into_iter().filter(|path| stale(path)).collect();
    held.sort_unstable();
    held.dedup();
    // Without the folder's own name, which differs from run to run.
    let short = |path: String| path.strip_prefix(&*folder.to_string_lossy()).unwrap_or(&path).to_owned();
    Ok(held.into_iter().map(short).collect())
}
