//! `Budget`: the bytes that the server holds for its clients, questions that wait and replies that are not taken yet, over all connections.
//!
//! It counts and tells; what follows from its being short is decided where questions are taken in and replies are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::HELD_BYTES_MAX;

/// The house's count of bytes held.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    held: AtomicUsize,
}

impl Budget {
    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether more is held than should be: then dear questions are refused, and whoever takes nothing is let go sooner.
    pub(crate) fn is_short(&self) -> bool {
        self.held() > HELD_BYTES_MAX
    }
}

/// Somebody's part of the budget; dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn new(budget: &Arc<Budget>, bytes: usize) -> Self {
        let mut charge = Self { budget: Arc::clone(budget), bytes: 0 };
        charge.set(bytes);
        charge
    }

    /// From now on it is this many bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        // A quiet connection, the commonest, touches nothing that is shared.
        if bytes > self.bytes {
            self.budget.held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            self.budget.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_given_back() {
        let budget = Arc::<Budget>::default();
        let mut one = Charge::new(&budget, 10);
        let two = Charge::new(&budget, HELD_BYTES_MAX);
        assert_eq!(budget.held(), HELD_BYTES_MAX + 10);
        assert!(budget.is_short());
        one.set(3);
        drop(two);
        assert!(!budget.is_short());
        assert_eq!(budget.held(), 3);
        drop(one);
        assert_eq!(budget.held(), 0);
    }
}
