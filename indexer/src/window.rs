//! Rows of the table in the order of their names, fetched window by window.
//!
//! A window is a run of ranks. Its rowids are sorted, so that the table's pages are met in their order and each once a window, and the rows are
//! kept packed until they are handed out by their ranks. Threads fetch windows ahead of whoever takes the rows. What becomes of a row is not
//! known here.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use balcao_index::{Generation, Part};
use balcao_registry::{RegistryError, Table};
use rusqlite::{Connection, Statement};

use crate::build::BuildError;
use crate::packed::{Values, pack};

/// Rows that are looked at beforehand, to know how long one is.
const SAMPLED_ROWS: u64 = 1024;

/// Windows for each thread, at least; and the rows that a window may have all the same.
const WINDOWS_EACH: u64 = 4;
const WINDOW_ROWS_SHARED: u64 = 16 << 10;
/// Rows of a window at least, however little memory there is.
const WINDOW_ROWS_MIN: u64 = 64;

/// What a window keeps of a row beside its values: rowid and slot to sort, and the place of the values.
const ROW_OVERHEAD_BYTES: u64 = 24;

/// The place of a row that had no room in its window.
const NO_ROOM: u64 = u64::MAX;

/// Fetches the rows that have a name.
pub(crate) struct Windows<'a> {
    pub(crate) generation: &'a Generation,
    pub(crate) table: &'a Table,
    /// Bytes for all windows together.
    pub(crate) memory: u64,
}

/// Some rows between two ranks.
#[derive(Default)]
struct Window {
    number: u64,
    sorted: Vec<(i64, u32)>,
    /// Where the values of each row begin, by its rank in the window.
    places: Vec<u64>,
    values: Vec<u8>,
}

/// How large windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    rows: u64,
    /// Bytes of packed values.
    bytes: usize,
}

impl Size {
    /// The size of each of `windows` windows within `memory` bytes, for `ranks` rows whose values take `average` bytes each.
    fn new(memory: u64, windows: u64, average: u64, ranks: u64) -> Self {
        let bytes = memory / windows;
        // Some windows for each thread, also where one could hold all rows: or the others would have nothing to do.
        let share = (ranks / (windows * WINDOWS_EACH)).max(WINDOW_ROWS_SHARED);
        let rows = (bytes / (average + ROW_OVERHEAD_BYTES)).min(share).max(WINDOW_ROWS_MIN);
        Self { rows, bytes: bytes.saturating_sub(rows * ROW_OVERHEAD_BYTES) as usize }
    }
}

