//! Segments: runs of ranks, sorted by word and packed, in memory or spilled; and the merge of all of them into the word index.
//!
//! A word has a rank as tokens have (`ranking.rs`): 2n + 2 for number n of the dictionary, for any other the odd number between its neighbours, and
//! then its text decides. A segment holds for each of its words, ascending: the distance of its rank from the one before; for an odd one the length of
//! its text and the text; how many runs follow; for each run the distance from the end of the one before, doubled, plus one where it is longer than
//! one rank, and then its length less two. All numbers are varints.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::sync::Arc;

use balcao_index::{IndexError, varint};

use crate::build::BuildError;
use crate::occurrences::Dictionary;
use crate::run::SpillFile;
use crate::store::Store;

/// Bytes that a run of a word in the dictionary takes until it is packed: itself, its place in the order, and what it is packed into.
const RUN_BYTES: usize = size_of::<FoundRun>() + size_of::<u32>() + 12;

/// Bytes that a varint takes at most.
const VARINT_BYTES: usize = 10;

/// A run of a word in the dictionary.
#[derive(Clone, Copy, Debug)]
struct FoundRun {
    word: u32,
    start: u32,
    length: u32,
}

/// A run of another word.
#[derive(Clone, Copy, Debug)]
struct RareRun {
    text_at: usize,
    text_end: usize,
    start: u32,
    length: u32,
}

/// Collects runs until they fill their memory, and packs them into a segment.
pub(crate) struct SegmentWriter<'a> {
    dictionary: &'a Dictionary<'a>,
    runs: Vec<FoundRun>,
    runs_max: usize,
    rare: Vec<RareRun>,
    texts: Vec<u8>,
    rare_bytes_max: usize,
    /// By the words' numbers, for the counting sort.
    places: Vec<u32>,
}

impl<'a> SegmentWriter<'a> {
    /// A writer that takes about `memory` bytes: three quarters for words of the dictionary, one for others.
    pub(crate) fn new(dictionary: &'a Dictionary<'a>, memory: usize) -> Self {
        let runs_max = (memory / 4 * 3 / RUN_BYTES).clamp(1, u32::MAX as usize);
        Self {
            dictionary,
            runs: Vec::with_capacity(runs_max),
            runs_max,
            rare: Vec::new(),
            texts: Vec::new(),
            // They are held twice while they grow, and a third time packed.
            rare_bytes_max: memory / 4 / 3,
            places: Vec::new(),
        }
    }

    /// Adds a run of a word of the dictionary. The runs of each word come in their order.
    pub(crate) fn push(&mut self, word: u32, start: u32, length: u32) {
        self.runs.push(FoundRun { word, start, length });
    }

    /// Adds a run of any other word.
    pub(crate) fn push_rare(&mut self, text: &[u8], start: u32, length: u32) {
        let text_at = self.texts.len();
        self.texts.extend_from_slice(text);
        self.rare.push(RareRun { text_at, text_end: self.texts.len(), start, length });
    }

    /// Whether a segment must be written before the words of one more name come. Those have their room, however many they are.
    pub(crate) fn is_full(&self) -> bool {
        self.runs.len() >= self.runs_max
            || self.texts.len() + self.rare.len() * size_of::<RareRun>() >= self.rare_bytes_max
    }

    /// Packs what was collected, and begins anew; `None` where there is nothing.
    pub(crate) fn write(&mut self, store: &Store<'_>) -> Result<Option<Segment>, BuildError> {
        if self.runs.is_empty() && self.rare.is_empty() {
            return Ok(None);
        }
        let mut bytes = self.pack();
        self.runs.clear();
        self.runs.shrink_to(self.runs_max);
        (self.rare, self.texts) = (Vec::new(), Vec::new());
        let length = bytes.len() as u64;
        let bytes = if store.has_room(length) {
            bytes.shrink_to_fit();
            SegmentBytes::Memory(bytes)
        } else {
            let file = store.spill_file()?;
            let at = file.append(&bytes).map_err(BuildError::Spill)?;
            SegmentBytes::Spilled { file, at }
        };
        Ok(Some(Segment { bytes, length }))
    }

    fn pack(&mut self) -> Vec<u8> {
        let order = self.order();
        let (texts, rare) = (&self.texts, &mut self.rare);
        let text = |run: &RareRun| &texts[run.text_at..run.text_end];
        // Stable: the runs of a word stay in their order.
        rare.sort_by(|a, b| text(a).cmp(text(b)));
        let mut others = rare.chunk_by(|a, b| text(a) == text(b)).peekable();
        let mut out = Packer { bytes: Vec::with_capacity(self.runs.len() * 4 + texts.len()), rank: 0 };
        let numbered = order.chunk_by(|&a, &b| self.runs[a as usize].word == self.runs[b as usize].word);
        let mut put_others = |out: &mut Packer, below: u32| {
            while let Some(&runs) = others.peek() {
                let above = self.dictionary.find(text(&runs[0])).unwrap_or_else(|above| above);
                if above > below {
                    break;
                }
                out.word(2 * above + 1, Some(text(&runs[0])));
                out.runs(&runs.iter().map(|run| (run.start, run.length)));
                others.next();
            }
        };
        for runs in numbered {
            let word = self.runs[runs[0] as usize].word;
            put_others(&mut out, word);
            out.word(2 * word + 2, None);
            out.runs(&runs.iter().map(|&at| (self.runs[at as usize].start, self.runs[at as usize].length)));
        }
        put_others(&mut out, u32::MAX);
        out.bytes
    }

