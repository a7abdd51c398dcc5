//! `Pace`: how many questions go into one request, so that the rows of all their answers have room in its reply and time for the answer.

use balcao_client::{Limits, Name};

/// Questions of a request at first, where each may have as many rows as a page.
const PREFIX_ITEMS: usize = 200;

/// Questions of a request by words, and by near words, which cost the server milliseconds each: a request should not hold its thread longer
/// than a person notices.
const WORDS_ITEMS: usize = 100;
const FUZZY_ITEMS: usize = 20;

/// The part of a batch's rows that is planned for, since answers differ.
const ROWS_PLANNED: f64 = 0.6;

/// How much the last request counts for the next, against all before it.
const LAST_COUNTS: f64 = 0.3;

/// What was seen so far.
#[derive(Debug)]
pub(crate) struct Pace {
    items_max: usize,
    /// What `items_max` may grow to.
    items_bound: usize,
    batch_rows: f64,
    rows_per_item: f64,
}

impl Pace {
    /// Nothing seen yet; `is_first_only` where each question has one row at most.
    pub(crate) fn start(how: Name, is_first_only: bool, limits: &Limits) -> Self {
        let items_max = match how {
            Name::Words => WORDS_ITEMS,
            Name::Fuzzy => FUZZY_ITEMS,
            _ => limits.batch_items,
        };
        let batch_rows = limits.batch_rows as f64;
        let first = if matches!(how, Name::Exact) || is_first_only { limits.batch_items } else { PREFIX_ITEMS };
        let rows_per_item = batch_rows * ROWS_PLANNED / first as f64;
        let items_bound = items_max.min(limits.batch_items);
        Self { items_max: items_bound, items_bound, batch_rows, rows_per_item }
    }

    /// How many questions the next request may have.
    pub(crate) fn items(&self) -> usize {
        let by_rows = self.batch_rows * ROWS_PLANNED / self.rows_per_item.max(f64::MIN_POSITIVE);
        // A number of rows that may be anything becomes one of items, which has its bounds.
        (by_rows as usize).clamp(1, self.items_max)
    }

    /// Learns from a reply that had room for so many items.
    pub(crate) fn answered(&mut self, items: usize, rows: usize) {
        if items > 0 {
            let seen = rows as f64 / items as f64;
            self.rows_per_item += (seen - self.rows_per_item) * LAST_COUNTS;
        }
    }

    /// Learns that there was time for all items of a request of so many: twice as many are tried, since a busy server is not busy for ever.
    pub(crate) fn in_time(&mut self, items: usize) {
        self.items_max = self.items_max.max(items.saturating_mul(2).min(self.items_bound));
    }

    /// Learns that a request of so many items took too long.
    pub(crate) fn too_long(&mut self, items: usize) {
        self.items_max = (items / 2).clamp(1, self.items_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        line_bytes: 65_536,
        limit_max: 1000,
        batch_items: 1000,
        batch_rows: 10_000,
        in_flight: 64,
        question_words: 16,
        deadline_ms: 2000,
    };

    #[test]
    fn requests_grow_and_shrink_with_their_answers() {
        let mut pace = Pace::start(Name::Exact, false, &LIMITS);
        assert_eq!(pace.items(), 1000);
        for _ in 0..50 {
            pace.answered(100, 5000);
        }
        assert_eq!(pace.items(), 120);
        for _ in 0..50 {
            pace.answered(100, 100);
        }
        assert_eq!(pace.items(), 1000);
        pace.too_long(1000);
        assert_eq!(pace.items(), 500);
        for _ in 0..20 {
            pace.too_long(1);
        }
        assert_eq!(pace.items(), 1);
        for items in [2, 4, 8] {
            pace.in_time(pace.items());
            assert_eq!(pace.items(), items);
        }
        for _ in 0..20 {
            pace.in_time(pace.items());
        }
        assert_eq!(pace.items(), 1000);
        assert_eq!(Pace::start(Name::Prefix, false, &LIMITS).items(), PREFIX_ITEMS);
        assert_eq!(Pace::start(Name::Prefix, true, &LIMITS).items(), 1000);
        assert_eq!(Pace::start(Name::Fuzzy, true, &LIMITS).items(), FUZZY_ITEMS);
    }
}
