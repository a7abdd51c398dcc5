//! The scan: every row of the table once, in parallel, its keys sorted into runs within the memory budget.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use balcao_index::{SourceError, TokenTable, catch_map_faults, map_faults};
use balcao_record::Cell;
use balcao_registry::{Lost, Record, RegistryError, Table, Tree, cell};
use rusqlite::{Connection, Statement};

use crate::anomaly::{self, Anomaly};
use crate::batch::{NameBatch, NumberBatch};
use crate::build::BuildError;
use crate::filters::{FilterCells, FilterPlan, Unreadable};
use crate::held::HeldFile;
use crate::progress::Progress;
use crate::ranges::{Ranges, RowidSpan};
use crate::run::Run;
use crate::store::Store;

/// Rows between two looks at whether another thread is idle.
const ROWS_BETWEEN_SHARING: u64 = 1024;

/// What a scan found.
pub(crate) struct Scanned {
    pub(crate) cpf: Vec<Run<u64>>,
    pub(crate) names: Vec<Run<Vec<u8>>>,
    pub(crate) anomalies: Vec<Run<u64>>,
    /// The tokens of the names, by thread.
    pub(crate) tokens: Vec<TokenTable>,
    pub(crate) rows: u64,
    /// The least and the greatest rowid among them.
    ends: Option<RowidSpan>,
    /// By [`Anomaly`].
    pub(crate) counts: [u64; Anomaly::ALL.len()],
    pub(crate) unreadable: Unreadable,
}

/// What is scanned, and what is read of it.
pub(crate) struct Source<'a> {
    pub(crate) file: &'a HeldFile,
    pub(crate) table: &'a Table,
    /// The least and the greatest rowid.
    pub(crate) span: RowidSpan,
    pub(crate) filters: &'a FilterPlan,
}

/// Scans a table over `connections`, one thread each, into `store`.
pub(crate) fn scan(
    connections: Vec<Connection>,
    source: &Source<'_>,
    store: &Store<'_>,
    progress: &dyn Progress,
) -> Result<Scanned, BuildError> {
    let &Source { file, table, span, .. } = source;
    let ranges = Ranges::new(span, connections.len());
    // Through a map a file that is cut short is no error of a read: it is counted, and then nothing that was read is believed.
    catch_map_faults().map_err(SourceError::Io)?;
    let faults = map_faults();
    let map = file.map().map_err(SourceError::Io)?;
    let tree = Tree::describe(&connections[0], &table.name, table.columns.len(), &map)?;
    let pages = tree.as_ref().map(|tree| (tree, &*map));
    let shared = Shared { source, ranges: &ranges, store, pages, covered: AtomicU64::new(0), progress };
    let parts: Vec<Result<Scanned, BuildError>> = thread::scope(|scope| {
        let shared = &shared;
        let start =
            |(number, connection): (usize, Connection)| scope.spawn(move || scan_thread(&connection, number, shared));
        let handles: Vec<_> = connections.into_iter().enumerate().map(start).collect();
        let join = |handle: thread::ScopedJoinHandle<'_, _>| handle.join().unwrap_or(Err(BuildError::Thread));
        handles.into_iter().map(join).collect()
    });
    let mut whole = Scanned::empty();
    // Before what they say of rows that may never have been there.
    if map_faults() != faults {
        return Err(BuildError::Unreadable);
    }
    for part in parts {
        whole.add(part?);
    }
    // The table said where it begins and where it ends: what was read in between must, too.
    if whole.ends != Some(span) {
        return Err(BuildError::Disorder);
    }
    Ok(whole)
}

impl Scanned {
    pub(crate) fn empty() -> Self {
        Self {
            cpf: Vec::new(),
            names: Vec::new(),
            anomalies: Vec::new(),
            tokens: Vec::new(),
            rows: 0,
            ends: None,
            counts: [0; Anomaly::ALL.len()],
            unreadable: Unreadable::default(),
        }
    }

    fn add(&mut self, other: Self) {
        self.cpf.extend(other.cpf);
        self.names.extend(other.names);
        self.anomalies.extend(other.anomalies);
        self.tokens.extend(other.tokens);
        self.rows += other.rows;
        self.saw(other.ends);
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        self.unreadable.add(other.unreadable);
    }

    fn saw(&mut self, ends: Option<RowidSpan>) {
        if let Some((least, greatest)) = ends {
            let (before, after) = self.ends.unwrap_or((least, greatest));
            self.ends = Some((before.min(least), after.max(greatest)));
        }
    }
}

