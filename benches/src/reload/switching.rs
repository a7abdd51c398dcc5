//! The ten reloads: what is published when and how the server learns of it, and when it had taken it up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::questions::Calendar;
use crate::processes::{self, Server, ask};

/// How long the server may take to take a reload up, or to refuse it: it looks once a second.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// Between two questions whether it has.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A new generation of the same database.
    Generation,
    /// A new database and its generation.
    Database,
    /// The same, built before the run and published by a rename: a build beside a thousand clients takes some seconds, and the time for ten
    /// reloads is short.
    Prepared,
    /// A new generation of the same database, built before the run, in which a byte of the keys was flipped before it was published.
    Damaged,
}

/// How the server learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It watches `CURRENT`.
    Watch,
    /// By SIGHUP.
    Signal,
}

/// The reloads, in their order, evenly over the time.
pub(crate) const RELOADS: [(What, How); 10] = [
    (What::Generation, How::Signal),
    (What::Prepared, How::Watch),
    (What::Generation, How::Watch),
    (What::Prepared, How::Signal),
    (What::Damaged, How::Signal),
    (What::Generation, How::Watch),
    (What::Prepared, How::Watch),
    (What::Database, How::Signal),
    (What::Prepared, How::Signal),
    (What::Prepared, How::Watch),
];

/// How many of them bring another database.
pub(crate) const DATABASES: usize = {
    let (mut count, mut at) = (0, 0);
    while at < RELOADS.len() {
        count += matches!(RELOADS[at].0, What::Database | What::Prepared) as usize;
        at += 1;
    }
    count
};

/// One reload that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch {
    pub(crate) what: What,
    pub(crate) how: How,
    /// When its publication began, when the server was given it, and when it had taken it up or refused it.
    pub(crate) began: SystemTime,
    pub(crate) given: SystemTime,
    pub(crate) done: SystemTime,
}

/// Where everything lies, and who is served.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) server: &'a Server,
    pub(crate) db: &'a Path,
    pub(crate) index: &'a Path,
    /// The databases that come, from version 2 on.
    pub(crate) coming: Vec<PathBuf>,
    /// For each reload the generation that was built for it before the run.
    pub(crate) prepared: Vec<Option<PathBuf>>,
    pub(crate) calendar: &'a Calendar,
}

impl Stage<'_> {
    /// Does all reloads within `time`.
    pub(crate) fn play(&self, time: Duration, progress: impl Fn(&str)) -> anyhow::Result<Vec<Switch>> {
        let (began, step) = (Instant::now(), time / (RELOADS.len() as u32 + 1));
        let (mut version, mut switches) = (1, Vec::new());
        for (number, (what, how)) in RELOADS.into_iter().enumerate() {
            std::thread::sleep((began + step * (number as u32 + 1)).saturating_duration_since(Instant::now()));
            let prepared = self.prepared[number].as_deref();
            let number = number + 1;
            let switch = self.reload(what, how, prepared, &mut version).with_context(|| format!("reload {number}"))?;
            let took = switch.done.duration_since(switch.given).unwrap_or_default();
            progress(&format!("  reload {number}: {what:?} by {how:?}, {:.2} s", took.as_secs_f64()));
            switches.push(switch);
        }
        std::thread::sleep((began + time).saturating_duration_since(Instant::now()));
        Ok(switches)
    }

    fn reload(&self, what: What, how: How, prepared: Option<&Path>, version: &mut usize) -> anyhow::Result<Switch> {
        let counter = if what == What::Damaged { "refused" } else { "taken" };
        let (began, mut before) = (SystemTime::now(), self.count(counter)?);
        let given = match what {
            What::Generation => {
                build(self.db, self.index)?;
                // The watch may have found it before the program was gone; it counts all the same.
                SystemTime::now()
            }
            What::Damaged => {
                publish(self.index, prepared)?;
                SystemTime::now()
            }
            What::Database | What::Prepared => {
                let coming = &self.coming[*version - 1];
                if what == What::Prepared {
                    publish(self.index, prepared)?;
                } else {
                    build(coming, self.index)?;
                }
                // It is refused as long as the old file is there; that is no reload.
                before = self.count(counter)?;
                self.calendar.may_begin(*version + 1);
                fs::rename(coming, self.db).context("cannot rename the new database into its place")?;
                SystemTime::now()
            }
        };
        if how == How::Signal {
            let pid =
                i32::try_from(self.server.pid()).ok().and_then(Pid::from_raw).context("a process id out of range")?;
            kill_process(pid, Signal::HUP).context("cannot signal the server")?;
        }
        let deadline = Instant::now() + TAKEN_WITHIN;
        while self.count(counter)? == before {
            ensure!(Instant::now() < deadline, "{what:?} by {how:?}: the server counted nothing more as {counter}");
            std::thread::sleep(ASK_EVERY);
        }
        if matches!(what, What::Database | What::Prepared) {
            self.calendar.has_ended(*version);
            *version += 1;
        }
        Ok(Switch { what, how, began, given, done: SystemTime::now() })
    }

    fn count(&self, counter: &str) -> anyhow::Result<u64> {
        reloads(&stats(self.server)?, counter)
    }
}

