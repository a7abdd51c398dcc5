//! One load on one server: the load generator in this process, and what the server's own process spent meanwhile.
//!
//! It compares nothing; every side is asked by the same code in the same shape.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::load::{self, Pace, Protocol, Summary};
use crate::measure::observing::process_cpu;

/// How often the server's CPU time is looked at: as often as the kernel counts it.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// The process that answers, where it is one.
    pub(crate) pid: Option<u32>,
    pub(crate) protocol: Protocol,
    pub(crate) keys: PathBuf,
}

/// How all sides of a figure are asked.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) pace: Pace,
    pub(crate) seconds: u64,
    /// Seconds of asking before that.
    pub(crate) warmup: u64,
    /// Threads of the load generator.
    pub(crate) threads: usize,
    pub(crate) seed: u64,
}

/// One load.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) summary: Summary,
    /// CPU time of the server within the measured time, user and system, in seconds.
    pub(crate) cpu: Option<f64>,
}

impl Asked {
    /// Microseconds of the server's CPU time for each request.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.unwrap_or(f64::NAN) * 1e6 / self.summary.requests as f64
    }
}

/// Asks `subject`.
pub(crate) fn ask(subject: &Subject, shape: &Shape) -> anyhow::Result<Asked> {
    let plan = load::Plan {
        server: subject.address,
        connections: shape.connections,
        measured: Duration::from_secs(shape.seconds),
        warmup: Duration::from_secs(shape.warmup),
        threads: shape.threads,
        pipeline: shape.pipeline,
        keys: subject.keys.clone(),
        seed: shape.seed,
        expect_rows: true,
        protocol: subject.protocol.clone(),
        pace: shape.pace,
    };
    let is_over = AtomicBool::new(false);
    let (summary, looks) = std::thread::scope(|scope| {
        let watch = subject.pid.map(|pid| {
            scope.spawn({
                let is_over = &is_over;
                move || watch(pid, is_over)
            })
        });
        let summary = load::run(&plan, None);
        is_over.store(true, Ordering::Relaxed);
        (summary, watch.map(|watch| watch.join().expect("the watching thread panicked")))
    });
    let summary = summary?;
    let end = summary.began + plan.measured;
    let cpu = looks.and_then(|looks| Some(at(&looks, end)? - at(&looks, summary.began)?));
    Ok(Asked { summary, cpu })
}

/// A moment, and the CPU time that a process had spent until then.
type Look = (SystemTime, f64);

fn watch(pid: u32, is_over: &AtomicBool) -> Vec<Look> {
    let mut looks = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        looks.extend(process_cpu(pid).map(|cpu| (SystemTime::now(), cpu)));
        std::thread::sleep(LOOK_EVERY);
    }
    looks
}

/// What had been spent at `moment`, as far as the next look after it tells; the last one where there is none.
fn at(looks: &[Look], moment: SystemTime) -> Option<f64> {
    looks.iter().find(|(when, _)| *when >= moment).or(looks.last()).map(|(_, cpu)| *cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_that_of_the_moment() {
        let start = SystemTime::UNIX_EPOCH;
        let looks: Vec<Look> = (0..4).map(|n| (start + Duration::from_secs(n), n as f64 / 2.0)).collect();
        assert_eq!(at(&looks, start + Duration::from_millis(1500)), Some(1.0));
        assert_eq!(at(&looks, start), Some(0.0));
        assert_eq!(at(&looks, start + Duration::from_secs(9)), Some(1.5));
        assert_eq!(at(&[], start), None);
    }
}
