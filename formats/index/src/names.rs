//! Normalised name → ranks: blocks of up to [`NAME_BLOCK_NAMES`] distinct names, front coded token by token, under a sparse `fst`.
//!
//! Ranks are in the order of (name, rowid), so that the rows of a name, and those of a prefix, are one run.
//!
//! Body of a `.keys` file: the blocks, the first name, the `fst`. A block: its first rank (varint), the bytes of its names (varint), how
//! many they are less one (1 byte), the names. A name: a byte with the tokens that it shares with the one before (high 4 bits, 15: a varint
//! of the rest follows), whether several rows have it (bit 3) and its further tokens (low 3 bits, 7: a varint of the rest
//! follows); these tokens; where several rows have it, their number less two (varint). A token: a code of the dictionary in one to three bytes
//! (first byte 0–191, 192–239, 240–254), or 255, its length (varint) and its bytes. The `fst` maps a text at or above a block's last name
//! and below the next one's first, the shortest there is, to the block's offset in the file.

use std::ops::Range;
use std::path::Path;

use balcao_record::NAME_KEY_BYTES_MAX;

use crate::error::{IndexError, Result};
use crate::manifest::FileEntry;
use crate::name_search::{Search, Side};
use crate::rowids::Rowids;
use crate::sealed::{HEADER_BYTES, Kind, SealedFile};
use crate::sparse::SparseIndex;
use crate::varint;
use crate::words::Words;

/// Distinct names of a block at most. More save bytes, fewer save time: see `docs/decisions.md`.
pub const NAME_BLOCK_NAMES: usize = 64;

/// Bytes after which a block ends early, so that long names do not make a long search.
pub const NAME_BLOCK_BYTES: usize = 4096;

/// Block head: two varints and a byte.
pub(crate) const HEAD_BYTES_MAX: u64 = 2 * varint::VARINT_BYTES_MAX as u64 + 1;

pub(crate) const SHARED_MORE: usize = 15;
pub(crate) const TOKENS_MORE: usize = 7;
pub(crate) const REPEATED: u8 = 1 << 3;
pub(crate) const LITERAL: u8 = 255;
pub(crate) const TWO_BYTES: u32 = 192;
pub(crate) const THREE_BYTES: u32 = TWO_BYTES + 48 * 256;

pub(crate) fn read_token<'a>(rest: &mut &'a [u8], words: &'a Words) -> Option<&'a [u8]> {
    let (&first, tail) = rest.split_first()?;
    *rest = tail;
    let code = match first {
        0..=191 => u32::from(first),
        192..=239 => {
            let (&low, tail) = rest.split_first()?;
            *rest = tail;
            TWO_BYTES + ((u32::from(first) - TWO_BYTES) << 8 | u32::from(low))
        }
        240..=254 => {
            let ([middle, low], tail) = rest.split_first_chunk()?;
            *rest = tail;
            THREE_BYTES + ((u32::from(first) - 240) << 16 | u32::from(*middle) << 8 | u32::from(*low))
        }
        LITERAL => {
            let length = usize::try_from(varint::read(rest)?).ok()?;
            let (token, tail) = rest.split_at_checked(length)?;
            *rest = tail;
            return Some(token);
        }
    };
    words.token(code)
}

/// A name's first byte, and what follows of it.
pub(crate) struct Head {
    /// Tokens that it shares with the name before.
    pub(crate) shared: usize,
    pub(crate) further: u64,
    repeated: bool,
}

impl Head {
    pub(crate) fn read(rest: &mut &[u8]) -> Option<Self> {
        let (&head, tail) = rest.split_first()?;
        *rest = tail;
        let mut shared = usize::from(head >> 4);
        if shared == SHARED_MORE {
            shared = shared.checked_add(usize::try_from(varint::read(rest)?).ok()?)?;
        }
        let mut further = u64::from(head & 7);
        if further == TOKENS_MORE as u64 {
            further = further.checked_add(varint::read(rest)?)?;
        }
        Some(Self { shared, further, repeated: head & REPEATED != 0 })
    }

