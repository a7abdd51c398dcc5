//! The figures as a section of Markdown: each table with what it was measured on and how.
//!
//! It reckons ratios and bytes a row, and rounds; nothing else.

use std::fmt::Write as _;

use super::building::{Building, Round};
use super::observing::{Memory, Thread};
use super::serving::{Load, Serving};
use super::spread::Spread;
use super::{Figures, Plan};

/// Threads that worked less than this are told together, in seconds.
const THREAD_SECONDS_MIN: f64 = 0.05;

/// The whole section.
pub(crate) fn render(plan: &Plan, figures: &Figures, machine: &str, day: &str) -> String {
    let mut out = String::new();
    // Writing to memory cannot fail, here and below.
    let _ = heading(&mut out, plan, figures, machine, day);
    let _ = building(&mut out, figures.rows, &figures.building);
    let _ = serving(&mut out, plan, &figures.serving);
    out
}

fn heading(out: &mut String, plan: &Plan, figures: &Figures, machine: &str, day: &str) -> std::fmt::Result {
    let Plan { make, rounds, starts, connections, seconds, load_threads, .. } = plan;
    let made = format!("--rows {} --dirty {} --seed {}", make.rows, make.dirty, make.seed);
    let source = if plan.db.is_some() { format!("--db FILE --seed {}", make.seed) } else { made };
    writeln!(out, "## {} rows: build, start, memory, load\n", grouped(figures.rows))?;
    writeln!(
        out,
        "`measure {source} --rounds {rounds} --starts {starts} --connections {connections} --seconds {seconds} \
         --load-threads {load_threads}`, {day}, on {machine}. The registry has {} bytes ({} a row). Several measurements are told as \
         median (least–greatest).\n",
        grouped(figures.db_bytes),
        per_row(figures.db_bytes, figures.rows),
    )
}

fn building(out: &mut String, rows: u64, building: &Building) -> std::fmt::Result {
    let over = |value: fn(&Round) -> f64| Spread::new(building.rounds.iter().map(value)).expect("at least one round");
    let peer_bytes = building.rounds[0].peer.bytes;
    let peer_total = peer_bytes[0] + peer_bytes[1];
    writeln!(out, "### Build, beside SQLite's `CREATE INDEX` on both columns\n")?;
    writeln!(
        out,
        "{} rounds, each builds both, page cache warm, both durable; SQLite with its default settings on a copy of the file.\n",
        building.rounds.len()
    )?;
    writeln!(out, "| | `indexer build` | SQLite: CPF | SQLite: name | SQLite: both | ratio |")?;
    writeln!(out, "| --- | --- | --- | --- | --- | --- |")?;
    writeln!(
        out,
        "| seconds | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} times as fast |",
        over(|round| round.ours.seconds),
        over(|round| round.peer.seconds[0]),
        over(|round| round.peer.seconds[1]),
        over(|round| round.peer.seconds[0] + round.peer.seconds[1]),
        over(|round| (round.peer.seconds[0] + round.peer.seconds[1]) / round.ours.seconds),
    )?;
    writeln!(
        out,
        "| bytes a row | {} | {} | {} | {} | {:.3} of its bytes |",
        per_row(building.bytes, rows),
        per_row(peer_bytes[0], rows),
        per_row(peer_bytes[1], rows),
        per_row(peer_total, rows),
        building.bytes as f64 / peer_total as f64,
    )?;
    writeln!(
        out,
        "| peak private memory, MiB | {:.0} | | | {:.0} | |",
        over(|round| mib(round.ours.peak.private)),
        over(|round| mib(round.peer.peak.private)),
    )?;
    writeln!(
        out,
        "| peak resident memory, MiB | {:.0} | | | {:.0} | |\n",
        over(|round| mib(round.ours.peak.peak_resident)),
        over(|round| mib(round.peer.peak.peak_resident)),
    )?;
    writeln!(out, "Private is RssAnon, sampled every 20 ms; resident is VmHWM and counts mapped files too.\n")?;
    parts(out, rows, building)
}

