//! Batches: the keys that one scanning thread has read, until they fill their memory and are sorted into a run.

use balcao_index::WordCounter;

use crate::run::{Run, RunWriter};

/// One name in a batch: its first bytes as a number, so that most comparisons need not leave the entry.
#[derive(Clone, Copy, Debug)]
struct NameEntry {
    head: u64,
    start: u32,
    length: u32,
    row: u64,
}

/// The first eight bytes of a name, so that numbers compare as the names do; shorter names are filled with zeros.
fn head(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(8);
    bytes[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(bytes)
}

/// Of so many stretches of a run's names one has its words counted; all of them in a small table.
const COUNTED_STRETCH: usize = 8;
const STRETCH_NAMES: usize = 512;

/// Names and their rows.
#[derive(Debug)]
pub(crate) struct NameBatch {
    bytes: Vec<u8>,
    entries: Vec<NameEntry>,
    bytes_max: usize,
    entries_max: usize,
}

impl NameBatch {
    /// A batch that takes about `memory` bytes: half for the names, half for the entries. The memory is reserved at once, so that a growing
    /// vector never holds its rows twice.
    pub(crate) fn new(memory: usize) -> Self {
        let (bytes_max, entries_max) = (memory / 2, memory / 2 / size_of::<NameEntry>());
        // Starts are 32-bit.
        let bytes_max = bytes_max.min(u32::MAX as usize / 2);
        Self { bytes: Vec::with_capacity(bytes_max), entries: Vec::with_capacity(entries_max), bytes_max, entries_max }
    }

    pub(crate) fn push(&mut self, name: &[u8], row: u64) {
        let entry = NameEntry { head: head(name), start: self.bytes.len() as u32, length: name.len() as u32, row };
        self.bytes.extend_from_slice(name);
        self.entries.push(entry);
    }

    /// Whether the batch must be sorted before a name of `length` bytes is added.
    pub(crate) fn is_full_for(&self, length: usize) -> bool {
        !self.entries.is_empty()
            && (self.bytes.len() + length > self.bytes_max || self.entries.len() >= self.entries_max)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sorts the batch into a run and empties it. Counts the words of some names, or of all.
    pub(crate) fn sort(&mut self, words: &mut WordCounter, count_all: bool) -> Run<Vec<u8>> {
        let bytes = &self.bytes;
        let name = |entry: &NameEntry| &bytes[entry.start as usize..][..entry.length as usize];
        self.entries.sort_unstable_by(|a, b| {
            a.head.cmp(&b.head).then_with(|| name(a).cmp(name(b))).then_with(|| a.row.cmp(&b.row))
        });
        let mut writer = RunWriter::new();
        let (mut key, mut before) = (Vec::new(), Vec::new());
        for (i, entry) in self.entries.iter().enumerate() {
            std::mem::swap(&mut key, &mut before);
            key.clear();
            key.extend_from_slice(name(entry));
            if (count_all || (i / STRETCH_NAMES).is_multiple_of(COUNTED_STRETCH)) && key != before {
                words.count(&before, &key);
            }
            writer.push(&key, entry.row);
        }
        self.bytes.clear();
        self.entries.clear();
        writer.finish()
    }
}

/// Numbers and their rows: CPF codes, and anomalies.
#[derive(Debug)]
pub(crate) struct NumberBatch {
    entries: Vec<(u64, u64)>,
    entries_max: usize,
}

impl NumberBatch {
    /// A batch that takes about `memory` bytes.
    pub(crate) fn new(memory: usize) -> Self {
        let entries_max = (memory / size_of::<(u64, u64)>()).max(1);
        Self { entries: Vec::with_capacity(entries_max), entries_max }
    }

    pub(crate) fn push(&mut self, key: u64, row: u64) {
        self.entries.push((key, row));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.entries_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sorts the batch into a run and empties it.
    pub(crate) fn sort(&mut self) -> Run<u64> {
        self.entries.sort_unstable();
        let mut writer = RunWriter::new();
        self.entries.iter().for_each(|(key, row)| writer.push(key, *row));
        self.entries.clear();
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_in_the_order_of_their_bytes() {
        let mut batch = NameBatch::new(1 << 20);
        let names = ["MARIA DA SILVA", "MARIA DA", "MARIA D", "MARIA DAS", "ANA", "ANA", "Ø"];
        for (row, name) in names.iter().enumerate() {
            batch.push(name.as_bytes(), 100 - row as u64);
        }
        let run = batch.sort(&mut WordCounter::new(1 << 20), true);
        let mut reader = run.read(None, None, 100).unwrap();
        let mut found = Vec::new();
        while let Some((name, row)) = reader.current() {
            found.push((String::from_utf8(name.clone()).unwrap(), row));
            reader.advance().unwrap();
        }
        let mut expected: Vec<_> = names.iter().zip(0..).map(|(name, row)| ((*name).to_owned(), 100 - row)).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_batch_is_full_by_either_measure() {
        let mut batch = NameBatch::new(64);
        assert!(!batch.is_full_for(1000));
        batch.push(b"A", 1);
        assert!(batch.is_full_for(1));
        let mut batch = NameBatch::new(4800);
        batch.push(&[b'A'; 2400], 1);
        assert!(batch.is_full_for(1) && !batch.is_full_for(0));
    }
}
