//! When requests are due at a fixed rate: arrivals at random (a Poisson process), drawn by a seed, and so before any answer is known.
//!
//! Many clients that know nothing of each other arrive so, also where each of them keeps its own beat. The gaps are exponential: short ones
//! follow each other now and then, as they do in life, and an even beat would flatter the server. It sends nothing and never skips: what
//! is not taken in time is taken later, with the time at which it was due.

use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

use crate::rng::Rng;

/// The stream of random numbers of the first thread's schedule; those of the others follow.
const STREAM: u64 = 1 << 32;

/// The arrivals of one thread.
#[derive(Debug)]
pub(crate) struct Schedule {
    rng: Rng,
    per_second: f64,
    start: Instant,
    end: Instant,
    /// Seconds from the start to the next arrival.
    at: f64,
    next: Instant,
}

impl Schedule {
    /// `per_second` arrivals from `start` to `end`, more or less as chance will have it.
    pub(crate) fn new(per_second: f64, seed: u64, thread: usize, start: Instant, end: Instant) -> Self {
        let rng = Rng::new(seed, STREAM + thread as u64);
        let mut schedule = Self { rng, per_second, start, end, at: 0.0, next: start };
        schedule.draw();
        schedule
    }

    /// When the next request is due; `None` where there is no further one.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.next < self.end).then_some(self.next)
    }

    /// Takes the next request if it is due by `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|due| *due <= now)?;
        self.draw();
        Some(due)
    }

    fn draw(&mut self) {
        // From 0 to below 1, in steps of 2^-53.
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        self.at += -(1.0 - uniform).ln() / self.per_second;
        // So late that it cannot be told as a duration is behind every end.
        let at = Duration::try_from_secs_f64(self.at).ok().and_then(|at| self.start.checked_add(at));
        self.next = at.unwrap_or(self.end);
    }
}

/// Has `timer` ring once, `after` from now. Epoll's own timeout counts in milliseconds, far too coarse for what is due.
pub(crate) fn set_timer(timer: &std::os::fd::OwnedFd, after: Duration) -> std::io::Result<()> {
    // Zero would stop it.
    let after = after.max(Duration::from_nanos(1));
    let once = Timespec { tv_sec: after.as_secs().cast_signed(), tv_nsec: after.subsec_nanos().into() };
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: never, it_value: once })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(per_second: f64, seed: u64, thread: usize, seconds: u64) -> Vec<Duration> {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(per_second, seed, thread, start, end);
        std::iter::from_fn(|| schedule.take(end)).map(|due| due - start).collect()
    }

    #[test]
    fn a_seed_repeats_its_arrivals() {
        assert_eq!(arrivals(1000.0, 1, 0, 3), arrivals(1000.0, 1, 0, 3));
        assert_ne!(arrivals(1000.0, 1, 0, 3), arrivals(1000.0, 2, 0, 3));
        assert_ne!(arrivals(1000.0, 1, 0, 3), arrivals(1000.0, 1, 1, 3));
    }

    #[test]
    fn arrivals_are_as_many_as_asked_and_as_random_as_poisson() {
        let due = arrivals(1000.0, 7, 0, 100);
        assert!(due.is_sorted());
        // Five standard deviations of a count of 100,000.
        assert!(due.len().abs_diff(100_000) < 5 * 316, "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0).collect();
        // Of exponential gaps the share e^-1 is longer than the mean, and the share e^-3 than three times that.
        for (times, share) in [(1.0_f64, 0.3679), (3.0, 0.0498)] {
            let longer = gaps.iter().filter(|gap| **gap > times).count() as f64 / gaps.len() as f64;
            assert!((longer - share).abs() < 0.01, "{longer} of the gaps are longer than {times} ms");
        }
    }

    #[test]
    fn nothing_is_due_early_and_nothing_is_skipped() {
        let start = Instant::now();
        let end = start + Duration::from_secs(1);
        let mut schedule = Schedule::new(100.0, 1, 0, start, end);
        let first = schedule.next().unwrap();
        assert_eq!(schedule.take(start), None);
        // Asked late, it gives what was due long ago, one after the other.
        assert_eq!(schedule.take(end + Duration::from_secs(5)), Some(first));
        assert!(schedule.take(end).unwrap() > first);
        assert_eq!(Schedule::new(1e-300, 1, 0, start, end).next(), None);
    }
}
