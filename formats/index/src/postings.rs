//! `Postings`: the ascending ranks of a word, in blocks of 128 that are unpacked one by one, and the cursor that goes through them.
//!
//! It knows no words: `word_index.rs` leads to a list. Everything that stands in the file is compared with its bounds before it is used; a list that
//! makes no sense is damage.
//!
//! A list: how many ranks it has (varint); for each whole block of 128 its last rank (`u32`) and the end of its bytes (`u32`, in units of 16 bytes
//! from the first block); the blocks' bytes; the ranks that make no whole block. A block holds the gaps between its ranks and from the rank before
//! it, each less one, as `BitPacker4x` of the crate `bitpacking` packs them: *b* bits each make *b* units, so that neighbours take none. The further
//! ranks are varints of the same gaps. Before a list's first rank stands −1.

use std::ops::Range;

use bitpacking::{BitPacker, BitPacker4x};

use crate::error::{IndexError, Result};
use crate::sealed::{HEADER_BYTES, SealedFile};
use crate::varint;

/// Ranks of a block.
pub const BLOCK_POSTINGS: usize = BitPacker4x::BLOCK_LEN;

/// A block's bytes are a multiple of this: 128 numbers of a bit.
pub(crate) const UNIT_BYTES: usize = BLOCK_POSTINGS / 8;

/// Last rank and end of a block.
const ENTRY_BYTES: u64 = 8;

/// A gap of at most 32 bits.
const GAP_BYTES_MAX: u64 = 5;

/// Bits of a gap up to which 128 of them cannot come to more than all ranks: where the last rank is right, so is their order.
const ORDERED_BITS_MAX: u8 = 25;

/// Ranks of a block that are looked at one by one before it is halved: what is sought is near more often than not.
const NEAR_POSTINGS: usize = 8;

const _: () = assert!(BLOCK_POSTINGS == 128 && (BLOCK_POSTINGS as u64) << ORDERED_BITS_MAX <= 1 << u32::BITS);

/// The lists of a word index.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) file: SealedFile,
    /// Where they end in the file.
    pub(crate) end: u64,
    /// One above the greatest rank that a list may have.
    pub(crate) ranks_end: u32,
}

impl Lists {
    /// The list at `at`.
    pub(crate) fn list(&self, at: u64) -> Result<Postings<'_>> {
        if at < HEADER_BYTES as u64 || at >= self.end {
            return Err(self.file.damaged(at, "a word that leads to no list"));
        }
        let head = self.file.bytes_up_to(at, (self.end - at).min(varint::VARINT_BYTES_MAX as u64))?;
        let mut rest = head;
        let count = varint::read(&mut rest).and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|&count| 0 < count && count <= self.ranks_end).ok_or_else(|| self.unreadable(at))?;
        let entries_at = at + (head.len() - rest.len()) as u64;
        let blocks = count / BLOCK_POSTINGS as u32;
        let mut list = Postings { lists: self, at, count, blocks, entries_at, blocks_at: 0, rest_at: 0 };
        list.blocks_at = entries_at + ENTRY_BYTES * u64::from(blocks);
        let units = if blocks == 0 { 0 } else { list.entry(blocks - 1)?.1 };
        list.rest_at = list.blocks_at + u64::from(units) * UNIT_BYTES as u64;
        let rest = u64::from(list.rest_count());
        if list.rest_at.saturating_add(rest) > self.end { Err(self.unreadable(at)) } else { Ok(list) }
    }

    #[cold]
    fn unreadable(&self, at: u64) -> IndexError {
        self.file.damaged(at, "a list that cannot be read")
    }
}

/// The ranks of a word. It is a place in the index: copies cost nothing.
#[derive(Clone, Copy, Debug)]
pub struct Postings<'a> {
    lists: &'a Lists,
    at: u64,
    count: u32,
    blocks: u32,
    entries_at: u64,
    blocks_at: u64,
    rest_at: u64,
}

