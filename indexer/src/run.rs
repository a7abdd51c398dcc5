//! Runs: sorted keys with their rows, packed, in memory or spilled to a file, and the readers that give them back in order.
//!
//! A row is its rowid's distance to the table's least rowid, so that it is never negative. A run is cut into stretches: in each the first key is
//! written whole, and remembered with its place. Shards are cut there, a reader can begin there, and what was spilled is read stretch by
//! stretch. What a key is made of, and how it is packed, is `keys.rs`.

use std::cmp::Ordering;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicU64};

use balcao_index::{NamelessFile, Storage, varint};

/// Rows of a stretch at most.
pub(crate) const STRETCH_ROWS: usize = 1024;

/// Bytes after which a stretch ends early.
const STRETCH_BYTES: usize = 8 * 1024;

/// What a reader of a spilled run reads at once, at least and at most; a stretch is read whole all the same.
pub(crate) const READ_BYTES: std::ops::RangeInclusive<usize> = 4 * 1024..=64 * 1024;

/// Reads the keys of a run, one after the other, and holds the current one.
pub(crate) trait Keys {
    /// A key written whole.
    type Whole: Ord + Clone + Send + Sync;

    /// A stretch begins: the next key leans on none.
    fn restart(&mut self);
    /// Takes a row off the front of `bytes`: its key becomes the current one. `None` where the bytes make no sense.
    fn read(&mut self, bytes: &mut &[u8]) -> Option<u64>;
    /// A number that compares as the current key does, but for keys that have the same.
    fn head(&self) -> u64;
    /// The head of any key.
    fn head_of(&self, key: &Self::Whole) -> u64;
    /// Compares the current keys of two readers.
    fn compare(&self, other: &Self) -> Ordering;
    /// Compares the current key with another one.
    fn compare_whole(&self, key: &Self::Whole) -> Ordering;
}

/// A sorted run.
#[derive(Debug)]
pub(crate) struct Run<K> {
    bytes: RunBytes,
    length: u64,
    pub(crate) rows: u64,
    /// First key and place of each stretch, ascending.
    pub(crate) stretches: Vec<(K, u64)>,
    /// Which thread packed it: names are packed by the numbers that this thread gave their tokens.
    pub(crate) thread: usize,
}

#[derive(Debug)]
enum RunBytes {
    Memory(Vec<u8>),
    Spilled { file: Arc<SpillFile>, at: u64 },
}

/// Packs sorted rows into a run.
pub(crate) struct RunWriter<K> {
    bytes: Vec<u8>,
    rows: u64,
    stretches: Vec<(K, u64)>,
    stretch_rows: usize,
    stretch_at: usize,
}

impl<K> RunWriter<K> {
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = Vec::with_capacity(bytes);
        Self { bytes, rows: 0, stretches: Vec::new(), stretch_rows: STRETCH_ROWS, stretch_at: 0 }
    }

    /// Whether a stretch must begin with the next row.
    pub(crate) fn is_stretch_full(&self) -> bool {
        self.stretch_rows == STRETCH_ROWS || self.bytes.len() - self.stretch_at >= STRETCH_BYTES
    }

    /// Begins a stretch with a row of this key.
    pub(crate) fn begin_stretch(&mut self, key: K) {
        self.stretch_at = self.bytes.len();
        self.stretch_rows = 0;
        self.stretches.push((key, self.stretch_at as u64));
    }

    /// Where the key of the next row is packed to.
    pub(crate) fn key(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends a row, whose key was packed.
    pub(crate) fn end_row(&mut self, row: u64) {
        varint::write(&mut self.bytes, row);
        self.rows += 1;
        self.stretch_rows += 1;
    }

    pub(crate) fn finish(mut self, thread: usize) -> Run<K> {
        self.bytes.shrink_to_fit();
        let length = self.bytes.len() as u64;
        Run { bytes: RunBytes::Memory(self.bytes), length, rows: self.rows, stretches: self.stretches, thread }
    }
}

impl<K: Ord> Run<K> {
    /// Bytes of memory that the run's rows take.
    pub(crate) fn memory_bytes(&self) -> u64 {
        match self.bytes {
            RunBytes::Memory(_) => self.length,
            RunBytes::Spilled { .. } => 0,
        }
    }

    /// Moves the rows to the spill file.
    pub(crate) fn spill(&mut self, file: &Arc<SpillFile>) -> io::Result<()> {
        if let RunBytes::Memory(bytes) = &self.bytes {
            let at = file.append(bytes)?;
            self.bytes = RunBytes::Spilled { file: Arc::clone(file), at };
        }
        Ok(())
    }