    /// How many rows have the name whose tokens were read.
    pub(crate) fn rows(&self, rest: &mut &[u8]) -> Option<u64> {
        if self.repeated { varint::read(rest)?.checked_add(2) } else { Some(1) }
    }
}

/// A shard of names.
#[derive(Debug)]
pub(crate) struct NameShard {
    file: SealedFile,
    rowids: Rowids,
    first: Vec<u8>,
    blocks_end: u64,
    sparse: SparseIndex,
    distinct: u64,
}

/// Where a name stands, or would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first rank at or above it.
    pub(crate) rank: u64,
    /// How many rows have exactly this name.
    pub(crate) rows: u64,
}

/// Decodes the names of a block one after the other.
struct Names<'a> {
    words: &'a Words,
    rest: &'a [u8],
    name: Vec<u8>,
    ends: Vec<u32>,
}

impl Names<'_> {
    /// Decodes the next name into `self.name`: how many rows have it, or `None` where the bytes make no sense.
    fn next(&mut self) -> Option<u64> {
        let head = Head::read(&mut self.rest)?;
        let (shared, further) = (head.shared, head.further);
        if shared > self.ends.len() {
            return None;
        }
        self.ends.truncate(shared);
        self.name.truncate(self.ends.last().map_or(0, |&end| end as usize));
        for _ in 0..further {
            let token = read_token(&mut self.rest, self.words)?;
            if !self.ends.is_empty() {
                self.name.push(b' ');
            }
            // A small block over a dictionary of long tokens, both forged, could tell of names that fill the memory.
            if token.len() > NAME_KEY_BYTES_MAX.saturating_sub(self.name.len()) {
                return None;
            }
            self.name.extend_from_slice(token);
            self.ends.push(u32::try_from(self.name.len()).ok()?);
        }
        head.rows(&mut self.rest)
    }
}

impl NameShard {
    pub(crate) fn open(folder: &Path, keys: &FileEntry, rows: &FileEntry, shard: u32) -> Result<Self> {
        let file = SealedFile::open(folder, keys, Kind::NameKeys, shard)?;
        let rowids = Rowids::open(folder, rows, shard)?;
        let &[count, blocks_end, fst_at, fst_bytes, distinct, ..] = file.parameters();
        if count != rowids.count() || count == 0 || blocks_end < HEADER_BYTES as u64 {
            return Err(file.damaged(0, format!("{count} keys for {} rowids", rowids.count())));
        }
        let first = file.bytes(blocks_end..fst_at.max(blocks_end))?.to_vec();
        let sparse = SparseIndex::open(&file, fst_at..fst_at.saturating_add(fst_bytes))?;
        Ok(Self { file, rowids, first, blocks_end, sparse, distinct })
    }

    pub(crate) fn count(&self) -> u64 {
        self.rowids.count()
    }

    pub(crate) fn distinct(&self) -> u64 {
        self.distinct
    }

    pub(crate) fn first(&self) -> &[u8] {
        &self.first
    }

    pub(crate) fn rowids(&self) -> &Rowids {
        &self.rowids
    }

    pub(crate) fn file(&self) -> &SealedFile {
        &self.file
    }

    /// Where `name` stands among this shard's names.
    pub(crate) fn find(&self, words: &Words, name: &[u8]) -> Result<Place> {
        let Some(place) = self.sparse.block_of(name) else {
            return Ok(Place { rank: self.count(), rows: 0 });
        };
        let mut search = self.search(words, name, place)?;
        let found = search.pass(Side::Below).ok_or_else(|| self.unreadable(place))?;
        self.within(place, Place { rank: search.rank, rows: if found == Some(Side::Equal) { search.rows } else { 0 } })
    }

