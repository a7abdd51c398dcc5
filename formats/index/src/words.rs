//! The word dictionary of a generation: the frequent tokens of its names, the most frequent first, so that they get the short codes.
//!
//! A token is one word, or a particle with the word behind it. Which tokens stand here changes the size of the name blocks, never an
//! answer: a token without a code is written out.
//!
//! Body of the file: the end of each token in the bytes that follow (`u32`), then the tokens' bytes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::manifest::FileEntry;
use crate::sealed::{HEADER_BYTES, Kind, PARAMETERS, SealedFile, SealedWriter};
use crate::storage::{RealFiles, Storage};
use crate::tokens::{shared_tokens, token_ends};

/// Tokens of a dictionary at most: all codes of one, two and three bytes.
pub const WORDS_MAX: usize = 192 + 48 * 256 + 15 * 65_536;

/// Bytes of a token at most; longer ones are written out where they occur.
pub const WORD_BYTES_MAX: usize = 64;

/// A token that occurs once saves nothing.
const COUNT_MIN: u32 = 2;

/// Bytes of memory that a counted token takes, about: its text, its count, and its place in a table that is half full after it grew.
const COUNTED_TOKEN_BYTES: usize = 160;

/// The dictionary's file.
pub(crate) const WORDS_FILE: &str = "words.dict";

/// Counts tokens as front coding will meet them: only what a name does not share with the one before.
#[derive(Debug)]
pub struct WordCounter {
    counts: HashMap<Box<[u8]>, u32>,
    counted_max: usize,
    full: bool,
    ends: Vec<u32>,
    previous_ends: Vec<u32>,
}

impl WordCounter {
    /// A counter that takes about `memory` bytes. Where the tokens of a table, random texts perhaps, do not fit in there, those seen once are
    /// forgotten, and then no new ones are counted.
    #[must_use]
    pub fn new(memory: usize) -> Self {
        let counted_max = memory / COUNTED_TOKEN_BYTES;
        Self { counts: HashMap::new(), counted_max, full: false, ends: Vec::new(), previous_ends: Vec::new() }
    }

    /// Counts the tokens of `name` that it does not share with `previous`.
    pub fn count(&mut self, previous: &[u8], name: &[u8]) {
        token_ends(previous, &mut self.previous_ends);
        token_ends(name, &mut self.ends);
        let shared = shared_tokens(previous, &self.previous_ends, name, &self.ends);
        let mut start = if shared == 0 { 0 } else { self.ends[shared - 1] as usize + 1 };
        for at in shared..self.ends.len() {
            let end = self.ends[at] as usize;
            let token = &name[start..end];
            start = end + 1;
            if token.len() > WORD_BYTES_MAX {
                continue;
            }
            if let Some(count) = self.counts.get_mut(token) {
                *count = count.saturating_add(1);
            } else if self.has_room() {
                self.counts.insert(token.into(), 1);
            }
        }
    }

    /// Whether one more token may be counted, after those seen once were forgotten where need be.
    fn has_room(&mut self) -> bool {
        if self.counts.len() >= self.counted_max && !self.full {
            self.counts.retain(|_, count| *count > 1);
            // Where most are frequent, looking through all of them again and again would gain nothing.
            self.full = self.counts.len() > self.counted_max / 2;
        }
        self.counts.len() < self.counted_max
    }

    /// Adds what another counter counted.
    pub fn merge(&mut self, other: Self) {
        for (token, count) in other.counts {
            if let Some(sum) = self.counts.get_mut(&token) {
                *sum = sum.saturating_add(count);
            } else if count > 1 || self.has_room() {
                self.counts.insert(token, count);
            }
        }
    }

    /// The dictionary: the most frequent tokens first.
    #[must_use]
    pub fn into_words(self) -> Words {
        let counted: Vec<_> = self.counts.iter().map(|(token, &count)| (token.as_ref(), count)).collect();
        Words::frequent(&counted).0
    }
}

/// A dictionary: tokens by code, and codes by token.
#[derive(Debug, Default)]
pub struct Words {
    ends: Vec<u32>,
    bytes: Vec<u8>,
    codes: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
}

impl Words {
    /// The dictionary of distinct tokens that were counted: the most frequent first. And the code of each of them, where it has one.
    #[must_use]
    pub fn frequent(counted: &[(&[u8], u32)]) -> (Self, Vec<Option<u32>>) {
        let mut order: Vec<_> = (0..counted.len()).filter(|&at| counted[at].1 >= COUNT_MIN).collect();
        order.sort_unstable_by_key(|&at| (Reverse(counted[at].1), counted[at].0));
        order.truncate(WORDS_MAX);
        let mut codes = vec![None; counted.len()];
        order.iter().zip(0..).for_each(|(&at, code)| codes[at] = Some(code));
        (Self::new(order.iter().map(|&at| counted[at].0)), codes)
    }

