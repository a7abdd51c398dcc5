//! `Crowd`: hostile clients that act in steps, so that one thread with little processor time drives all of them.
//!
//! Which crowds there are is told in `kinds`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a crowd did and what became of it, by name.
pub(crate) type Deeds = BTreeMap<&'static str, u64>;

/// Hostile clients of one kind.
pub(crate) trait Crowd: Send {
    /// Does what is due.
    fn step(&mut self, deeds: &mut Deeds);

    /// The time between two steps.
    fn every(&self) -> Duration;
}

/// Adds to one of the deeds.
pub(crate) fn note(deeds: &mut Deeds, what: &'static str, count: usize) {
    if count > 0 {
        *deeds.entry(what).or_default() += count as u64;
    }
}

/// So many a second, from the first question on.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    began: Option<Instant>,
    done: u64,
}

impl Pace {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { per_second, began: None, done: 0 }
    }

    /// How many are due now.
    pub(crate) fn due(&mut self) -> usize {
        let began = *self.began.get_or_insert_with(Instant::now);
        let by_now = (began.elapsed().as_secs_f64() * self.per_second) as u64;
        let due = by_now.saturating_sub(self.done);
        self.done = by_now.max(self.done);
        due as usize
    }
}

/// A crowd at work on a thread of its own.
pub(crate) struct Working {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Box<dyn Crowd>, Deeds)>,
}

impl Working {
    pub(crate) fn start(mut crowd: Box<dyn Crowd>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut deeds = Deeds::new();
            while !stopped.load(Ordering::Relaxed) {
                crowd.step(&mut deeds);
                std::thread::sleep(crowd.every());
            }
            (crowd, deeds)
        });
        Self { stop, thread }
    }

    /// Stops it from acting. Its connections are open until the crowd is dropped.
    pub(crate) fn stop(self) -> (Box<dyn Crowd>, Deeds) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a crowd's thread panicked")
    }
}

/// What a crowd knows of the server that it meets.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) server: SocketAddr,
    pub(crate) pid: u32,
    /// Members of a question for a page of a thousand rows.
    pub(crate) dear: String,
    /// A cursor of a generation that is not served any more, with the members of its question.
    pub(crate) stale: String,
    pub(crate) seed: u64,
}
