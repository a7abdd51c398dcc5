//! The scan: every row of the table once, in parallel, its keys sorted into runs within the memory budget.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, path::Path, thread};

use balcao_index::{SourceError, Storage, TokenTable, catch_map_faults, map_faults};
use balcao_registry::{Lost, RegistryError, Table, Tree, cell};
use rusqlite::{Connection, Statement};

use crate::anomaly::{self, Anomaly};
use crate::batch::{NameBatch, NumberBatch};
use crate::build::BuildError;
use crate::held::HeldFile;
use crate::progress::Progress;
use crate::ranges::{Ranges, RowidSpan};
use crate::run::{Run, SpillFile, Whole};

/// Rows between two looks at whether another thread is idle.
const ROWS_BETWEEN_SHARING: u64 = 1024;

/// Bytes of a batch at most. A batch that fits the processor's cache is sorted twice as fast as one of 64 MiB, and the merge hardly feels
/// the greater number of runs.
const BATCH_BYTES_MAX: u64 = 8 << 20;

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
}

/// How the memory of a build is shared out, in bytes. Half of it is for sorted runs and their stretches, a quarter for the batches of all threads, an
/// eighth for the tokens, the rest for what a run takes while it is packed, the merge's buffers, and the sparse indexes.
struct Budget {
    whole: u64,
    runs: u64,
    name_batch: usize,
    cpf_batch: usize,
    anomaly_batch: usize,
    tokens: usize,
}

impl Budget {
    fn new(memory: u64, threads: usize) -> Self {
        let share = |part: u64| (memory / part / threads as u64).min(BATCH_BYTES_MAX) as usize;
        Self {
            whole: memory,
            runs: memory / 2,
            name_batch: share(6),
            cpf_batch: share(16),
            anomaly_batch: share(64),
            tokens: (memory / 8 / threads as u64) as usize,
        }
    }
}

/// Where the threads put their runs.
struct Store<'a> {
    budget: Budget,
    storage: &'a dyn Storage,
    folder: &'a Path,
    resident: AtomicU64,
    spill: Mutex<Option<Arc<SpillFile>>>,
}

