//! `Allowance`: how often a connection may still have something verified: so many times a minute, given back evenly.
//!
//! It has no clock: it is told the time, in microseconds that never descend.

use std::cell::Cell;

const MINUTE_US: u64 = 60_000_000;

/// One connection's allowance: a bucket that is full at first and of which each question takes one token. It holds one number: when the bucket
/// would be full again.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    full_at_us: Cell<u64>,
}

impl Allowance {
    /// Takes one of `per_minute`, which also is what the bucket holds; at least 1.
    ///
    /// # Errors
    /// Milliseconds after which there is one again, at least 1. Nothing was taken.
    pub(crate) fn take(&self, per_minute: u32, now_us: u64) -> Result<(), u32> {
        let per_minute = u64::from(per_minute.max(1));
        let each_us = each_us(per_minute);
        let full_at_us = self.full_at_us.get().max(now_us);
        let missing_us = full_at_us - now_us;
        let room_us = each_us * (per_minute - 1);
        if missing_us > room_us {
            return Err((missing_us - room_us).div_ceil(1000).try_into().unwrap_or(u32::MAX));
        }
        self.full_at_us.set(full_at_us + each_us);
        Ok(())
    }

    /// Gives back one that was taken of as many `per_minute`, for a question that was not answered.
    pub(crate) fn give_back(&self, per_minute: u32) {
        self.full_at_us.set(self.full_at_us.get().saturating_sub(each_us(per_minute.max(1).into())));
    }
}

/// The time that each token takes to come back, of at least one a minute. Above sixty million a minute it is rounded up to one microsecond.
fn each_us(per_minute: u64) -> u64 {
    MINUTE_US.div_ceil(per_minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are granted when it is asked `times` times at `now_us`.
    fn granted(allowance: &Allowance, per_minute: u32, now_us: u64, times: usize) -> usize {
        (0..times).filter(|_| allowance.take(per_minute, now_us).is_ok()).count()
    }

    #[test]
    fn full_at_first_and_given_back_evenly() {
        let allowance = Allowance::default();
        let begin = 12_345_678;
        assert_eq!(granted(&allowance, 60, begin, 1000), 60);
        // One a second, neither sooner nor in a heap at the minute's end.
        assert_eq!(allowance.take(60, begin), Err(1000));
        assert_eq!(allowance.take(60, begin + 999_999), Err(1));
        for second in 1..=100 {
            assert_eq!(granted(&allowance, 60, begin + second * 1_000_000, 10), 1, "second {second}");
        }
        // What is not used is kept, up to the whole.
        let later = begin + 110 * 1_000_000;
        assert_eq!(granted(&allowance, 60, later, 100), 10);
        assert_eq!(granted(&allowance, 60, later + 10 * MINUTE_US, 1000), 60);
    }

    #[test]
    fn what_is_given_back_can_be_taken_once_more() {
        let allowance = Allowance::default();
        let begin = 12_345_678;
        assert_eq!(granted(&allowance, 3, begin, 10), 3);
        allowance.give_back(3);
        assert_eq!(granted(&allowance, 3, begin, 10), 1);
        // Of a full bucket nothing runs over.
        let later = begin + 10 * MINUTE_US;
        (0..5).for_each(|_| allowance.give_back(3));
        assert_eq!(granted(&allowance, 3, later, 10), 3);
    }

    #[test]
    fn the_time_that_is_told_suffices() {
        for per_minute in [1, 2, 7, 60, 61, 1000, 100_000] {
            let (allowance, mut now_us) = (Allowance::default(), 1);
            assert_eq!(granted(&allowance, per_minute, now_us, per_minute as usize + 1), per_minute as usize);
            for _ in 0..50 {
                let wait_ms = allowance.take(per_minute, now_us).unwrap_err();
                assert!(wait_ms >= 1 && u64::from(wait_ms) <= MINUTE_US.div_ceil(1000 * u64::from(per_minute)));
                now_us += u64::from(wait_ms) * 1000;
                assert!(granted(&allowance, per_minute, now_us, 100) >= 1);
            }
        }
    }

    #[test]
    fn any_number_a_minute() {
        for per_minute in [1, 59_999_999, 60_000_001, u32::MAX] {
            let allowance = Allowance::default();
            assert_eq!(granted(&allowance, per_minute, 0, 1000), 1000.min(per_minute as usize));
            assert_eq!(granted(&allowance, per_minute, u64::MAX / 2, 1), 1);
        }
    }

    #[test]
    fn each_has_its_own() {
        let [one, other] = [(); 2].map(|()| Allowance::default());
        assert_eq!(granted(&one, 3, 5, 10), 3);
        assert_eq!(granted(&other, 3, 5, 10), 3);
    }
}