/// What the scanning threads share.
struct Shared<'a> {
    source: &'a Source<'a>,
    ranges: &'a Ranges,
    store: &'a Store<'a>,
    /// How the table lies in the file, and the file, where its rows can be read without SQLite.
    pages: Option<(&'a Tree, &'a [u8])>,
    /// Rowids, not rows, that lie behind the threads.
    covered: AtomicU64,
    progress: &'a dyn Progress,
}

impl Shared<'_> {
    fn report(&self, rows: u64, rowids: u64) {
        let covered = self.covered.fetch_add(rowids, Ordering::Relaxed).wrapping_add(rowids);
        let (least, greatest) = self.source.span;
        self.progress.rows(rows, covered as f64 / (distance(least, greatest) as f64 + 1.0));
    }
}

/// How far `rowid` is from `from`, which is not above it.
fn distance(from: i64, rowid: i64) -> u64 {
    rowid.wrapping_sub(from) as u64
}

fn scan_thread(connection: &Connection, number: usize, shared: &Shared<'_>) -> Result<Scanned, BuildError> {
    let mut scanner = Scanner::new(shared, number);
    // However this thread ends, also in a panic, the others do not wait for it.
    let _leave = shared.ranges.leave_on_drop();
    scanner.scan(connection)?;
    scanner.finish()
}

/// The way through one range of rowids.
struct Walk {
    start: i64,
    /// Another thread may take what is far ahead.
    end: i64,
    /// The first and the last row.
    seen: Option<RowidSpan>,
    /// Up to where the progress was told, and the rows since.
    reported: i64,
    since: u64,
}

impl Walk {
    /// Whether the row belongs to the range; an error where it is not above the one before.
    fn takes(&mut self, rowid: i64) -> Result<bool, BuildError> {
        // The tree of a damaged file is believed: a page that hangs in it twice would give its rows twice.
        if self.seen.map_or(rowid < self.start, |(_, last)| rowid <= last) {
            return Err(BuildError::Disorder);
        }
        if rowid > self.end {
            return Ok(false);
        }
        self.seen = Some((self.seen.map_or(rowid, |(first, _)| first), rowid));
        Ok(true)
    }

    /// Tells of the progress and gives what is far ahead to a thread that has nothing; whether to go on.
    fn goes_on(&mut self, rowid: i64, shared: &Shared<'_>) -> bool {
        self.since += 1;
        if self.since < ROWS_BETWEEN_SHARING {
            return true;
        }
        shared.report(self.since, distance(self.reported, rowid));
        (self.reported, self.since) = (rowid, 0);
        if let Some(nearer) = rowid.checked_add(1).and_then(|next| shared.ranges.share(next, self.end)) {
            self.end = nearer;
        }
        !shared.ranges.is_abandoned()
    }
}

/// What is read of a row.
struct Cells<'c> {
    cpf: Cell<'c>,
    name: Cell<'c>,
    filters: FilterCells<'c>,
}

impl Source<'_> {
    /// The cells of a row; `None` where not all of them are in the record.
    #[inline]
    fn cells<'c>(&self, record: Record<'c>) -> Option<Cells<'c>> {
        let value = |at| record.value(at).map(cell);
        let (cpf, name) = (value(self.table.cpf_at)?, value(self.table.name_at)?);
        Some(Cells { cpf, name, filters: self.filters.cells(value)? })
    }

    fn scan_sql(&self) -> String {
        self.table.scan_sql(&self.filters.further())
    }
}

/// One thread's scan.
struct Scanner<'a> {
    shared: &'a Shared<'a>,
    names: NameBatch,
    cpf: NumberBatch,
    anomalies: NumberBatch,
    found: Scanned,
    key: String,
}

impl<'a> Scanner<'a> {
    fn new(shared: &'a Shared<'a>, number: usize) -> Self {
        let budget = &shared.store.budget;
        Self {
            shared,
            names: NameBatch::new(budget.name_batch, number, budget.tokens),
            cpf: NumberBatch::new(budget.cpf_batch),
            anomalies: NumberBatch::new(budget.anomaly_batch),
            found: Scanned::empty(),
            key: String::new(),
        }
    }

