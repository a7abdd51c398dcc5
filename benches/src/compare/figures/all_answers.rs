//! Every answer to a common name: `client nome MARIA --all` into a pipe that discards, its speed, and the memory of both sides meanwhile.
//!
//! Rows are counted as they come out; what stands in them is the oracle's affair.

use std::io::{BufRead as _, BufReader, Read};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use memchr::memmem::Finder;
use serde_json::Value;

use super::Report;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::rounds::{in_turns, over};
use crate::load::draw::typed::Asking;
use crate::measure::markdown::{grouped, mib};
use crate::measure::observing::Memory;
use crate::measure::records::Records;
use crate::measure::seconds;
use crate::processes::{self, Guard, Server, ask};

/// What is asked for: the most frequent beginning of a name.
const NAME: &str = "MARIA";

/// From so many rows on memory must be flat.
const FLAT_FROM: u64 = 10_000;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The ways to print.
const WAYS: [&str; 2] = ["--csv", "--json"];

/// What stands once in each row of a page: a quote in a text is escaped.
const MEMBER: &str = "\"cpf\":";

/// Private memory at a moment, in bytes: of the client, and of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    rows: u64,
    private: [u64; 2],
}

/// One run.
struct Run {
    rows: u64,
    seconds: f64,
    /// How much private memory grew behind the first rows, and the most that there was; of both sides, in bytes.
    grew: [u64; 2],
    peak: [u64; 2],
}

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let server = ground.server(&ground.index()?, &[])?;
    let total = total(&server)?;
    let rounds = ground.plan.rounds;
    let runs = in_turns(rounds, WAYS.len(), |round, way| {
        ground.say(&format!("round {} of {rounds}: every {NAME}, {}", round + 1, WAYS[way]));
        let run = run(&server, WAYS[way])?;
        ensure!(run.rows == total, "of {total} rows {} came out with {}", run.rows, WAYS[way]);
        Ok(run)
    })?;
    server.stop()?;
    let all: Vec<&Run> = runs.iter().flatten().collect();
    let grew = |side: usize| over(&all, move |run| mib(run.grew[side]));
    let mut text = format!(
        "`client nome {NAME} --all` into a pipe that is read and forgotten: {} rows, all of which came out in every run. Seconds are those of the \
         whole program. Private memory is RssAnon, sampled every {} ms; it grew is the greatest behind the {}th row less that at this row; of all \
         runs the one in which it grew most must stay within the goal.\n\n\
         | | rows a second | seconds | client: peak MiB | it grew | server: peak MiB | it grew |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        grouped(total),
        LOOK_EVERY.as_millis(),
        grouped(FLAT_FROM),
    );
    for (way, runs) in WAYS.iter().zip(&runs) {
        let memory = |side: usize| {
            let (peak, grew) = (over(runs, |run| mib(run.peak[side])), over(runs, |run| mib(run.grew[side])));
            format!("{peak:.1} | {grew:.1}")
        };
        let rate = over(runs, |run| run.rows as f64 / run.seconds).grouped();
        let took = over(runs, |run| run.seconds);
        text.push_str(&format!("| `{way}` | {rate} | {took:.2} | {} | {} |\n", memory(0), memory(1)));
    }
    Ok(Report {
        heading: "Every answer to a common name".to_owned(),
        text,
        reached: vec![Reached::new(Goal::AllClient, grew(0)), Reached::new(Goal::AllServer, grew(1))],
        ..Report::default()
    })
}

/// How many rows there are, as the server tells.
fn total(server: &Server) -> anyhow::Result<u64> {
    let asking = Asking { limit: 1, ..Asking::pages("prefix") };
    let reply: Value = ask(server.address, &asking.line(NAME))?;
    reply["total"].as_u64().context("the server told no total")
}

/// Runs the client once.
fn run(server: &Server, way: &str) -> anyhow::Result<Run> {
    let mut command = processes::command("client")?;
    command.args(["nome", NAME, "--all", way, "--server", &server.address.to_string()]).stdout(Stdio::piped());
    let began = Instant::now();
    let mut guard = Guard::spawn(command)?;
    let stdout = guard.stdout().context("the client has no standard output")?;
    let (rows, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let pids = [guard.pid(), server.pid()];
    let (counted, looks) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look(pids, &rows, &is_over));
        let counted = count(stdout, way == "--csv", &rows);
        is_over.store(true, Ordering::Relaxed);
        (counted, looking.join().expect("the looking thread panicked"))
    });
    guard.finish()?;
    let took = seconds(began.elapsed());
    let rows = counted?;
    let [grew, peak] = summarise(&looks);
    Ok(Run { rows, seconds: took, grew, peak })
}

/// Counts the rows in all that comes, and tells how many there were so far; a CSV begins with the names of its columns.
fn count(input: impl Read, is_csv: bool, rows: &AtomicU64) -> anyhow::Result<u64> {
    let (mut input, mut line) = (BufReader::with_capacity(1 << 20, input), Vec::new());
    let (mut records, mut members, finder) = (Records::default(), 0, Finder::new(MEMBER));
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).context("cannot read what the client prints")? == 0 {
            return Ok(rows.load(Ordering::Relaxed));
        }
        if is_csv {
            records.feed(&line);
        } else {
            members += finder.find_iter(&line).count() as u64;
        }
        rows.store(records.count().saturating_sub(1) + members, Ordering::Relaxed);
    }
}

fn look(pids: [u32; 2], rows: &AtomicU64, is_over: &AtomicBool) -> Vec<Look> {
    let mut looks = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let private = pids.map(|pid| Memory::of(pid).map(|memory| memory.private));
        if let [Some(client), Some(server)] = private {
            looks.push(Look { rows: rows.load(Ordering::Relaxed), private: [client, server] });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    looks
}

/// How much each side grew from the first look at which enough rows had come, or the first with any, and its peak.
fn summarise(looks: &[Look]) -> [[u64; 2]; 2] {
    let most = looks.last().map_or(0, |look| look.rows);
    let from = looks.iter().position(|look| look.rows >= FLAT_FROM.min(most.max(1))).unwrap_or(looks.len());
    let flat = &looks[from..];
    let greatest = |of: &[Look], side: usize| of.iter().map(|look| look.private[side]).max().unwrap_or(0);
    let grew = |side: usize| greatest(flat, side) - flat.first().map_or(0, |look| look.private[side]);
    [[grew(0), grew(1)], [greatest(looks, 0), greatest(looks, 1)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_in_either_way() {
        let rows = AtomicU64::new(0);
        assert_eq!(count("cpf,nome\n1,A\n2,\"B\nC\"\n".as_bytes(), true, &rows).unwrap(), 2);
        let pages =
            "{\"rows\":[{\"cpf\":\"1\"},{\"cpf\":\"2\"}]}\n{\"rows\":[{\"cpf\":\"3\",\"nome\":\"\\\"cpf\\\":\"}]}\n";
        assert_eq!(count(pages.as_bytes(), false, &rows).unwrap(), 3);
        assert_eq!(rows.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn memory_counts_from_the_row_on_at_which_it_must_be_flat() {
        let look = |rows, client, server| Look { rows, private: [client, server] };
        let looks =
            [look(0, 1, 90), look(9_999, 50, 20), look(10_500, 55, 20), look(20_000, 60, 35), look(30_000, 54, 30)];
        assert_eq!(summarise(&looks), [[5, 15], [60, 90]]);
        // Fewer rows than that: from the last ones on.
        assert_eq!(summarise(&looks[..2]), [[0, 0], [50, 90]]);
        assert_eq!(summarise(&[]), [[0, 0], [0, 0]]);
    }
}
