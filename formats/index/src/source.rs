//! `Source`: which database file, table and columns a generation was built from, so that it is never asked about another one.
//!
//! Only the file's bytes are looked at: the hundred-byte header that the SQLite file format documents, the length, a hash of sampled pages,
//! and, where somebody asks for it, a hash of all. No SQL. [`SourceStamp`] is the cheap look that tells whether the whole one is due again.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::manifest::hexadecimal;

/// Pages that are hashed: the first, the last, and others evenly between. Some 64 random reads on a cold start.
const SAMPLED_PAGES: u64 = 64;

/// Bytes of a read where the whole file is hashed: enough that a system call costs nothing beside it.
const PIECE_BYTES: usize = 1 << 20;

/// The header of a SQLite file, <https://www.sqlite.org/fileformat2.html#the_database_header>.
const SQLITE_HEADER_BYTES: usize = 100;
/// Where the header has the counter of changes.
const CHANGE_COUNTER_AT: u64 = 24;
/// The header's two file format versions of a database in write-ahead mode.
const WAL_VERSIONS: [u8; 2] = [2, 2];
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Identity of a table in a database file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The table.
    pub table: String,
    /// The column with the CPF.
    pub cpf_column: String,
    /// The column with the name.
    pub name_column: String,
    /// The file.
    pub file: SourceFile,
}

/// Identity of a database file. Whether one fits another is asked with [`SourceFile::fits`]; `==` compares the records, member by member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its length.
    pub bytes: u64,
    /// Bytes of a page.
    pub page_bytes: u32,
    /// Pages, as the header says.
    pub pages: u32,
    /// SQLite's counter of changes.
    pub change_counter: u32,
    /// SQLite's counter of schema changes.
    pub schema_cookie: u32,
    /// When the file was last written, in nanoseconds since 1970-01-01 UTC, where the database is in write-ahead mode: there the counter of
    /// changes does not count every change. A copy must keep the time (`cp -p`).
    pub wal_modified_ns: Option<u64>,
    /// xxh3 of sampled pages: two registries may agree in every counter.
    #[serde(with = "hexadecimal")]
    pub sample: u64,
    /// xxh3 of all bytes, see [`SourceFile::hash_content`]. `None` where nobody hashed them: as it was read at a start, or in an index of before
    /// there was this member.
    #[serde(default, with = "hexadecimal::optional", skip_serializing_if = "Option::is_none")]
    pub content: Option<u64>,
}

/// What a glance tells of a database file: equal stamps are the same file, unchanged. Other stamps need not be another database: a file that was
/// only touched, or copied, has another stamp and the same [`SourceFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Last write, in seconds and nanoseconds.
    modified: (i64, i64),
    /// Last change of the file or of what the system keeps about it: a write whose time was set back still shows here.
    changed: (i64, i64),
    change_counter: [u8; 4],
    /// Bytes of the write-ahead log and of the rollback journal beside it: what is written there is not in the file yet.
    beside: [u64; 2],
}