    fn scan(&mut self, connection: &Connection) -> Result<(), BuildError> {
        let sqlite = self.shared.source.scan_sql();
        let mut sqlite = connection.prepare(&sqlite).map_err(RegistryError::from)?;
        while let Some((start, end)) = self.shared.ranges.next() {
            let mut walk = Walk { start, end, seen: None, reported: start, since: 0 };
            match self.shared.pages {
                Some((tree, bytes)) => self.scan_pages(tree, bytes, &mut walk, &mut sqlite)?,
                None => self.scan_by_sqlite(&mut walk, &mut sqlite)?,
            }
            if self.shared.ranges.is_abandoned() {
                return Ok(());
            }
            self.found.saw(walk.seen);
            self.shared.report(walk.since, distance(walk.reported, walk.end).wrapping_add(1));
        }
        Ok(())
    }

    /// Reads a range from the pages of the file, its odd rows through SQLite.
    fn scan_pages(
        &mut self,
        tree: &Tree,
        bytes: &[u8],
        walk: &mut Walk,
        sqlite: &mut Statement<'_>,
    ) -> Result<(), BuildError> {
        let source = self.shared.source;
        for row in tree.rows(bytes, walk.start) {
            // SQLite might find a way on, but then not to all of the rows.
            let (rowid, record) = row.map_err(|Lost| BuildError::Tree)?;
            if !walk.takes(rowid)? {
                break;
            }
            match record.and_then(|record| source.cells(record)) {
                Some(cells) => self.row(rowid, &cells)?,
                None => {
                    let mut rows = sqlite.query([rowid, rowid]).map_err(RegistryError::from)?;
                    let row = rows.next().map_err(RegistryError::from)?.ok_or(BuildError::Disorder)?;
                    self.row_of_sqlite(rowid, row)?;
                }
            }
            if !walk.goes_on(rowid, self.shared) {
                break;
            }
        }
        Ok(())
    }

    fn scan_by_sqlite(&mut self, walk: &mut Walk, sqlite: &mut Statement<'_>) -> Result<(), BuildError> {
        let mut rows = sqlite.query([walk.start, walk.end]).map_err(RegistryError::from)?;
        while let Some(row) = rows.next().map_err(RegistryError::from)? {
            let rowid = row.get_ref(0).and_then(|value| Ok(value.as_i64()?)).map_err(RegistryError::from)?;
            if !walk.takes(rowid)? {
                break;
            }
            self.row_of_sqlite(rowid, row)?;
            if !walk.goes_on(rowid, self.shared) {
                break;
            }
        }
        Ok(())
    }

    fn row_of_sqlite(&mut self, rowid: i64, row: &rusqlite::Row<'_>) -> Result<(), BuildError> {
        let value = |at| row.get_ref(at).map(cell).map_err(RegistryError::from);
        let filters = self.shared.source.filters.further_cells(|at| value(at + 3))?;
        self.row(rowid, &Cells { cpf: value(1)?, name: value(2)?, filters })
    }

    fn row(&mut self, rowid: i64, cells: &Cells<'_>) -> Result<(), BuildError> {
        let source = self.shared.source;
        let row = distance(source.span.0, rowid);
        let Self { shared, names, anomalies, found, key, .. } = self;
        let keys = anomaly::keys(cells.cpf, cells.name, key, |anomaly| {
            found.counts[anomaly as usize] += 1;
            anomalies.push(row, anomaly as u64);
        });
        let value = source.filters.read(cells.filters, &mut found.unreadable);
        found.rows += 1;
        if let Some(code) = keys.cpf_code {
            self.cpf.push(code, row);
        }
        if !keys.name.is_empty() {
            if names.is_full() {
                shared.store.keep(names.sort(shared.store.growth()), &mut found.names)?;
            }
            names.push(keys.name, source.filters.pack(row, value));
        }
        if self.cpf.is_full() {
            shared.store.keep(self.cpf.sort(shared.store.growth()), &mut self.found.cpf)?;
        }
        if self.anomalies.is_full() {
            shared.store.keep(self.anomalies.sort(shared.store.growth()), &mut self.found.anomalies)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Scanned, BuildError> {
        let store = self.shared.store;
        if !self.names.is_empty() {
            store.keep(self.names.sort(store.growth()), &mut self.found.names)?;
        }
        for (batch, runs) in [(&mut self.cpf, &mut self.found.cpf), (&mut self.anomalies, &mut self.found.anomalies)] {
            if !batch.is_empty() {
                store.keep(batch.sort(store.growth()), runs)?;
            }
        }
        self.found.tokens.push(self.names.into_table());
        Ok(self.found)
    }
}
