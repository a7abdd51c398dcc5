//! `Work`: what a search may cost, what it has cost so far, and whether its asker still waits.
//!
//! It counts; it has no clock. How far a search comes depends on its counts alone, so that the same question has the same answer on every machine.

use balcao_index::IndexError;
use balcao_wire::limits::POSTINGS_MAX;
use balcao_wire::{Code, Fault};

use crate::rows::RowError;
use crate::snapshot::unavailable;

/// Posting lists of a question that are kept open, of some 50 bytes each. A word with more than are left, the single letter somebody begins with on a large
/// registry, has them looked up anew for each window.
const LISTS_MAX: usize = 1 << 18;

/// Lists of a word that are read on from window to window, of less than a KiB each. The others are begun anew for each window.
const CURSORS_MAX: usize = 4096;

/// Ranks that are looked at together: their bitmap has 32 KiB, so that those of a word's grades stay in a core's own cache, and a list is opened some forty times
/// for ten million names.
const WINDOW_RANKS: u64 = 1 << 18;

/// What a row that must be read counts, in postings: it costs about a microsecond, where a posting costs some nanoseconds.
pub(crate) const ROW_COST: u64 = 256;

/// Lists, or rows, between two looks at whether the asker still waits.
const STEPS_BETWEEN_LOOKS: u64 = 1024;

/// How much one page may cost. Tests take less than everybody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Postings, lists and looked-at ranks, each counted one.
    pub(crate) postings: u64,
    /// Lists that are kept open, for each question.
    pub(crate) lists: usize,
    /// Lists that are read on from window to window, for each word.
    pub(crate) cursors: usize,
    /// Ranks of a window: a multiple of 64.
    pub(crate) window: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { postings: POSTINGS_MAX, lists: LISTS_MAX, cursors: CURSORS_MAX, window: WINDOW_RANKS }
    }
}

/// Why a search ends without an answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Its asker does not wait any longer.
    Late,
    /// The index or a row cannot be read.
    Row(RowError),
    /// The question does not fit the index.
    Fault(Fault),
}

impl From<IndexError> for Stop {
    fn from(error: IndexError) -> Self {
        Self::Row(error.into())
    }
}

impl From<RowError> for Stop {
    fn from(error: RowError) -> Self {
        Self::Row(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Late => late(),
            Stop::Row(RowError::TooLong) => Self::new(
                Code::TooManyRows,
                "a row with this CPF takes more than 64 MiB; only a lookup of the CPF alone passes over its values",
            ),
            Stop::Row(error) => unavailable(&error),
            Stop::Fault(fault) => fault,
        }
    }
}

/// The answer to who does not wait any longer.
pub(crate) fn late() -> Fault {
    let message =
        "there is no answer within the time the question has; ask a narrower one, or with a greater `deadline_ms`";
    Fault::new(Code::DeadlineExceeded, message)
}

/// The work of one page.
pub(crate) struct Work<'a> {
    pub(crate) bounds: Bounds,
    goes_on: &'a (dyn Fn() -> bool + Sync),
    /// Lists that may still be kept open.
    pub(crate) lists_left: usize,
    touched: u64,
    steps: u64,
    /// Whether the page has come any further than the one before.
    has_moved: bool,
}

impl<'a> Work<'a> {
    pub(crate) fn new(bounds: Bounds, goes_on: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { bounds, goes_on, lists_left: bounds.lists, touched: 0, steps: 0, has_moved: false }
    }

    /// Asks whether the asker still waits.
    pub(crate) fn look(&self) -> Result<(), Stop> {
        if (self.goes_on)() { Ok(()) } else { Err(Stop::Late) }
    }

    /// Counts a list or a row that is about to be taken up, and asks now and then.
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_BETWEEN_LOOKS) { self.look() } else { Ok(()) }
    }

    /// Counts postings, lists or ranks.
    pub(crate) fn touch(&mut self, count: u64) {
        self.touched = self.touched.saturating_add(count);
    }

    /// The page has come one window further.
    pub(crate) fn moved(&mut self) {
        self.has_moved = true;
    }

    /// Whether the page ends here: it may cost no more, and the next one begins behind where this one began.
    pub(crate) fn is_spent(&self) -> bool {
        self.has_moved && self.touched > self.bounds.postings
    }
}