impl Store<'_> {
    /// Takes a run in, spilled where the memory for runs is used up.
    fn keep<K: Whole>(&self, mut run: Run<K>, runs: &mut Vec<Run<K>>) -> Result<(), BuildError> {
        let bytes = run.memory_bytes();
        if self.resident.fetch_add(bytes, Ordering::Relaxed) + bytes > self.budget.runs {
            run.spill(&self.spill_file()?).map_err(BuildError::Spill)?;
            self.resident.fetch_sub(bytes - run.memory_bytes(), Ordering::Relaxed);
        }
        runs.push(run);
        Ok(())
    }

    /// How many times longer the stretches of the next run are to be: the more was spilled, the longer, so that what is remembered of the
    /// stretches of all runs grows as the logarithm of what was spilled, and does not fill the memory however large the table is.
    fn growth(&self) -> usize {
        let spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
        let spilled = spill.as_ref().map_or(0, |file| file.bytes());
        (spilled / self.budget.whole.max(1)) as usize + 1
    }

    fn spill_file(&self) -> Result<Arc<SpillFile>, BuildError> {
        let mut spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = spill.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(SpillFile::create(self.storage, self.folder).map_err(BuildError::Spill)?);
        *spill = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// Scans `table` in `file` over `connections`, one thread each. `span` holds the least and the greatest rowid. Spills into `folder`.
pub(crate) fn scan(
    connections: Vec<Connection>,
    file: &HeldFile,
    table: &Table,
    span: RowidSpan,
    memory: u64,
    (storage, folder): (&dyn Storage, &Path),
    progress: &dyn Progress,
) -> Result<(Scanned, u64), BuildError> {
    let ranges = Ranges::new(span, connections.len());
    let budget = Budget::new(memory, connections.len());
    let store = Store { budget, storage, folder, resident: AtomicU64::new(0), spill: Mutex::new(None) };
    // Through a map a file that is cut short is no error of a read: it is counted, and then nothing that was read is believed.
    catch_map_faults().map_err(SourceError::Io)?;
    let faults = map_faults();
    let map = file.map().map_err(SourceError::Io)?;
    let tree = Tree::describe(&connections[0], &table.name, table.columns.len(), &map)?;
    let pages = tree.as_ref().map(|tree| (tree, &*map));
    let shared = Shared { ranges: &ranges, store: &store, table, pages, span, covered: AtomicU64::new(0), progress };
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
    let spilled = store.spill.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(0, |file| file.bytes());
    Ok((whole, spilled))
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
    ranges: &'a Ranges,
    store: &'a Store<'a>,
    table: &'a Table,
    /// How the table lies in the file, and the file, where its rows can be read without SQLite.
    pages: Option<(&'a Tree, &'a [u8])>,
    span: RowidSpan,
    /// Rowids, not rows, that lie behind the threads.
    covered: AtomicU64,
    progress: &'a dyn Progress,
}

impl Shared<'_> {
    fn report(&self, rows: u64, rowids: u64) {
        let covered = self.covered.fetch_add(rowids, Ordering::Relaxed).wrapping_add(rowids);
        self.progress.rows(rows, covered as f64 / (distance(self.span.0, self.span.1) as f64 + 1.0));
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
        let mut sqlite = connection.prepare(&self.shared.table.scan_sql()).map_err(RegistryError::from)?;
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
        let (cpf_at, name_at) = (self.shared.table.cpf_at, self.shared.table.name_at);
        for row in tree.rows(bytes, walk.start) {
            // SQLite might find a way on, but then not to all of the rows.
            let (rowid, record) = row.map_err(|Lost| BuildError::Tree)?;
            if !walk.takes(rowid)? {
                break;
            }
            match record.and_then(|record| record.value(cpf_at).zip(record.value(name_at))) {
                Some((cpf, name)) => self.row(rowid, cell(cpf), cell(name))?,
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
        self.row(rowid, value(1)?, value(2)?)
    }

    fn row(
        &mut self,
        rowid: i64,
        cpf: balcao_record::Cell<'_>,
        name: balcao_record::Cell<'_>,
    ) -> Result<(), BuildError> {
        let row = distance(self.shared.span.0, rowid);
        let Self { shared, names, anomalies, found, key, .. } = self;
        let keys = anomaly::keys(cpf, name, key, |anomaly| {
            found.counts[anomaly as usize] += 1;
            anomalies.push(row, anomaly as u64);
        });
        found.rows += 1;
        if let Some(code) = keys.cpf_code {
            self.cpf.push(code, row);
        }
        if !keys.name.is_empty() {
            if names.is_full() {
                shared.store.keep(names.sort(shared.store.growth()), &mut found.names)?;
            }
            names.push(keys.name, row);
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

/// So that a spill's error says what to do.
pub(crate) fn spill_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space, or raise --memory so that less is spilled".to_owned()
        }
        io::ErrorKind::FileTooLarge => {
            "the spilled keys may not grow so large here; raise the limit of a file (`ulimit -f`), or --memory so that less is spilled".to_owned()
        }
        _ => format!("cannot spill to the index folder: {error}; check the disk, or raise --memory so that less is spilled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use balcao_index::RealFiles;

    /// Forty times the memory of names that share nothing: were the stretches as short as ever, the keys of them would take half of it.
    #[test]
    fn what_is_remembered_of_spilled_runs_stays_within_the_memory() {
        const MEMORY: u64 = 4 << 20;
        let folder = tempfile::tempdir().unwrap();
        let store = Store {
            budget: Budget::new(MEMORY, 1),
            storage: &RealFiles,
            folder: folder.path(),
            resident: AtomicU64::new(0),
            spill: Mutex::new(None),
        };
        let mut batch = NameBatch::new(store.budget.name_batch, 0, 0);
        let mut runs = Vec::new();
        let same = "X".repeat(134);
        for row in 0..1_120_000_u64 {
            if batch.is_full() {
                store.keep(batch.sort(store.growth()), &mut runs).unwrap();
            }
            batch.push(format!("{:016X}{same}", row.wrapping_mul(0x9E37_79B9_7F4A_7C15)).as_bytes(), row);
        }
        assert!(store.spill_file().unwrap().bytes() > 39 * MEMORY);
        let taken: u64 = runs.iter().map(Run::memory_bytes).sum();
        assert_eq!(taken, store.resident.into_inner());
        assert!(taken < MEMORY / 2 + MEMORY / 8, "{taken} bytes");
    }
}
