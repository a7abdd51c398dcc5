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

use std::path::Path;
use std::sync::Arc;

use balcao_record::NAME_KEY_BYTES_MAX;

use crate::error::{IndexError, Result};
use crate::manifest::FileEntry;
use crate::rowids::{RowidRange, RowidWriter, Rowids};
use crate::sealed::{HEADER_BYTES, Kind, PARAMETERS, SealedFile, SealedWriter};
use crate::sparse::{SparseIndex, SparseWriter};
use crate::storage::{RealFiles, Storage};
use crate::varint;
use crate::words::Words;

/// Distinct names of a block at most. More save bytes, fewer save time: see `docs/decisions.md`.
pub const NAME_BLOCK_NAMES: usize = 64;

/// Bytes after which a block ends early, so that long names do not make a long search.
pub const NAME_BLOCK_BYTES: usize = 4096;

/// Block head: two varints and a byte.
const HEAD_BYTES_MAX: u64 = 2 * varint::VARINT_BYTES_MAX as u64 + 1;

const SHARED_MORE: usize = 15;
const TOKENS_MORE: usize = 7;
const REPEATED: u8 = 1 << 3;
const LITERAL: u8 = 255;
const TWO_BYTES: u32 = 192;
const THREE_BYTES: u32 = TWO_BYTES + 48 * 256;

/// Particles that make one token with the word behind them.
const PARTICLES: [&[u8]; 6] = [b"DA", b"DE", b"DO", b"DOS", b"DAS", b"E"];

/// Writes the end of each token of `name` into `ends`: words at blanks, a particle together with its next word.
pub(crate) fn token_ends(name: &[u8], ends: &mut Vec<u32>) {
    ends.clear();
    let mut start = 0;
    for at in 0..name.len() {
        if name[at] == b' ' {
            // A particle opens its token: one that another word opened has a blank already.
            if !PARTICLES.contains(&&name[start..at]) {
                ends.push(at as u32);
                start = at + 1;
            }
        }
    }
    if !name.is_empty() {
        ends.push(name.len() as u32);
    }
}

/// How many leading tokens two names share.
pub(crate) fn shared_tokens(a: &[u8], a_ends: &[u32], b: &[u8], b_ends: &[u32]) -> usize {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count() as u32;
    a_ends.iter().zip(b_ends).take_while(|&(x, y)| x == y && *x <= same).count()
}

/// Writes a shard of names: by the names' bytes, then by rowid, both ascending.
pub struct NameShardWriter {
    shard: u32,
    words: Arc<Words>,
    file: SealedWriter,
    rowids: RowidWriter,
    sparse: SparseWriter,
    first: Option<Vec<u8>>,
    /// The name that rows are still added to, and how many it has.
    name: Vec<u8>,
    name_rows: u64,
    last_rowid: i64,
    /// The name before it, with its tokens' ends; empty at a block's start.
    previous: Vec<u8>,
    previous_ends: Vec<u32>,
    ends: Vec<u32>,
    block: Vec<u8>,
    block_names: usize,
    block_rank: u64,
    /// Last name and place of the block before: its end is known when the next name is.
    ended: Option<(Vec<u8>, u64)>,
    distinct: u64,
}

impl NameShardWriter {
    /// Creates the two files of shard number `shard` in `folder`.
    ///
    /// # Errors
    /// [`IndexError::Io`] where a file cannot be created.
    pub fn create(folder: &Path, shard: u32, range: RowidRange, words: Arc<Words>) -> Result<Self> {
        Self::create_with(&RealFiles, folder, shard, range, words)
    }

