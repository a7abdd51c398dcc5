//! `WordIndex`: from a word of a name to the ranks of the names that have it; whole, by its beginning, by words near it, by its spelling class.
//!
//! Body of `words.index`: the lists (`postings.rs`), an `fst` that maps each word to the offset of its list, and a second one that maps spelling class,
//! a zero byte and word to the same offset. Words are those of the normalised names, cut at blanks; none has a zero byte.
//!
//! `fst` believes its bytes: they are handed in only after their checksums held.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use fst::raw::{Fst, Stream};
use fst::{IntoStreamer, Streamer};

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

    pub(crate) fn file(&self) -> &SealedFile {
        &self.lists.file
    }
}

#[cfg(test)]
#[path = "word_index_tests.rs"]
mod tests;
