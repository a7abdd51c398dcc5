//! `Map`: a file in memory, read only. The one place where the project maps a file.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::path::Path;

use memmap2::{Advice, Mmap};

use crate::error::{IndexError, Result};

/// A mapped file. An empty file is an empty slice. Who reads it compares [`map_faults`](crate::map_faults) before and after.
#[derive(Debug)]
pub struct Map(Mmap);

impl Map {
    /// Maps a file of a published generation.
    pub(crate) fn open(path: &Path, file_name: &str) -> Result<Self> {
        // Before it is opened: to open a pipe is to wait for whoever writes into it.
        let kind = fs::metadata(path).map_err(IndexError::io("open", file_name))?.file_type();
        if kind.is_dir() {
            return Err(IndexError::io("map", file_name)(ErrorKind::IsADirectory.into()));
        }
        if !kind.is_file() {
            return Err(IndexError::damaged(file_name, 0, "it is no plain file"));
        }
        let file = File::open(path).map_err(IndexError::io("open", file_name))?;
        let map = Self::of(&file).map_err(IndexError::io("map", file_name))?;
        map.advise_random();
        Ok(map)
    }

    /// Maps a file that is open, as long as it is now.
    ///
    /// # Errors
    /// The system's.
    pub fn of(file: &File) -> io::Result<Self> {
        #[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
        // SAFETY: a generation's files are created once, synced and never written again: publication replaces the folder that
        // CURRENT names and never touches a file's bytes. The registry's database is taken as one that nobody writes to; its stamp is looked at once a
        // second, and a build holds SQLite's lock. What this cannot rule out is another program that truncates or overwrites the file of a running
        // server. No reference outlives the map, no byte of an index is trusted as anything but bytes before its checksum was compared, and rows
        // are copied out before a server reads them; a build reads them where they lie, and believes nothing of it unless the file was left alone
        // until its end.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// Tells the kernel that lookups are random: read-ahead would fetch 128 KiB for each page. One that refuses advice serves all the same.
    pub fn advise_random(&self) {
        let _ = self.0.advise(Advice::Random);
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_plain_files_are_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "x").unwrap();
        assert_eq!(*Map::open(&path("file"), "file").unwrap(), *b"x");
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for special in [path("pipe"), path("socket"), "/dev/null".into()] {
            let error = Map::open(&special, "special").unwrap_err().to_string();
            assert!(error.contains("no plain file") && error.contains("indexer build"), "{error}");
        }
        assert!(Map::open(folder.path(), "folder").unwrap_err().to_string().contains("remove the folder"));
    }
}
