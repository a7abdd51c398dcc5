//! What a run came to: counts and percentiles, for people and as JSON.
//!
//! It measures nothing itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Plan;

/// The longest latency that is told apart, in microseconds: two minutes.
const LATENCY_US_MAX: u64 = 120_000_000;

/// What one thread counted.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Answered requests' latencies within the measured time, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
    /// Errors by code, warm-up included.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds are valid");
        Self { latency_us, errors: BTreeMap::new() }
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
}

impl Summary {
    pub(crate) fn new(plan: &Plan, tally: Tally, measured: Duration) -> Self {
        let latency = &tally.latency_us;
        Self {
            connections: plan.connections,
            pipeline: plan.pipeline,
            threads: plan.threads,
            requests: latency.len(),
            seconds: measured.as_secs_f64(),
            latency_us: [
                latency.value_at_quantile(0.5),
                latency.value_at_quantile(0.99),
                latency.value_at_quantile(0.999),
                latency.max(),
            ],
            errors: tally.errors,
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
