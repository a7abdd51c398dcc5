//! Writes `words.index`: a list of ranks for each word, then the words, then their spelling classes.
//!
//! `postings.rs` draws a list, `word_index.rs` the file. Lists go to the file word by word; what stays in memory is the list at hand and the two `fst`.

use std::path::Path;

use bitpacking::{BitPacker, BitPacker4x};
use fst::Streamer;
use fst::raw::{Builder, Fst};

use crate::error::{IndexError, Result};
use crate::manifest::FileEntry;
use crate::postings::{BLOCK_POSTINGS, UNIT_BYTES};
use crate::sealed::{Kind, PARAMETERS, SealedWriter};
use crate::storage::Storage;
use crate::varint;
use crate::word_index::{WORD_INDEX_FILE, spelled_key};

/// What stands before the first rank of a list: one more than this is 0.
const BEFORE_ALL: u32 = u32::MAX;

/// Bytes of keys of spelling classes that are sorted at once. A dictionary with more goes through the words several times.
const SPELLED_BYTES_MAX: usize = 64 << 20;

/// Writes the word index of a generation.
pub struct WordIndexWriter {
    file: SealedWriter,
    words: Builder<Vec<u8>>,
    count: u64,
    /// Postings of all words.
    postings: u64,
    /// One above the greatest rank so far.
    ranks_end: u32,
    /// The word at hand is in `words` already.
    is_begun: bool,
    list: ListWriter,
    encoded: Vec<u8>,
}

impl std::fmt::Debug for WordIndexWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WordIndexWriter").field("words", &self.count).finish_non_exhaustive()
    }
}

impl WordIndexWriter {
    /// Creates the file in a generation's `folder`.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn create_with(storage: &dyn Storage, folder: &Path) -> Result<Self> {
        Ok(Self {
            file: SealedWriter::create(storage, folder, WORD_INDEX_FILE, Kind::WordIndex, 0)?,
            words: Builder::memory(),
            count: 0,
            postings: 0,
            ranks_end: 0,
            is_begun: false,
            list: ListWriter::default(),
            encoded: Vec::new(),
        })
    }

    /// Begins the list of `word`. Words ascend by their bytes, each once; each has a rank at least.
    ///
    /// # Errors
    /// [`IndexError::Io`]; [`IndexError::Order`] for a word that is not above the one before, or no UTF-8, or where the one before has no rank.
    pub fn begin_word(&mut self, word: &[u8]) -> Result<()> {
        self.end_word()?;
        // Only a text has a spelling class.
        str::from_utf8(word).map_err(|_| out_of_order())?;
        self.words.insert(word, self.file.position()).map_err(|_| out_of_order())?;
        self.count += 1;
        self.is_begun = true;
        Ok(())
    }

    /// Adds the ranks `start..start + length` to the word at hand. Each run is above the one before.
    ///
    /// # Errors
    /// [`IndexError::Io`]; [`IndexError::Order`] for a run that is not above the one before, an empty one, one beyond `u32::MAX - 1`, and one before the
    /// first word.
    pub fn push_run(&mut self, start: u32, length: u32) -> Result<()> {
        let end = start.checked_add(length).filter(|_| length > 0 && self.is_begun).ok_or_else(out_of_order)?;
        self.list.push_run(start, length).ok_or_else(out_of_order)?;
        self.ranks_end = self.ranks_end.max(end);
        Ok(())
    }

    /// Writes both `fst` and the footer, and syncs the file.
    ///
    /// # Errors
    /// [`IndexError::Io`]; [`IndexError::Order`] where the last word has no rank.
    pub fn finish(mut self) -> Result<FileEntry> {
        self.end_word()?;
        let lists_end = self.file.position();
        let words = self.words.into_inner().map_err(|_| out_of_order())?;
        self.file.write(&words)?;
        let spelled_at = self.file.position();
        let spelled = spelled_fst(&words, SPELLED_BYTES_MAX)?;
        self.file.write(&spelled)?;
        let mut parameters = [0; PARAMETERS];
        parameters[..8].copy_from_slice(&[
            self.count,
            lists_end,
            lists_end,
            words.len() as u64,
            spelled_at,
            spelled.len() as u64,
            self.ranks_end.into(),
            self.postings,
        ]);
        self.file.finish(&parameters)
    }

    fn end_word(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.is_begun) {
            return Ok(());
        }
        self.encoded.clear();
        self.postings += u64::from(self.list.finish(&mut self.encoded).ok_or_else(out_of_order)?);
        self.file.write(&self.encoded)
    }
}

