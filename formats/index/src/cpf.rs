//! CPF → ranks: blocks of [`CPF_BLOCK_KEYS`] codes as bit-packed gaps, under a sparse `fst` of the blocks' last codes.
//!
//! A CPF is no text here but a code, [`cpf_code`]. Rows with one CPF stand side by side, by rowid: a code's ranks are a run.
//!
//! Body of a `.keys` file: the blocks, 16 zero bytes, the `fst`. A block: its first rank (varint), its first code (5 bytes), the width of
//! a gap in bits (1 byte), its codes less one (1 byte), the gaps. The `fst` maps a last code (5 bytes, big endian), the first of equal
//! ones, to the block's offset in the file.

use std::iter;
use std::ops::Range;
use std::path::Path;

use balcao_record::Cpf;

use crate::bits::{self, Gaps, PADDING, Packer};
use crate::error::{IndexError, Result};
use crate::manifest::FileEntry;
use crate::rowids::{RowidRange, RowidWriter, Rowids};
use crate::sealed::{HEADER_BYTES, Kind, PARAMETERS, SealedFile, SealedWriter};
use crate::sparse::{SparseIndex, SparseWriter};
use crate::storage::{RealFiles, Storage};
use crate::varint;

/// Codes of a block. More save bytes of the sparse index, fewer save time in the block: see `docs/decisions.md`.
pub const CPF_BLOCK_KEYS: usize = 128;

/// A code takes 37 bits: five bytes.
const CODE_BYTES: usize = 5;
const CODE_MAX: u64 = (1 << (8 * CODE_BYTES)) - 1;

/// Where the codes of CPFs with wrong check digits begin.
const ODD_CODES: u64 = 1_000_000_000;

/// The longest block: rank, first code, width, count, and the widest gaps.
const BLOCK_BYTES_MAX: usize = varint::VARINT_BYTES_MAX + CODE_BYTES + 2 + (CPF_BLOCK_KEYS - 1) * CODE_BYTES;

const _: () = assert!(CPF_BLOCK_KEYS <= 256 && ODD_CODES + 99_999_999_999 < CODE_MAX);
const _: () = assert!(8 * CODE_BYTES as u32 <= bits::GAP_BITS_MAX);

/// The code of a CPF: its base where the check digits hold, since they say nothing then; else 10⁹ and all eleven digits. Below 2³⁷.
#[must_use]
#[inline]
pub fn cpf_code(cpf: Cpf) -> u64 {
    if cpf.has_right_check_digits() { u64::from(cpf.base()) } else { ODD_CODES + cpf.number() }
}

/// Writes a shard of CPFs: codes ascending, rowids ascending within a code.
pub struct CpfShardWriter {
    shard: u32,
    file: SealedWriter,
    rowids: RowidWriter,
    sparse: SparseWriter,
    block: Vec<u64>,
    last: Option<(u64, i64)>,
    /// The last code of the latest block in the sparse index.
    last_end: Option<u64>,
    encoded: Vec<u8>,
}

impl CpfShardWriter {
    /// Creates the two files of shard number `shard` in `folder`.
    ///
    /// # Errors
    /// [`IndexError::Io`] where a file cannot be created.
    pub fn create(folder: &Path, shard: u32, range: RowidRange) -> Result<Self> {
        Self::create_with(&RealFiles, folder, shard, range)
    }

