//! `verify`: every checksum, order and count of a generation. It does not look at the database: the indexer's command does.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use xxhash_rust::xxh3::Xxh3;

use crate::error::{IndexError, Result};
use crate::filters::Filters;
use crate::generation::Generation;
use crate::manifest::{ANOMALIES_FILE, FileEntry};
use crate::sealed::SealedFile;
use crate::word_index::WordIndex;

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

/// Verifies a generation: all files whole, keys and rowids in order, each key found through the sparse index, counts as the manifest says.
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
    Ok(verified)
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