/// The caller's defect: words or ranks out of order.
fn out_of_order() -> IndexError {
    IndexError::Order { shard: 0 }
}

/// The second `fst`: spelling class, separator and word, to what `words` has for the word. Its keys are sorted in `bytes_max` of memory: where that is
/// less than all take, the smallest are taken first, and the words gone through again for those above.
fn spelled_fst(words: &[u8], bytes_max: usize) -> Result<Vec<u8>> {
    let words = Fst::new(words).map_err(|_| out_of_order())?;
    let mut spelled = Builder::memory();
    let mut above: Option<Vec<u8>> = None;
    loop {
        let mut keys = SmallestKeys::new(bytes_max);
        let mut stream = words.stream();
        while let Some((word, list)) = stream.next() {
            // Every word was a text when it came.
            let Some(key) = spelled_key(word) else { continue };
            if above.as_ref().is_none_or(|above| key > *above) {
                keys.push(&key, list.value());
            }
        }
        above = keys.limit.take();
        keys.drain(|key, list| spelled.insert(key, list).map_err(|_| out_of_order()))?;
        if above.is_none() {
            return spelled.into_inner().map_err(|_| out_of_order());
        }
    }
}

/// The smallest of many keys, as many as have room.
struct SmallestKeys {
    bytes: Vec<u8>,
    /// Beginning and end of each in `bytes`, and its value.
    keys: Vec<(usize, usize, u64)>,
    bytes_max: usize,
    /// The greatest key that may be kept, once some were left out: all of those are above it.
    limit: Option<Vec<u8>>,
}

impl SmallestKeys {
    fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), keys: Vec::new(), bytes_max, limit: None }
    }

    fn push(&mut self, key: &[u8], value: u64) {
        if self.limit.as_ref().is_some_and(|limit| key > limit.as_slice()) {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.keys.push((start, self.bytes.len(), value));
        let held = self.bytes.len() + self.keys.len() * size_of::<(usize, usize, u64)>();
        if held > self.bytes_max && self.keys.len() > 1 {
            self.halve();
        }
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.keys.sort_unstable_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
    }

    /// Keeps the smaller half.
    fn halve(&mut self) {
        self.sort();
        self.keys.truncate(self.keys.len() / 2);
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for (start, end, _) in &mut self.keys {
            let at = bytes.len();
            bytes.extend_from_slice(&self.bytes[*start..*end]);
            (*start, *end) = (at, bytes.len());
        }
        self.bytes = bytes;
        self.limit = self.keys.last().map(|&(start, end, _)| self.bytes[start..end].to_vec());
    }

    /// Gives the keys in their order.
    fn drain(mut self, mut give: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        self.sort();
        self.keys.iter().try_for_each(|&(start, end, value)| give(&self.bytes[start..end], value))
    }
}

/// Encodes a list, run after run.
struct ListWriter {
    packer: BitPacker4x,
    count: u32,
    /// One above the last rank.
    next: u32,
    /// The last rank of the last whole block.
    last: u32,
    /// Ranks that make no whole block yet.
    pending: [u32; BLOCK_POSTINGS],
    pending_count: usize,
    entries: Vec<u8>,
    blocks: Vec<u8>,
}

