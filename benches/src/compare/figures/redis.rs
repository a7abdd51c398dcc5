//! Beside Redis: the same replies to the same keys, as fast as either answers, at a fixed rate, and pipelined.
//!
//! Redis answers from its memory what our server answered once; ours looks each row up. That is the comparison.

use anyhow::Context as _;

use super::Report;
use super::loads::{self, Loads};
use crate::compare::asking::{Shape, Subject, ask};
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::peers;
use crate::load::Pace;
use crate::measure::markdown::grouped;
use crate::measure::observing::{Thread, threads};
use crate::measure::spread::Spread;
use crate::processes::Server;

/// Connections, and requests in flight on each, where they are pipelined.
const PIPELINED: [usize; 2] = [64, 32];

/// The share of Redis's throughput at which latency is compared.
const SHARE: f64 = 0.5;

/// Threads that worked less than this are told together, in seconds.
const THREAD_SECONDS_MIN: f64 = 0.05;

/// Our server with one worker and with its default, and Redis last.
struct Sides {
    servers: Vec<Server>,
    subjects: Vec<Subject>,
}

impl Sides {
    fn start(ground: &mut Ground<'_>) -> anyhow::Result<Self> {
        let redis = ground.redis()?;
        let (index, keys) = (ground.index()?, ground.keys()?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut servers = Vec::new();
        let mut subjects = Vec::new();
        for workers in if cores > 1 { vec![1, cores] } else { vec![1] } {
            let server = ground.server(&index, &["--workers", &workers.to_string()])?;
            let name = format!("ours, {workers} worker{}", if workers == 1 { "" } else { "s" });
            subjects.push(ground.ours(&name, &server, &keys));
            servers.push(server);
        }
        subjects.push(redis);
        Ok(Self { servers, subjects })
    }

    /// Measures all of them and stops ours.
    fn compare(self, ground: &Ground<'_>, shape: &Shape) -> anyhow::Result<Compared> {
        let redis = self.subjects.len() - 1;
        let loads = loads::compare(ground, self.subjects, shape)?;
        let default = self.servers.last().context("there is no server of ours")?;
        let threads = threads(default.pid())?;
        self.servers.into_iter().try_for_each(Server::stop)?;
        let ours: Vec<usize> = (0..redis).collect();
        let fastest = loads.fastest(&ours);
        Ok(Compared { loads, fastest, redis, threads })
    }
}

/// What came out.
struct Compared {
    loads: Loads,
    /// The side of ours with the greatest throughput.
    fastest: usize,
    /// Redis's side; the one before it is ours with its default.
    redis: usize,
    /// CPU time of each thread of that one.
    threads: Vec<Thread>,
}

/// The threads that worked, most first; the others together.
fn threads_text(threads: &[Thread]) -> String {
    let (mut busy, quiet): (Vec<&Thread>, Vec<&Thread>) =
        threads.iter().partition(|thread| thread.cpu >= THREAD_SECONDS_MIN);
    busy.sort_by(|a, b| b.cpu.total_cmp(&a.cpu));
    let told: Vec<String> = busy.iter().map(|thread| format!("`{}` {:.2}", thread.name, thread.cpu)).collect();
    let rest: f64 = quiet.iter().map(|thread| thread.cpu).sum();
    format!(
        "CPU seconds of our default server's threads over all rounds: {}; {} others {rest:.2}.",
        told.join(", "),
        quiet.len()
    )
}

/// What all three say of their sides.
fn sides_text(ground: &Ground<'_>) -> anyhow::Result<String> {
    let [values, bytes] = ground.redis_values();
    Ok(format!(
        "{} with its default settings (one thread, nothing written to disk) holds {} replies of our server, {bytes} bytes in the mean, by \
         CPF; both are asked for CPFs drawn from the rows of the table, by the same load generator, which shares the cores with them. Ours \
         looks each row up; every answer must carry a row.",
        peers::redis::version()?,
        grouped(values),
    ))
}

/// As fast as they answer.
pub(crate) fn closed_loop(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let sides = Sides::start(ground)?;
    let shape = loads::shape(ground.plan, ground.plan.connections);
    let Compared { loads, fastest: ours, redis, threads } = sides.compare(ground, &shape)?;
    let title = format!("CPF lookups, {} connections, one in flight each", shape.connections);
    let name = loads.name(ours);
    Ok(Report {
        heading: format!("CPF lookups over {} connections beside Redis", grouped(shape.connections as u64)),
        text: format!(
            "{} {} connections, one request in flight on each. Ratios are those of {name}, the faster of ours in the median.\n\n{}\n{}\n",
            sides_text(ground)?,
            grouped(shape.connections as u64),
            loads.table(),
            threads_text(&threads),
        ),
        reached: vec![
            Reached::new(Goal::RedisThroughput, loads.throughput(ours, redis)),
            Reached::new(Goal::RedisCpu, loads.cpu(ours, redis)),
        ],
        plots: vec![loads.throughput_plot("redis", &title)?, loads.latency_plot("redis", &title)?],
        errors: loads.errors(),
        ..Report::default()
    })
}

/// At half of what Redis can.
pub(crate) fn fixed_rate(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let sides = Sides::start(ground)?;
    let mut shape = loads::shape(ground.plan, ground.plan.connections);
    let redis = &sides.subjects[sides.subjects.len() - 1];
    let mut probes = Vec::new();
    for _ in 0..ground.plan.rounds.min(3) {
        ground.say("asking Redis for its throughput");
        probes.push(ask(redis, &shape)?.summary.per_second());
    }
    let greatest = Spread::new(probes).expect("at least one round, the command line sees to it");
    let per_second = (greatest.median() * SHARE).round();
    shape.pace = Pace::Fixed { per_second };
    let Compared { loads, redis, .. } = sides.compare(ground, &shape)?;
    // The default: at a fixed rate there is no faster one.
    let ours = redis - 1;
    let title =
        format!("Latency at {} requests a second, {} connections", grouped(per_second as u64), shape.connections);
    Ok(Report {
        heading: "Latency at a fixed rate beside Redis".to_owned(),
        text: format!(
            "{} Redis answers {} requests a second over {} connections here; half of that, {} a second, is sent to each side, whether it keeps \
             up or not, and latency counts from the moment at which a request was due. The ratio is that of {}, the default. The load generator itself noticed the 99th \
             of a hundred due requests {} µs late.\n\n{}",
            sides_text(ground)?,
            greatest.grouped(),
            grouped(shape.connections as u64),
            grouped(per_second as u64),
            loads.name(ours),
            loads.lateness().map_or_else(String::new, |late| late.grouped()),
            loads.table()
        ),
        reached: vec![Reached::new(Goal::RateP99, loads.p99(ours, redis))],
        plots: vec![loads.latency_plot("rate", &title)?],
        errors: loads.errors(),
        ..Report::default()
    })
}

/// With many requests in flight on each connection.
pub(crate) fn pipelined(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let sides = Sides::start(ground)?;
    let [connections, pipeline] = PIPELINED;
    let shape = Shape { pipeline, ..loads::shape(ground.plan, connections) };
    let Compared { loads, fastest: ours, redis, .. } = sides.compare(ground, &shape)?;
    let title = format!("CPF lookups, {connections} connections, {pipeline} in flight each");
    Ok(Report {
        heading: "Pipelined CPF lookups beside Redis".to_owned(),
        text: format!(
            "{} {connections} connections, {pipeline} requests in flight on each. The ratio is that of {}, the faster of ours in the median.\n\n{}",
            sides_text(ground)?,
            loads.name(ours),
            loads.table()
        ),
        reached: vec![Reached::new(Goal::Pipeline, loads.throughput(ours, redis))],
        plots: vec![loads.throughput_plot("pipeline", &title)?],
        errors: loads.errors(),
        ..Report::default()
    })
}
