//! What a generation holds: rows, and bytes by part.

use std::collections::BTreeMap;
use std::path::Path;

use balcao_index::{FileEntry, Generation, IndexError, WordIndex};
use serde::Serialize;

use crate::filters::FilterSummary;

/// What a generation holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The generation.
    pub generation: String,
    /// When it was built, in seconds since 1970-01-01 UTC.
    pub built_at: u64,
    /// The indexed table.
    pub table: String,
    /// Rows of the table.
    pub rows: u64,
    /// Rows with a CPF key.
    pub cpf_rows: u64,
    /// Rows with a name key.
    pub name_rows: u64,
    /// Shards of the two indexes.
    pub shards: (usize, usize),
    /// Anomalies by kind.
    pub anomalies: BTreeMap<String, u64>,
    /// Distinct words of the names, where there is a word index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct_words: Option<u64>,
    /// The filter columns, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<FilterSummary>,
    /// Bytes by part. `words` is the dictionary that names are coded with, `word_index` that which they are found with.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Bytes of all parts.
    pub bytes_total: u64,
    /// Bytes of all parts for each row of the table.
    pub bytes_per_row: f64,
    /// Bytes of the copy of the rows in the order of their names, which is no part of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_bytes: Option<u64>,
}

/// Reads what the current generation of the folder `index` holds.
///
/// # Errors
/// [`IndexError`] where it cannot be opened.
pub fn stats(index: &Path) -> Result<Stats, IndexError> {
    let generation = Generation::open_current(index)?;
    let manifest = generation.manifest();
    let sum = |files: &mut dyn Iterator<Item = &FileEntry>| files.map(|file| file.bytes).sum::<u64>();
    let mut bytes = BTreeMap::from([
        ("cpf_keys", sum(&mut manifest.cpf.iter().map(|shard| &shard.keys))),
        ("cpf_rowids", sum(&mut manifest.cpf.iter().map(|shard| &shard.rows))),
        ("name_keys", sum(&mut manifest.names.iter().map(|shard| &shard.keys))),
        ("name_rowids", sum(&mut manifest.names.iter().map(|shard| &shard.rows))),
        ("words", manifest.words.bytes),
        ("anomalies", manifest.anomalies_file.bytes),
    ]);
    if let Some(entry) = &manifest.word_index {
        bytes.insert("word_index", entry.bytes);
    }
    if let Some(entry) = &manifest.filters {
        bytes.insert("filters", sum(&mut entry.files.iter()));
    }
    let bytes_total = bytes.values().sum();
    Ok(Stats {
        generation: manifest.generation.clone(),
        built_at: manifest.built_at,
        table: manifest.source.table.clone(),
        rows: manifest.rows,
        cpf_rows: manifest.cpf_rows,
        name_rows: manifest.name_rows,
        shards: (manifest.cpf.len(), manifest.names.len()),
        anomalies: manifest.anomalies.clone(),
        distinct_words: generation.word_index().map(WordIndex::words),
        filters: manifest.filters.as_ref().map(FilterSummary::from),
        bytes,
        bytes_total,
        bytes_per_row: bytes_total as f64 / manifest.rows.max(1) as f64,
        cluster_bytes: manifest.cluster.as_ref().map(|cluster| cluster.file.bytes),
    })
}
