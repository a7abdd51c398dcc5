//! Runs: sorted keys with their rows, packed, in memory or spilled to a file, and the readers that give them back in order.
//!
//! A row is its rowid's distance to the table's least rowid, so that it is never negative. Every [`RESTART_ROWS`] rows a key is written whole
//! and remembered with its place: shards are cut there, and a reader can begin there.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use balcao_index::{NamelessFile, Storage, varint};

/// Rows between two whole keys.
pub(crate) const RESTART_ROWS: usize = 1024;

/// What a reader of a spilled run reads at once, at least and at most.
pub(crate) const READ_BYTES: std::ops::RangeInclusive<usize> = 4 * 1024..=64 * 1024;

/// The longest head of a packed row: three numbers.
const HEAD_BYTES: usize = 30;

/// A key that runs can hold: a name's bytes, or a number.
pub(crate) trait RunKey: Ord + Clone + Send + Sync {
    /// Appends `self`, given the key before it; the key before a restart is the empty one.
    fn pack(&self, before: &Self, out: &mut Vec<u8>);
    /// Reads the head of a packed key: how many bytes follow it.
    fn tail_bytes(head: &mut &[u8]) -> Option<(u64, usize)>;
    /// Changes `self`, the key before, into the next one.
    fn unpack(&mut self, head: u64, tail: &[u8]);
    /// The key before the first.
    fn empty() -> Self;
}

impl RunKey for u64 {
    fn pack(&self, before: &Self, out: &mut Vec<u8>) {
        varint::write(out, self - before);
    }

    fn tail_bytes(head: &mut &[u8]) -> Option<(u64, usize)> {
        varint::read(head).map(|gap| (gap, 0))
    }

    fn unpack(&mut self, head: u64, _: &[u8]) {
        *self = self.saturating_add(head);
    }

    fn empty() -> Self {
        0
    }
}

impl RunKey for Vec<u8> {
    fn pack(&self, before: &Self, out: &mut Vec<u8>) {
        let same = self.iter().zip(before).take_while(|(a, b)| a == b).count();
        varint::write(out, same as u64);
        varint::write(out, (self.len() - same) as u64);
        out.extend_from_slice(&self[same..]);
    }

    fn tail_bytes(head: &mut &[u8]) -> Option<(u64, usize)> {
        let same = varint::read(head)?;
        Some((same, usize::try_from(varint::read(head)?).ok()?))
    }

    fn unpack(&mut self, head: u64, tail: &[u8]) {
        self.truncate(head as usize);
        self.extend_from_slice(tail);
    }

    fn empty() -> Self {
        Self::new()
    }
}

/// A sorted run.
#[derive(Debug)]
pub(crate) struct Run<K> {
    bytes: RunBytes,
    length: u64,
    pub(crate) rows: u64,
    /// Whole keys and their places, ascending.
    pub(crate) restarts: Vec<(K, u64)>,
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
    restarts: Vec<(K, u64)>,
    before: K,
}

impl<K: RunKey> RunWriter<K> {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), rows: 0, restarts: Vec::new(), before: K::empty() }
    }

    /// Adds a row; rows come in the order of (key, row).
    pub(crate) fn push(&mut self, key: &K, row: u64) {
        if self.rows.is_multiple_of(RESTART_ROWS as u64) {
            self.before = K::empty();
            self.restarts.push((key.clone(), self.bytes.len() as u64));
        }
        key.pack(&self.before, &mut self.bytes);
        varint::write(&mut self.bytes, row);
        self.before.clone_from(key);
        self.rows += 1;
    }

    pub(crate) fn finish(mut self) -> Run<K> {
        self.bytes.shrink_to_fit();
        let length = self.bytes.len() as u64;
        Run { bytes: RunBytes::Memory(self.bytes), length, rows: self.rows, restarts: self.restarts }
    }
}

impl<K: RunKey> Run<K> {
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
    /// A spilled run is read `read_bytes` at a time.
    pub(crate) fn read(&self, from: Option<&K>, to: Option<K>, read_bytes: usize) -> io::Result<RunReader<'_, K>> {
        // Rows with the key `from` may stand before the restart that has it: begin at the last restart below.
        let above = self.restarts.partition_point(|(key, _)| from.is_some_and(|from| key < from));
        let restart = above.saturating_sub(1);
        let at = self.restarts.get(restart).map_or(self.length, |(_, at)| *at);
        let left = self.rows.saturating_sub((restart * RESTART_ROWS) as u64);
        let window = Window { bytes: &self.bytes, length: self.length, read_bytes, at, buffer: Vec::new(), used: 0 };
        let mut reader = RunReader { window, left, until_restart: 0, key: K::empty(), row: 0, to, ended: false };
        reader.advance()?;
        while !reader.ended && from.is_some_and(|from| reader.key < *from) {
            reader.advance()?;
        }
        Ok(reader)
    }
}

/// Reads a run forward.
pub(crate) struct RunReader<'a, K> {
    window: Window<'a>,
    left: u64,
    until_restart: usize,
    key: K,
    row: u64,
    to: Option<K>,
    ended: bool,
}

