//! `verify`: every checksum, order and count of a generation. It does not look at the database: the indexer's command does.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;

use xxhash_rust::xxh3::Xxh3;

use crate::error::{IndexError, Result};
use crate::filters::Filters;
use crate::generation::Generation;
use crate::manifest::{ANOMALIES_FILE, FileEntry};
use crate::sealed::SealedFile;
use crate::word_index::{Tally, WordIndex};

/// What was found whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files, the manifest not counted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows with a CPF key.
    pub cpf_rows: u64,
    /// Rows with a name key.
    pub name_rows: u64,
    /// Distinct names.
    pub distinct_names: u64,
    /// Distinct words of the word index; 0 where there is none.
    pub words: u64,
    /// Ranks of all words together.
    pub postings: u64,
    /// Rows with filter columns; 0 where there are none.
    pub filter_rows: u64,
    /// Lines of the list of anomalies.
    pub anomalies: u64,
}

/// Compares the checksum of every page of every sealed file, and that of the copy of the rows.
///
/// # Errors
/// [`IndexError::Damaged`] names file and place.
pub(crate) fn check_files(generation: &Generation) -> Result<()> {
    check_sealed(generation)?;
    generation.manifest().cluster.as_ref().map_or(Ok(()), |cluster| cluster.check_content(generation.folder()))
}

/// Compares the checksum of every page of every sealed file.
///
/// # Errors
/// [`IndexError::Damaged`] names file and place.
pub(crate) fn check_sealed(generation: &Generation) -> Result<()> {
    let cpf = generation.cpf.iter().flat_map(|ranked| [ranked.shard.file(), ranked.shard.rowids().file()]);
    let names = generation.names.iter().flat_map(|ranked| [ranked.shard.file(), ranked.shard.rowids().file()]);
    // The dictionary was read whole when the generation was opened.
    let word_index = generation.word_index().map(WordIndex::file);
    let filters = generation.filters().into_iter().flat_map(Filters::files);
    cpf.chain(names)
        .chain(word_index)
        .chain(filters)
        .try_for_each(|file: &SealedFile| file.check_all(generation.folder()))
}

/// Verifies a generation: all files whole, keys and rowids in order, each key found through the sparse index, counts as the manifest says,
/// the words' lists those of the names.
///
/// # Errors
/// [`IndexError::Damaged`] names file and place of the first fault.
pub fn verify(generation: &Generation) -> Result<Verified> {
    check_files(generation)?;
    let manifest = generation.manifest();
    let anomalies = check_anomalies(generation, &manifest.anomalies_file)?;
    let mut verified = Verified {
        files: manifest.files().count() as u64,
        // Every length was compared with its file by now.
        bytes: manifest.files().map(|file| file.bytes).sum(),
        anomalies,
        ..Verified::default()
    };
    let listed = manifest.anomalies.values().fold(0_u64, |sum, &count| sum.saturating_add(count));
    if listed != verified.anomalies {
        let what = format!("{} lines, the manifest says {listed}", verified.anomalies);
        return Err(IndexError::damaged(ANOMALIES_FILE, 0, what));
    }
    check_cpfs(generation, &mut verified)?;
    check_names(generation, &mut verified)?;
    if let Some(index) = generation.word_index() {
        check_word_index(generation, index, &mut verified)?;
    }
    if let Some(filters) = generation.filters() {
        filters.check_padding()?;
        filters.for_each(0..generation.name_rows(), |_, _| {
            verified.filter_rows += 1;
            ControlFlow::Continue(())
        })?;
    }
    Ok(verified)
}

