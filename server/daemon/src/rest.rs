//! `Rest`: what a search gives back of the cores while the sessions have much to answer: behind each stretch of work it sleeps for some times as long.
//!
//! Its threads' low weight does not suffice for that: a session that wakes up while each core has something to do waits behind another thread of its own weight, though a search
//! runs on the other core. It ends no search and knows no queue.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::limits::{BUSY_ANSWERS_PER_SECOND, REST_MAX, REST_TIMES, SEARCH_STRETCH};
use crate::metrics::Metrics;

/// The rests of one search.
pub(crate) struct Rest {
    metrics: Arc<Metrics>,
    since: Mutex<Since>,
}

/// When the stretch of work at hand began.
struct Since {
    at: Instant,
    /// Processor time of the thread by then.
    worked: Duration,
    /// What everybody had answered by then.
    answered: u64,
}

impl Since {
    fn now(metrics: &Metrics) -> Self {
        Self { at: Instant::now(), worked: processor_time(), answered: metrics.answered_lines() }
    }
}

impl Rest {
    pub(crate) fn new(metrics: &Arc<Metrics>) -> Self {
        Self { metrics: Arc::clone(metrics), since: Mutex::new(Since::now(metrics)) }
    }

    /// Rests where it is time for it. Called by the search again and again.
    pub(crate) fn take(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = processor_time().saturating_sub(since.worked);
        if worked < SEARCH_STRETCH {
            return;
        }
        let answered = self.metrics.answered_lines().saturating_sub(since.answered);
        thread::sleep(rest(worked, since.at.elapsed(), answered));
        *since = Since::now(&self.metrics);
    }
}

/// How long to rest behind so much processor time, where everybody answered so many lines in the time that passed.
fn rest(worked: Duration, passed: Duration, answered: u64) -> Duration {
    let is_busy = answered as f64 >= BUSY_ANSWERS_PER_SECOND * passed.as_secs_f64();
    if is_busy { (worked * REST_TIMES).min(REST_MAX) } else { Duration::ZERO }
}

/// Processor time that the calling thread has had.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_the_sessions_are_busy() {
        let (worked, passed) = (Duration::from_millis(2), Duration::from_millis(10));
        let busy = (BUSY_ANSWERS_PER_SECOND * passed.as_secs_f64()) as u64;
        for (answered, expected) in [(0, Duration::ZERO), (busy - 1, Duration::ZERO), (busy, worked * REST_TIMES)] {
            assert_eq!(rest(worked, passed, answered), expected, "{answered} answers");
        }
        assert_eq!(rest(REST_MAX, passed, busy), REST_MAX);
    }

    #[test]
    fn a_stretch_that_worked_is_rested_for_and_counted_anew() {
        let metrics = Arc::<Metrics>::default();
        let rest = Rest::new(&metrics);
        let mut numbers = 0_u64;
        while processor_time().saturating_sub(rest.since.lock().unwrap().worked) < SEARCH_STRETCH {
            numbers = std::hint::black_box(numbers.wrapping_mul(31).wrapping_add(1));
        }
        (0..1_000_000).for_each(|_| metrics.answered(Ok(()), Duration::ZERO));
        let (before, began) = (rest.since.lock().unwrap().worked, Instant::now());
        rest.take();
        assert!(began.elapsed() >= SEARCH_STRETCH * REST_TIMES, "it slept");
        assert!(rest.since.lock().unwrap().worked > before);
    }
}