    /// Reads the rows whose keys are at or above `from`, from the beginning without it, and below `to`.
    /// A spilled run is read about `read_bytes` at a time.
    pub(crate) fn read<D: Keys<Whole = K>>(
        &self,
        keys: D,
        from: Option<&K>,
        to: Option<&K>,
        read_bytes: usize,
    ) -> io::Result<RunReader<'_, D>>
    where
        K: Clone,
    {
        // Rows with the key `from` may stand before the stretch that begins with it: begin at the last stretch below.
        let above = self.stretches.partition_point(|(key, _)| from.is_some_and(|from| key < from));
        let to = to.map(|to| (keys.head_of(to), to.clone()));
        let mut reader = RunReader {
            run: self,
            read_bytes,
            next_stretch: above.saturating_sub(1),
            buffer: Vec::new(),
            buffer_at: 0,
            buffered: 0,
            at: 0,
            end: 0,
            head: 0,
            row: 0,
            ended: false,
            keys,
            to,
        };
        reader.advance()?;
        while !reader.ended && from.is_some_and(|from| reader.keys.compare_whole(from).is_lt()) {
            reader.advance()?;
        }
        Ok(reader)
    }

    /// Where stretch `number` begins; of one beyond the last, the end.
    fn stretch_at(&self, number: usize) -> u64 {
        self.stretches.get(number).map_or(self.length, |(_, at)| *at)
    }
}

/// Reads a run forward.
pub(crate) struct RunReader<'a, D: Keys> {
    run: &'a Run<D::Whole>,
    read_bytes: usize,
    next_stretch: usize,
    /// Of a spilled run, the stretches that were read at once: where in the run they begin, and which is the first that is not among them.
    buffer: Vec<u8>,
    buffer_at: u64,
    buffered: usize,
    /// Where the next row is, and where its stretch ends: in the run, or in the buffer.
    at: usize,
    end: usize,
    keys: D,
    head: u64,
    row: u64,
    to: Option<(u64, D::Whole)>,
    ended: bool,
}

impl<D: Keys> RunReader<'_, D> {
    /// The keys with the current one, and its row; `None` at the end.
    pub(crate) fn current(&self) -> Option<(&D, u64)> {
        (!self.ended).then_some((&self.keys, self.row))
    }

    /// The head of the current key; the greatest number at the end.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Whether the current row stands before that of another reader; none does where there is none.
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        if self.ended || other.ended {
            return !self.ended;
        }
        self.head.cmp(&other.head).then_with(|| self.keys.compare(&other.keys)).then(self.row.cmp(&other.row)).is_lt()
    }

    /// Goes to the next row.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        if self.at == self.end && !self.begin_stretch()? {
            self.end();
            return Ok(());
        }
        let bytes = match &self.run.bytes {
            RunBytes::Memory(bytes) => bytes,
            RunBytes::Spilled { .. } => &self.buffer,
        };
        let mut rest = bytes.get(self.at..self.end).ok_or(io::ErrorKind::InvalidData)?;
        self.row = self.keys.read(&mut rest).ok_or(io::ErrorKind::InvalidData)?;
        self.at = self.end - rest.len();
        self.head = self.keys.head();
        if let Some((head, to)) = &self.to
            && self.head >= *head
            && (self.head > *head || self.keys.compare_whole(to).is_ge())
        {
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.ended = true;
        self.head = u64::MAX;
    }

    /// Goes to the next stretch; whether there is one.
    fn begin_stretch(&mut self) -> io::Result<bool> {
        let number = self.next_stretch;
        let (start, end) = (self.run.stretch_at(number), self.run.stretch_at(number + 1));
        if start >= end {
            return Ok(false);
        }
        let offset = match &self.run.bytes {
            RunBytes::Memory(_) => 0,
            RunBytes::Spilled { file, at } => {
                if number >= self.buffered {
                    self.buffered = number + 1;
                    while self.run.stretch_at(self.buffered + 1) - start <= self.read_bytes as u64
                        && self.buffered < self.run.stretches.len()
                    {
                        self.buffered += 1;
                    }
                    self.buffer.resize((self.run.stretch_at(self.buffered) - start) as usize, 0);
                    file.file.read_exact_at(&mut self.buffer, at + start)?;
                    self.buffer_at = start;
                }
                self.buffer_at
            }
        };
        (self.at, self.end) = ((start - offset) as usize, (end - offset) as usize);
        self.next_stretch = number + 1;
        self.keys.restart();
        Ok(true)
    }
}

/// The file that runs are spilled to. It has no name: whatever ends the build, nothing is left of it.
#[derive(Debug)]
pub(crate) struct SpillFile {
    file: Box<dyn NamelessFile>,
    next: AtomicU64,
}

impl SpillFile {
    pub(crate) fn create(storage: &dyn Storage, folder: &Path) -> io::Result<Self> {
        Ok(Self { file: storage.create_nameless(folder)?, next: AtomicU64::new(0) })
    }