impl<K: RunKey> RunReader<'_, K> {
    /// The current row, `None` at the end.
    pub(crate) fn current(&self) -> Option<(&K, u64)> {
        (!self.ended).then_some((&self.key, self.row))
    }

    /// Goes to the next row.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        if self.left == 0 {
            self.ended = true;
            return Ok(());
        }
        if self.until_restart == 0 {
            self.key = K::empty();
            self.until_restart = RESTART_ROWS;
        }
        let mut head = self.window.bytes(HEAD_BYTES)?;
        let before = head.len();
        let (number, tail_bytes) = K::tail_bytes(&mut head).ok_or(io::ErrorKind::InvalidData)?;
        let head_bytes = before - head.len();
        let whole = self.window.bytes(head_bytes + tail_bytes + HEAD_BYTES)?;
        let (tail, mut rest) = whole[head_bytes..].split_at_checked(tail_bytes).ok_or(io::ErrorKind::InvalidData)?;
        let left_before = rest.len();
        let row = varint::read(&mut rest).ok_or(io::ErrorKind::InvalidData)?;
        let used = head_bytes + tail_bytes + (left_before - rest.len());
        self.key.unpack(number, tail);
        self.row = row;
        self.window.consume(used);
        self.left -= 1;
        self.until_restart -= 1;
        self.ended = self.to.as_ref().is_some_and(|to| self.key >= *to);
        Ok(())
    }
}

/// The bytes of a run from the current place on.
struct Window<'a> {
    bytes: &'a RunBytes,
    length: u64,
    read_bytes: usize,
    /// In the run, where the bytes behind the buffer are; of a run in memory, where the current place is.
    at: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Window<'_> {
    /// At least `wanted` bytes from the current place, fewer at the run's end.
    fn bytes(&mut self, wanted: usize) -> io::Result<&[u8]> {
        match self.bytes {
            RunBytes::Memory(bytes) => Ok(&bytes[self.at as usize..]),
            RunBytes::Spilled { file, at: start } => {
                if self.buffer.len() - self.used < wanted {
                    self.buffer.drain(..self.used);
                    self.used = 0;
                    let held = self.buffer.len();
                    let more = wanted.max(self.read_bytes) - held;
                    let more = (self.length - self.at).min(more as u64) as usize;
                    self.buffer.resize(held + more, 0);
                    file.file.read_exact_at(&mut self.buffer[held..], start + self.at)?;
                    self.at += more as u64;
                }
                Ok(&self.buffer[self.used..])
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        match self.bytes {
            RunBytes::Memory(_) => self.at += bytes as u64,
            RunBytes::Spilled { .. } => self.used += bytes,
        }
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
        self.next.load(Ordering::Relaxed)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.next.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(bytes, at)?;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use balcao_index::RealFiles;
    use proptest::prelude::*;

    #[track_caller]
    fn check<K: RunKey + std::fmt::Debug>(mut rows: Vec<(K, u64)>, cuts: &[K]) {
        rows.sort();
        let mut writer = RunWriter::new();
        rows.iter().for_each(|(key, row)| writer.push(key, *row));
        let mut run = writer.finish();
        let folder = tempfile::tempdir().unwrap();
        let file = Arc::new(SpillFile::create(&RealFiles, folder.path()).unwrap());
        file.append(b"another run's bytes").unwrap();
        for spilled in [false, true] {
            if spilled {
                run.spill(&file).unwrap();
                assert_eq!(run.memory_bytes(), 0);
            }
            let ends: Vec<Option<&K>> = cuts.iter().map(Some).chain([None]).collect();
            for &from in &ends {
                for &to in &ends {
                    let mut reader = run.read(from, to.cloned(), 100).unwrap();
                    let mut found = Vec::new();
                    while let Some((key, row)) = reader.current() {
                        found.push((key.clone(), row));
                        reader.advance().unwrap();
                    }
                    let inside = |key: &K| from.is_none_or(|from| key >= from) && to.is_none_or(|to| key < to);
                    let expected: Vec<_> = rows.iter().filter(|(key, _)| inside(key)).cloned().collect();
                    assert_eq!(found, expected);
                }
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn many_restarts_of_one_key() {
        check((0..5000).map(|row| (7_u64, row)).collect(), &[7, 8]);
        check((0..5000).map(|row| (row / 3000, row)).collect(), &[0, 1]);
        let names = (0..5000_u64).map(|i| (format!("NAME {}", i % 2500).into_bytes(), i)).collect();
        check(names, &[b"NAME 1000".to_vec(), b"O".to_vec()]);
        check(vec![(vec![b'A'; 300_000], 1), (vec![b'B'; 300_000], u64::MAX)], &[vec![b'B']]);
        check::<u64>(vec![], &[5]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_names(rows in prop::collection::vec(("[AB]{0,6}", any::<u64>()), 0..300), cut in "[AB]{0,3}") {
            let rows = rows.into_iter().map(|(name, row)| (name.into_bytes(), row)).collect();
            check(rows, &[cut.into_bytes()]);
        }

        #[test]
        fn any_numbers(rows in prop::collection::vec((any::<u64>(), any::<u64>()), 0..300), cut: u64) {
            check(rows, &[cut]);
        }
    }
}