    /// [`NameShardWriter::create`] over any storage.
    ///
    /// # Errors
    /// [`IndexError::Io`] where a file cannot be created.
    pub fn create_with(
        storage: &dyn Storage,
        folder: &Path,
        shard: u32,
        range: RowidRange,
        words: Arc<Words>,
    ) -> Result<Self> {
        Ok(Self {
            shard,
            words,
            file: SealedWriter::create(storage, folder, &format!("name-{shard:04}.keys"), Kind::NameKeys, shard)?,
            rowids: RowidWriter::create(storage, folder, &format!("name-{shard:04}.rows"), shard, range)?,
            sparse: SparseWriter::new(),
            first: None,
            name: Vec::new(),
            name_rows: 0,
            last_rowid: 0,
            previous: Vec::new(),
            previous_ends: Vec::new(),
            ends: Vec::new(),
            block: Vec::with_capacity(2 * NAME_BLOCK_BYTES),
            block_names: 0,
            block_rank: 0,
            ended: None,
            distinct: 0,
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`IndexError::Order`] where the row does not stand above the one before, or the name is empty or longer than
    /// [`NAME_KEY_BYTES_MAX`]; [`IndexError::Io`].
    pub fn push(&mut self, name: &[u8], rowid: i64) -> Result<()> {
        if self.name_rows > 0 && name == self.name {
            if rowid <= self.last_rowid {
                return Err(IndexError::Order { shard: self.shard });
            }
        } else {
            if name <= self.name.as_slice() || name.len() > NAME_KEY_BYTES_MAX {
                return Err(IndexError::Order { shard: self.shard });
            }
            if self.name_rows > 0 {
                self.end_name()?;
            }
            self.first.get_or_insert_with(|| name.to_vec());
            self.end_ended_block(name)?;
            self.name.clear();
            self.name.extend_from_slice(name);
        }
        self.name_rows += 1;
        self.last_rowid = rowid;
        self.rowids.push(rowid)
    }

    /// Writes what is left and syncs: the entries of the keys and of the rowids.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn finish(mut self) -> Result<(FileEntry, FileEntry)> {
        if self.name_rows > 0 {
            self.end_name()?;
        }
        if self.block_names > 0 {
            self.end_block()?;
        }
        if let Some((last, place)) = self.ended.take() {
            self.sparse.push(&last, place).map_err(|_| IndexError::Order { shard: self.shard })?;
        }
        let blocks_end = self.file.position();
        let first = self.first.take().unwrap_or_default();
        self.file.write(&first)?;
        let fst = self.sparse.finish().map_err(|_| IndexError::Order { shard: self.shard })?;
        let fst_at = self.file.position();
        self.file.write(&fst)?;
        let mut parameters = [0; PARAMETERS];
        parameters[..5].copy_from_slice(&[self.rowids.count(), blocks_end, fst_at, fst.len() as u64, self.distinct]);
        Ok((self.file.finish(&parameters)?, self.rowids.finish()?))
    }

    /// Writes the name that is complete into its block.
    fn end_name(&mut self) -> Result<()> {
        token_ends(&self.name, &mut self.ends);
        let shared = shared_tokens(&self.previous, &self.previous_ends, &self.name, &self.ends);
        let further = self.ends.len() - shared;
        let repeated = if self.name_rows > 1 { REPEATED } else { 0 };
        self.block.push((shared.min(SHARED_MORE) << 4) as u8 | repeated | further.min(TOKENS_MORE) as u8);
        for (count, more) in [(shared, SHARED_MORE), (further, TOKENS_MORE)] {
            if count >= more {
                varint::write(&mut self.block, (count - more) as u64);
            }
        }
        let mut start = if shared == 0 { 0 } else { self.ends[shared - 1] as usize + 1 };
        for &end in &self.ends[shared..] {
            write_token(&mut self.block, &self.words, &self.name[start..end as usize]);
            start = end as usize + 1;
        }
        if self.name_rows > 1 {
            varint::write(&mut self.block, self.name_rows - 2);
        }
        self.name_rows = 0;
        self.distinct += 1;
        self.block_names += 1;
        std::mem::swap(&mut self.previous, &mut self.name);
        self.name.clone_from(&self.previous);
        std::mem::swap(&mut self.previous_ends, &mut self.ends);
        if self.block_names == NAME_BLOCK_NAMES || self.block.len() >= NAME_BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        let place = self.file.position();
        let mut head = Vec::with_capacity(HEAD_BYTES_MAX as usize);
        varint::write(&mut head, self.block_rank);
        varint::write(&mut head, self.block.len() as u64);
        head.push((self.block_names - 1) as u8);
        self.file.write(&head)?;
        self.file.write(&self.block)?;
        self.ended = Some((self.previous.clone(), place));
        self.block.clear();
        self.block_names = 0;
        self.block_rank = self.rowids.count();
        self.previous.clear();
        self.previous_ends.clear();
        Ok(())
    }

    /// Enters the block before into the sparse index, now that the name behind it is known.
    fn end_ended_block(&mut self, next: &[u8]) -> Result<()> {
        if let Some((last, place)) = self.ended.take() {
            let end = separator(&last, next);
            self.sparse.push(&end, place).map_err(|_| IndexError::Order { shard: self.shard })?;
        }
        Ok(())
    }
}

/// The shortest text that is at or above `last` and below `next`; `last` itself must be below `next`.
fn separator(last: &[u8], next: &[u8]) -> Vec<u8> {
    let same = last.iter().zip(next).take_while(|(a, b)| a == b).count();
    for at in same..last.len() {
        // Raising this byte makes a text above `last`; it is below `next` when it is shorter than the difference, or still below there.
        let Some(raised) = last[at].checked_add(1) else { continue };
        if at > same || next.get(same).is_some_and(|&byte| raised < byte) {
            let mut end = last[..at].to_vec();
            end.push(raised);
            // A single byte more would be `last` itself: no shorter than that.
            return if end.len() < last.len() { end } else { last.to_vec() };
        }
    }
    last.to_vec()
}

fn write_token(out: &mut Vec<u8>, words: &Words, token: &[u8]) {
    match words.code(token) {
        Some(code) if code < TWO_BYTES => out.push(code as u8),
        Some(code) if code < THREE_BYTES => {
            let rest = code - TWO_BYTES;
            out.extend_from_slice(&[(TWO_BYTES + (rest >> 8)) as u8, rest as u8]);
        }
        Some(code) => {
            let rest = code - THREE_BYTES;
            out.extend_from_slice(&[240 + (rest >> 16) as u8, (rest >> 8) as u8, rest as u8]);
        }
        None => {
            out.push(LITERAL);
            varint::write(out, token.len() as u64);
            out.extend_from_slice(token);
        }
    }
}

fn read_token<'a>(rest: &mut &'a [u8], words: &'a Words) -> Option<&'a [u8]> {
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
        let (&head, tail) = self.rest.split_first()?;
        self.rest = tail;
        let mut shared = usize::from(head >> 4);
        if shared == SHARED_MORE {
            shared = shared.checked_add(usize::try_from(varint::read(&mut self.rest)?).ok()?)?;
        }
        let mut further = u64::from(head & 7);
        if further == TOKENS_MORE as u64 {
            further = further.checked_add(varint::read(&mut self.rest)?)?;
        }
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
        if head & REPEATED == 0 { Some(1) } else { varint::read(&mut self.rest)?.checked_add(2) }
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
        let (mut rank, count, bytes, _) = self.block(place)?;
        let mut names = Names { words, rest: bytes, name: Vec::with_capacity(64), ends: Vec::with_capacity(16) };
        for _ in 0..count {
            let rows = names.next().ok_or_else(|| self.unreadable(place))?;
            match names.name.as_slice().cmp(name) {
                std::cmp::Ordering::Less => rank = rank.saturating_add(rows),
                std::cmp::Ordering::Equal => return self.within(place, Place { rank, rows }),
                std::cmp::Ordering::Greater => return self.within(place, Place { rank, rows: 0 }),
            }
        }
        self.within(place, Place { rank, rows: 0 })
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
