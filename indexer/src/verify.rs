//! `indexer verify`: the generation by itself, and with the database beside it: every row is found by its keys.

use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use balcao_index::{FilterValue, Generation, IndexError, Part, SourceError, SourceFile, Verified};
use balcao_record::NameKey;
use balcao_registry::{RegistryError, Table, TableName, cell};
use rusqlite::Connection;

use crate::build::{BuildError, connect};
use crate::cluster::Cluster;
use crate::filters::{FilterPlan, Unreadable};
use crate::held::HeldFile;
use crate::progress::Progress;
use crate::ranges::Ranges;

/// Rows between two looks at whether another thread is idle.
const ROWS_BETWEEN_SHARING: u64 = 256;

/// Memory to compare the copy of the rows within.
const CLUSTER_MEMORY: u64 = 256 << 20;

/// Why an index does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The generation itself.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] BuildError),
    /// It is another database, or it was changed.
    #[error("the database is not the one that was indexed, or it was changed since; build the index again")]
    OtherDatabase,
    /// It agrees in all that is looked at when it is opened, and its content is another one.
    #[error(
        "the database is not the one that was indexed, or it was changed since: its content differs, though its length, counters and sampled \
         pages agree; build the index again"
    )]
    OtherContent,
    /// A row is not where its keys say.
    #[error("row {rowid} is not found by its {key}; build the index again")]
    Missing {
        /// The row.
        rowid: i64,
        /// `CPF` or `name`.
        key: &'static str,
    },
    /// A row's filter is not what its cell says.
    #[error("the filter by `{column}` of row {rowid} is not what the table has; build the index again")]
    Filter {
        /// The row.
        rowid: i64,
        /// The column.
        column: String,
    },
    /// More or fewer cells without a value than the index says.
    #[error("{found} rows have no value in `{column}`, the index says {expected}; build the index again")]
    Unreadable {
        /// The column.
        column: String,
        /// In the table.
        found: u64,
        /// In the index.
        expected: u64,
    },
    /// The copy of the rows does not hold what the table does.
    #[error("the copy of the rows differs from the table at rank {rank} by name; build the index again")]
    Copy {
        /// The rank.
        rank: u64,
    },
    /// More or fewer rows than the index says.
    #[error("the table has {found} rows with a {key}, the index has {expected}; build the index again")]
    Count {
        /// `CPF` or `name`.
        key: &'static str,
        /// In the table.
        found: u64,
        /// In the index.
        expected: u64,
    },
}

/// Verifies the current generation of the folder `index`; with `db`, against the database too.
///
/// # Errors
/// [`VerifyError`] names file and place, or the row, of the first fault.
pub fn verify(index: &Path, db: Option<&Path>, progress: &dyn Progress) -> Result<Verified, VerifyError> {
    let generation = Generation::open_current(index)?;
    let verified = balcao_index::verify(&generation)?;
    if let Some(db) = db {
        verify_database(&generation, db, progress)?;
    }
    Ok(verified)
}

fn verify_database(generation: &Generation, db: &Path, progress: &dyn Progress) -> Result<(), VerifyError> {
    let manifest = generation.manifest();
    let held = HeldFile::open(db).map_err(SourceError::Io)?;
    let db = held.path();
    let indexed = &manifest.source.file;
    if !SourceFile::read(db)?.fits(indexed) {
        return Err(VerifyError::OtherDatabase);
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let connections = connect(db, threads)?;
    let name = TableName {
        table: manifest.source.table.clone(),
        cpf_column: manifest.source.cpf_column.clone(),
        name_column: manifest.source.name_column.clone(),
    };
    let table = Table::describe(&connections[0], &name).map_err(BuildError::from)?;
    // An index of before there was this member has none: then its rows are all that is compared.
    if let Some(content) = indexed.content {
        progress.stage("content");
        if held.hash_content().map_err(SourceError::Io)? != content {
            return Err(if held.is_untouched() { VerifyError::OtherContent } else { BuildError::Changed.into() });
        }
    }
    let columns = generation.filters().map(|filters| filters.columns().clone()).unwrap_or_default();
    let filters = FilterPlan::of_index(&table, &columns)?;
    let counts = Counts::default();
    if let Some(span) = table.rowid_range(&connections[0]).map_err(BuildError::from)? {
        progress.stage("rows");
        let ranges = Ranges::new(span, threads);
        let rows = manifest.rows;
        let checker =
            Checker { generation, table: &table, filters: &filters, ranges: &ranges, counts: &counts, rows, progress };
        let results: Vec<Result<(), VerifyError>> = thread::scope(|scope| {
            let check = |connection| {
                let checker = &checker;
                scope.spawn(move || checker.check(&connection))
            };
            let handles: Vec<_> = connections.into_iter().map(check).collect();
            let join = |handle: thread::ScopedJoinHandle<'_, _>| {
                handle.join().unwrap_or(Err(VerifyError::Database(BuildError::Thread)))
            };
            handles.into_iter().map(join).collect()
        });
        results.into_iter().collect::<Result<(), _>>()?;
    }
    // Each row was found by its keys: with equal counts the index holds nothing else.
    for (key, found, expected) in [("CPF", &counts.cpf, manifest.cpf_rows), ("name", &counts.names, manifest.name_rows)]
    {
        let found = found.load(Ordering::Relaxed);
        if found != expected {
            return Err(VerifyError::Count { key, found, expected });
        }
    }
    compare_unreadable(generation, &counts)?;
    if manifest.cluster.is_some() {
        let cluster = Cluster { table: &table, memory: CLUSTER_MEMORY, progress };
        cluster.verify(&mut connect(db, threads + 1)?, generation)?;
    }
    if !held.is_untouched() || !SourceFile::read(db)?.fits(indexed) {
        return Err(BuildError::Changed.into());
    }
    Ok(())
}

