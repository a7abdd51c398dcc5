//! What a change costs: the programs from before and after it, in turns, over one registry; builds, and the load of many connections.
//!
//! Both see the same minutes of the machine. What is told is the ratio of neighbours, its median over all rounds.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::load::draw;
use crate::measure::observing::process_cpu;
use crate::measure::spread::Spread;
use crate::measure::{machine, seconds, section, settle};
use crate::oracle::make::{self, Make};
use crate::processes::{self, Guard, Server};
use crate::scratch::Scratch;

/// The section of the page.
const SECTION: &str = "cost";

/// Seconds of asking before a load is measured.
const WARMUP_SECONDS: u32 = 1;

/// CPFs of the table that are asked for at most.
const KEYS_MAX: usize = 1_000_000;

/// What to compare, and over what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The registry to make.
    pub make: Make,
    /// The folder with `indexer` and `server` from before the change.
    pub before: PathBuf,
    /// What stands there, in a word: a commit.
    pub name: String,
    /// Rounds of builds and of loads.
    pub rounds: u32,
    /// Connections, one question in flight on each.
    pub connections: u32,
    /// Seconds of each load.
    pub seconds: u32,
    /// The Markdown file whose section is replaced.
    pub out: Option<PathBuf>,
}

/// A figure of both programs in each round: before, after.
type Pairs = Vec<[f64; 2]>;

/// What the rounds came to.
#[derive(Debug, Default)]
struct Figures {
    build_seconds: Pairs,
    build_cpu: Pairs,
    answers_per_second: Pairs,
    answer_cpu_us: Pairs,
}

