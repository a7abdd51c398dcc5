//! Writes a shard of names: the encoding that `names.rs` states, and the ends of blocks for the sparse index.
//!
//! A name comes as its bytes, or as what it does not share with the name before: then nothing is cut into tokens or looked up again.

use std::path::Path;
use std::sync::Arc;

use balcao_record::NAME_KEY_BYTES_MAX;

use crate::error::{IndexError, Result};
use crate::manifest::FileEntry;
use crate::names::{
    HEAD_BYTES_MAX, LITERAL, NAME_BLOCK_BYTES, NAME_BLOCK_NAMES, REPEATED, SHARED_MORE, THREE_BYTES, TOKENS_MORE,
    TWO_BYTES,
};
use crate::rowids::{RowidRange, RowidWriter};
use crate::sealed::{Kind, PARAMETERS, SealedWriter};
use crate::sparse::SparseWriter;
use crate::storage::{RealFiles, Storage};
use crate::tokens::{shared_tokens, token_ends};
use crate::varint;
use crate::words::Words;

/// A token of a name that is written.
#[derive(Clone, Copy, Debug)]
pub enum NameToken<'t> {
    /// The one with this code in the writer's dictionary.
    Frequent(u32),
    /// One that the dictionary lacks.
    Rare(&'t [u8]),
}

/// Writes a shard of names: by the names' bytes, then by rowid, both ascending.
pub struct NameShardWriter {
    shard: u32,
    words: Arc<Words>,
    file: SealedWriter,
    rowids: RowidWriter,
    sparse: SparseWriter,
    first: Option<Vec<u8>>,
    /// The name that rows are added to, its tokens' ends and codes, and how many rows it has.
    name: Vec<u8>,
    ends: Vec<u32>,
    codes: Vec<Option<u32>>,
    name_rows: u64,
    last_rowid: i64,
    /// What the name before had behind the tokens that both share.
    before: Vec<u8>,
    block: Vec<u8>,
    /// Where in the block the name begins.
    name_at: usize,
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
            ends: Vec::new(),
            codes: Vec::new(),
            name_rows: 0,
            last_rowid: 0,
            before: Vec::new(),
            block: Vec::with_capacity(2 * NAME_BLOCK_BYTES),
            name_at: 0,
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
            return self.push_row(rowid);
        }
        if name <= self.name.as_slice() || name.len() > NAME_KEY_BYTES_MAX {
            return Err(self.disorder());
        }
        let mut ends = Vec::new();
        token_ends(name, &mut ends);
        let shared = shared_tokens(&self.name, &self.ends, name, &ends);
        let words = Arc::clone(&self.words);
        let mut start = if shared == 0 { 0 } else { ends[shared - 1] as usize + 1 };
        let further = ends[shared..].iter().map(|&end| {
            let token = &name[start..end as usize];
            start = end as usize + 1;
            words.code(token).map_or(NameToken::Rare(token), NameToken::Frequent)
        });
        self.push_tokens(shared, further, rowid)
    }

    /// Adds a row of another name than the one before. The two share their first `shared` tokens and not one more; these are the `further`
    /// ones.
    ///
    /// # Errors
    /// As of [`NameShardWriter::push`]; also for a code that the dictionary lacks, and where the name before has fewer tokens. The writer is
    /// of no use then.
    pub fn push_tokens<'t>(
        &mut self,
        shared: usize,
        further: impl Iterator<Item = NameToken<'t>>,
        rowid: i64,
    ) -> Result<()> {
        self.end_name()?;
        if shared > self.ends.len() {
            return Err(self.disorder());
        }
        self.ends.truncate(shared);
        self.codes.truncate(shared);
        let kept = self.ends.last().map_or(0, |&end| end as usize);
        self.before.clear();
        self.before.extend_from_slice(&self.name[kept..]);
        self.name.truncate(kept);
        for token in further {
            let (token, code) = match token {
                NameToken::Frequent(code) => match self.words.token(code) {
                    Some(token) => (token, Some(code)),
                    None => return Err(self.disorder()),
                },
                NameToken::Rare(token) => (token, None),
            };
            if !self.ends.is_empty() {
                self.name.push(b' ');
            }
            self.name.extend_from_slice(token);
            self.ends.push(self.name.len() as u32);
            self.codes.push(code);
        }
        if self.name[kept..] <= self.before[..] || self.name.len() > NAME_KEY_BYTES_MAX {
            return Err(self.disorder());
        }
        if self.first.is_none() {
            self.first = Some(self.name.clone());
        }
        self.end_ended_block()?;
        self.begin_name(if self.block_names == 0 { 0 } else { shared });
        self.name_rows = 1;
        self.last_rowid = rowid;
        self.rowids.push(rowid)
    }

    /// Adds a row of the name before.
    ///
    /// # Errors
    /// As of [`NameShardWriter::push`]; also where there is no name yet.
    pub fn push_row(&mut self, rowid: i64) -> Result<()> {
        if self.name_rows == 0 || rowid <= self.last_rowid {
            return Err(self.disorder());
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
        self.end_name()?;
        if self.block_names > 0 {
            self.end_block()?;
        }
        if let Some((last, place)) = self.ended.take() {
            self.sparse.push(&last, place).map_err(|_| self.disorder())?;
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

    /// Writes the name into its block, but for the number of its rows.
    fn begin_name(&mut self, shared: usize) {
        self.name_at = self.block.len();
        let further = self.ends.len() - shared;
        self.block.push((shared.min(SHARED_MORE) << 4) as u8 | further.min(TOKENS_MORE) as u8);
        for (count, more) in [(shared, SHARED_MORE), (further, TOKENS_MORE)] {
            if count >= more {
                varint::write(&mut self.block, (count - more) as u64);
            }
        }
        let mut start = if shared == 0 { 0 } else { self.ends[shared - 1] as usize + 1 };
        for (&end, &code) in self.ends[shared..].iter().zip(&self.codes[shared..]) {
            write_token(&mut self.block, code, &self.name[start..end as usize]);
            start = end as usize + 1;
        }
    }

    /// Ends the name that rows were added to, if there is one.
    fn end_name(&mut self) -> Result<()> {
        if self.name_rows == 0 {
            return Ok(());
        }
        if self.name_rows > 1 {
            self.block[self.name_at] |= REPEATED;
            varint::write(&mut self.block, self.name_rows - 2);
        }
        self.name_rows = 0;
        self.distinct += 1;
        self.block_names += 1;
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
        self.ended = Some((self.name.clone(), place));
        self.block.clear();
        self.block_names = 0;
        self.block_rank = self.rowids.count();
        Ok(())
    }

    /// Enters the block before into the sparse index, now that the name behind it is known.
    fn end_ended_block(&mut self) -> Result<()> {
        if let Some((last, place)) = self.ended.take() {
            let end = separator(&last, &self.name);
            self.sparse.push(&end, place).map_err(|_| self.disorder())?;
        }
        Ok(())
    }

    fn disorder(&self) -> IndexError {
        IndexError::Order { shard: self.shard }
    }
}

/// The shortest text that is at or above `last` and below `next`; `last` itself must be below `next`.
pub(crate) fn separator(last: &[u8], next: &[u8]) -> Vec<u8> {
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

pub(crate) fn write_token(out: &mut Vec<u8>, code: Option<u32>, token: &[u8]) {
    match code {
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