    /// [`CpfShardWriter::create`] over any storage.
    ///
    /// # Errors
    /// [`IndexError::Io`] where a file cannot be created.
    pub fn create_with(storage: &dyn Storage, folder: &Path, shard: u32, range: RowidRange) -> Result<Self> {
        Ok(Self {
            shard,
            file: SealedWriter::create(storage, folder, &format!("cpf-{shard:04}.keys"), Kind::CpfKeys, shard)?,
            rowids: RowidWriter::create(storage, folder, &format!("cpf-{shard:04}.rows"), shard, range)?,
            sparse: SparseWriter::new(),
            block: Vec::with_capacity(CPF_BLOCK_KEYS),
            last: None,
            last_end: None,
            encoded: Vec::with_capacity(BLOCK_BYTES_MAX),
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`IndexError::Order`] where the row does not stand above the one before; [`IndexError::Io`].
    pub fn push(&mut self, code: u64, rowid: i64) -> Result<()> {
        if self.last.is_some_and(|last| last >= (code, rowid)) || code > CODE_MAX {
            return Err(IndexError::Order { shard: self.shard });
        }
        self.last = Some((code, rowid));
        self.block.push(code);
        self.rowids.push(rowid)?;
        if self.block.len() == CPF_BLOCK_KEYS { self.end_block() } else { Ok(()) }
    }

    /// Writes what is left and syncs: the entries of the keys and of the rowids.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn finish(mut self) -> Result<(FileEntry, FileEntry)> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let count = self.rowids.count();
        let blocks_end = self.file.position();
        self.file.write(&[0; PADDING])?;
        let fst = self.sparse.finish().map_err(|_| IndexError::Order { shard: self.shard })?;
        let fst_at = self.file.position();
        self.file.write(&fst)?;
        let mut parameters = [0; PARAMETERS];
        parameters[..4].copy_from_slice(&[count, blocks_end, fst_at, fst.len() as u64]);
        Ok((self.file.finish(&parameters)?, self.rowids.finish()?))
    }

    fn end_block(&mut self) -> Result<()> {
        let (first, end) = (self.block[0], self.block[self.block.len() - 1]);
        if self.last_end != Some(end) {
            let place = self.file.position();
            self.sparse.push(&code_bytes(end), place).map_err(|_| IndexError::Order { shard: self.shard })?;
            self.last_end = Some(end);
        }
        let gaps = || self.block.windows(2).map(|pair| pair[1] - pair[0]);
        let width = bits::width_of(gaps().max().unwrap_or(0));
        self.encoded.clear();
        varint::write(&mut self.encoded, self.rowids.count() - self.block.len() as u64);
        self.encoded.extend_from_slice(&first.to_le_bytes()[..CODE_BYTES]);
        self.encoded.extend_from_slice(&[width as u8, (self.block.len() - 1) as u8]);
        let mut packer = Packer::new(width);
        gaps().for_each(|gap| packer.push(gap, &mut self.encoded));
        packer.finish(&mut self.encoded);
        self.block.clear();
        self.file.write(&self.encoded)
    }
}

/// A shard of CPFs.
#[derive(Debug)]
pub(crate) struct CpfShard {
    file: SealedFile,
    rowids: Rowids,
    blocks_end: u64,
    sparse: SparseIndex,
    /// The greatest code, from the sparse index.
    max: u64,
}

/// A block, decoded up to its gaps.
struct Block<'a> {
    rank: u64,
    first: u64,
    gaps: Gaps<'a>,
}

impl Block<'_> {
    /// The codes in order. Gaps of [`CODE_BYTES`] cannot overflow their sum.
    fn codes(&self) -> impl Iterator<Item = u64> {
        let mut code = self.first;
        iter::once(code).chain((0..self.gaps.len()).map_while(|i| self.gaps.get(i)).map(move |gap| {
            code += gap;
            code
        }))
    }

    /// The rank behind this block's last code.
    fn end(&self) -> u64 {
        self.rank + self.gaps.len() as u64 + 1
    }

    /// The ranks of a code in this block; from where it would stand, where it does not. `None` where all codes are below.
    fn run(&self, code: u64) -> Option<Range<u64>> {
        let (below, found) = self.gaps.climb(self.first, code)?;
        let start = self.rank + below as u64;
        if found > code {
            return Some(start..start);
        }
        let equal = (below..self.gaps.len()).take_while(|&gap| self.gaps.get(gap) == Some(0)).count();
        Some(start..start + 1 + equal as u64)
    }
}

