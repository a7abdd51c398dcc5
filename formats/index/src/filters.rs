//! `Filters`: sex and day of birth of each row that has a name, by its rank, bit-packed in a file beside each name shard.
//!
//! It knows neither cells nor dates: `balcao-record` reads them. A column that the index has not takes no bits.
//!
//! Body of a `.cols` file: a number for each rank, low bits first, of 6 bits (sex), 17 (birth) or 23 (both, the sex above), then 16 zero bytes. The sex
//! is its code, the birth its days since 1800-01-01 and one; 0 is none.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use balcao_record::{BIRTH_BITS, BIRTH_DAYS, BirthDay, SEX_BITS, Sex};
use serde::{Deserialize, Serialize};

use crate::bits::{self, PADDING, Packer};
use crate::error::{IndexError, Result};
use crate::manifest::FileEntry;
use crate::sealed::{HEADER_BYTES, Kind, PARAMETERS, SealedFile, SealedWriter};
use crate::storage::Storage;

/// Bits of a row with both columns: less than three bytes.
pub const FILTER_BITS: u32 = SEX_BITS + BIRTH_BITS;

// The greatest number of a day is one more than its days, and must fit.
const _: () = assert!(BIRTH_DAYS < 1 << BIRTH_BITS && FILTER_BITS <= 24);

const BIRTH_MASK: u32 = (1 << BIRTH_BITS) - 1;

/// Bytes that are packed before they go to the file.
const DRAIN_BYTES: usize = 64 * 1024;

/// Bytes of a body beside the rows.
const FRAME_BYTES: u64 = (HEADER_BYTES + PADDING) as u64;

/// Rows that are read at once where many are: their bytes are whole for any width.
const STEP_ROWS: u64 = 4096;

/// Which columns an index has, by their names in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterColumns {
    /// The column with the sex.
    pub sex: Option<String>,
    /// The column with the day of birth.
    pub birth: Option<String>,
}

impl FilterColumns {
    /// Bits of a row.
    fn width(&self) -> u32 {
        (if self.sex.is_some() { SEX_BITS } else { 0 }) + (if self.birth.is_some() { BIRTH_BITS } else { 0 })
    }

    /// How far a row's bits are shifted: a lone sex stands at the bottom.
    fn shift(&self) -> u32 {
        if self.birth.is_some() { 0 } else { BIRTH_BITS }
    }
}

/// What filters compare of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterValue {
    /// The sex, where the cell has one.
    pub sex: Option<Sex>,
    /// The day of birth, where the cell has one.
    pub birth: Option<BirthDay>,
}

impl FilterValue {
    /// Both in [`FILTER_BITS`] bits: the sex's code above, and the days and one; 0 for none.
    #[must_use]
    pub fn bits(self) -> u32 {
        let sex = self.sex.map_or(0, |sex| u32::from(sex.code()));
        sex << BIRTH_BITS | self.birth.map_or(0, |birth| birth.days() + 1)
    }

    /// What [`FilterValue::bits`] gave; numbers that it never gives are none.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        let sex = u8::try_from(bits >> BIRTH_BITS).ok().and_then(Sex::from_code);
        let birth = (bits & BIRTH_MASK).checked_sub(1).and_then(BirthDay::from_days);
        Self { sex, birth }
    }
}

/// What the manifest says of the filter columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterEntry {
    /// The column with the sex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sex_column: Option<String>,
    /// The column with the day of birth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth_column: Option<String>,
    /// Rows whose sex is none, with a name or without.
    pub sex_unreadable: u64,
    /// Rows whose day of birth is none, with a name or without.
    pub birth_unreadable: u64,
    /// A file for each shard of names.
    pub files: Vec<FileEntry>,
}

impl FilterEntry {
    /// Which columns there are.
    #[must_use]
    pub fn columns(&self) -> FilterColumns {
        FilterColumns { sex: self.sex_column.clone(), birth: self.birth_column.clone() }
    }
}

/// Writes the filter columns of a shard of names, rank after rank.
pub struct FilterWriter {
    file: SealedWriter,
    shift: u32,
    width: u32,
    packer: Packer,
    packed: Vec<u8>,
    count: u64,
}

impl std::fmt::Debug for FilterWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterWriter").field("rows", &self.count).finish_non_exhaustive()
    }
}

impl FilterWriter {
    /// Creates the file in a generation's `folder`.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn create_with(storage: &dyn Storage, folder: &Path, shard: u32, columns: &FilterColumns) -> Result<Self> {
        let width = columns.width();
        Ok(Self {
            file: SealedWriter::create(storage, folder, &file_name(shard), Kind::Filters, shard)?,
            shift: columns.shift(),
            width,
            packer: Packer::new(width),
            packed: Vec::with_capacity(DRAIN_BYTES + PADDING),
            count: 0,
        })
    }

    /// Adds the next rank's. A column that the index has not is left out.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn push(&mut self, value: FilterValue) -> Result<()> {
        let number = u64::from(value.bits() >> self.shift) & ((1 << self.width) - 1);
        self.packer.push(number, &mut self.packed);
        self.count += 1;
        if self.packed.len() >= DRAIN_BYTES {
            self.file.write(&self.packed)?;
            self.packed.clear();
        }
        Ok(())
    }

    /// Writes the footer, and syncs the file.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn finish(mut self) -> Result<FileEntry> {
        self.packer.finish(&mut self.packed);
        self.packed.extend_from_slice(&[0; PADDING]);
        self.file.write(&self.packed)?;
        let mut parameters = [0; PARAMETERS];
        parameters[..2].copy_from_slice(&[self.count, self.width.into()]);
        self.file.finish(&parameters)
    }
}

