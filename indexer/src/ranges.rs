//! `Ranges`: the table's rowids, shared out among the scanning threads.
//!
//! Rowids may be dense, sparse or both, so that no split in advance is fair. Instead a thread that has nothing to do asks, and one that has
//! gives it the upper half of what it has not read yet; where that half turns out to be empty, it is asked again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// An inclusive range of rowids.
pub(crate) type RowidSpan = (i64, i64);

/// The shared ranges.
#[derive(Debug)]
pub(crate) struct Ranges {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether some thread waits and nothing is left for it: read by the scanning threads without the lock.
    wanted: AtomicBool,
}

#[derive(Debug)]
struct State {
    spans: Vec<RowidSpan>,
    threads: usize,
    waiting: usize,
    ended: bool,
}

impl Ranges {
    pub(crate) fn new(span: RowidSpan, threads: usize) -> Self {
        let state = State { spans: vec![span], threads, waiting: 0, ended: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), wanted: AtomicBool::new(false) }
    }

    /// The next span for this thread; waits while others may still give one. `None` when all rows are read.
    pub(crate) fn next(&self) -> Option<RowidSpan> {
        let mut state = self.lock();
        state.waiting += 1;
        loop {
            if state.ended {
                return None;
            }
            if let Some(span) = state.spans.pop() {
                state.waiting -= 1;
                self.update(&state);
                return Some(span);
            }
            if state.waiting == state.threads {
                state.ended = true;
                self.changed.notify_all();
                return None;
            }
            self.update(&state);
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Asked by a thread whose next rowid is `next` and whose span ends with `end`: the new end, where it gave the rest away.
    pub(crate) fn share(&self, next: i64, end: i64) -> Option<i64> {
        if !self.wanted.load(Ordering::Relaxed) || next >= end {
            return None;
        }
        let mut state = self.lock();
        if state.waiting <= state.spans.len() {
            return None;
        }
        let middle = i64::midpoint(next, end);
        state.spans.push((middle + 1, end));
        self.update(&state);
        self.changed.notify_one();
        Some(middle)
    }

    /// Ends the work when the guard is dropped. A thread holds it while it works: it leaves either because all is read, or because it failed,
    /// and then what the others still do is in vain.
    pub(crate) fn leave_on_drop(&self) -> impl Drop + '_ {
        Leave(self)
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().ended
    }

    fn update(&self, state: &State) {
        self.wanted.store(state.waiting > state.spans.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave the few numbers in there half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Leave<'a>(&'a Ranges);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Threads that read a made-up table through the shared ranges.
    fn read(rowids: &BTreeSet<i64>, threads: usize) -> Vec<Vec<i64>> {
        let span = (*rowids.first().unwrap(), *rowids.last().unwrap());
        let ranges = Ranges::new(span, threads);
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut found = Vec::new();
                        while let Some((start, mut end)) = ranges.next() {
                            for &rowid in rowids.range(start..=end) {
                                if rowid > end {
                                    break;
                                }
                                found.push(rowid);
                                if let Some(nearer) = rowid.checked_add(1).and_then(|next| ranges.share(next, end)) {
                                    end = nearer;
                                }
                                std::thread::yield_now();
                            }
                        }
                        found
                    })
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect()
        })
    }

    #[test]
    fn a_thread_that_panics_leaves_nobody_waiting() {
        let ranges = Ranges::new((0, 100), 2);
        std::thread::scope(|scope| {
            let failing = scope.spawn(|| {
                let _leave = ranges.leave_on_drop();
                ranges.next().unwrap();
                std::panic::panic_any("as it may happen");
            });
            let waiting = scope.spawn(|| while ranges.next().is_some() {});
            assert!(failing.join().is_err());
            waiting.join().unwrap();
        });
    }

    #[test]
    fn every_rowid_once() {
        let skewed: BTreeSet<i64> = (0..5000).chain([i64::MIN, i64::MAX]).collect();
        for rowids in [skewed, (0..3000).map(|i| i * i).collect(), [7].into()] {
            for threads in [1, 2, 5] {
                let mut all = read(&rowids, threads).concat();
                all.sort_unstable();
                assert!(all.into_iter().eq(rowids.iter().copied()));
            }
        }
    }
}
