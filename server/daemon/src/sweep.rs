//! The sessions that are open, and the sweep over deadlines: one thread looks at all of them a few times a second and wakes whoever
//! is late. Sessions judge by themselves what their deadline means. Questions that wait, in a queue or put aside, are answered here when theirs has passed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::allowance::Allowance;
use crate::budget::Budget;
use crate::limits::{CONNECTION_BYTES_ABOUT, STALL_SHORT, SWEEP_EVERY};
use crate::mailbox::Mailbox;
use crate::memory::Tide;
use crate::metrics::Metrics;
use crate::queries::{Lines, Query};
use crate::threads;

/// What the sweep knows of a session.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) mailbox: Arc<Mailbox>,
    /// Milliseconds on the house's clock; 0 for none.
    deadline_ms: AtomicU64,
    /// Since when the client takes no byte of its replies, or owes the rest of a large line, on the same clock; 0 where it does neither.
    stalled_ms: AtomicU64,
    /// The session reads no more until there is room again.
    held_back: AtomicBool,
}

impl Watch {
    /// The session wants to be woken at `deadline_ms`, or not at all.
    pub(crate) fn set_deadline(&self, deadline_ms: Option<u64>) {
        self.deadline_ms.store(deadline_ms.unwrap_or(0), Ordering::Relaxed);
    }

    /// Since when the client takes nothing of what waits for it, or owes the rest of a large line, if so.
    pub(crate) fn set_stalled(&self, since_ms: Option<u64>) {
        self.stalled_ms.store(since_ms.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether the session is to be woken when the server has room again.
    pub(crate) fn set_held_back(&self, held_back: bool) {
        self.held_back.store(held_back, Ordering::Relaxed);
    }
}

/// All open sessions.
pub(crate) struct Sessions {
    began: Instant,
    open: Mutex<Open>,
    changed: Condvar,
    stopping: AtomicBool,
    budget: Arc<Budget>,
}

#[derive(Default)]
struct Open {
    next: u64,
    watches: HashMap<u64, Arc<Watch>>,
    /// Those of them that are served; the others are being turned away, and take nobody's place.
    served: usize,
}

/// A session's entry; dropped, the session is over.
pub(crate) struct Entry {
    sessions: Arc<Sessions>,
    number: u64,
    /// Whether there is room for it; else it is told so.
    pub(crate) welcome: bool,
    pub(crate) watch: Arc<Watch>,
    /// What it may still have verified.
    pub(crate) verifies: Allowance,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.watch.mailbox.close();
        let mut open = self.sessions.lock();
        open.watches.remove(&self.number);
        open.served -= usize::from(self.welcome);
        if open.watches.is_empty() {
            self.sessions.changed.notify_all();
        }
    }
}

impl Sessions {
    /// Starts the sweep, over the sessions and these queues.
    pub(crate) fn start(metrics: &Arc<Metrics>, budget: &Arc<Budget>, lines: Arc<Lines>) -> io::Result<Arc<Self>> {
        let sessions = Arc::new(Self {
            began: Instant::now(),
            open: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
            budget: Arc::clone(budget),
        });
        let swept = Arc::clone(&sessions);
        let mut tide = Tide::default();
        threads::start("sweep".to_owned(), metrics, move || {
            loop {
                thread::sleep(SWEEP_EVERY);
                swept.sweep();
                lines.sweep(Instant::now());
                tide.look(swept.budget.held() + swept.served() * CONNECTION_BYTES_ABOUT);
            }
        })?;
        Ok(sessions)
    }

    /// Milliseconds on the house's clock, never 0.
    pub(crate) fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    /// Microseconds on the same clock.
    pub(crate) fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Enters a session: one that is served while fewer than `served_max` are, else one to turn away; `None` where `turned_away_max` of
    /// those are open already.
    pub(crate) fn enter(self: &Arc<Self>, served_max: usize, turned_away_max: usize) -> Option<Entry> {
        let mut open = self.lock();
        let welcome = open.served < served_max;
        if !welcome && open.watches.len() - open.served >= turned_away_max {
            return None;
        }
        open.served += usize::from(welcome);
        let number = open.next;
        open.next += 1;
        let watch = Arc::<Watch>::default();
        open.watches.insert(number, Arc::clone(&watch));
        Some(Entry { sessions: Arc::clone(self), number, welcome, watch, verifies: Allowance::default() })
    }

    /// Sessions that are served now.
    pub(crate) fn served(&self) -> usize {
        self.lock().served
    }

    /// Whether the server is stopping.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From now on the server is stopping: nobody new is served, and a session that looks up ends.
    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Makes every session look up, and waits for their end at most `within`: how many are left.
    pub(crate) fn end_all(&self, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        let mut open = self.lock();
        loop {
            // Again each time: a session that had just begun may have missed the first call.
            open.watches.values().for_each(|watch| watch.mailbox.wake());
            let left = deadline.saturating_duration_since(Instant::now());
            if open.watches.is_empty() || left.is_zero() {
                return open.watches.len();
            }
            let wait = left.min(SWEEP_EVERY);
            open = self.changed.wait_timeout(open, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn sweep(&self) {
        let now = self.now_ms();
        // Where room is short, whoever takes it up and does nothing is looked at sooner than its deadline says.
        let short = self.budget.is_short().then(|| now.saturating_sub(STALL_SHORT.as_millis() as u64));
        let (mut late, moment) = (Vec::new(), Instant::now());
        for watch in self.lock().watches.values() {
            late.extend(watch.mailbox.take_late(moment));
            let deadline = watch.deadline_ms.load(Ordering::Relaxed);
            let stalled = watch.stalled_ms.load(Ordering::Relaxed);
            let too_long = stalled != 0 && short.is_some_and(|since| stalled <= since);
            let goes_on = short.is_none() && watch.held_back.load(Ordering::Relaxed);
            if deadline != 0 && deadline <= now || too_long || goes_on {
                watch.mailbox.wake();
            }
        }
        // Outside the lock, which whoever comes or goes needs.
        late.into_iter().for_each(Query::end);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
