//! `WordIndex`: from a word of a name to the ranks of the names that have it; whole, by its beginning, by words near it, by its spelling class.
//!
//! Body of `words.index`: the lists (`postings.rs`), an `fst` that maps each word to the offset of its list, and a second one that maps spelling class,
//! a zero byte and word to the same offset. Words are those of the normalised names, cut at blanks; none has a zero byte.
//!
//! `fst` believes its bytes: they are handed in only after their checksums held.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use balcao_record::spelling_key;
use fst::raw::{Fst, Stream};
use fst::{IntoStreamer, Streamer};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::manifest::FileEntry;
use crate::near::Near;
use crate::postings::{Lists, Postings};
use crate::sealed::{HEADER_BYTES, Kind, SealedFile, SealedPart};

/// The word index's file.
pub(crate) const WORD_INDEX_FILE: &str = "words.index";

/// Names of a generation with a word index at most: ranks are numbers of 32 bits.
pub const WORD_INDEX_ROWS_MAX: u64 = u32::MAX as u64;

/// Stands between a spelling class and a word.
pub(crate) const SPELLED_SEPARATOR: u8 = 0;

/// An open word index.
pub struct WordIndex {
    lists: Lists,
    words: Fst<SealedPart>,
    spelled: Fst<SealedPart>,
    postings: u64,
}

impl fmt::Debug for WordIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WordIndex").field("words", &self.words.len()).finish_non_exhaustive()
    }
}

impl WordIndex {
    /// Opens the word index of a generation with so many names.
    pub(crate) fn open(folder: &Path, entry: &FileEntry, name_rows: u64) -> Result<Self> {
        let file = SealedFile::open(folder, entry, Kind::WordIndex, 0)?;
        let &[count, end, words_at, words_bytes, spelled_at, spelled_bytes, ranks_end, postings, ..] =
            file.parameters();
        let ranks_end = u32::try_from(ranks_end).ok().filter(|&ranks_end| u64::from(ranks_end) <= name_rows);
        let Some(ranks_end) = ranks_end.filter(|_| end >= HEADER_BYTES as u64 && end <= words_at) else {
            return Err(file.damaged(0, format!("a word index that is not one of {name_rows} names")));
        };
        let open = |at: u64, bytes: u64| {
            Fst::new(file.part(at..at.saturating_add(bytes))?).map_err(|error| file.damaged(at, error.to_string()))
        };
        let (words, spelled) = (open(words_at, words_bytes)?, open(spelled_at, spelled_bytes)?);
        if words.len() as u64 != count {
            return Err(file.damaged(words_at, format!("{} words, the footer says {count}", words.len())));
        }
        Ok(Self { lists: Lists { file, end, ranks_end }, words, spelled, postings })
    }

    /// How many distinct words there are.
    #[must_use]
    pub fn words(&self) -> u64 {
        self.words.len() as u64
    }

    /// How many ranks all words have together.
    #[must_use]
    pub fn postings(&self) -> u64 {
        self.postings
    }

    /// Bytes of the lists, of the words and of the spelling classes.
    #[must_use]
    pub fn sizes(&self) -> [u64; 3] {
        [self.lists.end - HEADER_BYTES as u64, self.words.size() as u64, self.spelled.size() as u64]
    }

