//! One question: from its key to the page of rows that answers it.

use std::ops::Range;

use balcao_index::{IndexError, Part, cluster_rowid};
use balcao_wire::limits::{BATCH_ROWS_MAX, REPLY_BYTES_MAX};
use balcao_wire::{Code, Cursor, Fault, Id, Key, Lookup, Match, Operation, Request, RowsWriter};

use crate::asked::Asked;
use crate::rows::{RowError, RowStore};
use crate::snapshot::{Answer, Snapshot, refuse, unavailable};

/// A question whose ranks are known, and whose rows are not fetched yet. Making one costs some microseconds and touches only the index.
#[derive(Debug)]
pub struct Plan<'a> {
    key: &'a Key,
    part: Part,
    /// The ranks of this page.
    page: Range<u64>,
    total: u64,
    next: Option<Cursor>,
    contiguous: bool,
}

impl Plan<'_> {
    /// Rows of the page.
    #[must_use]
    pub fn rows(&self) -> usize {
        (self.page.end - self.page.start) as usize
    }
}

impl Snapshot {
    /// Finds the ranks that answer `lookup`.
    ///
    /// # Errors
    /// The fault to answer with: a cursor that does not fit, or a damaged index.
    pub fn plan<'a>(&self, lookup: &'a Lookup) -> Result<Plan<'a>, Fault> {
        self.trust()?;
        if lookup.is_search() {
            return Err(Fault::new(Code::Internal, "a search has no plan"));
        }
        let start = self.position(lookup)?;
        let (part, ranks) = match &lookup.key {
            Key::Cpf(cpf) => (Part::Cpf, self.generation.cpf_ranks(*cpf)),
            Key::Name { r#match: Match::Exact, name } => (Part::Name, self.generation.name_ranks(name)),
            Key::Name { name, .. } => (Part::Name, self.generation.prefix_ranks(name)),
        };
        let ranks = ranks.map_err(|error| unavailable(&error))?;
        self.trust()?;
        let total = ranks.end.saturating_sub(ranks.start);
        if start > total {
            return Err(cursor_beyond());
        }
        let end = total.min(start + lookup.limit as u64);
        let next = (end < total).then(|| Cursor {
            generation: self.generation.tag(),
            question: lookup.fingerprint(),
            position: end,
            search: None,
        });
        let contiguous = part == Part::Name && self.cluster.is_some();
        Ok(Plan { key: &lookup.key, part, page: ranks.start + start..ranks.start + end, total, next, contiguous })
    }

    /// Whether the rows of a plan can be fetched without waiting for a disk; `None` where that cannot be told. For where a wait is to be feared: it costs a system
    /// call for each row. Where the rowids lie is not looked at: a page of them holds those of thousands of rows, and stays.
    #[must_use]
    pub fn is_at_hand(&self, plan: &Plan<'_>) -> Option<bool> {
        self.store_of(plan).is_at_hand(self.rowids_of(plan))
    }

    /// Whether the rows of a plan are read from the database's pages, as far as they are plain; else each of them is a question to SQLite, some times as dear.
    #[must_use]
    pub fn reads_pages(&self, plan: &Plan<'_>) -> bool {
        self.store_of(plan).reads_pages()
    }

    /// Has the system fetch what a request reads from the disk, all at once, before it is answered. For where most of it has to come from there. Of a batch no more
    /// rows than its reply may have.
    pub fn fetch_ahead(&self, request: &Request) {
        let mut rows = 0;
        // Whether there is room for more.
        let mut fetch = |lookup: &Lookup| match self.plan(lookup) {
            Ok(plan) => {
                rows += plan.rows();
                if rows <= BATCH_ROWS_MAX {
                    self.store_of(&plan).fetch_ahead(self.rowids_of(&plan));
                }
                rows <= BATCH_ROWS_MAX
            }
            Err(_) => true,
        };
        let _ = match &request.operation {
            Ok(Operation::Lookup(lookup)) => fetch(lookup),
            Ok(Operation::Batch(items)) => items.iter().flat_map(|item| &item.lookup).all(fetch),
            _ => false,
        };
    }

    /// What the rows of a plan are read from.
    fn store_of(&self, plan: &Plan<'_>) -> &RowStore {
        self.cluster.as_ref().filter(|_| plan.contiguous).unwrap_or(&self.rows)
    }

    /// The rowids of a plan in what its rows are read from; one that cannot be read is left out.
    fn rowids_of(&self, plan: &Plan<'_>) -> impl Iterator<Item = i64> {
        plan.page.clone().filter_map(|rank| self.rowid_of(plan, rank).ok())
    }

    fn rowid_of(&self, plan: &Plan<'_>, rank: u64) -> Result<i64, IndexError> {
        if plan.contiguous { Ok(cluster_rowid(rank)) } else { self.generation.rowid(plan.part, rank) }
    }

    /// Fetches the rows of a plan and appends the reply.
    pub fn write_page(&self, plan: &Plan<'_>, id: &Id, out: &mut Vec<u8>) -> Answer {
        self.write_short_page(plan, id, out, REPLY_BYTES_MAX).unwrap_or_else(|| {
            let message = "the rows of this page take more than 64 MiB; ask with a smaller `limit`";
            refuse(out, id, &Fault::new(Code::TooManyRows, message))
        })
    }

    /// As [`Snapshot::write_page`], where the reply has at most about `bytes_max` bytes; else appends nothing and returns `None`.
    pub fn write_short_page(&self, plan: &Plan<'_>, id: &Id, out: &mut Vec<u8>, bytes_max: usize) -> Option<Answer> {
        let start = out.len();
        let written = self.try_write_page(plan, id, out, start.saturating_add(bytes_max));
        // What a failed map gave is not believed, neither as rows nor as damage.
        if let Err(fault) = self.trust() {
            return Some(Self::give_up(out, start, id, &fault));
        }
        match written {
            Ok(()) => Some(Ok(())),
            Err(RowError::TooLong) => {
                out.truncate(start);
                None
            }
            Err(error) => Some(Self::give_up(out, start, id, &unavailable(&error))),
        }
    }

    fn try_write_page(&self, plan: &Plan<'_>, id: &Id, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), RowError> {
        let mut rows = RowsWriter::begin(out, id);
        // A page has at most a thousand rowids; most have one, and then this takes no memory from the heap.
        let mut one = [0];
        let many: Vec<i64>;
        let rowids = if plan.rows() == 1 {
            one[0] = self.rowid_of(plan, plan.page.start)?;
            &one[..]
        } else {
            many = plan.page.clone().map(|rank| self.rowid_of(plan, rank)).collect::<Result<_, _>>()?;
            &many[..]
        };
        self.store_of(plan).write(rowids, &Asked::key(plan.key), &mut rows, bytes_max)?;
        let warning = matches!(plan.key, Key::Cpf(cpf) if !cpf.has_right_check_digits());
        let next = plan.next.as_ref().map(Cursor::encode);
        rows.finish(plan.total, next.as_deref(), warning);
        Ok(())
    }

    /// How many rows come before the page.
    fn position(&self, lookup: &Lookup) -> Result<u64, Fault> {
        match self.check_cursor(lookup)? {
            None => Ok(0),
            Some(Cursor { search: None, position, .. }) => Ok(position),
            Some(_) => Err(foreign_cursor()),
        }
    }

    /// A question's cursor, which must be of this generation and this question.
    pub(crate) fn check_cursor(&self, lookup: &Lookup) -> Result<Option<Cursor>, Fault> {
        let Some(cursor) = lookup.cursor else { return Ok(None) };
        if cursor.generation != self.generation.tag() {
            let message = "the cursor is of another generation of the index; begin again without one";
            return Err(Fault::new(Code::StaleCursor, message));
        }
        if cursor.question != lookup.fingerprint() { Err(foreign_cursor()) } else { Ok(Some(cursor)) }
    }
}

/// The answer to a cursor that was given out for another question.
pub(crate) fn foreign_cursor() -> Fault {
    Fault::new(Code::BadRequest, "the cursor belongs to another question; begin again without one")
}

/// The answer to a cursor that nobody gave out.
pub(crate) fn cursor_beyond() -> Fault {
    Fault::new(Code::BadRequest, "the cursor points beyond the answer; begin again without one")
}