    /// Bytes that were spilled so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.next.load(atomic::Ordering::Relaxed)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.next.fetch_add(bytes.len() as u64, atomic::Ordering::Relaxed);
        self.file.write_all_at(bytes, at)?;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{NameBatch, NumberBatch};
    use crate::keys::{NameKeys, Numbers};
    use crate::ranking::Ranking;
    use balcao_index::{RealFiles, TokenTable};
    use proptest::prelude::*;

    #[track_caller]
    fn check<D: Keys>(mut run: Run<D::Whole>, rows: &[(D::Whole, u64)], cuts: &[D::Whole], keys: impl Fn() -> D)
    where
        D::Whole: std::fmt::Debug,
    {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(SpillFile::create(&RealFiles, folder.path()).unwrap());
        file.append(b"another run's bytes").unwrap();
        for read_bytes in [None, Some(100), Some(20_000)] {
            if read_bytes.is_some() {
                run.spill(&file).unwrap();
                assert_eq!(run.memory_bytes(), 0);
            }
            let ends: Vec<Option<&D::Whole>> = cuts.iter().map(Some).chain([None]).collect();
            for &from in &ends {
                for &to in &ends {
                    let inside = |key: &D::Whole| from.is_none_or(|from| key >= from) && to.is_none_or(|to| key < to);
                    let mut expected = rows.iter().filter(|(key, _)| inside(key));
                    let mut reader = run.read(keys(), from, to, read_bytes.unwrap_or(1)).unwrap();
                    while let Some((keys, row)) = reader.current() {
                        let (key, expected_row) = expected.next().unwrap();
                        assert!(keys.compare_whole(key).is_eq() && row == *expected_row, "{key:?} {row}");
                        assert_eq!(keys.head_of(key), reader.head());
                        reader.advance().unwrap();
                    }
                    assert_eq!(expected.next(), None);
                }
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    fn check_numbers(mut rows: Vec<(u64, u64)>, cuts: &[u64]) {
        let mut batch = NumberBatch::new(1 << 20);
        rows.iter().for_each(|&(key, row)| batch.push(key, row));
        rows.sort_unstable();
        check(batch.sort(), &rows, cuts, Numbers::default);
    }

    /// With a table that has numbers for all tokens, for some, and for none.
    fn check_names(mut rows: Vec<(Vec<u8>, u64)>, cuts: &[Vec<u8>]) {
        let pushed = rows.clone();
        rows.sort_unstable();
        for table_bytes in [1 << 20, 1000, 0] {
            let mut batch = NameBatch::new(1 << 20, 0, table_bytes);
            pushed.iter().for_each(|(name, row)| batch.push(name, *row));
            let run = batch.sort();
            // Another thread may know tokens that this one does not.
            let mut other = TokenTable::new(1 << 20);
            other.cut(b"NAME A DA A");
            other.number_waiting(|_, _| ());
            other.sort();
            let tables = [batch.into_table(), other];
            let ranking = Ranking::of(&tables);
            check(run, &rows, cuts, || NameKeys::new(&ranking, 0));
        }
    }

    #[test]
    fn many_stretches_of_one_key() {
        check_numbers((0..5000).map(|row| (7_u64, row)).collect(), &[7, 8]);
        check_numbers((0..5000).map(|row| (row / 3000, row)).collect(), &[0, 1]);
        check_numbers(vec![], &[5]);
        let names = (0..5000_u64).map(|i| (format!("NAME {}", i % 2500).into_bytes(), i)).collect();
        check_names(names, &[b"NAME 1000".to_vec(), b"O".to_vec()]);
        check_names((0..3000).map(|row| (b"E A DA B".to_vec(), row)).collect(), &[b"E A DA B".to_vec(), b"E".to_vec()]);
        check_names(vec![(vec![b'A'; 300_000], 1), (vec![b'B'; 300_000], u64::MAX)], &[vec![b'B']]);
    }

    #[test]
    fn names_of_many_tokens() {
        let long = |last: &str| format!("{}{last}", "A DA B ".repeat(50)).into_bytes();
        check_names(vec![(long("C"), 1), (long("B"), 2), (long("B"), 1), (long("DA"), 9)], &[long("B"), long("D")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_names(rows in prop::collection::vec(("[AB]{1,3}( (DA |E |)[AB]{1,2}){0,5}", any::<u64>()), 0..300), cut in "[AB]{1,2}( A)?") {
            let rows = rows.into_iter().map(|(name, row)| (name.into_bytes(), row)).collect();
            check_names(rows, &[cut.into_bytes()]);
        }

        #[test]
        fn any_numbers(rows in prop::collection::vec((any::<u64>(), any::<u64>()), 0..300), cut: u64) {
            check_numbers(rows, &[cut]);
        }
    }
}
