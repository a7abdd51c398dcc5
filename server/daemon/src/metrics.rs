//! `Metrics`: what the server counts. Counters only grow; who reads them twice and subtracts has a rate.
//!
//! The counters of answers are touched once for each line, so that each thread has a shard of its own and no two of them share a cache line.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use balcao_engine::Answer;
use balcao_wire::Code;
use balcao_wire::stats::LatencyStats;
use histogram::{AtomicHistogram, Config, Histogram};

use crate::limits::STATS_KEPT;
use crate::queries::Lane;

/// Shards: more than threads that answer on most machines. Two threads on one shard cost time, no count.
const SHARDS: usize = 8;

/// Outcomes of a line: `ok`, then the codes in their order.
const OUTCOMES: usize = 1 + Code::ALL.len();

/// A bucket of the latencies is a 32nd of its value wide, in nanoseconds; the last one ends after 68 seconds, beyond every deadline.
const LATENCY_GROUPING_POWER: u8 = 5;
const LATENCY_POWER_MAX: u8 = 36;
const LATENCY_SHAPE: Config = match Config::new(LATENCY_GROUPING_POWER, LATENCY_POWER_MAX) {
    Ok(shape) => shape,
    Err(_) => panic!("no histogram has this shape"),
};
const LATENCY_MAX_NS: u64 = (1 << LATENCY_POWER_MAX) - 1;

/// Panics of the whole process: the hook that counts them belongs to the process too.
pub(crate) static PANICS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The shard of this thread. A coroutine asks each time: the next time it may run on another one.
    static SHARD: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS)
    };
}

/// What one thread counts.
#[repr(align(128))]
struct Shard {
    outcomes: [AtomicU64; OUTCOMES],
    latency_ns: AtomicHistogram,
}

/// A counter that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
pub(crate) struct Metrics {
    pub(crate) began: Instant,
    /// The figures that are dear to gather, and when they were.
    kept: Mutex<Option<(Instant, LatencyStats, u64)>>,
    shards: Vec<Shard>,
    pub(crate) accepted: Counter,
    pub(crate) turned_away: Counter,
    pub(crate) parked: Counter,
    /// Questions of each lane that were answered, of whatever outcome.
    pub(crate) lanes: [Counter; Lane::COUNT],
    pub(crate) idle: Counter,
    pub(crate) late_lines: Counter,
    pub(crate) write_stalls: Counter,
    pub(crate) late_requests: Counter,
    pub(crate) threads_replaced: Counter,
    pub(crate) reloads_taken: Counter,
    pub(crate) reloads_refused: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let shard = || Shard {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            latency_ns: AtomicHistogram::with_config(&LATENCY_SHAPE),
        };
        Self {
            began: Instant::now(),
            kept: Mutex::default(),
            shards: (0..SHARDS).map(|_| shard()).collect(),
            accepted: Counter::default(),
            turned_away: Counter::default(),
            parked: Counter::default(),
            lanes: Default::default(),
            idle: Counter::default(),
            late_lines: Counter::default(),
            write_stalls: Counter::default(),
            late_requests: Counter::default(),
            threads_replaced: Counter::default(),
            reloads_taken: Counter::default(),
            reloads_refused: Counter::default(),
        }
    }
}

impl Metrics {
    /// Counts an answered line and how long it took.
    pub(crate) fn answered(&self, answer: Answer, took: Duration) {
        let shard = self.shard();
        self.outcome(shard, answer);
        let ns = took.as_nanos().min(u128::from(LATENCY_MAX_NS)) as u64;
        // It fails for values beyond its range, of which there are none.
        let _ = shard.latency_ns.increment(ns);
    }

    /// Counts an error that answers no request, such as that of a line that is too long.
    pub(crate) fn refused(&self, code: Code) {
        self.outcome(self.shard(), Err(code));
    }

    fn outcome(&self, shard: &Shard, answer: Answer) {
        let at = answer.map_or_else(|code| 1 + code as usize, |()| 0);
        shard.outcomes[at].fetch_add(1, Ordering::Relaxed);
    }

    /// Never inlined, so that a coroutine that waited does not go on with the shard of the thread before.
    #[inline(never)]
    fn shard(&self) -> &Shard {
        &self.shards[SHARD.get()]
    }

    /// Lines by outcome, every outcome once.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = std::iter::once("ok").chain(Code::ALL.iter().map(|code| code.as_str()));
        let count = |at: usize| self.shards.iter().map(|shard| shard.outcomes[at].load(Ordering::Relaxed)).sum();
        names.enumerate().map(move |(at, name)| (name, count(at)))
    }

    /// All lines that were answered, of whatever outcome.
    pub(crate) fn answered_lines(&self) -> u64 {
        self.shards.iter().flat_map(|shard| &shard.outcomes).map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Percentiles, and what `private_bytes` tells: gathered when they were not for [`STATS_KEPT`], so that whoever asks all the time costs little.
    pub(crate) fn dear_figures(&self, private_bytes: impl FnOnce() -> u64) -> (LatencyStats, u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((at, latency, bytes)) if at.elapsed() < STATS_KEPT => (latency.clone(), *bytes),
            _ => {
                let (latency, bytes) = (self.latency(), private_bytes());
                *kept = Some((Instant::now(), latency.clone(), bytes));
                (latency, bytes)
            }
        }
    }

    /// Percentiles of all lines so far.
    pub(crate) fn latency(&self) -> LatencyStats {
        let parts: Vec<Histogram> = self.shards.iter().map(|shard| shard.latency_ns.load()).collect();
        // Sums of counters in 64 bits of one shape: they fit.
        let Ok(sum) = Histogram::checked_sum(&parts.iter().collect::<Vec<_>>()) else { return LatencyStats::default() };
        let us = |quantile: f64| {
            sum.quantile_bucket(quantile).ok().flatten().map_or(0, |bucket| bucket.end().div_ceil(1000))
        };
        LatencyStats {
            count: sum.as_slice().iter().sum(),
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p999: us(0.999),
            max: us(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_counter() {
        let metrics = Metrics::default();
        metrics.answered(Ok(()), Duration::from_micros(3));
        for (times, code) in Code::ALL.into_iter().enumerate() {
            for _ in 0..times {
                metrics.answered(Err(code), Duration::ZERO);
            }
            metrics.refused(code);
        }
        let mut answers = metrics.answers();
        assert_eq!(answers.next(), Some(("ok", 1)));
        for (times, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(answers.next(), Some((code.as_str(), times as u64 + 1)));
        }
        assert_eq!(answers.next(), None);
    }

    #[test]
    fn percentiles_are_in_microseconds_and_over_all_threads() {
        let metrics = Metrics::default();
        assert_eq!(metrics.latency(), LatencyStats::default());
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let metrics = &metrics;
                scope.spawn(move || {
                    (1..=250).for_each(|i| metrics.answered(Ok(()), Duration::from_micros(thread * 250 + i)));
                });
            }
        });
        let latency = metrics.latency();
        assert_eq!(latency.count, 1000);
        for (got, exact) in [(latency.p50, 500), (latency.p90, 900), (latency.p99, 990), (latency.max, 1000)] {
            assert!(got >= exact && got <= exact + exact / 25 + 1, "{got} for {exact}");
        }
        metrics.answered(Ok(()), Duration::from_secs(1000));
        assert!(metrics.latency().max >= 68_000_000);
    }
}
