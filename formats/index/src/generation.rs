//! `Generation`: an open generation, and the questions that it answers: which ranks a key has, and which rowid a rank.
//!
//! Ranks count the rows that have a CPF, by (code, rowid), or those that have a name, by (name, rowid), over all shards.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use balcao_record::Cpf;

use crate::cpf::{CpfShard, cpf_code};
use crate::error::{IndexError, Result};
use crate::filters::Filters;
use crate::manifest::{MANIFEST_FILE, Manifest, ShardEntry};
use crate::names::{NameShard, Place};
use crate::publish::{CURRENT_FILE, current_generation};
use crate::rowids::Rowids;
use crate::word_index::WordIndex;
use crate::words::Words;

/// Which of the two indexes a rank belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Ranks by CPF.
    Cpf,
    /// Ranks by name.
    Name,
}

/// An open generation. All its files are mapped; headers, footers and sparse indexes are checked, the rest is before its first use.
#[derive(Debug)]
pub struct Generation {
    folder: PathBuf,
    manifest: Manifest,
    tag: u64,
    words: Words,
    pub(crate) cpf: Vec<Ranked<CpfShard>>,
    pub(crate) names: Vec<Ranked<NameShard>>,
    word_index: Option<WordIndex>,
    filters: Option<Filters>,
}

/// A shard and its first rank.
#[derive(Debug)]
pub(crate) struct Ranked<T> {
    pub(crate) first_rank: u64,
    pub(crate) shard: T,
}

