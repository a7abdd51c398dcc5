//! What a run came to: counts and percentiles, for people and as JSON.
//!
//! It measures nothing itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Plan;

/// The longest latency that is told apart, in microseconds: two minutes.
const LATENCY_US_MAX: u64 = 120_000_000;

/// The length of a slot of the timeline.
pub(crate) const SLOT: Duration = Duration::from_millis(100);

/// What was answered within a tenth of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Requests that were answered well.
    pub answered: u64,
    /// The longest latency among them, in microseconds.
    pub max_us: u64,
}

/// What one thread counted.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Answered requests' latencies within the measured time, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
    /// Errors by code, warm-up included.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The measured time, slot by slot.
    pub(crate) slots: Vec<Slot>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds are valid");
        Self { latency_us, errors: BTreeMap::new(), slots: Vec::new() }
    }

    /// A reply, good or bad, that came `since` the beginning of the measured time, `latency` after its request.
    pub(crate) fn answered(&mut self, since: Duration, latency: Duration, is_well: bool) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        self.latency_us.saturating_record(us);
        let at = (since.as_micros() / SLOT.as_micros()) as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        let slot = &mut self.slots[at];
        slot.answered += u64::from(is_well);
        slot.max_us = slot.max_us.max(us);
    }

    pub(crate) fn error(&mut self, code: &str, count: u64) {
        match self.errors.get_mut(code) {
            Some(before) => *before += count,
            None => drop(self.errors.insert(code.to_owned(), count)),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latency_us.add(&other.latency_us).expect("histograms of the same bounds");
        for (code, count) in &other.errors {
            self.error(code, *count);
        }
        self.slots.resize(self.slots.len().max(other.slots.len()), Slot::default());
        for (slot, other) in self.slots.iter_mut().zip(&other.slots) {
            slot.answered += other.answered;
            slot.max_us = slot.max_us.max(other.max_us);
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Connections that asked.
    pub connections: usize,
    /// Requests in flight on each.
    pub pipeline: usize,
    /// Threads of the load generator.
    pub threads: usize,
    /// Requests answered within the measured time, errors among them.
    pub requests: u64,
    /// The measured time in seconds.
    pub seconds: f64,
    /// Errors by code; also those of the warm-up.
    pub errors: BTreeMap<String, u64>,
    /// 50th, 99th and 99.9th percentile and maximum of the latency, in microseconds.
    pub latency_us: [u64; 4],
    /// When the measured time began.
    pub began: SystemTime,
    /// The measured time, tenth by tenth of a second; behind the last reply there is none.
    pub slots: Vec<Slot>,
}

impl Summary {
    pub(crate) fn new(plan: &Plan, tally: Tally, began: SystemTime) -> Self {
        let latency = &tally.latency_us;
        Self {
            connections: plan.connections,
            pipeline: plan.pipeline,
            threads: plan.threads,
            requests: latency.len(),
            seconds: plan.measured.as_secs_f64(),
            latency_us: [
                latency.value_at_quantile(0.5),
                latency.value_at_quantile(0.99),
                latency.value_at_quantile(0.999),
                latency.max(),
            ],
            errors: tally.errors,
            began,
            slots: tally.slots,
        }
    }

    /// Errors of all codes.
    #[must_use]
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Requests answered in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The timeline as one JSON object.
    #[must_use]
    pub fn timeline_to_json(&self) -> Value {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let answered: Vec<u64> = self.slots.iter().map(|slot| slot.answered).collect();
        let max_us: Vec<u64> = self.slots.iter().map(|slot| slot.max_us).collect();
        let slot_ms = SLOT.as_millis() as u64;
        json!({"began_unix_ms": began.as_millis() as u64, "slot_ms": slot_ms, "answered": answered, "max_us": max_us})
    }

    /// The figures as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let [p50, p99, p99_9, max] = self.latency_us;
        json!({
            "connections": self.connections,
            "pipeline": self.pipeline,
            "threads": self.threads,
            "requests": self.requests,
            "seconds": self.seconds,
            "per_second": self.per_second(),
            "errors": self.errors_total(),
            "errors_by_code": self.errors,
            "latency_us": {"p50": p50, "p99": p99, "p99_9": p99_9, "max": max},
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p99_9, max] = self.latency_us;
        writeln!(f, "connections   {} x {} in flight, {} threads here", self.connections, self.pipeline, self.threads)?;
        writeln!(f, "requests      {} in {:.1} s = {:.0} per s", self.requests, self.seconds, self.per_second())?;
        writeln!(f, "latency       p50 {p50} us, p99 {p99} us, p99.9 {p99_9} us, max {max} us")?;
        write!(f, "errors        {}", self.errors_total())?;
        for (code, count) in &self.errors {
            write!(f, "\n  {code:<24} {count}")?;
        }
        Ok(())
    }
}
