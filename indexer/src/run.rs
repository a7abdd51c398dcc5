//! Runs: sorted keys with their rows, packed, in memory or spilled to a file, and the readers that give them back in order.
//!
//! A row is its rowid's distance to the table's least rowid, so that it is never negative. A run is cut into stretches: in each the first key is
//! written whole, and the beginning of it is remembered with its place. Shards are cut there, and a reader can begin there. What is remembered
//! stays in memory when the run is spilled: it is short, and counted. What a key is made of, and how it is packed, is `keys.rs`.

use std::cmp::Ordering;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicU64};

use balcao_index::{NamelessFile, Storage, varint};

/// Rows of a stretch at most, and bytes after which it ends early: both times the growth that a run is packed with.
const STRETCH_ROWS: usize = 1024;
const STRETCH_BYTES: usize = 8 * 1024;

/// What a reader of a spilled run reads at once, at least and at most; a row is read whole all the same.
pub(crate) const READ_BYTES: std::ops::RangeInclusive<usize> = 4 * 1024..=64 * 1024;

/// A key written whole.
pub(crate) trait Whole: Ord + Clone + Send + Sync {
    /// What a stretch remembers of it: all, or so many of its first bytes. Of two keys, that of the lesser one is never the greater.
    fn beginning(&self) -> Self;
    /// Bytes that it takes beside itself.
    fn heap_bytes(&self) -> usize;
}

/// Reads the keys of a run, one after the other, and holds the current one.
pub(crate) trait Keys {
    /// A key written whole.
    type Whole: Whole;

    /// A stretch begins: the next key leans on none.
    fn restart(&mut self);
    /// Takes a row off the front of `bytes`: its key becomes the current one. `None` where the bytes make no sense, or end too early: then the
    /// same row is read again when there are more of them, before anything else is asked.
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
    /// The beginning of the first key of each stretch, and its place, ascending.
    pub(crate) stretches: Vec<(K, u64)>,
    /// How many times longer its stretches are than others'.
    pub(crate) growth: usize,
    /// Bytes of memory that the stretches take.
    kept: u64,
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
    growth: usize,
    stretch_rows_max: usize,
    stretch_bytes_max: usize,
    stretch_rows: usize,
    stretch_at: usize,
}

impl<K: Whole> RunWriter<K> {
    /// A run of about so many bytes, whose stretches are `growth` times as long as they must be.
    pub(crate) fn new(bytes: usize, growth: usize) -> Self {
        let stretch_rows_max = STRETCH_ROWS.saturating_mul(growth);
        Self {
            bytes: Vec::with_capacity(bytes),
            rows: 0,
            stretches: Vec::new(),
            growth,
            stretch_rows_max,
            stretch_bytes_max: STRETCH_BYTES.saturating_mul(growth),
            // A stretch begins with the first row.
            stretch_rows: stretch_rows_max,
            stretch_at: 0,
        }
    }

    /// Whether a stretch must begin with the next row.
    pub(crate) fn is_stretch_full(&self) -> bool {
        self.stretch_rows == self.stretch_rows_max || self.bytes.len() - self.stretch_at >= self.stretch_bytes_max
    }

    /// Begins a stretch with a row whose key begins with this.
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
        self.stretches.shrink_to_fit();
        let Self { bytes, rows, stretches, growth, .. } = self;
        let kept = stretches.iter().map(|(key, _)| size_of::<(K, u64)>() + key.heap_bytes()).sum::<usize>() as u64;
        Run { length: bytes.len() as u64, bytes: RunBytes::Memory(bytes), rows, stretches, growth, kept, thread }
    }
}

