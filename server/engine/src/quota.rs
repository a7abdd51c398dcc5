//! `Quota`: one line a second for a message that may be due any number of times. It decides about the log alone, never about an answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// When the message was said last, and how often it was due and not said since.
pub(crate) struct Quota(Mutex<(Option<Instant>, u64)>);

impl Quota {
    pub(crate) const fn per_second() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Whether the message may be said now: then how often it was not since the last time.
    pub(crate) fn admit(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now - last < EVERY) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_once_and_counts_the_rest() {
        let quota = Quota::per_second();
        assert_eq!(quota.admit(), Some(0));
        assert_eq!((quota.admit(), quota.admit()), (None, None));
        quota.0.lock().unwrap().0 = Instant::now().checked_sub(EVERY);
        assert_eq!(quota.admit(), Some(2));
    }
}