impl Generation {
    /// Opens the generation that is published in the folder `index`.
    ///
    /// # Errors
    /// [`IndexError`]: nothing published, unreadable, of another version, or damaged where it shows at open.
    pub fn open_current(index: &Path) -> Result<Self> {
        let name = current_generation(index)?;
        let folder = index.join(&name);
        // A name that nothing has is damage of CURRENT, not of the generation that it should name.
        match fs::metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(IndexError::io("open", name)(error)),
            _ => {
                let what = format!("it names {name}, and there is no such folder beside it");
                return Err(IndexError::damaged(CURRENT_FILE, 0, what));
            }
        }
        let generation = Self::open(&folder)?;
        let said = &generation.manifest.generation;
        if *said != name {
            return Err(IndexError::damaged(MANIFEST_FILE, 0, format!("it is that of {said}, and lies in {name}")));
        }
        Ok(generation)
    }

    /// Opens the generation in `folder`.
    ///
    /// # Errors
    /// As [`Generation::open_current`].
    pub fn open(folder: &Path) -> Result<Self> {
        let (manifest, tag) = Manifest::read(folder)?;
        Self::assemble(folder, manifest, tag)
    }

    /// Opens a generation whose manifest is not written yet.
    pub(crate) fn open_unpublished(folder: &Path, manifest: Manifest) -> Result<Self> {
        Self::assemble(folder, manifest, 0)
    }

    fn assemble(folder: &Path, manifest: Manifest, tag: u64) -> Result<Self> {
        let words = Words::read(folder, &manifest.words)?;
        let cpf = open_shards(&manifest.cpf, |number, entry| {
            let shard = CpfShard::open(folder, &entry.keys, &entry.rows, number)?;
            Ok((shard.count(), shard))
        })?;
        let names = open_shards(&manifest.names, |number, entry| {
            let shard = NameShard::open(folder, &entry.keys, &entry.rows, number)?;
            Ok((shard.count(), shard))
        })?;
        let mut generation =
            Self { folder: folder.to_owned(), manifest, tag, words, cpf, names, word_index: None, filters: None };
        generation.check_counts()?;
        if let Some(entry) = &generation.manifest.word_index {
            generation.word_index = Some(WordIndex::open(folder, entry, generation.manifest.name_rows)?);
        }
        if let Some(entry) = &generation.manifest.filters {
            let counts: Vec<u64> = generation.names.iter().map(|ranked| ranked.shard.count()).collect();
            generation.filters = Some(Filters::open(folder, entry, &counts)?);
        }
        if let Some(cluster) = &generation.manifest.cluster {
            cluster.check_at_open(folder)?;
        }
        Ok(generation)
    }

    /// What the generation says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The generation's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The copy of the rows in the order of their names, where there is one.
    #[must_use]
    pub fn cluster(&self) -> Option<PathBuf> {
        self.manifest.cluster.as_ref().map(|cluster| self.folder.join(&cluster.file.name))
    }

    /// Rows with a name: one above the greatest rank by name.
    #[must_use]
    pub fn name_rows(&self) -> u64 {
        self.manifest.name_rows
    }

    /// The word index, where there is one.
    #[must_use]
    pub fn word_index(&self) -> Option<&WordIndex> {
        self.word_index.as_ref()
    }

    /// The filter columns, where there are some.
    #[must_use]
    pub fn filters(&self) -> Option<&Filters> {
        self.filters.as_ref()
    }

    /// A number that no other generation has.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The ranks of the rows with this CPF.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn cpf_ranks(&self, cpf: Cpf) -> Result<Range<u64>> {
        let code = cpf_code(cpf);
        let Some(ranked) = self.cpf.get(self.cpf_shard(code)) else {
            let end = end_rank(&self.cpf, CpfShard::count);
            return Ok(end..end);
        };
        // All rows of a code are in one shard.
        let run = ranked.shard.run(code)?;
        Ok(ranked.first_rank + run.start..ranked.first_rank + run.end)
    }

    /// The ranks of the rows whose normalised name is `name`.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn name_ranks(&self, name: &str) -> Result<Range<u64>> {
        let place = self.name_place(name.as_bytes())?;
        Ok(place.rank..place.rank.saturating_add(place.rows))
    }

    /// The ranks of the rows whose normalised name begins with `prefix`, which must not be empty.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn prefix_ranks(&self, prefix: &str) -> Result<Range<u64>> {
        let prefix = prefix.as_bytes();
        let first = self.name_shard(prefix);
        // The last shard with a name that begins so, or with one below: in it, or behind it, the run ends.
        let begins = |name: &[u8]| name <= prefix || name.starts_with(prefix);
        let last = self.names.partition_point(|ranked| begins(ranked.shard.first())).checked_sub(1);
        let Some(ranked) = last.and_then(|number| self.names.get(number)) else { return Ok(0..0) };
        if first == last {
            let run = ranked.shard.find_prefix(&self.words, prefix)?;
            return Ok(ranked.first_rank + run.start..ranked.first_rank + run.end);
        }
        let start = self.name_place(prefix)?.rank;
        Ok(start..ranked.first_rank + ranked.shard.prefix_end(&self.words, prefix)?)
    }

    /// The rowid of a rank.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]; also for a rank beyond the last one.
    pub fn rowid(&self, part: Part, rank: u64) -> Result<i64> {
        match part {
            Part::Cpf => rowid(&self.cpf, rank, CpfShard::rowids),
            Part::Name => rowid(&self.names, rank, NameShard::rowids),
        }
    }

    /// Compares the checksum of every page of every file.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] names file and place of the first fault.
    pub fn check_files(&self) -> Result<()> {
        crate::verify::check_files(self)
    }

    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// Whether a question for this code is asked of shard `number`.
    pub(crate) fn leads_to_cpf_shard(&self, code: u64, number: usize) -> bool {
        self.cpf_shard(code) == number
    }

    /// Whether a question for this name is asked of shard `number`.
    pub(crate) fn leads_to_name_shard(&self, name: &[u8], number: usize) -> bool {
        self.name_shard(name) == Some(number)
    }

    /// The shard with a code; one beyond the last where the code is above all.
    fn cpf_shard(&self, code: u64) -> usize {
        self.cpf.partition_point(|ranked| ranked.shard.max() < code)
    }

    /// The shard with a name; `None` where the name is below all.
    fn name_shard(&self, name: &[u8]) -> Option<usize> {
        self.names.partition_point(|ranked| ranked.shard.first() <= name).checked_sub(1)
    }

    /// Where a name stands among all shards.
    fn name_place(&self, name: &[u8]) -> Result<Place> {
        let Some(ranked) = self.name_shard(name).and_then(|number| self.names.get(number)) else {
            return Ok(Place { rank: 0, rows: 0 });
        };
        let place = ranked.shard.find(&self.words, name)?;
        Ok(Place { rank: ranked.first_rank + place.rank, rows: place.rows })
    }

    fn check_counts(&self) -> Result<()> {
        let found = (end_rank(&self.cpf, CpfShard::count), end_rank(&self.names, NameShard::count));
        let said = (self.manifest.cpf_rows, self.manifest.name_rows);
        if found == said {
            return Ok(());
        }
        let what = format!("the shards hold {found:?} rows by CPF and name, the manifest says {said:?}");
        Err(IndexError::damaged(MANIFEST_FILE, 0, what))
    }
}

fn open_shards<T>(
    entries: &[ShardEntry],
    mut open: impl FnMut(u32, &ShardEntry) -> Result<(u64, T)>,
) -> Result<Vec<Ranked<T>>> {
    let mut first_rank = 0_u64;
    let mut shards = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let (count, shard) = open(number as u32, entry)?;
        shards.push(Ranked { first_rank, shard });
        let too_many = || IndexError::damaged(crate::manifest::MANIFEST_FILE, 0, "its shards have too many rows");
        first_rank = first_rank.checked_add(count).ok_or_else(too_many)?;
    }
    Ok(shards)
}

fn end_rank<T>(shards: &[Ranked<T>], count: impl Fn(&T) -> u64) -> u64 {
    shards.last().map_or(0, |last| last.first_rank.saturating_add(count(&last.shard)))
}

fn rowid<T>(shards: &[Ranked<T>], rank: u64, rowids: impl Fn(&T) -> &Rowids) -> Result<i64> {
    let above = shards.partition_point(|ranked| ranked.first_rank <= rank);
    match above.checked_sub(1).and_then(|at| shards.get(at)) {
        Some(ranked) => rowids(&ranked.shard).get(rank - ranked.first_rank),
        None => Err(IndexError::damaged(MANIFEST_FILE, 0, format!("no shard has rank {rank}"))),
    }
}