impl<'a> Postings<'a> {
    /// How many ranks there are: at least one.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.into()
    }

    /// A cursor before the first rank.
    #[must_use]
    pub fn cursor(&self) -> PostingCursor<'a> {
        PostingCursor {
            list: *self,
            block: 0,
            span: None,
            is_open: false,
            ranks: None,
            at: 0,
            rest: &[],
            rest_left: 0,
            rest_rank: None,
            touched: 0,
        }
    }

    /// Reads the whole list, rank after rank: where it begins and ends in the file. For `verify`.
    pub(crate) fn check(&self, mut visit: impl FnMut(u32)) -> Result<Range<u64>> {
        let mut cursor = self.cursor();
        let (mut count, mut least) = (0, 0);
        while let Some(rank) = cursor.seek(least)? {
            visit(rank);
            count += 1;
            // Ranks end below the greatest number.
            least = rank.saturating_add(1);
        }
        if count != self.count {
            return Err(self.lists.file.damaged(self.at, format!("{count} ranks in a list of {}", self.count)));
        }
        let rest_bytes = cursor.rest_end().unwrap_or(self.rest_at);
        Ok(self.at..rest_bytes)
    }

    fn rest_count(&self) -> u32 {
        self.count % BLOCK_POSTINGS as u32
    }

    fn unreadable(&self) -> IndexError {
        self.lists.unreadable(self.at)
    }

    /// Last rank and end of a block that there is.
    fn entry(&self, block: u32) -> Result<(u32, u32)> {
        let at = self.entries_at + ENTRY_BYTES * u64::from(block);
        if at + ENTRY_BYTES > self.lists.end {
            return Err(self.unreadable());
        }
        let bytes = self.lists.file.bytes(at..at + ENTRY_BYTES)?;
        let (last, end) = bytes.split_at(4);
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap_or_default());
        Ok((number(last), number(end)))
    }

    /// What the entries say of a block, of which there is one.
    fn span(&self, block: u32) -> Result<Span> {
        let before = block.checked_sub(1).map(|before| self.entry(before)).transpose()?;
        self.span_behind(block, before)
    }

    /// The span of a block behind one with this last rank and end.
    fn span_behind(&self, block: u32, before: Option<(u32, u32)>) -> Result<Span> {
        let (last, end) = self.entry(block)?;
        let start = before.map_or(0, |before| before.1);
        let first = before.map_or(0, |before| before.0.wrapping_add(1));
        let bits = end.checked_sub(start).and_then(|bits| u8::try_from(bits).ok()).filter(|&bits| bits <= 32);
        let is_whole = first.checked_add(BLOCK_POSTINGS as u32 - 1).is_some_and(|least| least <= last);
        let Some(bits) = bits.filter(|_| is_whole && last < self.lists.ranks_end) else {
            return Err(self.unreadable());
        };
        // Neighbours, and nothing else, take no bits.
        if bits == 0 && last - first != BLOCK_POSTINGS as u32 - 1 {
            return Err(self.unreadable());
        }
        Ok(Span { first, last, start, bits })
    }

    /// Unpacks a block.
    fn unpack(&self, span: Span, ranks: &mut [u32; BLOCK_POSTINGS]) -> Result<()> {
        let start = self.blocks_at + u64::from(span.start) * UNIT_BYTES as u64;
        let bytes = u64::from(span.bits) * UNIT_BYTES as u64;
        if start + bytes > self.rest_at {
            return Err(self.unreadable());
        }
        let bytes = self.lists.file.bytes(start..start + bytes)?;
        let before = span.first.checked_sub(1);
        BitPacker4x::new().decompress_strictly_sorted(before, bytes, ranks, span.bits);
        let is_ordered = span.bits <= ORDERED_BITS_MAX || ranks.is_sorted_by(|a, b| a < b) && ranks[0] >= span.first;
        if is_ordered && ranks[BLOCK_POSTINGS - 1] == span.last { Ok(()) } else { Err(self.unreadable()) }
    }
}

/// A block, as its entry and the one before it tell.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The least rank that it may have.
    first: u32,
    /// The last rank that it has.
    last: u32,
    /// Where it begins, in units.
    start: u32,
    bits: u8,
}

