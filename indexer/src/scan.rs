//! The scan: every row of the table once, in parallel, its keys sorted into runs within the memory budget.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, path::Path, thread};

use balcao_index::{Storage, TokenTable};
use balcao_registry::{RegistryError, Table, cell};
use rusqlite::Connection;

use crate::anomaly::{self, Anomaly};
use crate::batch::{NameBatch, NumberBatch};
use crate::build::BuildError;
use crate::progress::Progress;
use crate::ranges::{Ranges, RowidSpan};
use crate::run::{Run, SpillFile};

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

/// How the memory of a build is shared out, in bytes. Half of it is for sorted runs, a quarter for the batches of all threads, an
/// eighth for the tokens, the rest for what a run takes while it is packed, the merge's buffers, and the sparse indexes.
struct Budget {
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
    fn keep<K: Ord>(&self, mut run: Run<K>, runs: &mut Vec<Run<K>>) -> Result<(), BuildError> {
        let bytes = run.memory_bytes();
        if self.resident.fetch_add(bytes, Ordering::Relaxed) + bytes > self.budget.runs {
            self.resident.fetch_sub(bytes, Ordering::Relaxed);
            run.spill(&self.spill_file()?).map_err(BuildError::Spill)?;
        }
        runs.push(run);
        Ok(())
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

/// Scans `table` over `connections`, one thread each. `span` holds the least and the greatest rowid. Spills into `folder`.
pub(crate) fn scan(
    connections: Vec<Connection>,
    table: &Table,
    span: RowidSpan,
    memory: u64,
    (storage, folder): (&dyn Storage, &Path),
    progress: &dyn Progress,
) -> Result<(Scanned, u64), BuildError> {
    let ranges = Ranges::new(span, connections.len());
    let budget = Budget::new(memory, connections.len());
    let store = Store { budget, storage, folder, resident: AtomicU64::new(0), spill: Mutex::new(None) };
    let shared = Shared { ranges: &ranges, store: &store, table, span, covered: AtomicU64::new(0), progress };
    let parts: Vec<Result<Scanned, BuildError>> = thread::scope(|scope| {
        let shared = &shared;
        let start =
            |(number, connection): (usize, Connection)| scope.spawn(move || scan_thread(&connection, number, shared));
        let handles: Vec<_> = connections.into_iter().enumerate().map(start).collect();
        let join = |handle: thread::ScopedJoinHandle<'_, _>| handle.join().unwrap_or(Err(BuildError::Thread));
        handles.into_iter().map(join).collect()
    });
    let mut whole = Scanned::empty();
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
        let mut statement = connection.prepare(&self.shared.table.scan_sql()).map_err(RegistryError::from)?;
        while let Some((start, mut end)) = self.shared.ranges.next() {
            let mut rows = statement.query([start, end]).map_err(RegistryError::from)?;
            let (mut reported, mut since) = (start, 0);
            let mut seen: Option<RowidSpan> = None;
            while let Some(row) = rows.next().map_err(RegistryError::from)? {
                let rowid = row.get_ref(0).and_then(|value| Ok(value.as_i64()?)).map_err(RegistryError::from)?;
                // SQLite believes the tree of a damaged file: a page that hangs in it twice would give its rows twice.
                if seen.map_or(rowid < start, |(_, last)| rowid <= last) {
                    return Err(BuildError::Disorder);
                }
                if rowid > end {
                    break;
                }
                seen = Some((seen.map_or(rowid, |(first, _)| first), rowid));
                let value = |at| row.get_ref(at).map(cell).map_err(RegistryError::from);
                self.row(rowid, value(1)?, value(2)?)?;
                since += 1;
                if since == ROWS_BETWEEN_SHARING {
                    self.shared.report(since, distance(reported, rowid));
                    (reported, since) = (rowid, 0);
                    if self.shared.ranges.is_abandoned() {
                        return Ok(());
                    }
                    if let Some(nearer) = rowid.checked_add(1).and_then(|next| self.shared.ranges.share(next, end)) {
                        end = nearer;
                    }
                }
            }
            self.found.saw(seen);
            self.shared.report(since, distance(reported, end).wrapping_add(1));
        }
        Ok(())
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
                shared.store.keep(names.sort(), &mut found.names)?;
            }
            names.push(keys.name, row);
        }
        if self.cpf.is_full() {
            self.shared.store.keep(self.cpf.sort(), &mut self.found.cpf)?;
        }
        if self.anomalies.is_full() {
            self.shared.store.keep(self.anomalies.sort(), &mut self.found.anomalies)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Scanned, BuildError> {
        if !self.names.is_empty() {
            self.shared.store.keep(self.names.sort(), &mut self.found.names)?;
        }
        for (batch, runs) in [(&mut self.cpf, &mut self.found.cpf), (&mut self.anomalies, &mut self.found.anomalies)] {
            if !batch.is_empty() {
                self.shared.store.keep(batch.sort(), runs)?;
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
