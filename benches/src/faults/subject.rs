//! The files of an index that are damaged, and what `docs/formats.md` tells of where their rows lie.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Bytes of the footer of a binary file, and where in it stand: the end of the body, the number of rows, the end of the blocks, the
/// number of distinct names.
const FOOTER_BYTES: u64 = 120;
const BODY_AT: usize = 0;
const ROWS_AT: usize = 16;
const BLOCKS_AT: usize = 24;
const DISTINCT_AT: usize = 48;

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Words,
    CpfKeys,
    CpfRows,
    NameKeys,
    NameRows,
    NameFilters,
    WordIndex,
    Anomalies,
    Manifest,
    Current,
}

impl Kind {
    /// In the order of their numbers.
    pub(crate) const ALL: [Self; 10] = [
        Self::Words,
        Self::CpfKeys,
        Self::CpfRows,
        Self::NameKeys,
        Self::NameRows,
        Self::NameFilters,
        Self::WordIndex,
        Self::Anomalies,
        Self::Manifest,
        Self::Current,
    ];

    /// Its files' names.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Words => "`words.dict`",
            Self::CpfKeys => "`cpf-NNNN.keys`",
            Self::CpfRows => "`cpf-NNNN.rows`",
            Self::NameKeys => "`name-NNNN.keys`",
            Self::NameRows => "`name-NNNN.rows`",
            Self::NameFilters => "`name-NNNN.cols`",
            Self::WordIndex => "`words.index`",
            Self::Anomalies => "`anomalies.csv`",
            Self::Manifest => "`MANIFEST`",
            Self::Current => "`CURRENT`",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "words.dict" => Self::Words,
            "words.index" => Self::WordIndex,
            "anomalies.csv" => Self::Anomalies,
            "MANIFEST" => Self::Manifest,
            "CURRENT" => Self::Current,
            _ => match (name.split_once('-')?.0, name.rsplit_once('.')?.1) {
                ("cpf", "keys") => Self::CpfKeys,
                ("cpf", "rows") => Self::CpfRows,
                ("name", "keys") => Self::NameKeys,
                ("name", "rows") => Self::NameRows,
                ("name", "cols") => Self::NameFilters,
                _ => return None,
            },
        })
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    /// Inside the index's folder.
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Which of its entries lie in which part of it; none where it holds no keys and no rowids.
    pub(crate) shard: Option<Shard>,
}

/// The entries of a shard: rows, or distinct names where each is written once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shard {
    /// Entries of the shards before it.
    pub(crate) first: u64,
    pub(crate) entries: u64,
    /// Where those bytes end that hold them.
    pub(crate) end: u64,
}

impl Shard {
    /// The entry that lies about byte `at`.
    pub(crate) fn entry(&self, at: u64) -> u64 {
        let within = u128::from(at.min(self.end)) * u128::from(self.entries) / u128::from(self.end.max(1));
        self.first + within as u64
    }
}

/// The files of the generation that is served, and `CURRENT`, in the order of their names.
pub(crate) fn read(index: &Path) -> anyhow::Result<Vec<Subject>> {
    let current = fs::read_to_string(index.join("CURRENT")).context("the index names no generation")?;
    let generation = PathBuf::from(current.trim_end());
    let mut paths = vec![PathBuf::from("CURRENT")];
    for entry in fs::read_dir(index.join(&generation))? {
        paths.push(generation.join(entry?.file_name()));
    }
    paths.sort();
    let mut files = Vec::new();
    let mut entries = [0; Kind::ALL.len()];
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(kind) = Kind::of(&name) else { bail!("a file of no known kind: {name}") };
        let bytes = fs::metadata(index.join(&path))?.len();
        let shard = shard(&index.join(&path), kind, bytes, &mut entries[kind as usize])?;
        files.push(Subject { kind, path, name, bytes, shard });
    }
    Ok(files)
}

fn shard(path: &Path, kind: Kind, bytes: u64, first: &mut u64) -> anyhow::Result<Option<Shard>> {
    let (entries_at, end_at) = match kind {
        Kind::CpfKeys => (ROWS_AT, BLOCKS_AT),
        Kind::NameKeys => (DISTINCT_AT, BLOCKS_AT),
        Kind::CpfRows | Kind::NameRows => (ROWS_AT, BODY_AT),
        _ => return Ok(None),
    };
    let mut footer = [0; FOOTER_BYTES as usize];
    File::open(path)?.read_exact_at(&mut footer, bytes.saturating_sub(FOOTER_BYTES))?;
    let number = |at: usize| footer[at..at + 8].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let shard = Shard { first: *first, entries: number(entries_at), end: number(end_at) };
    *first += shard.entries;
    Ok(Some(shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_names() {
        for (name, kind) in [
            ("words.dict", Some(Kind::Words)),
            ("words.index", Some(Kind::WordIndex)),
            ("name-0001.cols", Some(Kind::NameFilters)),
            ("cpf-0003.keys", Some(Kind::CpfKeys)),
            ("name-0000.rows", Some(Kind::NameRows)),
            ("CURRENT", Some(Kind::Current)),
            ("LOCK", None),
            ("cpf-0003.txt", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
        assert!(Kind::ALL.iter().enumerate().all(|(at, &kind)| kind as usize == at));
    }

    #[test]
    fn entries_lie_evenly() {
        let shard = Shard { first: 100, entries: 50, end: 1000 };
        assert_eq!([0, 500, 1000, 9999].map(|at| shard.entry(at)), [100, 125, 150, 150]);
    }
}