    /// The first rank of this shard at or above `prefix`, and the first above all names that begin with it.
    pub(crate) fn find_prefix(&self, words: &Words, prefix: &[u8]) -> Result<Range<u64>> {
        let (Some(place), above) = self.sparse.blocks_of_prefix(prefix) else {
            return Ok(self.count()..self.count());
        };
        let mut search = self.search(words, prefix, place)?;
        search.pass(Side::Below).ok_or_else(|| self.unreadable(place))?;
        let start = self.within(place, Place { rank: search.rank, rows: 0 })?.rank;
        // A block ends at or above its names and below the next one's: it has all that begin with the prefix, or the border lies in another block.
        if above == Some(place) {
            search.pass(Side::Within).ok_or_else(|| self.unreadable(place))?;
            return Ok(start..self.within(place, Place { rank: search.rank, rows: 0 })?.rank);
        }
        Ok(start..self.end_of_prefix(words, prefix, above)?)
    }

    /// The first rank above all names that begin with `prefix`.
    pub(crate) fn prefix_end(&self, words: &Words, prefix: &[u8]) -> Result<u64> {
        self.end_of_prefix(words, prefix, self.sparse.blocks_of_prefix(prefix).1)
    }

    fn end_of_prefix(&self, words: &Words, prefix: &[u8], above: Option<u64>) -> Result<u64> {
        let Some(place) = above else { return Ok(self.count()) };
        let mut search = self.search(words, prefix, place)?;
        search.pass(Side::Within).ok_or_else(|| self.unreadable(place))?;
        Ok(self.within(place, Place { rank: search.rank, rows: 0 })?.rank)
    }

    /// The search for `asked` in the block at `place`.
    fn search<'a>(&'a self, words: &'a Words, asked: &'a [u8], place: u64) -> Result<Search<'a>> {
        let (rank, names, bytes, _) = self.block(place)?;
        Ok(Search::new(words, asked, bytes, names, rank))
    }

    /// What the block at `place` told, where the shard has as many rows.
    fn within(&self, place: u64, found: Place) -> Result<Place> {
        if found.rank.saturating_add(found.rows) > self.count() { Err(self.unreadable(place)) } else { Ok(found) }
    }

    /// Every name in order with its first rank and its number of rows, for `verify`; the sparse index must lead each to its block.
    pub(crate) fn for_each(&self, words: &Words, mut visit: impl FnMut(u64, &[u8], u64) -> Result<()>) -> Result<()> {
        let (mut place, mut rank) = (HEADER_BYTES as u64, 0_u64);
        while place < self.blocks_end {
            let (first, count, bytes, next) = self.block(place)?;
            if first != rank {
                return Err(self.file.damaged(place, format!("a block of rank {first}, expected {rank}")));
            }
            let mut names = Names { words, rest: bytes, name: Vec::new(), ends: Vec::new() };
            for _ in 0..count {
                let rows = names.next().ok_or_else(|| self.unreadable(place))?;
                if self.sparse.block_of(&names.name) != Some(place) {
                    return Err(self.file.damaged(place, format!("the name at rank {rank} is not found")));
                }
                visit(rank, &names.name, rows)?;
                rank = rank.saturating_add(rows);
            }
            place = next;
        }
        if rank == self.count() { Ok(()) } else { Err(self.file.damaged(place, format!("{rank} rows in the blocks"))) }
    }

    fn unreadable(&self, place: u64) -> IndexError {
        self.file.damaged(place, "a block that cannot be read")
    }

    /// The block at `place`: its first rank, its number of names, their bytes, and the place behind it.
    fn block(&self, place: u64) -> Result<(u64, usize, &[u8], u64)> {
        if place < HEADER_BYTES as u64 || place >= self.blocks_end {
            return Err(self.unreadable(place));
        }
        let head = self.file.bytes_up_to(place, HEAD_BYTES_MAX)?;
        let mut rest = head;
        let parts = (varint::read(&mut rest), varint::read(&mut rest), rest.first());
        let (Some(rank), Some(length), Some(&count)) = parts else { return Err(self.unreadable(place)) };
        let start = place + (head.len() - rest.len()) as u64 + 1;
        let next = start.saturating_add(length);
        Ok((rank, usize::from(count) + 1, self.file.bytes(start..next)?, next))
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "names_codec_tests.rs"]
mod codec_tests;