/// Compares the lists of all words with the words of all names. Both sides are counted and summed up for each word, so that memory follows the dictionary
/// and not the rows: no rank can be missing, strange or in the list of another word unless sums of 64 bits agree by chance.
fn check_word_index(generation: &Generation, index: &WordIndex, verified: &mut Verified) -> Result<()> {
    let mut tallies: HashMap<Box<[u8]>, Tally> = HashMap::new();
    index.check(|word, tally| {
        verified.words += 1;
        verified.postings += tally.ranks;
        tallies.insert(word.into(), tally);
    })?;
    if verified.postings != index.postings() {
        let what = format!("{} ranks, the footer says {}", verified.postings, index.postings());
        return Err(index.file().damaged(0, what));
    }
    for ranked in &generation.names {
        ranked.shard.for_each(generation.words(), |rank, name, rows| {
            let first = ranked.first_rank.saturating_add(rank);
            let ranks = first..first.saturating_add(rows);
            for word in name.split(|&byte| byte == b' ').filter(|word| !word.is_empty()) {
                let found = tallies.get_mut(word).is_some_and(|tally| tally.take(&ranks));
                if !found {
                    return Err(index.file().damaged(0, format!("a word of the name at rank {first} misses the rank")));
                }
            }
            Ok(())
        })?;
    }
    match tallies.values().find(|tally| !tally.is_done()) {
        Some(tally) => Err(index.file().damaged(tally.place, "a list that is not that of its word")),
        None => Ok(()),
    }
}

fn check_cpfs(generation: &Generation, verified: &mut Verified) -> Result<()> {
    let mut before: Option<(u64, i64)> = None;
    for (number, ranked) in generation.cpf.iter().enumerate() {
        let file = ranked.shard.file();
        ranked.shard.for_each(|rank, code| {
            let row = (code, ranked.shard.rowids().get(rank)?);
            if before.is_some_and(|before| before >= row) {
                return Err(file.damaged(0, format!("rank {rank} is out of order")));
            }
            before = Some(row);
            if !generation.leads_to_cpf_shard(code, number) {
                return Err(file.damaged(0, format!("rank {rank} is not of this shard")));
            }
            verified.cpf_rows += 1;
            Ok(())
        })?;
    }
    Ok(())
}

fn check_names(generation: &Generation, verified: &mut Verified) -> Result<()> {
    let mut before = Vec::new();
    for (number, ranked) in generation.names.iter().enumerate() {
        let (shard, file) = (&ranked.shard, ranked.shard.file());
        let mut distinct = 0;
        shard.for_each(generation.words(), |rank, name, rows| {
            if name <= before.as_slice() {
                return Err(file.damaged(0, format!("the name at rank {rank} is out of order")));
            }
            before.clear();
            before.extend_from_slice(name);
            if !generation.leads_to_name_shard(name, number) {
                return Err(file.damaged(0, format!("the name at rank {rank} is not of this shard")));
            }
            let mut last = None;
            for rank in rank..rank.saturating_add(rows) {
                let rowid = shard.rowids().get(rank)?;
                if last.replace(rowid).is_some_and(|last| last >= rowid) {
                    return Err(file.damaged(0, format!("the rowid at rank {rank} is out of order")));
                }
            }
            distinct += 1;
            verified.name_rows += rows;
            Ok(())
        })?;
        if distinct != shard.distinct() {
            return Err(file.damaged(0, format!("{distinct} names, the footer says {}", shard.distinct())));
        }
        verified.distinct_names += distinct;
    }
    Ok(())
}

/// Compares the list of anomalies; returns its lines without the header.
fn check_anomalies(generation: &Generation, entry: &FileEntry) -> Result<u64> {
    let file = File::open(generation.folder().join(&entry.name)).map_err(IndexError::io("open", &*entry.name))?;
    // A longer file than promised is read one byte further, no more.
    let mut reader = BufReader::new(file.take(entry.bytes.saturating_add(1)));
    let (mut hash, mut bytes, mut lines) = (Xxh3::new(), 0, 0_u64);
    loop {
        let part = reader.fill_buf().map_err(IndexError::io("read", &*entry.name))?;
        if part.is_empty() {
            break;
        }
        hash.update(part);
        lines += part.iter().filter(|&&byte| byte == b'\n').count() as u64;
        bytes += part.len() as u64;
        let length = part.len();
        reader.consume(length);
    }
    if bytes != entry.bytes || hash.digest() != entry.checksum {
        return Err(IndexError::damaged(&entry.name, bytes.min(entry.bytes), "length or checksum do not hold"));
    }
    Ok(lines.saturating_sub(1))
}
