//! Faults: an index whose bytes are flipped and whose files are cut, one damage after the other; `indexer verify` must name the file, and a
//! server must refuse it, or answer what is right and `unavailable` beside it.
//!
//! It drives the programs by their command lines and the wire. What must be answered comes from a plain scan of the table. It asks by CPF and by whole names and
//! prefixes; searches in damaged words and filter columns are asked by the engine's tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};

use crate::measure::section;
use crate::oracle::make::{self, Make};
use crate::oracle::scan::Table;
use crate::processes;
use crate::scratch::Scratch;
use crate::table::Registry;

mod subject;
mod trial;

mod aim;
mod asking;

mod also;
mod report;

pub use report::Report;

use report::Row;
use subject::{Kind, Subject};
use trial::{Change, Trial, Victim};

/// The section of the file that a run replaces.
const SECTION: &str = "faults";

/// Bytes of disk that a row takes at most: the registry, its index, a copy of that for each job.
const DISK_BYTES_PER_ROW: u64 = 120;

/// What to damage, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The registry to make.
    pub make: Make,
    /// Bytes to flip, one at a time.
    pub flips: usize,
    /// Files to cut short, one at a time.
    pub cuts: usize,
    /// Damages that are tried at once, at least 1.
    pub jobs: usize,
    /// Shell commands whose lines `fault table: …` come into the table.
    pub also: Vec<String>,
    /// Where the registry and its index are made; the system's temporary folder where there is none.
    pub work: Option<PathBuf>,
    /// The file whose marked section is replaced, if any.
    pub out: Option<PathBuf>,
}

/// Tries everything and writes the section.
///
/// # Errors
/// When any program fails that is not to fail; the file is left alone then. A damage that was not survived is in the report.
pub fn run(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<Report> {
    // A file that cannot take the section is better known before than after.
    let document = plan.out.as_ref().map(|out| section::read(out, SECTION)).transpose()?;
    let mut report = Report::default();
    for command in &plan.also {
        progress(&format!("running `{command}`"));
        report.rows.extend(also::run(command)?);
    }
    let parent = plan.work.clone().unwrap_or_else(std::env::temp_dir);
    check_disk(plan, &parent)?;
    let folder = Scratch::new_in(&parent).context("cannot make a folder for the registry; name another with --work")?;
    let (db, index) = (folder.path().join("basecpf.db"), folder.path().join("index"));
    progress(&format!("making a registry of {} rows and its index", plan.make.rows));
    make::registry(&plan.make, &db)?;
    let mut build = processes::command("indexer")?;
    build.arg("build").arg("--db").arg(&db).arg("--out").arg(&index);
    processes::output(build)?;
    let table = Table::scan(&Registry::new(&db))?;
    let aim = aim::Aim::new(&table);
    let files = subject::read(&index)?;
    report.index = (files.len(), files.iter().map(|file| file.bytes).sum());
    let bench = Bench { table: &table, aim: &aim, db: &db, index: &index, files: &files, folder: folder.path() };
    progress("asking the whole index");
    bench.check_whole()?;
    progress(&format!("flipping {} bytes", plan.flips));
    report.rows.extend(bench.run(plan, &trial::flips(&files, plan.flips, plan.make.seed), "a flipped byte")?);
    progress(&format!("cutting {} files", plan.cuts));
    report.rows.extend(bench.run(plan, &trial::cuts(&files, plan.cuts, plan.make.seed), "cut short")?);
    if let (Some(out), Some(document)) = (&plan.out, &document) {
        section::write(out, document, &report.markdown(plan))?;
    }
    Ok(report)
}

/// What every trial looks at.
struct Bench<'a> {
    table: &'a Table,
    aim: &'a aim::Aim,
    db: &'a Path,
    index: &'a Path,
    files: &'a [Subject],
    folder: &'a Path,
}

impl Bench<'_> {
    /// Asks an index that is whole: what the questions miss or get wrong there would be put down to the damage.
    fn check_whole(&self) -> anyhow::Result<()> {
        for file in self.files {
            let trial = Trial { file, change: Change::Cut(file.bytes / 2), number: 0 };
            let answers =
                trial::serve(self, self.index, &trial)?.context("the server refuses an index that is whole")?;
            ensure!(
                answers.wrong.is_empty() && answers.unavailable == 0 && answers.right > 0,
                "an index that is whole is answered wrongly: {:?}",
                answers.wrong.first()
            );
        }
        Ok(())
    }

    /// Tries all of these, as many at once as the plan says; a row for each kind of file.
    fn run(&self, plan: &Plan, trials: &[Trial<'_>], what: &str) -> anyhow::Result<Vec<Row>> {
        let next = AtomicUsize::new(0);
        let job = || -> anyhow::Result<Vec<Row>> {
            let victim = Victim::copy_of(self.index, self.folder)?;
            let mut rows = Kind::ALL.map(|kind| Row::new(format!("{what}, {}", kind.as_str())));
            while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                let came = victim.try_out(self, trial);
                // One that could not be tried ends the run, but not before the others have stopped.
                let came = came.inspect_err(|_| next.store(trials.len(), Ordering::Relaxed))?;
                rows[trial.file.kind as usize].add(came);
            }
            Ok(rows.into())
        };
        let parts = std::thread::scope(|scope| {
            let jobs: Vec<_> = (0..plan.jobs).map(|_| scope.spawn(job)).collect();
            jobs.into_iter().map(|job| job.join().expect("a job panicked")).collect::<anyhow::Result<Vec<_>>>()
        })?;
        let mut sums: Vec<Row> = Vec::new();
        for part in parts {
            if sums.is_empty() {
                sums = part;
            } else {
                sums.iter_mut().zip(part).for_each(|(sum, row)| sum.merge(row));
            }
        }
        sums.retain(|row| row.tried > 0);
        Ok(sums)
    }
}

fn check_disk(plan: &Plan, folder: &Path) -> anyhow::Result<()> {
    let needed = plan.make.rows * DISK_BYTES_PER_ROW;
    let disk =
        rustix::fs::statvfs(folder).with_context(|| format!("cannot ask for the disk of {}", folder.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    ensure!(free > needed, "needs {needed} bytes of disk and {free} are free; name another folder with --work");
    Ok(())
}