impl CpfShard {
    pub(crate) fn open(folder: &Path, keys: &FileEntry, rows: &FileEntry, shard: u32) -> Result<Self> {
        let file = SealedFile::open(folder, keys, Kind::CpfKeys, shard)?;
        let rowids = Rowids::open(folder, rows, shard)?;
        let &[count, blocks_end, fst_at, fst_bytes, ..] = file.parameters();
        if count != rowids.count() || count == 0 || blocks_end < HEADER_BYTES as u64 {
            return Err(file.damaged(0, format!("{count} keys for {} rowids", rowids.count())));
        }
        let sparse = SparseIndex::open(&file, fst_at..fst_at.saturating_add(fst_bytes))?;
        let max = sparse.greatest().iter().fold(0, |code, &byte| code << 8 | u64::from(byte));
        Ok(Self { file, rowids, blocks_end, sparse, max })
    }

    pub(crate) fn count(&self) -> u64 {
        self.rowids.count()
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    pub(crate) fn rowids(&self) -> &Rowids {
        &self.rowids
    }

    pub(crate) fn file(&self) -> &SealedFile {
        &self.file
    }

    /// The ranks of a code within this shard.
    pub(crate) fn run(&self, code: u64) -> Result<Range<u64>> {
        if code > self.max {
            return Ok(self.count()..self.count());
        }
        let block = self.block_of(code)?;
        let run = block.run(code).ok_or_else(|| self.ends_below())?;
        if run.end < block.end() || run.is_empty() {
            return Ok(run);
        }
        // The block's last code is this one: the run may go on in the next blocks.
        Ok(run.start..if code == self.max { self.count() } else { self.lower_bound(code + 1)? })
    }

    /// How many codes stand below `code`: the first rank at or above it.
    pub(crate) fn lower_bound(&self, code: u64) -> Result<u64> {
        if code > self.max {
            return Ok(self.count());
        }
        self.block_of(code)?.run(code).map(|run| run.start).ok_or_else(|| self.ends_below())
    }

    /// The first block whose last code is at or above `code`, which is not above the greatest.
    fn block_of(&self, code: u64) -> Result<Block<'_>> {
        let place = self.sparse.block_of(&code_bytes(code));
        let place = place.ok_or_else(|| self.file.damaged(self.blocks_end, "no block for a code"))?;
        Ok(self.block(place)?.0)
    }

    fn ends_below(&self) -> IndexError {
        self.file.damaged(0, "a block ends below its end in the sparse index")
    }

    /// Every code in order with its rank, for `verify`; the sparse index must lead each new one to its block.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let mut before = None;
        let (mut place, mut rank) = (HEADER_BYTES as u64, 0);
        while place < self.blocks_end {
            let (block, next) = self.block(place)?;
            if block.rank != rank {
                return Err(self.file.damaged(place, format!("a block of rank {}, expected {rank}", block.rank)));
            }
            for code in block.codes() {
                if before.replace(code) != Some(code) && self.sparse.block_of(&code_bytes(code)) != Some(place) {
                    return Err(self.file.damaged(place, format!("the code at rank {rank} is not found")));
                }
                visit(rank, code)?;
                rank += 1;
            }
            place = next;
        }
        if rank == self.count() { Ok(()) } else { Err(self.file.damaged(place, format!("{rank} codes in the blocks"))) }
    }

    /// The block at `place`, and the place behind it.
    fn block(&self, place: u64) -> Result<(Block<'_>, u64)> {
        let damaged = || self.file.damaged(place, "a block that cannot be read");
        if place < HEADER_BYTES as u64 || place >= self.blocks_end {
            return Err(damaged());
        }
        let bytes = self.file.bytes_up_to(place, (BLOCK_BYTES_MAX + PADDING) as u64)?;
        let mut rest = bytes;
        let rank = varint::read(&mut rest).ok_or_else(damaged)?;
        let (head, packed) = rest.split_at_checked(CODE_BYTES + 2).ok_or_else(damaged)?;
        let first = u64::from_le_bytes([head[0], head[1], head[2], head[3], head[4], 0, 0, 0]);
        let (width, gaps) = (u32::from(head[5]), u64::from(head[6]));
        if width > 8 * CODE_BYTES as u32 || rank.saturating_add(gaps) >= self.count() {
            return Err(damaged());
        }
        // All bytes that the gaps take are there: none of them is looked for again.
        let gap_bytes = bits::bytes_of(gaps, width).ok_or_else(damaged)?;
        let gaps = Gaps::new(packed, width, usize::from(head[6])).ok_or_else(damaged)?;
        Ok((Block { rank, first, gaps }, place + (bytes.len() - packed.len()) as u64 + gap_bytes))
    }
}