impl Windows<'_> {
    fn ranks(&self) -> u64 {
        self.generation.manifest().name_rows
    }

    /// Bytes that the values of a row take on average, packed.
    pub(crate) fn average_bytes(&self, connection: &Connection) -> Result<u64, BuildError> {
        let mut reader = Reader::new(connection, self.table)?;
        let sampled = self.ranks().min(SAMPLED_ROWS);
        let (mut bytes, mut values) = (0, Vec::new());
        for i in 0..sampled {
            values.clear();
            reader.read(self.generation.rowid(Part::Name, i * (self.ranks() / sampled))?, &mut values)?;
            bytes += values.len() as u64;
        }
        Ok(bytes / sampled.max(1))
    }

    /// Calls `take` with the values of each row, by ascending ranks from 0. The first connection is for rows that no window has room for, each
    /// further one for a thread that fetches; there must be two.
    pub(crate) fn for_each<E: From<BuildError>>(
        &self,
        connections: &mut [Connection],
        take: impl FnMut(u64, Values<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((own, others)) = connections.split_first_mut() else { return Ok(()) };
        let average = self.average_bytes(own)?;
        // One for each thread that fetches, and one that is taken from.
        let windows = others.len() as u64 + 1;
        let size = Size::new(self.memory, windows, average, self.ranks());
        let (jobs, waiting) = mpsc::channel();
        let waiting = Mutex::new(waiting);
        thread::scope(|scope| {
            // Owned in here: where the taking fails, the threads find nobody who asks them any more, and end.
            let jobs = jobs;
            let (done, fetched) = mpsc::channel();
            for connection in others {
                let (done, waiting) = (done.clone(), &waiting);
                scope.spawn(move || self.fetch(connection, size, waiting, &done));
            }
            drop(done);
            self.take_all(own, size, windows, &jobs, &fetched, take)
        })
    }

    /// Hands out windows as they come, in their order.
    fn take_all<E: From<BuildError>>(
        &self,
        own: &Connection,
        size: Size,
        windows: u64,
        jobs: &Sender<Window>,
        fetched: &Receiver<Result<Window, BuildError>>,
        mut take: impl FnMut(u64, Values<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = Reader::new(own, self.table)?;
        let mut long = Vec::new();
        let count = self.ranks().div_ceil(size.rows);
        // Nobody is left to fetch only where all of them failed, and then that is the next thing to be received.
        (0..windows.min(count)).for_each(|number| drop(jobs.send(Window { number, ..Window::default() })));
        let mut early = BTreeMap::new();
        for number in 0..count {
            let mut window = loop {
                if let Some(window) = early.remove(&number) {
                    break window;
                }
                let window = fetched.recv().unwrap_or(Err(BuildError::Thread))?;
                early.insert(window.number, window);
            };
            for (slot, &place) in window.places.iter().enumerate() {
                let rank = number * size.rows + slot as u64;
                let values = if place == NO_ROOM {
                    long.clear();
                    reader.read(self.generation.rowid(Part::Name, rank).map_err(BuildError::from)?, &mut long)?;
                    &long
                } else {
                    &window.values[place as usize..]
                };
                take(rank, Values::new(values, reader.columns))?;
            }
            window.number = number + windows;
            if window.number < count {
                drop(jobs.send(window));
            }
        }
        Ok(())
    }

    /// Fetches windows as long as somebody asks for them.
    fn fetch(
        &self,
        connection: &Connection,
        size: Size,
        waiting: &Mutex<Receiver<Window>>,
        done: &Sender<Result<Window, BuildError>>,
    ) {
        let _told = TellPanic(done);
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let mut reader = match Reader::new(connection, self.table) {
            Ok(reader) => reader,
            Err(error) => return drop(done.send(Err(error))),
        };
        while let Ok(mut window) = next() {
            let filled = self.fill(&mut window, size, &mut reader);
            let failed = filled.is_err();
            if done.send(filled.map(|()| window)).is_err() || failed {
                return;
            }
        }
    }

    fn fill(&self, window: &mut Window, size: Size, reader: &mut Reader<'_>) -> Result<(), BuildError> {
        let first = window.number * size.rows;
        let rows = size.rows.min(self.ranks() - first);
        window.sorted.clear();
        for slot in 0..rows {
            // Windows have fewer rows than a `u32` counts.
            window.sorted.push((self.generation.rowid(Part::Name, first + slot)?, slot as u32));
        }
        window.sorted.sort_unstable();
        window.places.clear();
        window.places.resize(rows as usize, NO_ROOM);
        window.values.clear();
        // Untouched memory costs nothing, and a buffer that grows would have its bytes twice for a moment.
        window.values.reserve_exact(size.bytes);
        for &(rowid, slot) in &window.sorted {
            let place = window.values.len();
            if reader.read_within(rowid, &mut window.values, size.bytes)? {
                window.places[slot as usize] = place as u64;
            }
        }
        Ok(())
    }
}

/// Tells whoever waits that the thread panicked: others may go on, so that the channel alone would not.
struct TellPanic<'a>(&'a Sender<Result<Window, BuildError>>);

impl Drop for TellPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(self.0.send(Err(BuildError::Thread)));
        }
    }
}

/// Reads whole rows by rowid.
struct Reader<'a> {
    statement: Statement<'a>,
    columns: usize,
}

impl<'a> Reader<'a> {
    fn new(connection: &'a Connection, table: &Table) -> Result<Self, BuildError> {
        let statement = connection.prepare(&table.row_sql()).map_err(RegistryError::from)?;
        Ok(Self { columns: statement.column_count(), statement })
    }

    /// Appends the values of a row.
    fn read(&mut self, rowid: i64, out: &mut Vec<u8>) -> Result<(), BuildError> {
        self.read_within(rowid, out, usize::MAX).map(drop)
    }

    /// Appends the values of a row, where `out` does not pass `bytes_max` with it: whether it did.
    fn read_within(&mut self, rowid: i64, out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, BuildError> {
        let mut rows = self.statement.query([rowid]).map_err(RegistryError::from)?;
        let row = rows.next().map_err(RegistryError::from)?.ok_or(BuildError::Lost { rowid })?;
        let start = out.len();
        for at in 0..self.columns {
            if !pack(row.get_ref(at).map_err(RegistryError::from)?, out, bytes_max) {
                out.truncate(start);
                return Ok(false);
            }
        }
        Ok(true)
    }
}