/// Compares how many cells without a value the index tells with what was found. Words need no look at the table: that they are the names' is a matter of the index alone.
fn compare_unreadable(generation: &Generation, counts: &Counts) -> Result<(), VerifyError> {
    let Some(entry) = &generation.manifest().filters else { return Ok(()) };
    let found = *counts.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
    for (column, found, expected) in [
        (&entry.sex_column, found.sex, entry.sex_unreadable),
        (&entry.birth_column, found.birth, entry.birth_unreadable),
    ] {
        if let Some(column) = column.clone()
            && found != expected
        {
            return Err(VerifyError::Unreadable { column, found, expected });
        }
    }
    Ok(())
}

/// Rows with keys, as the table has them.
#[derive(Default)]
struct Counts {
    cpf: AtomicU64,
    names: AtomicU64,
    unreadable: Mutex<Unreadable>,
    rows: AtomicU64,
}

struct Checker<'a> {
    generation: &'a Generation,
    table: &'a Table,
    filters: &'a FilterPlan,
    ranges: &'a Ranges,
    counts: &'a Counts,
    rows: u64,
    progress: &'a dyn Progress,
}

impl Checker<'_> {
    fn check(&self, connection: &Connection) -> Result<(), VerifyError> {
        let read = |error: rusqlite::Error| VerifyError::Database(RegistryError::from(error).into());
        let _leave = self.ranges.leave_on_drop();
        let mut statement = connection.prepare(&self.table.scan_sql(&self.filters.further())).map_err(read)?;
        let (mut key, mut unreadable) = (String::new(), Unreadable::default());
        while let Some((start, mut end)) = self.ranges.next() {
            let mut rows = statement.query([start, end]).map_err(read)?;
            let mut since = 0;
            while let Some(row) = rows.next().map_err(read)? {
                let rowid: i64 = row.get(0).map_err(read)?;
                if rowid > end {
                    break;
                }
                let value = |at| row.get_ref(at).map(cell).map_err(read);
                if let Some(cpf) = value(1)?.cpf() {
                    self.find(Part::Cpf, self.generation.cpf_ranks(cpf)?, rowid)?;
                    self.counts.cpf.fetch_add(1, Ordering::Relaxed);
                }
                let filters = self.filters.read(self.filters.further_cells(|at| value(at + 3))?, &mut unreadable);
                if value(2)?.name_key(&mut key) == NameKey::Key {
                    let rank = self.find(Part::Name, self.generation.name_ranks(&key)?, rowid)?;
                    self.counts.names.fetch_add(1, Ordering::Relaxed);
                    self.compare_filters(rank, rowid, filters)?;
                }
                since += 1;
                if since == ROWS_BETWEEN_SHARING {
                    self.report(since);
                    since = 0;
                    if self.ranges.is_abandoned() {
                        return Ok(());
                    }
                    if let Some(nearer) = rowid.checked_add(1).and_then(|next| self.ranges.share(next, end)) {
                        end = nearer;
                    }
                }
            }
            self.report(since);
        }
        self.counts.unreadable.lock().unwrap_or_else(PoisonError::into_inner).add(unreadable);
        Ok(())
    }

    fn compare_filters(&self, rank: u64, rowid: i64, expected: FilterValue) -> Result<(), VerifyError> {
        let Some(filters) = self.generation.filters() else { return Ok(()) };
        let found = filters.get(rank)?;
        let columns = filters.columns();
        for (column, same) in
            [(&columns.sex, found.sex == expected.sex), (&columns.birth, found.birth == expected.birth)]
        {
            if let (Some(column), false) = (column.clone(), same) {
                return Err(VerifyError::Filter { rowid, column });
            }
        }
        Ok(())
    }

    fn report(&self, rows: u64) {
        let done = self.counts.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        self.progress.rows(rows, done as f64 / self.rows.max(1) as f64);
    }

    /// Finds `rowid` among the ranks of its key, which are in the order of rowids: its rank.
    fn find(&self, part: Part, ranks: Range<u64>, rowid: i64) -> Result<u64, VerifyError> {
        let (mut low, mut high) = (ranks.start, ranks.end);
        while low < high {
            let middle = u64::midpoint(low, high);
            let found = self.generation.rowid(part, middle)?;
            match found.cmp(&rowid) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        let key = if part == Part::Cpf { "CPF" } else { "name" };
        Err(VerifyError::Missing { rowid, key })
    }
}

impl From<SourceError> for VerifyError {
    fn from(error: SourceError) -> Self {
        Self::Database(error.into())
    }
}