fn code_bytes(code: u64) -> [u8; CODE_BYTES] {
    let [_, _, _, bytes @ ..] = code.to_be_bytes();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(mut rows: Vec<(u64, i64)>, asked: &[u64]) {
        rows.sort_unstable();
        rows.dedup();
        let folder = tempfile::tempdir().unwrap();
        let range = RowidRange { min: i64::MIN, max: i64::MAX };
        let mut writer = CpfShardWriter::create(folder.path(), 3, range).unwrap();
        rows.iter().for_each(|&(code, rowid)| writer.push(code, rowid).unwrap());
        let (keys, rowids) = writer.finish().unwrap();
        let shard = CpfShard::open(folder.path(), &keys, &rowids, 3).unwrap();
        let own = rows.iter().map(|row| row.0);
        for code in own.clone().chain(own.map(|code| code + 1)).chain(asked.iter().copied()) {
            let expected = rows.partition_point(|row| row.0 < code) as u64;
            assert_eq!(shard.lower_bound(code).unwrap(), expected, "{code}");
            let end = rows.partition_point(|row| row.0 <= code) as u64;
            assert_eq!(shard.run(code).unwrap(), expected..end, "{code}");
        }
        let mut all = Vec::new();
        shard
            .for_each(|rank, code| {
                all.push((code, shard.rowids().get(rank)?));
                Ok(())
            })
            .unwrap();
        assert_eq!(all, rows);
    }

    #[test]
    fn runs_longer_than_blocks() {
        check((0..1000).map(|i| (7, i)).collect(), &[0, 6, 8]);
        check((0..1000).map(|i| (i / 300, i as i64)).collect(), &[100]);
        let edges = [0, 1, ODD_CODES - 1, ODD_CODES, ODD_CODES + 99_999_999_999];
        check(edges.map(|code| (code, -5)).to_vec(), &[2, ODD_CODES + 1]);
    }

    #[test]
    fn codes_are_distinct_for_distinct_cpfs() {
        let code = |text: &str| cpf_code(Cpf::parse(text).unwrap());
        assert_eq!(code("00000000191"), 1);
        assert_eq!(code("00000000100"), ODD_CODES + 100);
        assert_eq!(code("99999999999"), 999_999_999);
    }

    #[test]
    fn out_of_order_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = CpfShardWriter::create(folder.path(), 0, RowidRange { min: 0, max: 9 }).unwrap();
        writer.push(5, 1).unwrap();
        assert!(matches!(writer.push(5, 1), Err(IndexError::Order { .. })));
        assert!(matches!(writer.push(4, 2), Err(IndexError::Order { .. })));
        assert!(matches!(writer.push(CODE_MAX + 1, 2), Err(IndexError::Order { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn finds_what_a_sorted_table_finds(
            rows in prop::collection::vec((0..2000_u64, 0..50_i64), 1..600),
            odd in prop::collection::vec((ODD_CODES..CODE_MAX, any::<i64>()), 0..200),
            asked in prop::collection::vec(0..CODE_MAX, 20),
        ) {
            check(rows.into_iter().chain(odd).collect(), &asked);
        }
    }
}
