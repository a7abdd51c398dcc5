//! `ClusterEntry`: the copy of the rows in the order of their names, a SQLite file in a generation's folder, as the manifest vouches for it.
//!
//! To this crate the copy is bytes with a length, a hash and a sample. Who writes its rows, and who reads them, knows SQLite; here nobody does.

use std::fs::{self, File};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{IndexError, Result};
use crate::manifest::{FileEntry, hexadecimal};
use crate::source::{SourceError, SourceFile};

/// The copy's file.
pub const CLUSTER_FILE: &str = "cluster.db";

/// Its only table. The columns are those of the indexed table, by the same names and without types, so that every value stays what it is.
pub const CLUSTER_TABLE: &str = "cluster";

/// The rowid of the row with name rank 0. Each further rank is one further rowid: there are no gaps.
pub const CLUSTER_FIRST_ROWID: i64 = 1;

/// The rowid in the copy of a row that has this rank by name.
#[must_use]
pub const fn cluster_rowid(rank: u64) -> i64 {
    CLUSTER_FIRST_ROWID.saturating_add_unsigned(rank)
}

/// What the manifest says of the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterEntry {
    /// Name, length, and the xxh3 of all bytes.
    #[serde(flatten)]
    pub file: FileEntry,
    /// xxh3 of sampled pages, as [`SourceFile::sample`]: what an open compares in place of all bytes.
    #[serde(with = "hexadecimal")]
    pub sample: u64,
}

impl ClusterEntry {
    /// Reads back the copy that was written into `folder`: the whole file, once.
    ///
    /// # Errors
    /// [`IndexError::Io`]; [`IndexError::Damaged`] where it is no SQLite file.
    pub fn measure(folder: &Path) -> Result<Self> {
        let path = folder.join(CLUSTER_FILE);
        let found = SourceFile::read(&path).map_err(|error| told(CLUSTER_FILE, error))?;
        let file = File::open(&path).map_err(IndexError::io("open", CLUSTER_FILE))?;
        let checksum = SourceFile::hash_content(&file).map_err(IndexError::io("read", CLUSTER_FILE))?;
        let file = FileEntry { name: CLUSTER_FILE.to_owned(), bytes: found.bytes, checksum };
        Ok(Self { file, sample: found.sample })
    }

    /// Compares length, header and some pages: some 64 reads, however large the copy is.
    pub(crate) fn check_at_open(&self, folder: &Path) -> Result<()> {
        let FileEntry { name, bytes, .. } = &self.file;
        let path = folder.join(name);
        // Before it is opened: to open a pipe is to wait for whoever writes into it.
        let metadata = fs::metadata(&path).map_err(IndexError::io("open", name))?;
        if metadata.is_dir() {
            return Err(IndexError::io("open", name)(std::io::ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Err(IndexError::damaged(name, 0, "it is no plain file"));
        }
        if metadata.len() != *bytes {
            let what = format!("it has {} bytes, expected {bytes}", metadata.len());
            return Err(IndexError::damaged(name, metadata.len().min(*bytes), what));
        }
        let found = SourceFile::read(&path).map_err(|error| told(name, error))?;
        if found.sample == self.sample {
            return Ok(());
        }
        Err(IndexError::damaged(name, *bytes, "the checksum of its sampled pages does not hold"))
    }

    /// Compares the hash of all bytes. The file is read and not mapped.
    pub(crate) fn check_content(&self, folder: &Path) -> Result<()> {
        self.check_at_open(folder)?;
        let FileEntry { name, bytes, checksum } = &self.file;
        let file = File::open(folder.join(name)).map_err(IndexError::io("open", name))?;
        if SourceFile::hash_content(&file).map_err(IndexError::io("read", name))? == *checksum {
            return Ok(());
        }
        Err(IndexError::damaged(name, *bytes, "its checksum does not hold"))
    }
}

/// An error of the copy's file, which is a file of the index and not the registry's.
fn told(name: &str, error: SourceError) -> IndexError {
    match error {
        SourceError::Io(error) => IndexError::io("read", name)(error),
        SourceError::NotADatabase => IndexError::damaged(name, 0, "it does not begin like a SQLite file"),
        SourceError::Pending(suffix) => IndexError::damaged(name, 0, format!("a `{suffix}` file lies beside it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_every_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CLUSTER_FILE);
        // More pages than are sampled.
        let mut whole: Vec<u8> = (0..512 * 200).map(|at| (at % 251) as u8).collect();
        whole[..16].copy_from_slice(b"SQLite format 3\0");
        whole[16..18].copy_from_slice(&512_u16.to_be_bytes());
        fs::write(&path, &whole).unwrap();
        let entry = ClusterEntry::measure(folder.path()).unwrap();
        entry.check_content(folder.path()).unwrap();
        let mut unseen = 0;
        for at in (0..whole.len()).step_by(97) {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            unseen += u32::from(entry.check_at_open(folder.path()).is_ok());
            let error = entry.check_content(folder.path()).unwrap_err().to_string();
            assert!(error.contains(CLUSTER_FILE) && error.contains("indexer build"), "byte {at}: {error}");
        }
        assert!(unseen > 100, "the sample alone sees every change: {unseen}");
        for length in [0, 1, 99, 512, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = entry.check_at_open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("byte {length}")), "{error}");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(matches!(entry.check_at_open(folder.path()), Err(IndexError::Damaged { .. })));
        fs::remove_file(&path).unwrap();
        assert!(entry.check_at_open(folder.path()).unwrap_err().to_string().contains("indexer build"));
        fs::create_dir(&path).unwrap();
        assert!(entry.check_at_open(folder.path()).unwrap_err().to_string().contains("remove the folder"));
    }

    #[test]
    fn ranks_are_rowids() {
        assert_eq!((cluster_rowid(0), cluster_rowid(49), cluster_rowid(u64::MAX)), (1, 50, i64::MAX));
    }
}