/// Measures, writes the section and returns it.
///
/// # Errors
/// When a program fails, or a question of the load does.
pub fn run(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<String> {
    let document = plan.out.as_deref().map(|out| section::read(out, SECTION)).transpose()?;
    let folder = Scratch::new_in(&std::env::temp_dir())?;
    let db = folder.path().join("basecpf.db");
    progress(&format!("making a registry of {} rows", plan.make.rows));
    make::registry(&plan.make, &db)?;
    settle(&db)?;
    let keys = folder.path().join("keys.txt");
    draw::cpfs(&db, KEYS_MAX, plan.make.seed, &keys)?;
    let programs = [programs_in(&plan.before)?, programs_in(&own_folder()?)?];
    // Each serves the index that it built.
    let index = ["before", "after"].map(|name| folder.path().join(name));
    let mut figures = Figures::default();
    for round in 0..plan.rounds {
        progress(&format!("round {} of {}", round + 1, plan.rounds));
        // Each goes first in turn.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let (mut builds, mut loads) = ([[0.0; 2]; 2], [[0.0; 2]; 2]);
        for at in order {
            builds[at] = build(&programs[at].indexer, &db, &index[at])?;
        }
        for at in order {
            loads[at] = load(plan, &programs[at].server, &db, &index[at], &keys)?;
        }
        let pair = |figures: &[[f64; 2]; 2], at: usize| [figures[0][at], figures[1][at]];
        figures.build_seconds.push(pair(&builds, 0));
        figures.build_cpu.push(pair(&builds, 1));
        figures.answers_per_second.push(pair(&loads, 0));
        figures.answer_cpu_us.push(pair(&loads, 1));
    }
    let text = figures.markdown(plan)?;
    if let (Some(out), Some(document)) = (&plan.out, &document) {
        section::write(out, document, &text)?;
    }
    Ok(text)
}

/// The programs of one side.
struct Programs {
    indexer: PathBuf,
    server: PathBuf,
}

fn programs_in(folder: &Path) -> anyhow::Result<Programs> {
    let find = |name: &str| {
        let path = folder.join(name);
        ensure!(path.is_file(), "{} has no `{name}`; name the folder that holds the programs", folder.display());
        Ok(path)
    };
    Ok(Programs { indexer: find("indexer")?, server: find("server")? })
}

fn own_folder() -> anyhow::Result<PathBuf> {
    Ok(processes::find("server")?.parent().context("the server lies in no folder")?.to_owned())
}

/// Seconds and CPU seconds of a build of a first generation.
fn build(indexer: &Path, db: &Path, index: &Path) -> anyhow::Result<[f64; 2]> {
    if index.exists() {
        std::fs::remove_dir_all(index)?;
    }
    settle(db)?;
    let mut command = Command::new(indexer);
    command.stdin(Stdio::null()).arg("build").arg("--db").arg(db).arg("--out").arg(index).stdout(Stdio::piped());
    let started = Instant::now();
    let mut guard = Guard::spawn(command)?;
    guard.printed()?;
    let took = seconds(started.elapsed());
    // It has said all and is not waited for yet: its times can still be asked for.
    let cpu = process_cpu(guard.pid()).context("the build's CPU time is gone")?;
    guard.finish()?;
    Ok([took, cpu])
}

/// Answers a second, and microseconds of the server's CPU for each.
fn load(plan: &Plan, server: &Path, db: &Path, index: &Path, keys: &Path) -> anyhow::Result<[f64; 2]> {
    let files = [OsStr::new("--db"), db.as_os_str(), OsStr::new("--index"), index.as_os_str()];
    let server = Server::start_program(server, &files)?;
    let before = process_cpu(server.pid()).context("the server has ended")?;
    let mut command = processes::command("load")?;
    command.args(["--json", "--expect-rows", "--server", &server.address.to_string()]).stdout(Stdio::piped());
    command.arg("--keys").arg(keys).args(["--seed", &plan.make.seed.to_string()]);
    command.args(["--connections", &plan.connections.to_string(), "--seconds", &plan.seconds.to_string()]);
    command.args(["--warmup", &WARMUP_SECONDS.to_string()]);
    let summary: Value = serde_json::from_str(&processes::output(command)?).context("`load` printed no figures")?;
    let cpu = process_cpu(server.pid()).context("the server has ended")? - before;
    server.stop()?;
    ensure!(summary["errors"] == 0, "questions of the load failed: {}", summary["errors_by_code"]);
    let per_second = summary["per_second"].as_f64().context("`load` told no rate")?;
    // The warm-up is asked at about the same rate, and belongs to the CPU time.
    let answers = per_second * f64::from(plan.seconds + WARMUP_SECONDS);
    Ok([per_second, cpu / answers * 1e6])
}

impl Figures {
    fn markdown(&self, plan: &Plan) -> anyhow::Result<String> {
        let Plan { make: Make { rows, dirty, seed }, name, rounds, connections, seconds, .. } = plan;
        let (day, machine) = (machine::today(), machine::describe());
        let mut out = String::new();
        writeln!(
            out,
            "## What this cost\n\n`cost --before FOLDER --name {name} --rows {rows} --dirty {dirty} --seed {seed} --rounds {rounds} --connections \
             {connections} --seconds {seconds}`, {day}, on {machine}. The programs of {name} and those of this commit in turns, over one registry; each \
             server has the index that its own indexer built. Load generator and server share the cores. Median (least–greatest) of {rounds} \
             rounds; the ratio is that of two neighbours, after to before, where more is better.\n\n\
             | figure | {name} | now | ratio |\n| --- | ---: | ---: | ---: |"
        )?;
        let mut line = |figure: &str, pairs: &Pairs, more_is_better: bool, decimals: usize| -> anyhow::Result<()> {
            let side = |at: usize| Spread::new(pairs.iter().map(|pair| pair[at])).context("no round was asked for");
            let ratio =
                pairs.iter().map(|[before, after]| if more_is_better { after / before } else { before / after });
            let ratio = Spread::new(ratio).context("no round was asked for")?;
            let (before, after) = (side(0)?, side(1)?);
            Ok(writeln!(out, "| {figure} | {before:.decimals$} | {after:.decimals$} | {ratio:.3} |")?)
        };
        line("build, seconds", &self.build_seconds, false, 2)?;
        line("build, CPU seconds", &self.build_cpu, false, 2)?;
        line("answers a second", &self.answers_per_second, true, 0)?;
        line("server's CPU for an answer, µs", &self.answer_cpu_us, false, 2)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_neighbours_and_more_is_better() {
        let make = Make { rows: 7, dirty: 0.0, seed: 1 };
        let (before, name) = (PathBuf::new(), "abc".to_owned());
        let plan = Plan { make, before, name, rounds: 3, connections: 1, seconds: 1, out: None };
        let figures = Figures {
            build_seconds: vec![[2.0, 1.0], [4.0, 2.0], [9.0, 3.0]],
            build_cpu: vec![[1.0, 2.0]],
            answers_per_second: vec![[100.0, 50.0]],
            answer_cpu_us: vec![[8.0, 10.0]],
        };
        let text = figures.markdown(&plan).unwrap();
        for line in [
            "| build, seconds | 4.00 (2.00–9.00) | 2.00 (1.00–3.00) | 2.000 (2.000–3.000) |",
            "| build, CPU seconds | 1.00 (1.00–1.00) | 2.00 (2.00–2.00) | 0.500 (0.500–0.500) |",
            "| answers a second | 100 (100–100) | 50 (50–50) | 0.500 (0.500–0.500) |",
            "| server's CPU for an answer, µs | 8.00 (8.00–8.00) | 10.00 (10.00–10.00) | 0.800 (0.800–0.800) |",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
