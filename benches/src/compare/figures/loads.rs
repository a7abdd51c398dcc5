//! Loads on several sides in turns: the rounds, their table and their plots.
//!
//! Which sides, and which ratio is told, is the figures' own affair.

use std::fmt::Write as _;

use crate::compare::Plan;
use crate::compare::asking::{Asked, Shape, Subject, ask};
use crate::compare::ground::Ground;
use crate::compare::plots::{self, Line, Plot};
use crate::compare::rounds::{in_turns, over, ratio};
use crate::load::Pace;
use crate::measure::spread::Spread;

/// Points of the latency that a load tells, as they are told.
const POINTS: [&str; 4] = ["p50", "p90", "p99", "p99.9"];

/// The loads of each side, round by round.
pub(crate) struct Loads {
    subjects: Vec<Subject>,
    /// By side, then by round.
    asked: Vec<Vec<Asked>>,
}

/// The usual shape: as fast as they answer, one request in flight on each connection.
pub(crate) fn shape(plan: &Plan, connections: usize) -> Shape {
    Shape {
        connections,
        pipeline: 1,
        pace: Pace::Closed,
        seconds: plan.seconds,
        warmup: plan.warmup(),
        threads: plan.load_threads,
        seed: plan.make.seed,
    }
}

/// Asks every side in each round.
pub(crate) fn compare(ground: &Ground<'_>, subjects: Vec<Subject>, shape: &Shape) -> anyhow::Result<Loads> {
    let rounds = ground.plan.rounds;
    let asked = in_turns(rounds, subjects.len(), |round, side| {
        ground.say(&format!("round {} of {rounds}: asking {}", round + 1, subjects[side].name));
        ask(&subjects[side], shape)
    })?;
    Ok(Loads { subjects, asked })
}

impl Loads {
    pub(crate) fn errors(&self) -> u64 {
        self.asked.iter().flatten().map(|asked| asked.summary.errors_total()).sum()
    }

    pub(crate) fn name(&self, side: usize) -> &str {
        &self.subjects[side].name
    }

    pub(crate) fn per_second(&self, side: usize) -> Spread {
        over(&self.asked[side], |asked| asked.summary.per_second())
    }

    /// Throughput of one side to that of another.
    pub(crate) fn throughput(&self, of: usize, to: usize) -> Spread {
        ratio(&self.asked[of], &self.asked[to], |asked| asked.summary.per_second())
    }

    /// The server's CPU time a request of one side to that of another.
    pub(crate) fn cpu(&self, of: usize, to: usize) -> Spread {
        ratio(&self.asked[of], &self.asked[to], Asked::cpu_us)
    }

    /// The 99th percentile of one side to that of another.
    pub(crate) fn p99(&self, of: usize, to: usize) -> Spread {
        ratio(&self.asked[of], &self.asked[to], |asked| asked.summary.latency_us[1] as f64)
    }

    /// The one of `sides` with the greatest throughput in the median.
    pub(crate) fn fastest(&self, sides: &[usize]) -> usize {
        let rate = |side: &usize| self.per_second(*side).median();
        sides.iter().copied().max_by(|a, b| rate(a).total_cmp(&rate(b))).unwrap_or_default()
    }

    /// How late the load generator itself was at a fixed rate, whatever the servers did; nothing for one that is not fixed.
    pub(crate) fn lateness(&self) -> Option<Spread> {
        let late = self.asked.iter().flatten().filter_map(|asked| Some(asked.summary.sending?.noticed_us[1] as f64));
        Spread::new(late)
    }

    /// Every side with its throughput, latency and what its server spent.
    pub(crate) fn table(&self) -> String {
        let mut out = "| side | requests a second | p50 µs | p99 µs | p99.9 µs | greatest µs | server's CPU a request, µs | bytes a reply | errors |\n\
                       | --- | --- | --- | --- | --- | --- | --- | ---: | ---: |\n"
            .to_owned();
        for (subject, asked) in self.subjects.iter().zip(&self.asked) {
            let latency = |at: usize| over(asked, |asked| asked.summary.latency_us[at] as f64).grouped();
            let cpu = match subject.pid {
                Some(_) => format!("{:.2}", over(asked, Asked::cpu_us)),
                None => String::new(),
            };
            let bytes = over(asked, |asked| asked.summary.reply_bytes as f64 / asked.summary.requests as f64).median();
            // Writing to memory cannot fail.
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {cpu} | {bytes:.0} | {} |",
                subject.name,
                over(asked, |asked| asked.summary.per_second()).grouped(),
                latency(0),
                latency(1),
                latency(2),
                latency(3),
                asked.iter().map(|asked| asked.summary.errors_total()).sum::<u64>(),
            );
        }
        out
    }

    /// Throughput as bars.
    pub(crate) fn throughput_plot(&self, name: &str, title: &str) -> anyhow::Result<Plot> {
        let bars: Vec<(String, Spread)> = self
            .subjects
            .iter()
            .enumerate()
            .map(|(side, subject)| (subject.name.clone(), self.per_second(side)))
            .collect();
        plots::bars(&format!("{name}-throughput"), title, "requests a second", &bars)
    }

    /// Latency as a line for each side, the median of all rounds at each point.
    pub(crate) fn latency_plot(&self, name: &str, title: &str) -> anyhow::Result<Plot> {
        let line = |(subject, asked): (&Subject, &Vec<Asked>)| Line {
            name: subject.name.clone(),
            values: (0..POINTS.len()).map(|point| over(asked, |asked| at_point(asked, point)).median()).collect(),
        };
        let lines: Vec<Line> = self.subjects.iter().zip(&self.asked).map(line).collect();
        plots::lines(&format!("{name}-latency"), title, "µs", &POINTS, &lines)
    }
}

/// The latency at one of [`POINTS`], in microseconds.
fn at_point(asked: &Asked, point: usize) -> f64 {
    let [p50, p99, p99_9, _] = asked.summary.latency_us;
    [p50, asked.summary.latency_p90_us, p99, p99_9][point] as f64
}