/// What the server counted.
pub(crate) fn stats(server: &Server) -> anyhow::Result<Value> {
    ask(server.address, r#"{"op":"stats"}"#)
}

/// How many reloads were `taken` or `refused`.
pub(crate) fn reloads(stats: &Value, counter: &str) -> anyhow::Result<u64> {
    stats["reloads"][counter].as_u64().context("the server does not tell its reloads: is it older than `stats`?")
}

/// Builds and publishes a generation.
pub(crate) fn build(db: &Path, index: &Path) -> anyhow::Result<()> {
    let mut command = processes::command("indexer")?;
    command.arg("build").arg("--db").arg(db).arg("--out").arg(index).stdout(Stdio::null());
    processes::output(command).map(drop)
}

/// The generation that `CURRENT` names.
pub(crate) fn current(index: &Path) -> anyhow::Result<String> {
    let line = fs::read_to_string(index.join("CURRENT")).context("the index names no generation")?;
    Ok(line.trim_end().to_owned())
}

/// Builds the generations that come prepared, each in an index of its own in `folder`. `db` is the first database, `coming` are the others.
pub(crate) fn prepare(db: &Path, coming: &[PathBuf], folder: &Path) -> anyhow::Result<Vec<Option<PathBuf>>> {
    let (mut served, mut coming, mut prepared) = (db, coming.iter(), Vec::new());
    for (at, (what, _)) in RELOADS.into_iter().enumerate() {
        if matches!(what, What::Database | What::Prepared) {
            served = coming.next().context("too few databases")?;
        }
        // The first generation is there before the first reload, and each reload brings the next one.
        let generation = match what {
            What::Prepared | What::Damaged => {
                Some(build_numbered(served, &folder.join(format!("prepared-{at}")), at + 2)?)
            }
            What::Generation | What::Database => None,
        };
        if let (What::Damaged, Some(generation)) = (what, &generation) {
            flip_keys(generation)?;
        }
        prepared.push(generation);
    }
    Ok(prepared)
}

/// Builds a generation of this number: a manifest tells its own, so that it cannot be renamed to another. Its folder.
fn build_numbered(db: &Path, index: &Path, number: usize) -> anyhow::Result<PathBuf> {
    // The number is one above the highest that is there.
    let before = name(number - 1);
    fs::create_dir_all(index.join(&before)).context("cannot make an index")?;
    fs::write(index.join("CURRENT"), format!("{before}\n"))?;
    build(db, index)?;
    ensure!(current(index)? == name(number), "the generation that was prepared has another number");
    Ok(index.join(name(number)))
}

/// The name of a generation.
fn name(number: usize) -> String {
    format!("g{number:06}")
}

/// Flips a byte in the middle of each file of keys.
fn flip_keys(generation: &Path) -> anyhow::Result<()> {
    let mut flipped = 0;
    for entry in fs::read_dir(generation)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "keys") {
            let mut bytes = fs::read(&path)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes)?;
            flipped += 1;
        }
    }
    ensure!(flipped > 0, "the generation has no file of keys");
    Ok(())
}

/// Moves a generation into the index and has `CURRENT` name it, each by a rename.
fn publish(index: &Path, generation: Option<&Path>) -> anyhow::Result<()> {
    let generation = generation.context("no generation was prepared")?;
    let name = generation.file_name().context("a generation without a name")?;
    fs::rename(generation, index.join(name)).context("cannot move a generation into the index")?;
    fs::write(index.join("CURRENT.new"), format!("{}\n", name.to_string_lossy()))?;
    fs::rename(index.join("CURRENT.new"), index.join("CURRENT")).context("cannot publish a generation")
}
