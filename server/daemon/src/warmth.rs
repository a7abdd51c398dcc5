//! `Warmth`: whether answers have to wait for the disk these days.
//!
//! A session that waits for the disk holds up every other one of its worker. As long as nothing has to be fetched, to ask the system for each row whether it is in memory
//! would cost more than the row; so only an answer that took long is looked into, and for a second after one that did wait, rows are looked for before they are read.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::limits::{COLD_FOR, SLOW_ANSWER};

thread_local! {
    /// How often this thread waited for the disk, when it was last looked at.
    static WAITS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Whether pages are in memory, for all workers.
#[derive(Debug)]
pub(crate) struct Warmth {
    began: Instant,
    /// Until when rows are looked for before they are read, in milliseconds since `began`; 0 for never.
    cold_until_ms: AtomicU64,
}

impl Default for Warmth {
    fn default() -> Self {
        Self { began: Instant::now(), cold_until_ms: AtomicU64::new(0) }
    }
}

impl Warmth {
    /// Whether a row may have to be fetched from the disk.
    pub(crate) fn is_cold(&self) -> bool {
        // Nearly always 0, and then the clock is not asked.
        self.cold_until_ms.load(Ordering::Relaxed) != 0 && self.is_cold_at(self.now_ms())
    }

    fn is_cold_at(&self, now_ms: u64) -> bool {
        let until = self.cold_until_ms.load(Ordering::Relaxed);
        if now_ms < until {
            return true;
        }
        // Unless another one has just waited.
        let _ = self.cold_until_ms.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        false
    }

    /// An answer took so long: if this thread waited for the disk meanwhile, the next answers may, too.
    pub(crate) fn answered_in(&self, duration: Duration) {
        if duration >= SLOW_ANSWER {
            self.look();
        }
    }

    /// Something was not in memory.
    pub(crate) fn chill(&self) {
        self.chill_at(self.now_ms());
    }

    fn chill_at(&self, now_ms: u64) {
        self.cold_until_ms.fetch_max(now_ms + COLD_FOR.as_millis() as u64, Ordering::Relaxed);
    }

    /// Never inlined: what it remembers is of the thread, and a session may run on another one after a wait.
    #[cold]
    #[inline(never)]
    fn look(&self) {
        let waits = fs::read_to_string("/proc/thread-self/stat").ok().and_then(|stat| major_faults(&stat));
        if let Some(waits) = waits {
            self.saw(WAITS.replace(Some(waits)), waits);
        }
    }

    /// A thread's count of waits was `before` when it was last looked at, and is `waits` now.
    fn saw(&self, before: Option<u64>, waits: u64) {
        // The first look only says where the count begins.
        if before.is_some_and(|before| before != waits) {
            self.chill();
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// The faults of a thread that waited for the disk, out of its line in `/proc`: the tenth number behind its name, which stands in brackets and may hold anything.
fn major_faults(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cold_for_a_while() {
        let warmth = Warmth::default();
        assert!(!warmth.is_cold());
        warmth.chill_at(500);
        assert!(warmth.is_cold_at(500 + COLD_FOR.as_millis() as u64 - 1));
        warmth.chill_at(400);
        assert!(!warmth.is_cold_at(500 + COLD_FOR.as_millis() as u64));
        assert_eq!(warmth.cold_until_ms.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_a_wait_for_the_disk_counts() {
        let until = |before, waits| {
            let warmth = Warmth::default();
            warmth.saw(before, waits);
            warmth.cold_until_ms.load(Ordering::Relaxed)
        };
        assert_eq!((until(None, 7), until(Some(7), 7)), (0, 0));
        assert!(until(Some(7), 8) > 0);
    }

    #[test]
    fn a_quick_answer_is_not_looked_into() {
        let (warmth, begin) = (Warmth::default(), WAITS.get());
        warmth.answered_in(SLOW_ANSWER - Duration::from_nanos(1));
        assert_eq!(WAITS.get(), begin);
        warmth.answered_in(SLOW_ANSWER);
        assert_ne!(WAITS.get(), begin);
    }

    #[test]
    fn the_line_of_a_thread() {
        let line = "17 (a) b (c) S 1 2 3 4 -1 4194304 104 0 7 0 3 1";
        assert_eq!(major_faults(line), Some(7));
        assert_eq!(major_faults("17 (short) S 1"), None);
        assert!(major_faults(&fs::read_to_string("/proc/thread-self/stat").unwrap()).is_some());
    }
}
