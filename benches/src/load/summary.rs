//! What a run came to: counts and percentiles, for people and as JSON.
//!
//! It measures nothing itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{Pace, Plan};

/// The longest latency that is told apart, in microseconds: two minutes.
const LATENCY_US_MAX: u64 = 120_000_000;

/// The length of a slot of the timeline.
pub(crate) const SLOT: Duration = Duration::from_millis(100);

/// Different codes of errors that are told apart; further ones are `other`. A hostile server may invent one for each reply.
const CODES_MAX: usize = 100;

/// Codes by which a server says no without having failed.
const REFUSALS: [&str; 2] = ["deadline_exceeded", "overloaded"];

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
    /// Latencies in microseconds: of requests answered within the measured time; by a schedule of all that were due within it.
    latency_us: Histogram<u64>,
    /// From when a request was due to when it was noticed, and to when it was written; by a schedule only.
    noticed_us: Histogram<u64>,
    lag_us: Histogram<u64>,
    /// Requests answered within the measured time.
    requests: u64,
    /// Bytes of their replies.
    reply_bytes: u64,
    /// Requests that were due in the measured time; by a schedule only.
    pub(crate) due: u64,
    /// Requests that were due but never sent, warm-up included.
    pub(crate) never_sent: u64,
    /// Errors by code, warm-up included.
    errors: BTreeMap<String, u64>,
    /// The measured time, slot by slot.
    slots: Vec<Slot>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds are valid");
        Self {
            latency_us: histogram(),
            noticed_us: histogram(),
            lag_us: histogram(),
            requests: 0,
            reply_bytes: 0,
            due: 0,
            never_sent: 0,
            errors: BTreeMap::new(),
            slots: Vec::new(),
        }
    }

    /// A reply of so many bytes, good or bad, that came `since` the beginning of the measured time, `latency` after its request.
    pub(crate) fn answered(&mut self, since: Duration, latency: Duration, bytes: usize, is_well: bool) {
        self.requests += 1;
        self.reply_bytes += bytes as u64;
        let at = (since.as_micros() / SLOT.as_micros()) as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        let slot = &mut self.slots[at];
        slot.answered += u64::from(is_well);
        slot.max_us = slot.max_us.max(microseconds(latency));
    }

    /// The latency of a request that counts.
    pub(crate) fn latency(&mut self, latency: Duration) {
        self.latency_us.saturating_record(microseconds(latency));
    }

    /// How late this program saw that a request was due.
    pub(crate) fn noticed(&mut self, late: Duration) {
        self.noticed_us.saturating_record(microseconds(late));
    }

    /// How late a request was written.
    pub(crate) fn lag(&mut self, late: Duration) {
        self.lag_us.saturating_record(microseconds(late));
    }

    pub(crate) fn error(&mut self, code: &str, count: u64) {
        if count == 0 {
            return;
        }
        let is_known = self.errors.len() < CODES_MAX || self.errors.contains_key(code);
        let code = if is_known { code } else { "other" };
        match self.errors.get_mut(code) {
            Some(before) => *before += count,
            None => drop(self.errors.insert(code.to_owned(), count)),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let histograms = [
            (&mut self.latency_us, &other.latency_us),
            (&mut self.noticed_us, &other.noticed_us),
            (&mut self.lag_us, &other.lag_us),
        ];
        for (histogram, other) in histograms {
            histogram.add(other).expect("histograms of the same bounds");
        }
        self.requests += other.requests;
        self.reply_bytes += other.reply_bytes;
        self.due += other.due;
        self.never_sent += other.never_sent;
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

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn percentiles(histogram: &Histogram<u64>) -> [u64; 4] {
    let [p50, p99, p99_9] = [0.5, 0.99, 0.999].map(|quantile| histogram.value_at_quantile(quantile));
    [p50, p99, p99_9, histogram.max()]
}

/// How well requests were sent when they were due, in microseconds: 50th, 99th and 99.9th percentile and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// From when a request was due to when this program noticed: its own lateness, whatever the server does.
    pub noticed_us: [u64; 4],
    /// From when a request was due to when it was written: the same, and waiting for a free place.
    pub lag_us: [u64; 4],
    /// Requests that were due but never sent, warm-up included; they are errors too.
    pub never_sent: u64,
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
    /// 50th, 99th and 99.9th percentile and maximum of the latency, in microseconds. At a fixed rate from when each request was due that was
    /// due in the measured time; what was given up counts with the time until then.
    pub latency_us: [u64; 4],
    /// Its 90th percentile.
    pub latency_p90_us: u64,
    /// Bytes of the replies that came within the measured time.
    pub reply_bytes: u64,
    /// At a fixed rate: requests due in a second of the measured time, as they were drawn.
    pub offered_per_second: Option<f64>,
    /// At a fixed rate: how well they were sent.
    pub sending: Option<Sending>,
    /// When the measured time began.
    pub began: SystemTime,
    /// The measured time, tenth by tenth of a second; behind the last reply there is none.
    pub slots: Vec<Slot>,
}

impl Summary {
    pub(crate) fn new(plan: &Plan, tally: Tally, began: SystemTime) -> Self {
        let seconds = plan.measured.as_secs_f64();
        let sending = Sending {
            noticed_us: percentiles(&tally.noticed_us),
            lag_us: percentiles(&tally.lag_us),
            never_sent: tally.never_sent,
        };
        let is_fixed = matches!(plan.pace, Pace::Fixed { .. });
        Self {
            connections: plan.connections,
            pipeline: plan.pipeline,
            threads: plan.threads,
            requests: tally.requests,
            seconds,
            latency_us: percentiles(&tally.latency_us),
            latency_p90_us: tally.latency_us.value_at_quantile(0.9),
            reply_bytes: tally.reply_bytes,
            offered_per_second: is_fixed.then(|| tally.due as f64 / seconds),
            sending: is_fixed.then_some(sending),
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

    /// Errors that are no failure of the server: it said that it is busy, or that the time of a request was over.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        REFUSALS.iter().filter_map(|code| self.errors.get(*code)).sum()
    }

    /// Requests answered well in a second.
    #[must_use]
    pub fn well_per_second(&self) -> f64 {
        self.slots.iter().map(|slot| slot.answered).sum::<u64>() as f64 / self.seconds
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
        let mut figures = json!({
            "connections": self.connections,
            "pipeline": self.pipeline,
            "threads": self.threads,
            "requests": self.requests,
            "seconds": self.seconds,
            "per_second": self.per_second(),
            "reply_bytes": self.reply_bytes,
            "errors": self.errors_total(),
            "errors_by_code": self.errors,
            "latency_us": {"p50": p50, "p90": self.latency_p90_us, "p99": p99, "p99_9": p99_9, "max": max},
        });
        if let (Some(offered), Some(sending)) = (self.offered_per_second, &self.sending) {
            let late = |[p50, p99, p99_9, max]: [u64; 4]| json!({"p50": p50, "p99": p99, "p99_9": p99_9, "max": max});
            figures["offered_per_second"] = offered.into();
            figures["noticed_late_us"] = late(sending.noticed_us);
            figures["sent_late_us"] = late(sending.lag_us);
            figures["never_sent"] = sending.never_sent.into();
        }
        figures
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p99_9, max] = self.latency_us;
        writeln!(f, "connections   {} x {} in flight, {} threads here", self.connections, self.pipeline, self.threads)?;
        writeln!(f, "requests      {} in {:.1} s = {:.0} per s", self.requests, self.seconds, self.per_second())?;
        let p90 = self.latency_p90_us;
        writeln!(f, "latency       p50 {p50} us, p90 {p90} us, p99 {p99} us, p99.9 {p99_9} us, max {max} us")?;
        if let (Some(offered), Some(Sending { noticed_us, lag_us, never_sent })) =
            (self.offered_per_second, self.sending)
        {
            writeln!(f, "offered       {offered:.0} per s; latency counts from when a request was due")?;
            let [p50, _, _, max] = noticed_us;
            write!(f, "sent late     p50 {} us, p99 {} us, max {} us", lag_us[0], lag_us[1], lag_us[3])?;
            writeln!(f, " (this program's own part: p50 {p50} us, p99 {} us, max {max} us)", noticed_us[1])?;
            writeln!(f, "never sent    {never_sent}")?;
        }
        write!(f, "errors        {}", self.errors_total())?;
        for (code, count) in &self.errors {
            write!(f, "\n  {code:<24} {count}")?;
        }
        Ok(())
    }
}
