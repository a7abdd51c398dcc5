//! `Map`: a file of a generation in memory, read only. The one place where the project maps a file.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Advice, Mmap};

use crate::error::{IndexError, Result};

/// A mapped file. An empty file is an empty slice.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

impl Map {
    /// Maps a file of a published generation.
    pub(crate) fn open(path: &Path, file_name: &str) -> Result<Self> {
        let file = File::open(path).map_err(IndexError::io("open", file_name))?;
        if file.metadata().map_err(IndexError::io("open", file_name))?.is_dir() {
            return Err(IndexError::io("map", file_name)(ErrorKind::IsADirectory.into()));
        }
        #[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
        // SAFETY: a generation's files are created once, synced and never written again: publication replaces the folder that
        // CURRENT names and never touches a file's bytes. What this cannot rule out is another program that truncates or overwrites
        // the file of a running server; folders are 0700 so that only the owner can. No reference outlives the map, and no byte is
        // trusted as anything but bytes before its checksum was compared.
        let map = unsafe { Mmap::map(&file) }.map_err(IndexError::io("map", file_name))?;
        let map = Self(map);
        map.advise_random();
        Ok(map)
    }

    /// Tells the kernel that lookups are random: read-ahead would fetch 128 KiB for each page. One that refuses advice serves all the same.
    pub(crate) fn advise_random(&self) {
        let _ = self.0.advise(Advice::Random);
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