    /// The runs by their words, those of one word in the order in which they came: by a counting sort, for the numbers are dense.
    fn order(&mut self) -> Vec<u32> {
        self.places.clear();
        self.places.resize(self.dictionary.len() + 1, 0);
        for run in &self.runs {
            self.places[run.word as usize + 1] += 1;
        }
        let mut below = 0;
        for place in &mut self.places {
            below += *place;
            *place = below;
        }
        let mut order = vec![0; self.runs.len()];
        for (run, at) in self.runs.iter().zip(0..) {
            let place = &mut self.places[run.word as usize];
            order[*place as usize] = at;
            *place += 1;
        }
        order
    }
}

/// Packs words and their runs.
struct Packer {
    bytes: Vec<u8>,
    rank: u32,
}

impl Packer {
    fn word(&mut self, rank: u32, text: Option<&[u8]>) {
        varint::write(&mut self.bytes, u64::from(rank - self.rank));
        self.rank = rank;
        if let Some(text) = text {
            varint::write(&mut self.bytes, text.len() as u64);
            self.bytes.extend_from_slice(text);
        }
    }

    /// Packs the runs of a word, neighbours as one.
    fn runs(&mut self, runs: &(impl Iterator<Item = (u32, u32)> + Clone)) {
        let joined = || Joined { runs: runs.clone().peekable() };
        varint::write(&mut self.bytes, joined().count() as u64);
        let mut end = 0;
        for (start, length) in joined() {
            let is_long = length > 1;
            varint::write(&mut self.bytes, u64::from(start - end) << 1 | u64::from(is_long));
            if is_long {
                varint::write(&mut self.bytes, u64::from(length - 2));
            }
            end = start + length;
        }
    }
}

/// Runs, each as long as there are neighbours.
struct Joined<I: Iterator<Item = (u32, u32)>> {
    runs: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = (u32, u32)>> Iterator for Joined<I> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let (start, mut length) = self.runs.next()?;
        while let Some((_, further)) = self.runs.next_if(|&(next, _)| next == start + length) {
            length += further;
        }
        Some((start, length))
    }
}

/// Packed runs of ranks, sorted by word.
#[derive(Debug)]
pub(crate) struct Segment {
    bytes: SegmentBytes,
    length: u64,
}

#[derive(Debug)]
enum SegmentBytes {
    Memory(Vec<u8>),
    Spilled { file: Arc<SpillFile>, at: u64 },
}

/// What a merge comes to: a word, ascending, and then its ranks, ascending too.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Word(&'a [u8]),
    /// So many ranks from the first one on.
    Run(u32, u32),
}

/// Merges the segments of all shards, in the order of the shards, each with the shard's first rank. Spilled ones are read about `read_bytes` at a time.
pub(crate) fn merge(
    segments: &[(u32, Segment)],
    dictionary: &Dictionary<'_>,
    read_bytes: usize,
    mut put: impl FnMut(Step<'_>) -> Result<(), IndexError>,
) -> Result<(), BuildError> {
    let mut readers: Vec<_> = segments.iter().map(|(base, segment)| Reader::new(*base, segment, read_bytes)).collect();
    let mut heads = BinaryHeap::with_capacity(readers.len());
    for (segment, reader) in readers.iter_mut().enumerate() {
        if let Some(word) = reader.next_word().map_err(BuildError::Spill)? {
            heads.push(Head { word, segment });
        }
    }
    let mut current = None;
    while let Some(mut head) = heads.peek_mut() {
        let Head { word, segment } = &mut *head;
        if current.as_ref() != Some(&*word) {
            put(Step::Word(word.bytes(dictionary).ok_or_else(senseless).map_err(BuildError::Spill)?))?;
            current = Some(word.clone());
        }
        let reader = &mut readers[*segment];
        while let Some((start, length)) = reader.next_run().map_err(BuildError::Spill)? {
            put(Step::Run(start, length))?;
        }
        match reader.next_word().map_err(BuildError::Spill)? {
            Some(next) => *word = next,
            None => drop(PeekMut::pop(head)),
        }
    }
    Ok(())
}

/// A word in the order of all words; the text is empty for those of the dictionary.
#[derive(Clone, Debug)]
struct WordRank {
    rank: u32,
    text: Vec<u8>,
}

impl WordRank {
    fn bytes<'w>(&'w self, dictionary: &Dictionary<'w>) -> Option<&'w [u8]> {
        if self.rank & 1 == 1 {
            return Some(&self.text);
        }
        (self.rank / 2).checked_sub(1).and_then(|number| dictionary.word(number))
    }
}

impl Ord for WordRank {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Nearly all words are in the dictionary: no look at their texts, which are elsewhere in the memory.
        let of_rank = self.rank.cmp(&other.rank);
        if of_rank.is_eq() && self.rank & 1 == 1 { self.text.cmp(&other.text) } else { of_rank }
    }
}

