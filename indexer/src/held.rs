//! `HeldFile`: the database's file as it lay there when the reading began, so that at its end it is known whether all was read of one file.
//!
//! The identity in the manifest tells one registry from another; this tells one moment from another. It knows nothing of SQLite.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use balcao_index::{Map, SourceFile};

/// A file held open. SQLite opens it by its path, once for each connection, and whoever renames another one into its place, perhaps only for
/// a moment, could have rows of two files mixed.
///
/// It must outlive the connections: closing any handle of a file takes the locks away that the process has on it, SQLite's too.
#[derive(Debug)]
pub(crate) struct HeldFile {
    /// Open, so that its number is not given to another file.
    file: File,
    path: PathBuf,
    status: Status,
}

/// What no touch of the file leaves as it was: a write sets the time of its content, a rename or the loss of a name that of its status.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    device: u64,
    inode: u64,
    bytes: u64,
    content_changed: (i64, i64),
    status_changed: (i64, i64),
}

impl Status {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            content_changed: (metadata.mtime(), metadata.mtime_nsec()),
            status_changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl HeldFile {
    /// Takes hold of the file at `path`, or of what a link there leads to.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let file = File::open(&path)?;
        let status = Status::of(&file.metadata()?);
        Ok(Self { file, path, status })
    }

    /// The file's path, without links: what is opened by it later does not follow a link that was turned elsewhere meanwhile.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes in memory.
    pub(crate) fn map(&self) -> io::Result<Map> {
        Map::of(&self.file)
    }

    /// The hash of all its bytes: those of one state, where the file is found untouched later.
    pub(crate) fn hash_content(&self) -> io::Result<u64> {
        SourceFile::hash_content(&self.file)
    }

    /// Whether the path still leads to this file, and nobody has written, moved or replaced it since.
    pub(crate) fn is_untouched(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| Status::of(&metadata) == self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_touch_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let touches: [(&str, &dyn Fn()); 6] = [
            ("written in place", &|| fs::write(path("a"), "two").unwrap()),
            ("cut", &|| File::options().write(true).open(path("a")).unwrap().set_len(1).unwrap()),
            ("removed", &|| fs::remove_file(path("a")).unwrap()),
            ("replaced", &|| fs::rename(path("b"), path("a")).unwrap()),
            ("replaced by itself in a copy", &|| {
                fs::copy(path("a"), path("c")).unwrap();
                fs::rename(path("c"), path("a")).unwrap();
            }),
            ("away and back", &|| {
                fs::rename(path("a"), path("c")).unwrap();
                fs::rename(path("b"), path("a")).unwrap();
                fs::rename(path("c"), path("a")).unwrap();
            }),
        ];
        for (what, touch) in touches {
            fs::write(path("a"), "one").unwrap();
            fs::write(path("b"), "two").unwrap();
            let held = HeldFile::open(&path("a")).unwrap();
            assert!(held.is_untouched(), "{what}");
            // Clocks of file systems go in steps of some milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
            fs::read(path("a")).unwrap();
            assert!(held.is_untouched(), "{what}");
            touch();
            assert!(!held.is_untouched(), "{what}");
        }
    }

    #[test]
    fn a_link_is_followed_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "one").unwrap();
        std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
        let held = HeldFile::open(&path("link")).unwrap();
        assert_eq!(held.path(), path("a").canonicalize().unwrap());
    }
}