    /// A dictionary of these tokens, code 0 first.
    fn new<'a>(tokens: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut words = Self::default();
        for token in tokens {
            let code = words.ends.len() as u32;
            words.bytes.extend_from_slice(token);
            words.ends.push(words.bytes.len() as u32);
            words.codes.entry(xxh3_64(token)).or_insert(code);
        }
        words
    }

    /// How many tokens have a code.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no token has a code.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The token of a code.
    pub(crate) fn token(&self, code: u32) -> Option<&[u8]> {
        let end = *self.ends.get(code as usize)?;
        let start = if code == 0 { 0 } else { self.ends[code as usize - 1] };
        self.bytes.get(start as usize..end as usize)
    }

    /// The code of a token; only a dictionary that was counted has codes by token.
    pub(crate) fn code(&self, token: &[u8]) -> Option<u32> {
        let code = *self.codes.get(&xxh3_64(token))?;
        // Two tokens may share a hash: only the first of them has a code then.
        (self.token(code) == Some(token)).then_some(code)
    }

    /// Writes the dictionary's file into `folder`.
    ///
    /// # Errors
    /// [`IndexError::Io`](crate::IndexError::Io).
    pub fn write(&self, folder: &Path) -> Result<FileEntry> {
        self.write_with(&RealFiles, folder)
    }

    /// [`Words::write`] over any storage.
    ///
    /// # Errors
    /// [`IndexError::Io`](crate::IndexError::Io).
    pub fn write_with(&self, storage: &dyn Storage, folder: &Path) -> Result<FileEntry> {
        let mut file = SealedWriter::create(storage, folder, WORDS_FILE, Kind::Words, 0)?;
        self.ends.iter().try_for_each(|end| file.write(&end.to_le_bytes()))?;
        file.write(&self.bytes)?;
        let mut parameters = [0; PARAMETERS];
        parameters[..2].copy_from_slice(&[self.ends.len() as u64, self.bytes.len() as u64]);
        file.finish(&parameters)
    }

    /// Reads the dictionary's file into memory, every checksum compared.
    pub(crate) fn read(folder: &Path, entry: &FileEntry) -> Result<Self> {
        let file = SealedFile::open(folder, entry, Kind::Words, 0)?;
        let &[count, length, ..] = file.parameters();
        if count > WORDS_MAX as u64 || length > count * WORD_BYTES_MAX as u64 {
            return Err(file.damaged(0, format!("{count} words of {length} bytes")));
        }
        let bytes_at = HEADER_BYTES as u64 + 4 * count;
        let ends: Vec<u32> = file
            .bytes(HEADER_BYTES as u64..bytes_at)?
            .chunks_exact(4)
            .map(|end| u32::from_le_bytes(end.try_into().unwrap_or_default()))
            .collect();
        // An end below the one before wraps to a length beyond the limit.
        let starts = std::iter::once(&0_u32).chain(&ends);
        let in_order = starts.zip(&ends).all(|(start, end)| end.wrapping_sub(*start) <= WORD_BYTES_MAX as u32);
        if !in_order || ends.last().map_or(0, |&end| u64::from(end)) != length {
            return Err(file.damaged(HEADER_BYTES as u64, "words that do not end in order"));
        }
        Ok(Self { ends, bytes: file.bytes(bytes_at..bytes_at + length)?.to_vec(), codes: HashMap::default() })
    }
}

/// Passes a hash through: the keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_front_coding_leaves() {
        let mut counter = WordCounter::new(1 << 20);
        let names = ["ANA DA SILVA", "ANA DA SILVA LIMA", "ANA LIMA", "EVA DA SILVA"];
        let mut previous = "";
        for name in names {
            counter.count(previous.as_bytes(), name.as_bytes());
            previous = name;
        }
        let words = counter.into_words();
        assert_eq!(words.len(), 2);
        assert_eq!(words.token(0), Some(&b"DA SILVA"[..]));
        assert_eq!(words.code(b"LIMA"), Some(1));
        assert_eq!(words.code(b"EVA"), None);
        assert_eq!(words.token(2), None);
    }

    #[test]
    fn random_texts_do_not_fill_the_memory() {
        let mut counter = WordCounter::new(1000 * COUNTED_TOKEN_BYTES);
        for i in 0..50_000 {
            counter.count(b"", format!("COMMON R{}", i * 7919).as_bytes());
            assert!(counter.counts.len() <= 1000);
        }
        let mut other = WordCounter::new(1000 * COUNTED_TOKEN_BYTES);
        (0..5000).for_each(|i| other.count(b"", format!("COMMON S{i}").as_bytes()));
        counter.merge(other);
        assert!(counter.counts.len() <= 1000);
        assert_eq!(counter.into_words().code(b"COMMON"), Some(0));
    }

    #[test]
    fn a_token_beyond_the_limit_is_refused() {
        for (length, holds) in [(WORD_BYTES_MAX, true), (WORD_BYTES_MAX + 1, false)] {
            let folder = tempfile::tempdir().unwrap();
            // Others are short, so that all of them together are within the limit.
            let words = Words::new([&b"A"[..], &vec![b'B'; length], b"C"].into_iter());
            let entry = words.write(folder.path()).unwrap();
            assert_eq!(Words::read(folder.path(), &entry).is_ok(), holds, "{length} bytes");
        }
    }

    #[test]
    fn reads_back() {
        let words = Words::new([&b"SILVA"[..], b"DE SOUZA", "Ø".as_bytes()].into_iter());
        for words in [words, Words::default()] {
            let folder = tempfile::tempdir().unwrap();
            let entry = words.write(folder.path()).unwrap();
            let read = Words::read(folder.path(), &entry).unwrap();
            assert_eq!((&read.ends, &read.bytes), (&words.ends, &words.bytes));
        }
    }
}