fn parts(out: &mut String, rows: u64, building: &Building) -> std::fmt::Result {
    writeln!(out, "| part of the index | bytes | bytes a row |")?;
    writeln!(out, "| --- | ---: | ---: |")?;
    for (part, bytes) in &building.parts {
        writeln!(out, "| `{part}` | {} | {} |", grouped(*bytes), per_row(*bytes, rows))?;
    }
    let rest = building.bytes.saturating_sub(building.parts.values().sum());
    writeln!(out, "| other files of the generation | {} | {} |", grouped(rest), per_row(rest, rows))?;
    writeln!(out, "| together | {} | {} |\n", grouped(building.bytes), per_row(building.bytes, rows))
}

fn serving(out: &mut String, plan: &Plan, serving: &Serving) -> std::fmt::Result {
    let [before, held] = serving.idle;
    let connections = grouped(plan.connections as u64);
    writeln!(out, "### `server serve`: start and idle memory\n")?;
    writeln!(out, "| | |\n| --- | --- |")?;
    writeln!(out, "| start to `ready`, index in the page cache, s | {:.3} |", serving.ready_warm)?;
    writeln!(out, "| start to `ready`, index dropped from it, s | {:.3} |", serving.ready_cold)?;
    writeln!(out, "| private memory without a connection, MiB | {:.1} |", mib(before.private))?;
    writeln!(out, "| private memory with {connections} idle connections, MiB | {:.1} |", mib(held.private))?;
    let each = held.private.saturating_sub(before.private) as f64 / 1024.0 / plan.connections as f64;
    writeln!(out, "| of that each connection, KiB | {each:.1} |\n")?;
    writeln!(out, "### {connections} connections, one request in flight each, {} s\n", plan.seconds)?;
    writeln!(
        out,
        "Every request asks for the CPF of a row of the table, at random; every answer is checked to be `ok`, to carry its `id` and \
         at least one row. Load generator and server share the machine.\n"
    )?;
    writeln!(
        out,
        "| workers | requests per s | p50 µs | p99 µs | p99.9 µs | max µs | errors | private memory after, MiB |"
    )?;
    writeln!(out, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    serving.loads.iter().try_for_each(|load| load_row(out, load))?;
    writeln!(
        out,
        "\nCPU seconds of each thread of the server, and of the load generator, over the same run, connecting and 2 s of warm-up included:\n"
    )?;
    writeln!(out, "| workers | thread | CPU s |\n| ---: | --- | ---: |")?;
    serving.loads.iter().try_for_each(|load| load_threads(out, load))
}

fn load_row(out: &mut String, load: &Load) -> std::fmt::Result {
    let Load { workers, summary, memory: Memory { private, .. }, .. } = load;
    let latency = |name: &str| grouped(summary["latency_us"][name].as_u64().unwrap_or_default());
    writeln!(
        out,
        "| {workers} | {} | {} | {} | {} | {} | {} | {:.1} |",
        grouped(summary["per_second"].as_f64().unwrap_or_default() as u64),
        latency("p50"),
        latency("p99"),
        latency("p99_9"),
        latency("max"),
        summary["errors"],
        mib(*private),
    )
}

fn load_threads(out: &mut String, load: &Load) -> std::fmt::Result {
    let (busy, quiet): (Vec<&Thread>, Vec<&Thread>) =
        load.threads.iter().partition(|thread| thread.cpu >= THREAD_SECONDS_MIN);
    for thread in busy {
        writeln!(out, "| {} | `{}` | {:.2} |", load.workers, thread.name, thread.cpu)?;
    }
    let rest: f64 = quiet.iter().map(|thread| thread.cpu).sum();
    writeln!(out, "| {} | {} others | {rest:.2} |", load.workers, quiet.len())?;
    writeln!(out, "| {} | (load generator) | {:.2} |", load.workers, load.generator_cpu)
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

fn per_row(bytes: u64, rows: u64) -> String {
    format!("{:.2}", bytes as f64 / rows as f64)
}

/// A number with a comma before every three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (10_000_000, "10,000,000")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