impl<K: Whole> Run<K> {
    /// Bytes of memory that the run takes: its rows, where they are not spilled, and what is remembered of its stretches.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.kept
            + match self.bytes {
                RunBytes::Memory(_) => self.length,
                RunBytes::Spilled { .. } => 0,
            }
    }

    /// Moves the rows to the spill file. What is remembered of the stretches stays.
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
    ) -> io::Result<RunReader<'_, D>> {
        // Rows with the key `from` may stand before the stretch that begins with it: begin at the last stretch below. Beginnings are compared:
        // one below that of `from` is that of a key below `from`, where one below `from` may be that of a key above it.
        let beginning = from.map(Whole::beginning);
        let above = self.stretches.partition_point(|(key, _)| beginning.as_ref().is_some_and(|from| key < from));
        let to = to.map(|to| (keys.head_of(to), to.clone()));
        let mut reader = RunReader {
            run: self,
            read_bytes,
            next_stretch: above.saturating_sub(1),
            stretch_end: 0,
            buffer: Vec::new(),
            buffer_at: 0,
            at: 0,
            end: 0,
            head: 0,
            row: 0,
            ended: false,
            keys,
            to,
        };
        reader.advance()?;
        if let Some(from) = from {
            let head = reader.keys.head_of(from);
            while !reader.ended
                && (reader.head < head || reader.head == head && reader.keys.compare_whole(from).is_lt())
            {
                reader.advance()?;
            }
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
    /// Where in the run the current stretch ends.
    stretch_end: u64,
    /// Of a spilled run, what was read at once, and where in the run that is.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Where the next row is, and where its stretch, or what was read of it, ends: in the run, or in the buffer.
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
        if self.at == self.end && !self.go_on()? {
            self.end();
            return Ok(());
        }
        loop {
            let bytes = match &self.run.bytes {
                RunBytes::Memory(bytes) => bytes,
                RunBytes::Spilled { .. } => &self.buffer,
            };
            let mut rest = bytes.get(self.at..self.end).ok_or(io::ErrorKind::InvalidData)?;
            if let Some(row) = self.keys.read(&mut rest) {
                self.row = row;
                self.at = self.end - rest.len();
                break;
            }
            self.read_torn()?;
        }
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

    /// Goes on behind what was read so far, in this stretch or the next; whether there is more.
    fn go_on(&mut self) -> io::Result<bool> {
        let mut start = self.buffer_at + self.at as u64;
        if start == self.stretch_end {
            start = self.run.stretch_at(self.next_stretch);
            self.stretch_end = self.run.stretch_at(self.next_stretch + 1);
            if start >= self.stretch_end {
                return Ok(false);
            }
            self.next_stretch += 1;
            self.keys.restart();
        }
        let buffered = self.buffer_at + self.buffer.len() as u64;
        match &self.run.bytes {
            RunBytes::Memory(_) => (self.at, self.end) = (start as usize, self.stretch_end as usize),
            RunBytes::Spilled { .. } if start >= buffered => self.fill(start, self.read_bytes)?,
            RunBytes::Spilled { .. } => {
                self.at = (start - self.buffer_at) as usize;
                self.end = (self.stretch_end.min(buffered) - self.buffer_at) as usize;
            }
        }
        Ok(true)
    }

    /// Reads more of a row that was not read to its end.
    #[cold]
    fn read_torn(&mut self) -> io::Result<()> {
        if self.buffer_at + self.end as u64 == self.stretch_end {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let torn = self.end - self.at;
        self.fill(self.buffer_at + self.at as u64, self.read_bytes.max(torn * 2))
    }

    /// Reads so many bytes of a spilled run, from a place in the current stretch.
    fn fill(&mut self, start: u64, bytes: usize) -> io::Result<()> {
        let RunBytes::Spilled { file, at } = &self.run.bytes else { return Err(io::ErrorKind::InvalidData.into()) };
        let bytes = bytes.min((self.run.length - start) as usize);
        // Not kept at the length of the longest row: there are as many buffers as runs.
        if self.buffer.len() != bytes {
            self.buffer = Vec::new();
            self.buffer = vec![0; bytes];
        }
        file.read_exact_at(&mut self.buffer, at + start)?;
        self.buffer_at = start;
        self.at = 0;
        self.end = (self.stretch_end - start).min(bytes as u64) as usize;
        Ok(())
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

    /// Writes `bytes` behind all others: where they begin.
    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.next.fetch_add(bytes.len() as u64, atomic::Ordering::Relaxed);
        self.file.write_all_at(bytes, at)?;
        Ok(at)
    }

    /// Fills `bytes` from a place that was written.
    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
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

    /// What is remembered of a stretch takes at most so much: its place, a name's beginning, and what the allocator needs.
    const STRETCH_KEPT: usize = 32 + 64 + 16;

    #[track_caller]
    fn check_kept<K: Whole>(run: &Run<K>) {
        let length = run.length as usize / (STRETCH_BYTES.saturating_mul(run.growth));
        let stretches = length + run.rows as usize / (STRETCH_ROWS.saturating_mul(run.growth)) + 1;
        assert!(run.memory_bytes() <= (stretches * STRETCH_KEPT) as u64, "{} for {stretches}", run.memory_bytes());
    }

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
                check_kept(&run);
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
        check(batch.sort(1), &rows, cuts, Numbers::default);
        rows.iter().for_each(|&(key, row)| batch.push(key, row));
        check(batch.sort(3), &rows, cuts, Numbers::default);
    }

    /// With a table that has numbers for all tokens, for some, and for none.
    fn check_names(mut rows: Vec<(Vec<u8>, u64)>, cuts: &[Vec<u8>]) {
        let pushed = rows.clone();
        rows.sort_unstable();
        for (table_bytes, growth) in [(1 << 20, 1), (1000, 3), (0, 1), (0, usize::MAX / 2)] {
            let mut batch = NameBatch::new(1 << 20, 0, table_bytes);
            pushed.iter().for_each(|(name, row)| batch.push(name, *row));
            let run = batch.sort(growth);
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

    /// Stretches whose keys share their beginnings, or more than that: what is remembered cannot tell them apart.
    #[test]
    fn names_that_share_their_beginnings() {
        let name =
            |shared: usize, i: u64| format!("{} {} {}", "A".repeat(shared), i / 3 % 100, "B ".repeat(30)).into_bytes();
        for shared in [60, 62, 63, 64, 65, 400] {
            let rows = (0..600).map(|i| (name(shared, i), i)).collect();
            let cuts = [name(shared, 99), vec![b'A'; shared], name(shared, 150)[..64].to_vec()];
            check_names(rows, &cuts);
        }
    }

    #[test]
    fn little_stays_of_a_spilled_run_however_long_its_names_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(SpillFile::create(&RealFiles, folder.path()).unwrap());
        for (words, rows) in [(12_000, 20_u64), (1000, 200), (18, 2000), (1, 5000)] {
            for table_bytes in [1 << 20, 0] {
                // No word comes twice.
                let name = |row| {
                    let words = (0..words).map(|word| format!("{:X}", (row * words + word) * 0x9E37_79B9 % (1 << 32)));
                    words.collect::<Vec<_>>().join(" ").into_bytes()
                };
                let mut batch = NameBatch::new(1 << 20, 0, table_bytes);
                (0..rows).for_each(|row| batch.push(&name(row), row));
                let mut run = batch.sort(1);
                let in_memory = run.memory_bytes();
                run.spill(&file).unwrap();
                assert_eq!(in_memory - run.memory_bytes(), run.length);
                check_kept(&run);
            }
        }
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