impl SourceStamp {
    /// Reads the stamp of the database at `path`: some system calls, no page of the table.
    ///
    /// # Errors
    /// [`SourceError::Io`]; [`SourceError::NotADatabase`] for a file without a whole header.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        Self::of(path, &File::open(path)?)
    }

    /// As [`SourceStamp::read`], and without a descriptor as long as the file at `path` is the one that is `held` open: whoever has none left still
    /// knows whether what it serves is what lies there.
    ///
    /// # Errors
    /// As [`SourceStamp::read`].
    pub fn glance(path: &Path, held: &File) -> Result<Self, SourceError> {
        let (there, here) = (fs::metadata(path)?, held.metadata()?);
        if (there.dev(), there.ino()) == (here.dev(), here.ino()) { Self::of(path, held) } else { Self::read(path) }
    }

    fn of(path: &Path, file: &File) -> Result<Self, SourceError> {
        let metadata = file.metadata()?;
        let mut change_counter = [0; 4];
        file.read_exact_at(&mut change_counter, CHANGE_COUNTER_AT).map_err(no_header)?;
        let mut beside = [0; 2];
        for (bytes, (_, name)) in beside.iter_mut().zip(files_beside(path)?) {
            *bytes = match fs::metadata(name) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            change_counter,
            beside,
        })
    }

    /// Whether the file that is `held` open, and had this stamp, still has the length, the time of its last write and the counter of changes that it had:
    /// nobody wrote to it, wherever it lies now, if anywhere.
    #[must_use]
    pub fn is_intact(&self, held: &File) -> bool {
        let mut change_counter = [0; 4];
        let read = held.read_exact_at(&mut change_counter, CHANGE_COUNTER_AT).is_ok();
        let same = |now: Metadata| (now.len(), (now.mtime(), now.mtime_nsec())) == (self.bytes, self.modified);
        read && change_counter == self.change_counter && held.metadata().is_ok_and(same)
    }

    /// Whether both are stamps of one file, changed or not.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Why a file cannot be a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused.
    #[error("cannot read the database: {0}; check its path, and that you may read it")]
    Io(io::Error),
    /// It does not begin like a SQLite database.
    #[error("the file is no SQLite database; give the registry's own file with --db")]
    NotADatabase,
    /// Changes lie beside it that are not in it yet.
    #[error(
        "the database has changes in its `{0}` file that are not in it yet; close the programs that use it, run \
         `sqlite3 DATABASE 'PRAGMA wal_checkpoint(TRUNCATE)'`, and try again"
    )]
    Pending(&'static str),
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl SourceFile {
    /// Reads the identity of the database at `path`.
    ///
    /// # Errors
    /// [`SourceError`]: unreadable, no database, or with changes that wait in a write-ahead log or a rollback journal.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        refuse_pending(path)?;
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let bytes = metadata.len();
        let mut header = [0; SQLITE_HEADER_BYTES];
        file.read_exact(&mut header).map_err(no_header)?;
        if header[..16] != *SQLITE_MAGIC {
            return Err(SourceError::NotADatabase);
        }
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let page_bytes = match u32::from(u16::from_be_bytes([header[16], header[17]])) {
            1 => 65_536,
            size if size.is_power_of_two() && size >= 512 => size,
            _ => return Err(SourceError::NotADatabase),
        };
        Ok(Self {
            bytes,
            page_bytes,
            pages: number(28),
            change_counter: number(CHANGE_COUNTER_AT as usize),
            schema_cookie: number(40),
            wal_modified_ns: if header[18..20] == WAL_VERSIONS { Some(modified_ns(&metadata)?) } else { None },
            sample: sample(&file, bytes, page_bytes)?,
            content: None,
        })
    }

    /// Whether this may be the database that was `indexed`: all is equal that both know. Without this one's `content` that is what the header
    /// and the sample tell, and two registries that differ in one row between the sampled pages fit each other.
    #[must_use]
    pub fn fits(&self, indexed: &Self) -> bool {
        let content = self.content.and(indexed.content);
        let known = |file: &Self| Self { content: content.and(file.content), ..file.clone() };
        known(self) == known(indexed)
    }

    /// The xxh3 of all bytes of `file`, from the first to the last. Read and not mapped: a bad place of a disk is an error, and not the end of the
    /// process. No new descriptor is opened, for closing it would take SQLite's locks on the file away.
    ///
    /// It knows nothing of who writes meanwhile: the caller compares what tells that before and after.
    ///
    /// # Errors
    /// The operating system's.
    pub fn hash_content(file: &File) -> io::Result<u64> {
        let mut hash = Xxh3::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        loop {
            match file.read_at(&mut piece, at) {
                Ok(0) => return Ok(hash.digest()),
                Ok(bytes) => {
                    hash.update(&piece[..bytes]);
                    at += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the database at `path` is in write-ahead mode.
    ///
    /// # Errors
    /// An unreadable file.
    pub fn is_wal(path: &Path) -> io::Result<bool> {
        let mut versions = [0; 2];
        File::open(path)?.read_exact_at(&mut versions, 18)?;
        Ok(versions == WAL_VERSIONS)
    }
}

/// The error of a file that ends before its header does.
fn no_header(error: io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SourceError::NotADatabase,
        _ => SourceError::Io(error),
    }
}

/// The write-ahead log and the rollback journal, by suffix and path.
fn files_beside(path: &Path) -> io::Result<[(&'static str, PathBuf); 2]> {
    // SQLite looks beside the file itself, not beside a link to it.
    let path = path.canonicalize()?;
    Ok(["-wal", "-journal"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        (suffix, name.into())
    }))
}

/// Refuses a database beside which changes wait. A rollback journal whose first byte is zero is one that was ended.
fn refuse_pending(path: &Path) -> Result<(), SourceError> {
    for (suffix, name) in files_beside(path)? {
        let mut first = [0];
        match File::open(name).and_then(|file| file.read_at(&mut first, 0)) {
            Ok(0) => {}
            Ok(_) if suffix == "-journal" && first == [0] => {}
            Ok(_) => return Err(SourceError::Pending(suffix)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn modified_ns(metadata: &Metadata) -> io::Result<u64> {
    let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(since.as_nanos() as u64)
}

fn sample(file: &File, bytes: u64, page_bytes: u32) -> io::Result<u64> {
    let mut hash = Xxh3::new();
    let mut page = vec![0; page_bytes as usize];
    let pages = bytes / u64::from(page_bytes);
    let sampled = pages.min(SAMPLED_PAGES);
    for i in 0..sampled {
        // The first sample is page 0 and the last one the last page.
        let at = if sampled == 1 { 0 } else { i * (pages - 1) / (sampled - 1) };
        file.read_exact_at(&mut page, at * u64::from(page_bytes))?;
        hash.update(&page);
    }
    Ok(hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(folder: &Path, page: u8) -> PathBuf {
        let mut bytes = vec![page; 1024 * 100];
        bytes[..16].copy_from_slice(SQLITE_MAGIC);
        bytes[16..18].copy_from_slice(&1024_u16.to_be_bytes());
        bytes[24..28].copy_from_slice(&7_u32.to_be_bytes());
        let path = folder.join("x.db");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn equal_counters_do_not_make_equal_files() {
        let folder = tempfile::tempdir().unwrap();
        let one = SourceFile::read(&database(folder.path(), 1)).unwrap();
        assert_eq!((one.page_bytes, one.change_counter, one.bytes), (1024, 7, 102_400));
        assert_eq!(one, SourceFile::read(&database(folder.path(), 1)).unwrap());
        assert_ne!(one.sample, SourceFile::read(&database(folder.path(), 2)).unwrap().sample);
    }

    #[test]
    fn content_counts_where_both_know_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path(), 1);
        let found = SourceFile::read(&path).unwrap();
        assert_eq!(found.content, None);
        let with = |content| SourceFile { content, ..found.clone() };
        for (one, other, fits) in [
            (None, None, true),
            (None, Some(1), true),
            (Some(1), None, true),
            (Some(1), Some(1), true),
            (Some(1), Some(2), false),
        ] {
            assert_eq!(with(one).fits(&with(other)), fits, "{one:?} {other:?}");
            // And nothing makes up for another sample.
            assert!(!with(one).fits(&SourceFile { sample: !found.sample, ..with(other) }), "{one:?} {other:?}");
        }
    }

    #[test]
    fn the_content_is_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES * 2 + 7] {
            let mut content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let hash = |content: &[u8]| {
                fs::write(&path, content).unwrap();
                let file = File::open(&path).unwrap();
                // From the first byte, wherever the file was read before.
                let hash = SourceFile::hash_content(&file).unwrap();
                assert_eq!(SourceFile::hash_content(&file).unwrap(), hash);
                hash
            };
            let whole = hash(&content);
            assert_eq!(whole, xxhash_rust::xxh3::xxh3_64(&content), "{bytes} bytes");
            if let Some(last) = content.last_mut() {
                *last ^= 1;
                assert_ne!(hash(&content), whole, "{bytes} bytes");
            }
        }
        assert!(SourceFile::hash_content(&File::open(folder.path()).unwrap()).is_err());
    }

    #[test]
    fn in_write_ahead_mode_the_time_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path(), 1);
        assert_eq!(SourceFile::read(&path).unwrap().wal_modified_ns, None);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[18..20].copy_from_slice(&WAL_VERSIONS);
        std::fs::write(&path, bytes).unwrap();
        let before = SourceFile::read(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(7)).unwrap();
        let after = SourceFile::read(&path).unwrap();
        assert_eq!(after.wal_modified_ns, Some(7_000_000_000));
        assert_ne!(before, after);
    }

    fn read_new(path: &Path) -> SourceStamp {
        SourceStamp::read(path).unwrap()
    }

    #[test]
    fn a_glance_sees_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path(), 1);
        let held = File::open(&path).unwrap();
        let read = || {
            let stamp = SourceStamp::read(&path).unwrap();
            assert_eq!(stamp, SourceStamp::glance(&path, &held).unwrap());
            stamp
        };
        let first = read();
        assert_eq!(first, read());
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        // Written in place, with the time set back.
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"other", 5000).unwrap();
        file.set_modified(time).unwrap();
        let written = read();
        assert!(written != first && written.is_same_file(&first));
        // Only the system's own time of change shows that one; a time of writing that nobody set back shows here too.
        assert!(first.is_intact(&held));
        file.write_all_at(b"again", 5000).unwrap();
        assert!(!first.is_intact(&held));
        file.set_modified(time).unwrap();
        let written = read();
        // Changes that wait beside it.
        std::fs::write(folder.path().join("x.db-wal"), "w").unwrap();
        assert!(read() != written);
        std::fs::remove_file(folder.path().join("x.db-wal")).unwrap();
        assert_eq!(read(), written);
        // Another file in its place, byte for byte the same.
        let copy = folder.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        std::fs::rename(&copy, &path).unwrap();
        let gone = File::open(&path).unwrap();
        assert!(!read_new(&path).is_same_file(&written) && read_new(&path).is_intact(&gone));
        assert!(written.is_intact(&held), "it lies nowhere any more, and nobody wrote to it");
        assert_eq!(SourceFile::read(&path).unwrap().bytes, 102_400);
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(SourceStamp::read(&path), Err(SourceError::NotADatabase)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(SourceStamp::read(&path), Err(SourceError::Io(_))));
    }

    #[test]
    fn what_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path(), 1);
        let beside = |suffix: &str| folder.path().join(format!("x.db{suffix}"));
        std::fs::write(beside("-wal"), "").unwrap();
        std::fs::write(beside("-journal"), [0; 512]).unwrap();
        SourceFile::read(&path).unwrap();
        std::fs::write(beside("-wal"), "w").unwrap();
        assert!(matches!(SourceFile::read(&path), Err(SourceError::Pending("-wal"))));
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(SourceFile::read(&link), Err(SourceError::Pending("-wal"))));
        std::fs::write(beside("-wal"), "").unwrap();
        std::fs::write(beside("-journal"), [0xd9; 512]).unwrap();
        assert!(matches!(SourceFile::read(&path), Err(SourceError::Pending("-journal"))));
        for content in [&b""[..], b"SQLite format 3", &[0; 4096]] {
            std::fs::remove_file(beside("-journal")).ok();
            std::fs::write(&path, content).unwrap();
            assert!(matches!(SourceFile::read(&path), Err(SourceError::NotADatabase)));
        }
    }
}
