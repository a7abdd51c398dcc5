//! A batch: all items are planned or searched first, so that it is known which of them the limit of rows leaves out; then their rows are fetched: on
//! every core, or, where any item is a search, one after the other on the thread that asks.

use std::sync::atomic::{AtomicUsize, Ordering};

use balcao_wire::limits::{BATCH_ROWS_MAX, REPLY_BYTES_MAX};
use balcao_wire::{Code, Fault, Id, Item, Lookup, write_batch};
use rayon::prelude::*;

use crate::lookup::Plan;
use crate::search::{SearchPage, late};
use crate::snapshot::{Answer, Snapshot, refuse};

/// Items that one thread answers at a time: fewer than that are not worth another thread.
const ITEMS_AT_A_TIME: usize = 32;

/// Asks whether the time still suffices.
type GoesOn<'a> = &'a (dyn Fn() -> bool + Sync);

/// An item whose rows are known, and not fetched yet.
enum Planned<'a> {
    Plan(Plan<'a>),
    Search(SearchPage<'a>),
}

impl Planned<'_> {
    fn rows(&self) -> usize {
        match self {
            Self::Plan(plan) => plan.rows(),
            Self::Search(page) => page.rows(),
        }
    }
}

/// Whether any of a batch's items is a search: then it is answered on the thread that asks alone, however many cores there are.
#[must_use]
pub fn holds_search(items: &[Item]) -> bool {
    items.iter().flat_map(|item| &item.lookup).any(Lookup::is_search)
}

impl Snapshot {
    /// Appends the reply to a batch. Items are answered on the threads of the current rayon pool, unless one of them is a search: a thread of the pool ends
    /// with all pieces of a batch before it begins another, so that one of CPFs would wait for every search of those before it.
    pub(crate) fn answer_batch(&self, items: &[Item], id: &Id, out: &mut Vec<u8>, goes_on: GoesOn<'_>) -> Answer {
        let start = out.len();
        let plan = |item| self.plan_item(item, goes_on);
        let is_alone = holds_search(items);
        let mut plans: Vec<(&Item, Result<Planned<'_>, Fault>)> = if is_alone {
            items.iter().map(|item| (item, plan(item))).collect()
        } else {
            items.par_iter().with_min_len(ITEMS_AT_A_TIME).map(|item| (item, plan(item))).collect()
        };
        cut_at_the_limit(&mut plans);
        let written = AtomicUsize::new(0);
        let write = |plans| self.write_items(plans, &written, goes_on);
        let parts: Vec<Vec<u8>> = if is_alone {
            plans.chunks(ITEMS_AT_A_TIME).map(write).collect()
        } else {
            plans.par_chunks(ITEMS_AT_A_TIME).map(write).collect()
        };
        if written.into_inner() > REPLY_BYTES_MAX {
            let fault = Fault::new(Code::TooManyRows, "the rows of this batch take more than 64 MiB; split it");
            return Self::give_up(out, start, id, &fault);
        }
        let results = parts.join(&b","[..]);
        write_batch(out, id, &results);
        Ok(())
    }

    fn plan_item<'a>(&self, item: &'a Item, goes_on: GoesOn<'_>) -> Result<Planned<'a>, Fault> {
        let lookup = item.lookup.as_ref().map_err(Clone::clone)?;
        if !goes_on() {
            return Err(late());
        }
        if lookup.is_search() {
            self.search(lookup, goes_on).map(Planned::Search)
        } else {
            self.plan(lookup).map(Planned::Plan)
        }
    }

    /// Writes replies, separated by commas. Breaks off where all threads together have `written` too many bytes: the whole is thrown away
    /// then, and need not fill the memory first.
    fn write_items(
        &self,
        plans: &[(&Item, Result<Planned<'_>, Fault>)],
        written: &AtomicUsize,
        goes_on: GoesOn<'_>,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, (item, plan)) in plans.iter().enumerate() {
            let before = out.len();
            if i > 0 {
                out.push(b',');
            }
            // An item fails for itself: its code stands in its own reply.
            let _ = match plan {
                Ok(_) if !goes_on() => refuse(&mut out, &item.id, &late()),
                Ok(Planned::Plan(plan)) => self.write_page(plan, &item.id, &mut out),
                Ok(Planned::Search(page)) => self.write_search(page, &item.id, &mut out, goes_on),
                Err(fault) => refuse(&mut out, &item.id, fault),
            };
            let new = out.len() - before;
            if written.fetch_add(new, Ordering::Relaxed) + new > REPLY_BYTES_MAX {
                break;
            }
        }
        out
    }
}

/// From the first item on that the limit of rows does not hold any more, every further question is `too_many_rows`.
fn cut_at_the_limit(plans: &mut [(&Item, Result<Planned<'_>, Fault>)]) {
    let mut rows = 0;
    for (_, plan) in plans {
        if let Ok(planned) = plan {
            rows += planned.rows();
            if rows > BATCH_ROWS_MAX {
                rows = BATCH_ROWS_MAX + 1;
                let message = "the batch has its 10000 rows already; ask this item again in another one";
                *plan = Err(Fault::new(Code::TooManyRows, message));
            }
        }
    }
}
