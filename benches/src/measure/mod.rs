//! The figures of `docs/results.md`: building beside SQLite's own indexes, start, memory, and 1000 connections, in one run.
//!
//! It judges no figure: what must be reached stands in the issues. It drives the programs by their command lines alone.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::oracle::make::{self, Make};
use crate::scratch::Scratch;
use crate::table::{Registry, quoted};

mod building;
mod peer;
pub(crate) mod serving;

pub(crate) mod machine;
pub(crate) mod markdown;
pub(crate) mod observing;
pub(crate) mod section;
pub(crate) mod spread;

pub use peer::create_indexes;

/// The section of the file that a run replaces.
const SECTION: &str = "measure";

/// What a row takes of the disk at most, in bytes: the registry, a copy with two indexes and SQLite's sorting, our index.
const DISK_BYTES_PER_ROW: u64 = 350;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The registry to make.
    pub make: Make,
    /// The registry to use instead, with the usual table.
    pub db: Option<PathBuf>,
    /// Where big files go; the system's temporary folder where there is none.
    pub work: Option<PathBuf>,
    /// Rounds of building, at least 1.
    pub rounds: usize,
    /// Starts of the server of each kind, at least 1.
    pub starts: usize,
    /// Connections of the load.
    pub connections: usize,
    /// How long the load is measured.
    pub seconds: u64,
    /// Threads of the load generator.
    pub load_threads: usize,
    /// The file whose marked section is replaced.
    pub out: PathBuf,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) rows: u64,
    pub(crate) db_bytes: u64,
    pub(crate) building: building::Building,
    pub(crate) serving: serving::Serving,
}

/// Measures, writes the section into the plan's file and returns it, with whether every request of the load was answered.
///
/// # Errors
/// When there is not enough disk or any program fails; the file is left alone then.
pub fn run(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<(String, bool)> {
    // A file that cannot take the section is better known before than after.
    let document = section::read(&plan.out, SECTION)?;
    let parent = plan.work.clone().unwrap_or_else(std::env::temp_dir);
    check_disk(plan, &parent, &progress)?;
    let folder = Scratch::new_in(&parent).context("cannot use the folder for big files; name another with --work")?;
    let db = match &plan.db {
        Some(db) => db.clone(),
        None => {
            progress(&format!("making a registry of {} rows", plan.make.rows));
            let db = folder.path().join("basecpf.db");
            make::registry(&plan.make, &db)?;
            settle(&db)?;
            db
        }
    };
    let registry = Registry::new(&db);
    let building = building::run(plan, &db, folder.path(), &progress)?;
    let index = folder.path().join("index");
    let serving = serving::run(plan, &registry, &index, folder.path(), &progress)?;
    let figures = Figures { rows: count_rows(&registry)?, db_bytes: std::fs::metadata(&db)?.len(), building, serving };
    let text = markdown::render(plan, &figures, &machine::describe(), &machine::today());
    section::write(&plan.out, &document, &text)?;
    Ok((text, figures.serving.errors() == 0))
}

fn check_disk(plan: &Plan, folder: &Path, progress: impl Fn(&str)) -> anyhow::Result<()> {
    let needed = match &plan.db {
        Some(db) => 5 * std::fs::metadata(db).with_context(|| format!("cannot find {}", db.display()))?.len(),
        None => plan.make.rows * DISK_BYTES_PER_ROW,
    };
    let disk =
        rustix::fs::statvfs(folder).with_context(|| format!("cannot ask for the disk of {}", folder.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    let (needed_gb, free_gb) = (needed as f64 / 1e9, free as f64 / 1e9);
    progress(&format!("needs up to {needed_gb:.1} GB of disk, {free_gb:.1} GB are free"));
    ensure!(
        free > needed,
        "needs {needed_gb:.1} GB of disk and {free_gb:.1} GB are free; name another folder with --work"
    );
    Ok(())
}

fn count_rows(registry: &Registry) -> anyhow::Result<u64> {
    let sql = format!("SELECT count(*) FROM {}", quoted(&registry.table));
    let rows: i64 =
        registry.open()?.query_row(&sql, [], |row| row.get(0)).context("cannot count the rows of the table")?;
    Ok(rows as u64)
}

/// Brings a file to the disk and into the page cache, so that neither is part of what is measured next.
pub(crate) fn settle(path: &Path) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.sync_all()?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// The files of the generation that `index` serves.
fn index_files(index: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let current = std::fs::read_to_string(index.join("CURRENT")).context("the index names no generation")?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(index.join(current.trim_end()))? {
        files.push(entry?.path());
    }
    Ok(files)
}

/// `duration` in seconds.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