impl PartialOrd for WordRank {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for WordRank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for WordRank {}

/// The next word of a segment: the least word first, of one word the segments in their order.
#[derive(Debug)]
struct Head {
    word: WordRank,
    segment: usize,
}

impl Ord for Head {
    /// The greatest of a heap is the least word.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.word.cmp(&self.word).then_with(|| other.segment.cmp(&self.segment))
    }
}

impl PartialOrd for Head {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    // Left to themselves these compare twice.
    #[inline]
    fn lt(&self, other: &Self) -> bool {
        self.cmp(other).is_lt()
    }

    #[inline]
    fn le(&self, other: &Self) -> bool {
        self.cmp(other).is_le()
    }

    #[inline]
    fn ge(&self, other: &Self) -> bool {
        self.cmp(other).is_ge()
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Reads a segment forward.
struct Reader<'a> {
    segment: &'a Segment,
    base: u32,
    read_bytes: usize,
    /// Of a spilled segment what was read of it and not used, and where in the segment it ends.
    buffer: Vec<u8>,
    read_to: u64,
    /// Where the next number is: in the segment, or in the buffer.
    at: usize,
    rank: u32,
    /// Runs of the word at hand that are left, and the end of the one before.
    runs: u64,
    end: u32,
}

impl<'a> Reader<'a> {
    fn new(base: u32, segment: &'a Segment, read_bytes: usize) -> Self {
        Self { segment, base, read_bytes, buffer: Vec::new(), read_to: 0, at: 0, rank: 0, runs: 0, end: 0 }
    }

    /// The next word, whose runs come then; `None` at the end.
    fn next_word(&mut self) -> io::Result<Option<WordRank>> {
        if self.rest(1)?.is_empty() {
            return Ok(None);
        }
        let rank = self.number()?;
        self.rank = u32::try_from(rank).ok().and_then(|rank| self.rank.checked_add(rank)).ok_or_else(senseless)?;
        let mut text = Vec::new();
        if self.rank & 1 == 1 {
            let length = usize::try_from(self.number()?).map_err(|_| senseless())?;
            text = self.rest(length)?.get(..length).ok_or_else(senseless)?.to_vec();
            self.at += length;
        }
        self.runs = self.number()?;
        self.end = 0;
        Ok(Some(WordRank { rank: self.rank, text }))
    }

    /// The next run of the word at hand, in ranks of the whole index; `None` behind the last one.
    fn next_run(&mut self) -> io::Result<Option<(u32, u32)>> {
        let Some(left) = self.runs.checked_sub(1) else { return Ok(None) };
        self.runs = left;
        let head = self.number()?;
        let length = if head & 1 == 1 { self.number()?.checked_add(2) } else { Some(1) };
        let run = || {
            let length = u32::try_from(length?).ok()?;
            let start = self.end.checked_add(u32::try_from(head >> 1).ok()?)?;
            Some((start, length, start.checked_add(length)?, self.base.checked_add(start)?))
        };
        let (_, length, end, start) = run().ok_or_else(senseless)?;
        self.end = end;
        Ok(Some((start, length)))
    }

    fn number(&mut self) -> io::Result<u64> {
        let rest = self.rest(VARINT_BYTES)?;
        let before = rest.len();
        let mut rest = rest;
        let number = varint::read(&mut rest).ok_or_else(senseless)?;
        self.at += before - rest.len();
        Ok(number)
    }

    /// What comes next: at least so many bytes, or all that are left.
    #[inline]
    fn rest(&mut self, bytes: usize) -> io::Result<&[u8]> {
        let segment = self.segment;
        match &segment.bytes {
            SegmentBytes::Memory(whole) => whole.get(self.at..).ok_or_else(senseless),
            SegmentBytes::Spilled { file, at } => {
                if self.buffer.len() - self.at < bytes && self.read_to < segment.length {
                    self.fill(file, *at, bytes)?;
                }
                self.buffer.get(self.at..).ok_or_else(senseless)
            }
        }
    }

    /// Reads on, so that there are so many bytes, or all that are left.
    #[cold]
    fn fill(&mut self, file: &SpillFile, at: u64, bytes: usize) -> io::Result<()> {
        let left = self.buffer.len() - self.at;
        let further = (bytes - left).max(self.read_bytes);
        let further = usize::try_from(self.segment.length - self.read_to).map_or(further, |rest| further.min(rest));
        // Not kept at the length of the longest word: there are as many buffers as segments.
        let mut buffer = Vec::with_capacity(left + further);
        buffer.extend_from_slice(&self.buffer[self.at..]);
        buffer.resize(left + further, 0);
        file.read_exact_at(&mut buffer[left..], at + self.read_to)?;
        (self.buffer, self.at) = (buffer, 0);
        self.read_to += further as u64;
        Ok(())
    }
}

/// Bytes that nobody wrote came back from the disk.
#[cold]
fn senseless() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
#[path = "segments_tests.rs"]
mod tests;
