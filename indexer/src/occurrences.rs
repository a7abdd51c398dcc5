//! `Occurrences`: which words the names of a shard have, as runs of neighbouring ranks, collected while the names are written.
//!
//! Names come in their order, so that those that begin alike stand together: a word of their common beginning is one run, be it a first name with a
//! hundred thousand rows. Ranks are the shard's own here; where the shard begins is added when the segments are merged.

use std::collections::HashSet;

use crate::build::BuildError;
use crate::keys::NameKeys;
use crate::ranking::Ranking;
use crate::segments::{Segment, SegmentWriter};
use crate::store::Store;

/// The words of all numbered tokens, in the order of their bytes, numbered from 0.
pub(crate) struct Dictionary<'t> {
    words: Vec<&'t [u8]>,
    /// The words of all tokens, in the order of the tokens' places.
    numbers: Vec<u32>,
    /// Where in `numbers` those of a token end.
    ends: Vec<u32>,
}

impl<'t> Dictionary<'t> {
    /// The words of the tokens of a ranking: a token is a word, or a particle and the word behind it.
    pub(crate) fn of(ranking: &Ranking<'t>) -> Self {
        let (mut found, mut ends) = (Vec::with_capacity(ranking.len()), Vec::with_capacity(ranking.len()));
        for place in 0..ranking.len() {
            for word in words(ranking.token(place)) {
                found.push((word, found.len() as u32));
            }
            ends.push(found.len() as u32);
        }
        // A stable sort finds the words that are tokens in order already.
        found.sort_by(|a, b| a.0.cmp(b.0));
        let (mut words, mut numbers) = (Vec::<&[u8]>::new(), vec![0; found.len()]);
        for (word, at) in found {
            if words.last() != Some(&word) {
                words.push(word);
            }
            numbers[at as usize] = words.len() as u32 - 1;
        }
        Self { words, numbers, ends }
    }

    /// How many words there are.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// The word of a number.
    pub(crate) fn word(&self, number: u32) -> Option<&'t [u8]> {
        self.words.get(number as usize).copied()
    }

    /// The numbers of the words of the token at a place of the ranking.
    fn of_token(&self, place: usize) -> &[u32] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.numbers[start as usize..self.ends[place] as usize]
    }

    /// The number of a word, or that of the first word above it.
    pub(crate) fn find(&self, word: &[u8]) -> Result<u32, u32> {
        self.words.binary_search(&word).map(|at| at as u32).map_err(|at| at as u32)
    }
}

/// The words of a token. The last token of a name that was cut behind a blank has none.
fn words(token: &[u8]) -> impl Iterator<Item = &[u8]> {
    token.split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

/// A word of the name at hand.
struct Open {
    word: Word,
    /// The first rank of the names that have it there.
    start: u32,
}

enum Word {
    Numbered(u32),
    /// One that the dictionary has not.
    Rare(Box<[u8]>),
    /// It stands earlier in the name, too, and counts there.
    Again,
}

/// Collects the words of a shard's names.
pub(crate) struct Occurrences<'a> {
    dictionary: &'a Dictionary<'a>,
    store: &'a Store<'a>,
    /// The words of the name at hand.
    open: Vec<Open>,
    /// How many of them its tokens up to each have.
    token_ends: Vec<usize>,
    /// A bit for each word of the dictionary: whether the name at hand has it.
    has: Vec<u64>,
    has_rare: HashSet<Box<[u8]>>,
    /// Names so far, each as often as it has rows.
    ranks: u32,
    writer: SegmentWriter<'a>,
    segments: Vec<Segment>,
}

impl<'a> Occurrences<'a> {
    pub(crate) fn new(dictionary: &'a Dictionary<'a>, store: &'a Store<'a>) -> Self {
        Self {
            dictionary,
            store,
            open: Vec::new(),
            token_ends: Vec::new(),
            has: vec![0; dictionary.len().div_ceil(64)],
            has_rare: HashSet::new(),
            ranks: 0,
            writer: SegmentWriter::new(dictionary, store.budget.occurrences),
            segments: Vec::new(),
        }
    }

    /// A name comes that shares so many leading tokens with the one before.
    pub(crate) fn begin_name(&mut self, name: &NameKeys<'_>, shared: usize) -> Result<(), BuildError> {
        self.token_ends.truncate(shared);
        self.close(self.token_ends.last().copied().unwrap_or(0));
        if self.writer.is_full() {
            self.segments.extend(self.writer.write(self.store)?);
        }
        for at in self.token_ends.len()..name.len() {
            match name.place(at) {
                Some(place) => self.dictionary.of_token(place).iter().for_each(|&number| self.open_numbered(number)),
                None => words(name.token(at)).for_each(|word| self.open_text(word)),
            }
            self.token_ends.push(self.open.len());
        }
        Ok(())
    }

    /// A row has the name at hand.
    pub(crate) fn add_row(&mut self) {
        // A word index is not built of more names than there are numbers.
        self.ranks = self.ranks.wrapping_add(1);
    }

    /// What was collected.
    pub(crate) fn finish(mut self) -> Result<Vec<Segment>, BuildError> {
        self.close(0);
        self.segments.extend(self.writer.write(self.store)?);
        Ok(self.segments)
    }

    fn open_numbered(&mut self, number: u32) {
        let (bits, bit) = (&mut self.has[number as usize / 64], 1 << (number % 64));
        let word = if *bits & bit == 0 { Word::Numbered(number) } else { Word::Again };
        *bits |= bit;
        self.open.push(Open { word, start: self.ranks });
    }

    fn open_text(&mut self, text: &[u8]) {
        if let Ok(number) = self.dictionary.find(text) {
            return self.open_numbered(number);
        }
        let word = if self.has_rare.insert(text.into()) { Word::Rare(text.into()) } else { Word::Again };
        self.open.push(Open { word, start: self.ranks });
    }

    /// The name at hand ends behind so many words.
    fn close(&mut self, kept: usize) {
        for Open { word, start } in self.open.drain(kept..) {
            let length = self.ranks - start;
            match word {
                Word::Numbered(number) => {
                    self.has[number as usize / 64] &= !(1 << (number % 64));
                    self.writer.push(number, start, length);
                }
                Word::Rare(text) => {
                    self.has_rare.remove(&text);
                    self.writer.push_rare(&text, start, length);
                }
                Word::Again => {}
            }
        }
    }
}
