//! The allocator, told what this server does: it holds much for a moment, and should not look as if it held it for ever.

use crate::limits::{OWN_BLOCK_BYTES_MIN, TRIM_AGAIN_SWEEPS, TRIM_BYTES};

/// From now on large blocks go back to the system when they are freed.
pub(crate) fn give_large_blocks_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator is C")]
    // SAFETY: `mallopt` changes a parameter under the allocator's own lock. A refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_BLOCK_BYTES_MIN);
    }
}

/// Watches how much is held, and has free pages given back after a wave.
#[derive(Default)]
pub(crate) struct Tide {
    /// The most that was held since pages were given back.
    high: usize,
    /// Looks until they are given back once more.
    again_in: u32,
}

impl Tide {
    /// Looks at what is held now; whether a wave is over, a moment or a while ago, and pages were given back.
    pub(crate) fn look(&mut self, held: usize) -> bool {
        self.high = self.high.max(held);
        let over = self.high >= TRIM_BYTES && held <= self.high / 4;
        if over {
            self.high = held;
            self.again_in = TRIM_AGAIN_SWEEPS;
        } else {
            let waited = self.again_in == 1;
            self.again_in = self.again_in.saturating_sub(1);
            if !waited {
                return false;
            }
        }
        #[cfg(target_env = "gnu")]
        #[expect(unsafe_code, reason = "the allocator is C")]
        // SAFETY: `malloc_trim` gives back pages that nothing lives in, under the allocator's own locks.
        unsafe {
            libc::malloc_trim(0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_wave_and_once_more() {
        let mut tide = Tide::default();
        assert!(!tide.look(TRIM_BYTES - 1));
        assert!(!tide.look(0));
        assert!(!tide.look(TRIM_BYTES));
        assert!(!tide.look(TRIM_BYTES / 2));
        assert!(tide.look(TRIM_BYTES / 4));
        let given_back: Vec<_> = (0..3 * TRIM_AGAIN_SWEEPS).filter(|_| tide.look(0)).collect();
        assert_eq!(given_back, [TRIM_AGAIN_SWEEPS - 1]);
    }
}