fn file_name(shard: u32) -> String {
    format!("name-{shard:04}.cols")
}

/// The filter columns of all shards.
#[derive(Debug)]
pub struct Filters {
    columns: FilterColumns,
    width: u32,
    shift: u32,
    shards: Vec<FilterShard>,
}

#[derive(Debug)]
struct FilterShard {
    first_rank: u64,
    count: u64,
    file: SealedFile,
}

impl Filters {
    /// Opens the files of shards with these numbers of rows.
    pub(crate) fn open(folder: &Path, entry: &FilterEntry, counts: &[u64]) -> Result<Self> {
        let columns = entry.columns();
        let (width, mut first_rank) = (columns.width(), 0_u64);
        if entry.files.len() != counts.len() {
            let what = format!("{} files of filters for {} shards of names", entry.files.len(), counts.len());
            return Err(IndexError::damaged(crate::manifest::MANIFEST_FILE, 0, what));
        }
        let mut shards = Vec::with_capacity(counts.len());
        for (number, (entry, &count)) in (0..).zip(entry.files.iter().zip(counts)) {
            let file = SealedFile::open(folder, entry, Kind::Filters, number)?;
            let &[found, found_width, ..] = file.parameters();
            // As long as it must be: no place of a row overflows or lies beyond the end.
            let bytes = bits::bytes_of(count, width).and_then(|bytes| bytes.checked_add(FRAME_BYTES));
            if (found, found_width, bytes) != (count, width.into(), Some(file.body_bytes())) || width == 0 {
                let what = format!("{found} rows of {found_width} bits, expected {count} of {width}");
                return Err(file.damaged(0, what));
            }
            shards.push(FilterShard { first_rank, count, file });
            first_rank = first_rank.saturating_add(count);
        }
        Ok(Self { shift: columns.shift(), columns, width, shards })
    }

    /// Which columns there are.
    #[must_use]
    pub fn columns(&self) -> &FilterColumns {
        &self.columns
    }

    /// The columns of a rank.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]; also for a rank beyond the last one.
    pub fn get(&self, rank: u64) -> Result<FilterValue> {
        let above = self.shards.partition_point(|shard| shard.first_rank <= rank);
        let shard = above.checked_sub(1).and_then(|at| self.shards.get(at));
        let Some(shard) = shard.filter(|shard| rank - shard.first_rank < shard.count) else {
            let what = format!("no shard has rank {rank}");
            return Err(IndexError::damaged(crate::manifest::MANIFEST_FILE, 0, what));
        };
        let bit = (rank - shard.first_rank) * u64::from(self.width);
        let start = HEADER_BYTES as u64 + bit / 8;
        let window = shard.file.bytes(start..start.saturating_add(8))?;
        self.value(bits::get_at(window, self.width, (bit % 8) as u32)).ok_or_else(|| unreadable(shard, rank))
    }

    /// Visits the columns of a range of ranks, in their order.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]; also for ranks beyond the last one.
    pub fn for_each(
        &self,
        ranks: Range<u64>,
        mut visit: impl FnMut(u64, FilterValue) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut rank = ranks.start;
        while rank < ranks.end {
            let above = self.shards.partition_point(|shard| shard.first_rank <= rank);
            let shard = above.checked_sub(1).and_then(|at| self.shards.get(at));
            let Some(shard) = shard.filter(|shard| rank - shard.first_rank < shard.count) else {
                return self.get(rank).map(drop);
            };
            let first = rank - shard.first_rank;
            let count = STEP_ROWS.min(shard.count - first).min(ranks.end - rank);
            let bit = first * u64::from(self.width);
            let start = HEADER_BYTES as u64 + bit / 8;
            // Eight bytes from where the last one begins.
            let bytes = (bit % 8 + (count - 1) * u64::from(self.width)) / 8 + 8;
            let window = shard.file.bytes(start..start.saturating_add(bytes))?;
            let mut at = (bit % 8) as usize;
            for rank in rank..rank + count {
                let number = window.get(at / 8..).and_then(|rest| bits::get_at(rest, self.width, (at % 8) as u32));
                let value = self.value(number).ok_or_else(|| unreadable(shard, rank))?;
                if visit(rank, value).is_break() {
                    return Ok(());
                }
                at += self.width as usize;
            }
            rank += count;
        }
        Ok(())
    }

    /// Whether all is zero behind the last row, as it was written: for `verify`.
    pub(crate) fn check_padding(&self) -> Result<()> {
        for FilterShard { count, file, .. } in &self.shards {
            let bits = count * u64::from(self.width);
            let at = HEADER_BYTES as u64 + bits / 8;
            let tail = file.bytes(at..file.body_bytes())?;
            let (first, rest) = tail.split_first().unwrap_or((&0, &[]));
            if first >> (bits % 8) != 0 || rest.iter().any(|&byte| byte != 0) {
                return Err(file.damaged(at, "what stands behind the last row is not zero"));
            }
        }
        Ok(())
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &SealedFile> {
        self.shards.iter().map(|shard| &shard.file)
    }

    /// The columns that a packed number means; `None` where it means none.
    fn value(&self, number: Option<u64>) -> Option<FilterValue> {
        let bits = (number? as u32) << self.shift;
        let value = FilterValue::from_bits(bits);
        (value.bits() == bits).then_some(value)
    }
}

#[cold]
fn unreadable(shard: &FilterShard, rank: u64) -> IndexError {
    shard.file.damaged(0, format!("the columns of rank {rank} cannot be read"))
}