    /// The ranks of a word; `None` where no name has it.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn word(&self, word: &[u8]) -> Result<Option<Postings<'_>>> {
        self.words.get(word).map(|list| self.lists.list(list.value())).transpose()
    }

    /// Visits the words that begin with `prefix`, in the order of their bytes.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn prefixed<'a>(
        &'a self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], Postings<'a>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.within(self.words.range().ge(prefix).into_stream(), prefix, |word, list| visit(word, list))
    }

    /// Visits the words that are near, in the order of their bytes, each with its distance.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn near<'a>(
        &'a self,
        near: &Near,
        mut visit: impl FnMut(&[u8], u8, Postings<'a>) -> ControlFlow<()>,
    ) -> Result<()> {
        let Some(automaton) = near.automaton() else {
            // No edits: what is asked for, or what begins so.
            let word = near.word().as_bytes();
            if near.is_prefix() {
                return self.prefixed(word, |word, list| visit(word, 0, list));
            }
            if let Some(list) = self.word(word)? {
                let _ = visit(word, 0, list);
            }
            return Ok(());
        };
        let mut stream = self.words.search_with_state(automaton).into_stream();
        while let Some((word, list, state)) = stream.next() {
            let Some(distance) = automaton.distance(state) else { continue };
            if visit(word, distance, self.lists.list(list.value())?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits the words whose spelling class is `key`, or begins with it, in the order of (class, word).
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn spelled<'a>(
        &'a self,
        key: &[u8],
        prefix: bool,
        mut visit: impl FnMut(&[u8], Postings<'a>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut begins = key.to_vec();
        if !prefix {
            begins.push(SPELLED_SEPARATOR);
        }
        self.within(self.spelled.range().ge(&begins).into_stream(), &begins, |spelled, list| {
            let class = spelled.iter().position(|&byte| byte == SPELLED_SEPARATOR);
            match class.and_then(|end| spelled.get(end + 1..)) {
                Some(word) => visit(word, list),
                None => ControlFlow::Continue(()),
            }
        })
    }

    /// Visits what a stream has as long as it begins with `prefix`.
    fn within<'a>(
        &'a self,
        mut stream: Stream<'_>,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], Postings<'a>) -> ControlFlow<()>,
    ) -> Result<()> {
        while let Some((key, list)) = stream.next() {
            if !key.starts_with(prefix) || visit(key, self.lists.list(list.value())?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Reads every list, and finds each word by its spelling class: for `verify`, which compares the tallies with the names.
    pub(crate) fn check(&self, mut give: impl FnMut(&[u8], Tally)) -> Result<()> {
        let file = &self.lists.file;
        for (fst, what) in [(&self.words, "the words"), (&self.spelled, "the spelling classes")] {
            fst.verify().map_err(|error| file.damaged(self.lists.end, format!("{what}: {error}")))?;
        }
        let mut place = HEADER_BYTES as u64;
        let mut stream = self.words.stream();
        while let Some((word, at)) = stream.next() {
            // One list behind the other: none is left out, and none serves two words.
            if at.value() != place {
                return Err(file.damaged(place, "a list that no word leads to"));
            }
            let mut tally = Tally { place, ..Tally::default() };
            place = self.lists.list(place)?.check(|rank| tally.add(rank.into()))?.end;
            if self.spelled.get(spelled_key(word).unwrap_or_default()) != Some(at) {
                return Err(file.damaged(tally.place, "a word that its spelling class does not lead to"));
            }
            give(word, tally);
        }
        if place != self.lists.end || self.spelled.len() != self.words.len() {
            return Err(file.damaged(place, "bytes or spellings that belong to no word"));
        }
        Ok(())
    }

    pub(crate) fn file(&self) -> &SealedFile {
        &self.lists.file
    }
}

/// The key of a word in the second `fst`; `None` for what is no text.
pub(crate) fn spelled_key(word: &[u8]) -> Option<Vec<u8>> {
    let mut key = spelling_key(str::from_utf8(word).ok()?).into_bytes();
    key.push(SPELLED_SEPARATOR);
    key.extend_from_slice(word);
    Some(key)
}

/// The ranks of a list, counted and summed up; those of the names are taken off again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Where the list begins.
    pub(crate) place: u64,
    /// How many ranks it has.
    pub(crate) ranks: u64,
    taken: u64,
    sum: u64,
    /// One above the last rank that was taken: a name may have a word twice.
    next: u64,
}

impl Tally {
    fn add(&mut self, rank: u64) {
        self.ranks += 1;
        self.sum = self.sum.wrapping_add(mixed(rank));
    }

    /// Takes off the ranks of a name with this word, once, however often it has it. Names come in their order; `false` where there are more ranks than
    /// the list has.
    pub(crate) fn take(&mut self, ranks: &Range<u64>) -> bool {
        if self.next < ranks.end {
            self.next = ranks.end;
            self.taken = self.taken.saturating_add(ranks.end - ranks.start);
            if self.taken > self.ranks {
                return false;
            }
            self.sum = ranks.clone().fold(self.sum, |sum, rank| sum.wrapping_sub(mixed(rank)));
        }
        true
    }

    /// Whether all that the list has was taken, and nothing else.
    pub(crate) fn is_done(&self) -> bool {
        self.taken == self.ranks && self.sum == 0
    }
}

/// A rank, scattered over 64 bits, so that no other ranks have the same sum but by chance.
fn mixed(rank: u64) -> u64 {
    xxh3_64(&rank.to_le_bytes())
}

#[cfg(test)]
#[path = "word_index_tests.rs"]
mod tests;
