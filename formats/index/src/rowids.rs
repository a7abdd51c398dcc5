//! The rowid of each rank: one bit-packed array for each shard, so that a rank finds its rowid in one read.

use std::path::Path;

use crate::bits::{self, PADDING, Packer};
use crate::error::{IndexError, Result};
use crate::manifest::FileEntry;
use crate::sealed::{HEADER_BYTES, Kind, PARAMETERS, Parameters, SealedFile, SealedWriter};
use crate::storage::Storage;

/// The least and the greatest rowid of a table, any two signed 64-bit integers. Rowids are stored as their distance to the least one, in
/// as many bits as the greatest distance takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowidRange {
    /// The least rowid.
    pub min: i64,
    /// The greatest rowid.
    pub max: i64,
}

impl RowidRange {
    /// Bits of a stored rowid.
    fn width(self) -> u32 {
        bits::width_of(self.max.wrapping_sub(self.min) as u64)
    }
}

/// Bytes that are packed before they go to the file.
const DRAIN_BYTES: usize = 64 * 1024;

/// Writes the rowids of a shard, rank after rank.
pub(crate) struct RowidWriter {
    file: SealedWriter,
    shard: u32,
    range: RowidRange,
    packer: Packer,
    packed: Vec<u8>,
    count: u64,
}

impl RowidWriter {
    pub(crate) fn create(
        storage: &dyn Storage,
        folder: &Path,
        name: &str,
        shard: u32,
        range: RowidRange,
    ) -> Result<Self> {
        Ok(Self {
            file: SealedWriter::create(storage, folder, name, Kind::Rowids, shard)?,
            shard,
            range,
            packer: Packer::new(range.width()),
            packed: Vec::with_capacity(DRAIN_BYTES + PADDING),
            count: 0,
        })
    }

    pub(crate) fn push(&mut self, rowid: i64) -> Result<()> {
        if rowid < self.range.min || rowid > self.range.max {
            return Err(IndexError::Order { shard: self.shard });
        }
        self.packer.push(rowid.wrapping_sub(self.range.min) as u64, &mut self.packed);
        self.count += 1;
        if self.packed.len() >= DRAIN_BYTES {
            self.file.write(&self.packed)?;
            self.packed.clear();
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn finish(mut self) -> Result<FileEntry> {
        self.packer.finish(&mut self.packed);
        self.packed.extend_from_slice(&[0; PADDING]);
        self.file.write(&self.packed)?;
        let mut parameters = [0; PARAMETERS];
        parameters[..3].copy_from_slice(&[self.count, u64::from(self.range.width()), self.range.min as u64]);
        self.file.finish(&parameters)
    }
}

/// The rowids of a shard.
#[derive(Debug)]
pub(crate) struct Rowids {
    file: SealedFile,
    count: u64,
    width: u32,
    min: i64,
}

impl Rowids {
    pub(crate) fn open(folder: &Path, entry: &FileEntry, shard: u32) -> Result<Self> {
        let file = SealedFile::open(folder, entry, Kind::Rowids, shard)?;
        let &[count, width, min, ..]: &Parameters = file.parameters();
        if width > 64 {
            return Err(file.damaged(0, format!("a rowid of {width} bits")));
        }
        Ok(Self { count, width: width as u32, min: min as i64, file })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn file(&self) -> &SealedFile {
        &self.file
    }

    /// The rowid of a rank below [`Rowids::count`].
    pub(crate) fn get(&self, rank: u64) -> Result<i64> {
        // The number's first byte is at most width × rank / 8; aligning the array's start keeps the arithmetic in one place.
        let bit = rank.saturating_mul(u64::from(self.width));
        let start = HEADER_BYTES as u64 + bit / 8;
        let window = self.file.bytes_up_to(start, PADDING as u64)?;
        let distance = bits::get_at(window, self.width, (bit % 8) as u32).filter(|_| rank < self.count);
        let distance = distance.ok_or_else(|| self.file.damaged(start, format!("no rowid of rank {rank}")))?;
        Ok(self.min.wrapping_add(distance as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealFiles;
    use proptest::prelude::*;

    #[track_caller]
    fn check(rowids: &[i64]) {
        let range = RowidRange {
            min: rowids.iter().min().copied().unwrap_or(0),
            max: rowids.iter().max().copied().unwrap_or(0),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RowidWriter::create(&RealFiles, folder.path(), "r", 0, range).unwrap();
        rowids.iter().for_each(|&rowid| writer.push(rowid).unwrap());
        let entry = writer.finish().unwrap();
        let read = Rowids::open(folder.path(), &entry, 0).unwrap();
        assert_eq!(read.count(), rowids.len() as u64);
        for (rank, &rowid) in rowids.iter().enumerate() {
            assert_eq!(read.get(rank as u64).unwrap(), rowid);
        }
        assert!(read.get(rowids.len() as u64).is_err());
        assert!(read.get(u64::MAX).is_err());
    }

    #[test]
    fn dense_sparse_and_extreme() {
        check(&[]);
        check(&[5]);
        check(&[i64::MIN, -1, 0, 1, i64::MAX]);
        check(&(0..20_000).map(|i| i * 3 - 7).collect::<Vec<_>>());
    }

    #[test]
    fn a_rowid_out_of_range_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = RowidWriter::create(&RealFiles, folder.path(), "r", 0, RowidRange { min: 1, max: 9 }).unwrap();
        assert!(matches!(writer.push(10), Err(IndexError::Order { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_rowids(rowids in prop::collection::vec(any::<i64>(), 0..50)) {
            check(&rowids);
        }
    }
}
