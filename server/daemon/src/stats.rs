//! `stats`: what the house counts, gathered for the wire, and the command that asks a server for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use balcao_wire::stats::{ConnectionStats, DeadlineStats, LaneStats, MemoryStats, QueueStats, ReloadStats, Stats};

use crate::limits::{HELD_BYTES_MAX, QUEUE_MAX};
use crate::metrics::PANICS;
use crate::queries::Lane;
use crate::serve::House;

/// For each step of the command: a server that takes longer does not answer anybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer has some two thousand bytes; what is longer is none.
const REPLY_BYTES_MAX: u64 = 1 << 20;

impl House {
    /// What the house counts.
    pub(crate) fn stats(&self) -> Stats {
        let snapshot = self.snapshot();
        let greeting = snapshot.greeting();
        let metrics = &self.means.metrics;
        let (latency_us, private_bytes) = metrics.dear_figures(private_bytes);
        Stats {
            server: greeting.server.clone(),
            uptime_s: metrics.began.elapsed().as_secs(),
            generation: greeting.generation.clone(),
            rows: greeting.rows,
            fits: !snapshot.is_withdrawn(),
            connections: ConnectionStats {
                open: self.sessions.served() as u64,
                open_max: self.connections as u64,
                accepted: metrics.accepted.get(),
                turned_away: metrics.turned_away.get(),
            },
            queue: self.queue_stats(),
            memory: MemoryStats {
                held_bytes: self.means.budget.held() as u64,
                held_bytes_max: HELD_BYTES_MAX as u64,
                private_bytes,
            },
            answers: metrics.answers().map(|(name, count)| (name.to_owned(), count)).collect(),
            latency_us,
            deadlines: DeadlineStats {
                idle: metrics.idle.get(),
                line: metrics.late_lines.get(),
                write_stall: metrics.write_stalls.get(),
                request: metrics.late_requests.get(),
            },
            panics: PANICS.load(std::sync::atomic::Ordering::Relaxed),
            threads_replaced: metrics.threads_replaced.get(),
            reloads: ReloadStats { taken: metrics.reloads_taken.get(), refused: metrics.reloads_refused.get() },
        }
    }

    fn queue_stats(&self) -> QueueStats {
        let metrics = &self.means.metrics;
        let lane = |lane: Lane| {
            let depth = self.queries.depth(lane) as u64;
            LaneStats { depth, depth_max: QUEUE_MAX as u64, answered: metrics.lanes[lane as usize].get() }
        };
        let lanes: BTreeMap<_, _> = Lane::ALL.map(|one| (one.name().to_owned(), lane(one))).into();
        QueueStats {
            depth: lanes.values().map(|lane| lane.depth).sum(),
            depth_max: lanes.values().map(|lane| lane.depth_max).sum(),
            parked: metrics.parked.get(),
            lanes,
        }
    }
}

/// Private memory of this process, as the kernel counts it; 0 where it does not tell.
fn private_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// `server stats`: asks the server at `address` and prints what it counts; with `json` the reply's line as it came.
pub(crate) fn show(address: &str, json: bool) -> Result<()> {
    let line = ask(address).with_context(|| format!("cannot ask {address}; is a server running there?"))?;
    let reply: serde_json::Value =
        serde_json::from_str(&line).context("the answer is no JSON; is it a Balcão server?")?;
    if reply["status"] != "ok" {
        let said = reply["message"].as_str().unwrap_or("no reason was given");
        bail!("{address} refuses to tell: {said}");
    }
    let mut out = std::io::stdout();
    let text = if json {
        line
    } else {
        table(&serde_json::from_str(&line).context("the server is of another version; ask with --json")?)
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

fn ask(address: &str) -> Result<String> {
    let mut last = None;
    for address in address.to_socket_addrs().context("this is no address with a port, like 127.0.0.1:7700")? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return converse(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("it has no address"), Into::into))
}

fn converse(mut stream: TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"{\"op\":\"stats\"}\n")?;
    let mut line = String::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX)).read_line(&mut line)?;
    if !line.ends_with('\n') {
        bail!("the connection ended before an answer");
    }
    Ok(line)
}

/// The figures for people, one a line, names as in the reply.
fn table(stats: &Stats) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| text.push_str(&format!("{name:<24}{value}\n"));
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    line("server", &stats.server);
    line("uptime", &format!("{} s", stats.uptime_s));
    let fits = if stats.fits { "" } else { ", DOES NOT FIT the database: questions are unavailable" };
    line("generation", &format!("{} ({} rows){fits}", stats.generation, stats.rows));
    let connections = &stats.connections;
    line("connections", &format!("{} of {}", connections.open, connections.open_max));
    line("connections accepted", &format!("{}, {} turned away", connections.accepted, connections.turned_away));
    line("queue", &format!("{} of {}, {} parked so far", stats.queue.depth, stats.queue.depth_max, stats.queue.parked));
    for (name, lane) in &stats.queue.lanes {
        line(&format!("queue {name}"), &format!("{} of {}, {} answered", lane.depth, lane.depth_max, lane.answered));
    }
    let memory = &stats.memory;
    line("memory held", &format!("{} of {}", mib(memory.held_bytes), mib(memory.held_bytes_max)));
    line("memory private", &mib(memory.private_bytes));
    let latency = &stats.latency_us;
    line(
        "latency",
        &format!(
            "p50 {} µs, p90 {} µs, p99 {} µs, p99.9 {} µs, max {} µs",
            latency.p50, latency.p90, latency.p99, latency.p999, latency.max
        ),
    );
    line("answers ok", &stats.answers.get("ok").copied().unwrap_or_default());
    for (code, count) in stats.answers.iter().filter(|&(name, &count)| name != "ok" && count > 0) {
        line(&format!("answers {code}"), count);
    }
    let late = &stats.deadlines;
    line(
        "deadlines passed",
        &format!("idle {}, line {}, write stall {}, request {}", late.idle, late.line, late.write_stall, late.request),
    );
    line("panics", &format!("{}, {} threads replaced", stats.panics, stats.threads_replaced));
    line("reloads", &format!("{} taken, {} refused", stats.reloads.taken, stats.reloads.refused));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        let answers = [("ok".to_owned(), 7), ("bad_json".to_owned(), 2), ("internal".to_owned(), 0)];
        let stats = Stats { generation: "g000002".to_owned(), answers: answers.into(), ..Stats::default() };
        let text = table(&stats);
        assert!(text.contains("answers bad_json        2\n") && !text.contains("internal"), "{text}");
        assert!(text.contains("g000002 (0 rows), DOES NOT FIT"), "{text}");
        assert!(private_bytes() > 0);
    }
}