impl Default for ListWriter {
    fn default() -> Self {
        Self {
            packer: BitPacker4x::new(),
            count: 0,
            next: 0,
            last: BEFORE_ALL,
            pending: [0; BLOCK_POSTINGS],
            pending_count: 0,
            entries: Vec::new(),
            blocks: Vec::new(),
        }
    }
}

impl ListWriter {
    /// Adds a run that does not wrap; `None` where it is not above the one before.
    fn push_run(&mut self, start: u32, length: u32) -> Option<()> {
        if start < self.next {
            return None;
        }
        self.next = start.checked_add(length)?;
        let (mut rank, mut left) = (start, length);
        while left > 0 {
            if self.pending_count == 0 && left as usize >= BLOCK_POSTINGS && rank == self.last.wrapping_add(1) {
                // A block of neighbours: nothing but its entry.
                self.last = rank + (BLOCK_POSTINGS as u32 - 1);
                self.push_entry();
                rank = self.last.wrapping_add(1);
                left -= BLOCK_POSTINGS as u32;
                continue;
            }
            let room = left.min((BLOCK_POSTINGS - self.pending_count) as u32);
            let places = &mut self.pending[self.pending_count..][..room as usize];
            places.iter_mut().zip(rank..).for_each(|(place, rank)| *place = rank);
            self.pending_count += room as usize;
            rank = rank.wrapping_add(room);
            left -= room;
            if self.pending_count == BLOCK_POSTINGS {
                self.pack();
            }
        }
        self.count += length;
        Some(())
    }

    fn pack(&mut self) {
        let before = (self.last != BEFORE_ALL).then_some(self.last);
        let bits = self.packer.num_bits_strictly_sorted(before, &self.pending);
        let at = self.blocks.len();
        self.blocks.resize(at + usize::from(bits) * UNIT_BYTES, 0);
        self.packer.compress_strictly_sorted(before, &self.pending, &mut self.blocks[at..], bits);
        self.last = self.pending[BLOCK_POSTINGS - 1];
        self.pending_count = 0;
        self.push_entry();
    }

    fn push_entry(&mut self) {
        self.entries.extend_from_slice(&self.last.to_le_bytes());
        // A rank takes four bytes at most, so that units of sixteen are never more than there are ranks.
        self.entries.extend_from_slice(&((self.blocks.len() / UNIT_BYTES) as u32).to_le_bytes());
    }

    /// Appends the list to `out` and begins anew: how many ranks it has; `None` where it has none.
    fn finish(&mut self, out: &mut Vec<u8>) -> Option<u32> {
        let count = std::mem::take(&mut self.count);
        varint::write(out, count.into());
        out.append(&mut self.entries);
        out.append(&mut self.blocks);
        for &rank in &self.pending[..std::mem::take(&mut self.pending_count)] {
            varint::write(out, rank.wrapping_sub(self.last).wrapping_sub(1).into());
            self.last = rank;
        }
        (self.next, self.last) = (0, BEFORE_ALL);
        (count > 0).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_sorted_in_any_memory() {
        let words: std::collections::BTreeSet<_> = (0..300_u32)
            .map(|i| {
                let letter =
                    |at: u32| char::from(b"AEIHYWPTSZCKQLL"[(i.wrapping_mul(2_654_435_761) >> (4 * at)) as usize % 15]);
                format!("{}{}", (0..1 + i % 7).map(letter).collect::<String>(), i % 3)
            })
            .collect();
        let mut builder = Builder::memory();
        words.iter().zip(64..).for_each(|(word, list)| builder.insert(word, list).unwrap());
        let fst = builder.into_inner().unwrap();
        let whole = spelled_fst(&fst, usize::MAX).unwrap();
        assert_eq!(Fst::new(&whole).unwrap().len(), words.len());
        for bytes_max in [1, 1000, 5000] {
            // One by one takes as many turns as there are words.
            assert!(spelled_fst(&fst, bytes_max).unwrap() == whole, "{bytes_max} bytes");
        }
    }
}