/// Goes through a list, forward only.
#[derive(Clone, Debug)]
pub struct PostingCursor<'a> {
    list: Postings<'a>,
    /// The block at hand; as many as there are: the ranks behind them.
    block: u32,
    /// Of the block at hand, once it was looked at.
    span: Option<Span>,
    /// The block at hand was opened, and its ranks are in `ranks` unless they are neighbours.
    is_open: bool,
    /// Made when the first block is unpacked: most lists have none.
    ranks: Option<Box<[u32; BLOCK_POSTINGS]>>,
    /// Ranks of the open block that are below all that will be asked for.
    at: usize,
    /// Of the ranks behind the blocks: what was not read yet, how many that are, and the one that was read last and is not passed.
    rest: &'a [u8],
    rest_left: u32,
    rest_rank: Option<u32>,
    touched: u64,
}

impl PostingCursor<'_> {
    /// The first rank at or above `rank`; `None` where all are below. What is asked for must not descend from call to call.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn seek(&mut self, rank: u32) -> Result<Option<u32>> {
        let Some(span) = self.advance(rank)? else { return self.seek_rest(rank) };
        self.open(span)?;
        if rank <= span.first && span.bits == 0 {
            return Ok(Some(span.first));
        }
        let Some(ranks) = self.ranks.as_ref().filter(|_| span.bits > 0) else { return Ok(Some(rank)) };
        let ahead = &ranks[self.at..];
        let near = ahead.iter().take(NEAR_POSTINGS).position(|&other| other >= rank);
        self.at += near.unwrap_or_else(|| ahead.partition_point(|&other| other < rank));
        ranks.get(self.at).map(|&found| Some(found)).ok_or_else(|| self.list.unreadable())
    }

    /// Sets bit `r - window.start` of `bits` for each rank `r` of the list in `window`; bits beyond the end of `bits` are not set. Windows must not
    /// descend from call to call, and ranks below one that was sought may be left out; a rank may not be sought below the end of a window that was marked.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]; bits may have been set then.
    pub fn mark(&mut self, window: Range<u32>, bits: &mut [u64]) -> Result<()> {
        let room = u32::try_from(bits.len() * 64).unwrap_or(u32::MAX);
        let Range { start, end } = window.start..window.end.min(window.start.saturating_add(room));
        if start >= end {
            return Ok(());
        }
        while let Some(span) = self.advance(start)? {
            if span.first >= end {
                return Ok(());
            }
            self.open(span)?;
            match &self.ranks {
                Some(ranks) if span.bits > 0 => {
                    if span.first >= start && span.last < end {
                        set_all(ranks.as_slice(), start, bits);
                    } else {
                        self.at += ranks[self.at..].partition_point(|&rank| rank < start);
                        let inside = ranks[self.at..].partition_point(|&rank| rank < end);
                        set_all(&ranks[self.at..self.at + inside], start, bits);
                        self.at += inside;
                    }
                }
                _ => set_run(span.first.max(start) - start..(span.last + 1).min(end) - start, bits),
            }
            if span.last >= end {
                return Ok(());
            }
            self.next_block(span)?;
        }
        while let Some(rank) = self.seek_rest(start)?.filter(|&rank| rank < end) {
            set_all(&[rank], start, bits);
            self.next_rest()?;
        }
        Ok(())
    }

    /// Ranks that were unpacked so far: 128 for each block that was opened, and those behind the blocks once one of them was needed.
    #[must_use]
    pub fn touched(&self) -> u64 {
        self.touched
    }

    /// Where what was read of the ranks behind the blocks ends in the file, once they were opened.
    fn rest_end(&self) -> Option<u64> {
        let Postings { lists, rest_at, .. } = self.list;
        let bytes = (GAP_BYTES_MAX * u64::from(self.list.rest_count())).min(lists.end - rest_at);
        (self.list.rest_count() > 0).then(|| rest_at + bytes - self.rest.len() as u64)
    }

    /// Goes on to the first block whose last rank is at or above `rank`; `None` where none is.
    fn advance(&mut self, rank: u32) -> Result<Option<Span>> {
        let blocks = self.list.blocks;
        if self.block >= blocks {
            return Ok(None);
        }
        let span = match self.span {
            Some(span) => span,
            None => *self.span.insert(self.list.span(self.block)?),
        };
        if span.last >= rank {
            return Ok(Some(span));
        }
        // Ever longer steps, then halving: what is asked for is near more often than not.
        let (mut low, mut high, mut step) = (self.block + 1, self.block + 1, 1_u32);
        while high < blocks && self.list.entry(high)?.0 < rank {
            low = high + 1;
            high = high.saturating_add(step);
            step = step.saturating_mul(2);
        }
        high = high.min(blocks);
        while low < high {
            let middle = u32::midpoint(low, high);
            if self.list.entry(middle)?.0 < rank {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (self.block, self.is_open) = (low, false);
        self.span = if low < blocks { Some(self.list.span(low)?) } else { None };
        Ok(self.span)
    }

    /// Goes on to the block behind the one at hand.
    fn next_block(&mut self, span: Span) -> Result<()> {
        (self.block, self.is_open) = (self.block + 1, false);
        let before = Some((span.last, span.start + u32::from(span.bits)));
        let is_block = self.block < self.list.blocks;
        self.span = if is_block { Some(self.list.span_behind(self.block, before)?) } else { None };
        Ok(())
    }

    /// Opens the block at hand.
    fn open(&mut self, span: Span) -> Result<()> {
        if self.is_open {
            return Ok(());
        }
        if span.bits > 0 {
            let ranks = self.ranks.get_or_insert_with(|| Box::new([0; BLOCK_POSTINGS]));
            self.list.unpack(span, ranks)?;
        }
        (self.is_open, self.at) = (true, 0);
        self.touched += BLOCK_POSTINGS as u64;
        Ok(())
    }

    /// The first rank at or above `rank` behind the blocks.
    fn seek_rest(&mut self, rank: u32) -> Result<Option<u32>> {
        if !self.is_open && self.list.rest_count() > 0 {
            let Postings { lists, rest_at, blocks, .. } = self.list;
            self.rest_left = self.list.rest_count();
            let bytes = (GAP_BYTES_MAX * u64::from(self.rest_left)).min(lists.end - rest_at);
            self.rest = lists.file.bytes(rest_at..rest_at + bytes)?;
            self.is_open = true;
            self.touched += u64::from(self.rest_left);
            let before = blocks.checked_sub(1).map(|last| self.list.entry(last)).transpose()?;
            self.read_rest(before.map_or(0, |before| before.0.wrapping_add(1)))?;
        }
        while let Some(found) = self.rest_rank {
            if found >= rank {
                return Ok(Some(found));
            }
            self.next_rest()?;
        }
        Ok(None)
    }

    /// Passes the rank that was read last.
    fn next_rest(&mut self) -> Result<()> {
        match self.rest_rank.take() {
            Some(rank) if self.rest_left > 0 => self.read_rest(rank + 1),
            _ => Ok(()),
        }
    }

    /// Reads a rank; `least` is the least that it may be.
    fn read_rest(&mut self, least: u32) -> Result<()> {
        let gap = varint::read(&mut self.rest);
        let rank = gap.and_then(|gap| gap.checked_add(least.into())).and_then(|rank| u32::try_from(rank).ok());
        let rank = rank.filter(|&rank| rank < self.list.lists.ranks_end).ok_or_else(|| self.list.unreadable())?;
        self.rest_rank = Some(rank);
        self.rest_left -= 1;
        Ok(())
    }
}

/// Sets the bits of ranks, none of which is below `start`.
fn set_all(ranks: &[u32], start: u32, bits: &mut [u64]) {
    for rank in ranks {
        let at = rank.wrapping_sub(start);
        if let Some(word) = bits.get_mut((at / 64) as usize) {
            *word |= 1 << (at % 64);
        }
    }
}

/// Sets bits that are neighbours.
fn set_run(places: Range<u32>, bits: &mut [u64]) {
    let Some(last) = places.end.checked_sub(1) else { return };
    let (first_word, last_word) = ((places.start / 64) as usize, (last / 64) as usize);
    let Some(words) = bits.get_mut(first_word..=last_word) else { return };
    let (from, to) = (u64::MAX << (places.start % 64), u64::MAX >> (63 - last % 64));
    match words {
        [word] => *word |= from & to,
        [first, inner @ .., last] => {
            *first |= from;
            inner.fill(u64::MAX);
            *last |= to;
        }
        [] => {}
    }
}
