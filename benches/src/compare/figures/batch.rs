//! A file of a million questions: `client batch` through the server, beside a Python loop over SQLite in one process.
//!
//! Both read and write whole files of CSV; how many lines each wrote is compared, and how long its program ran.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::Report;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::ground::asked::Lines;
use crate::compare::peers::python;
use crate::compare::plots;
use crate::compare::rounds::{in_turns, over, ratio};
use crate::measure::markdown::{grouped, mib};
use crate::measure::observing::{Memory, Watch};
use crate::measure::records::Records;
use crate::measure::{seconds, settle};
use crate::processes::{self, Guard};
use crate::scratch::Scratch;

/// The whole peer.
const PEER: &str = include_str!("../../../compare/batch.py");

const SIDES: [&str; 2] = ["`client batch`", "Python loop"];

/// One run over the file.
#[derive(Clone, Copy)]
struct Run {
    /// From the start of the program to its end.
    seconds: f64,
    peak: Memory,
    /// Records of the file that it wrote, without the header.
    written: u64,
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let lines = ground.lines()?;
    let sqlite = ground.sqlite()?;
    let index = ground.index()?;
    let server = ground.server(&index, &[])?;
    let folder = Scratch::new_in(ground.folder())?;
    settle(&lines.path)?;
    let rounds = ground.plan.rounds;
    let runs = in_turns(rounds, SIDES.len(), |round, side| {
        ground.say(&format!("round {} of {rounds}: a file of questions, {}", round + 1, SIDES[side]));
        let out = folder.path().join("out.csv");
        let command = match side {
            0 => ours(&lines, &out, server.address)?,
            _ => peer(&lines, &out, &sqlite)?,
        };
        let run = run(command, &out)?;
        std::fs::remove_file(&out).context("cannot remove what was written")?;
        Ok(run)
    })?;
    server.stop()?;
    let written = runs[0][0].written;
    ensure!(
        runs.iter().flatten().all(|run| run.written == written),
        "the sides do not write as many lines: {:?}",
        runs.iter().flatten().map(|run| run.written).collect::<Vec<_>>()
    );
    ensure!(written >= lines.count as u64, "of {} lines only {written} were answered", lines.count);
    let rate = |run: &Run| lines.count as f64 / run.seconds;
    let mut text = format!(
        "{} lines, `;` between the columns `pedido`, `cpf` and `nome`: of a hundred about 80 ask for a CPF of the table, 10 for a whole name of it and 10 \
         for a CPF that nobody has. Both sides write every line with its answer's rows, {} lines in all, compared for their number. `client batch \
         --match exact` asks `server serve` over loopback, both with their defaults; the [loop](../benches/compare/batch.py) ({}) is one process over \
         a database with an index on each column, without a network. Seconds are those of the whole program; all files are in the page cache.\n\n\
         | | lines a second | seconds | peak private memory, MiB |\n| --- | --- | --- | --- |\n",
        grouped(lines.count as u64),
        grouped(written),
        python::version()?,
    );
    for (name, runs) in SIDES.iter().zip(&runs) {
        let (seconds, memory) = (over(runs, |run| run.seconds), over(runs, |run| mib(run.peak.private)));
        text.push_str(&format!("| {name} | {} | {seconds:.2} | {memory:.1} |\n", over(runs, rate).grouped()));
    }
    let bars: Vec<_> = SIDES.iter().zip(&runs).map(|(name, runs)| (name.replace('`', ""), over(runs, rate))).collect();
    let title = format!("A file of {} questions", grouped(lines.count as u64));
    Ok(Report {
        heading: "Files of questions beside a Python loop".to_owned(),
        text,
        reached: vec![Reached::new(Goal::Batch, ratio(&runs[0], &runs[1], rate))],
        plots: vec![plots::bars("batch", &title, "lines a second", &bars)?],
        ..Report::default()
    })
}

fn ours(lines: &Lines, out: &Path, server: std::net::SocketAddr) -> anyhow::Result<Command> {
    let mut command = processes::command("client")?;
    command.arg("batch").arg(&lines.path).arg("--out").arg(out).args(["--match", "exact"]);
    command.args(["--server", &server.to_string()]);
    Ok(command)
}

fn peer(lines: &Lines, out: &Path, db: &Path) -> anyhow::Result<Command> {
    let mut command = python::program()?;
    command.stdin(Stdio::null()).arg("-c").arg(PEER).arg(db).arg(&lines.path).arg(out);
    Ok(command)
}

/// Runs a program that writes `out`.
fn run(mut command: Command, out: &Path) -> anyhow::Result<Run> {
    command.stdout(Stdio::piped());
    let began = Instant::now();
    let mut guard = Guard::spawn(command)?;
    let watch = Watch::start(guard.pid());
    guard.printed()?;
    guard.finish()?;
    let took = seconds(began.elapsed());
    let mut written = Records::default();
    written.feed(&std::fs::read(out).context("no file was written")?);
    Ok(Run { seconds: took, peak: watch.peak(), written: written.count().saturating_sub(1) })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn the_loop_answers_every_line() {
        let folder = tempfile::tempdir().unwrap();
        let [db, path, out] = ["a.db", "in.csv", "out.csv"].map(|name| folder.path().join(name));
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            INSERT INTO cpf VALUES ('1', 'A;\"B'), ('2', 'C'), ('2', CAST(X'41C3' AS TEXT)), ('3', NULL)";
        Connection::open(&db).unwrap().execute_batch(sql).unwrap();
        std::fs::write(&path, "pedido;cpf;nome\n1;1;\n2;9;\n3;2;\n4;;C\n").unwrap();
        let run = run(peer(&Lines { path, count: 4 }, &out, &db).unwrap(), &out).unwrap();
        assert_eq!(run.written, 5);
        let expected = "pedido;cpf;nome;status;cpf;nome\n1;1;;ok;1;\"A;\"\"B\"\n2;9;;none;;\n3;2;;ok;2;C\n3;2;;ok;2;A\u{fffd}\n4;;C;ok;2;C\n";
        assert_eq!(std::fs::read_to_string(&out).unwrap(), expected);
    }
}
