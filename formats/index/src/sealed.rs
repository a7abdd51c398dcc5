//! The frame that every binary file of a generation shares: a header, a body, a checksum for each page of it, and a footer that seals
//! them. A reader compares the footer at open and a page's checksum before the first use of that page.
//!
//! It does not know what a body means: kinds and parameters belong to the modules that write them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{IndexError, Result};
use crate::manifest::{FORMAT_VERSION, FileEntry};
use crate::mmap::Map;
use crate::storage::{Storage, StoredFile};

/// The first bytes of every binary file.
pub const MAGIC: [u8; 8] = *b"BALCAOIX";

/// Header: magic (8 bytes), format version, kind, shard (`u32` each, little endian as all numbers), zeros.
pub const HEADER_BYTES: usize = 64;

/// Bytes of the body that share a checksum. Four pages of memory: small enough that a first touch hashes it in 2 µs, large enough
/// that the checksums are half a thousandth of the file.
pub const PAGE_BYTES: usize = 16 * 1024;

/// Footer: bytes of the body, xxh3 of the checksum table, [`PARAMETERS`] parameters of the kind, and the seal: the xxh3 of the header
/// and of all these. `u64` each.
pub const FOOTER_BYTES: usize = 8 * (3 + PARAMETERS);

/// Numbers that a kind may keep in its footer.
pub(crate) const PARAMETERS: usize = 12;

/// What a kind keeps in its footer.
pub(crate) type Parameters = [u64; PARAMETERS];

const _: () = assert!(PAGE_BYTES.is_power_of_two() && HEADER_BYTES <= PAGE_BYTES && FOOTER_BYTES == 120);

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Words = 1,
    CpfKeys = 2,
    Rowids = 3,
    NameKeys = 4,
    WordIndex = 5,
    Filters = 6,
}

/// What is read at once when a whole file is compared: whole pages.
const CHECK_BYTES: usize = 64 * PAGE_BYTES;

/// Buffer between the writer and the file; storage is asked once for each filling of it.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Writes a sealed file from its beginning to its end.
pub(crate) struct SealedWriter {
    name: String,
    out: BufWriter<Box<dyn StoredFile>>,
    header: [u8; HEADER_BYTES],
    position: u64,
    page: Xxh3,
    checksums: Vec<u8>,
}

impl SealedWriter {
    pub(crate) fn create(storage: &dyn Storage, folder: &Path, name: &str, kind: Kind, shard: u32) -> Result<Self> {
        let file = storage.create_file(&folder.join(name)).map_err(IndexError::io("create", name))?;
        let mut writer = Self {
            name: name.to_owned(),
            out: BufWriter::with_capacity(WRITE_BUFFER_BYTES, file),
            header: header(kind, shard),
            position: 0,
            page: Xxh3::new(),
            checksums: Vec::new(),
        };
        writer.write(&writer.header.clone())?;
        Ok(writer)
    }

    /// Bytes of the body so far, the header included.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(IndexError::io("write", &*self.name))?;
        while !bytes.is_empty() {
            let room = PAGE_BYTES - self.position as usize % PAGE_BYTES;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.page.update(now);
            self.position += now.len() as u64;
            if now.len() == room {
                self.end_page();
            }
            bytes = later;
        }
        Ok(())
    }

    /// Writes the checksums and the footer, and syncs the file.
    pub(crate) fn finish(mut self, parameters: &Parameters) -> Result<FileEntry> {
        if !self.position.is_multiple_of(PAGE_BYTES as u64) {
            self.end_page();
        }
        let mut tail = std::mem::take(&mut self.checksums);
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend_from_slice(&self.position.to_le_bytes());
        footer.extend_from_slice(&xxh3_64(&tail).to_le_bytes());
        parameters.iter().for_each(|parameter| footer.extend_from_slice(&parameter.to_le_bytes()));
        let seal = seal(&self.header, &footer);
        footer.extend_from_slice(&seal.to_le_bytes());
        tail.extend_from_slice(&footer);
        self.out.write_all(&tail).map_err(IndexError::io("write", &*self.name))?;
        let mut file = self.out.into_inner().map_err(|e| IndexError::io("write", &*self.name)(e.into_error()))?;
        file.sync().map_err(IndexError::io("sync", &*self.name))?;
        Ok(FileEntry { bytes: self.position + tail.len() as u64, name: self.name, checksum: seal })
    }

    fn end_page(&mut self) {
        self.checksums.extend_from_slice(&self.page.digest().to_le_bytes());
        self.page.reset();
    }
}

/// A sealed file, mapped. Bytes are handed out only after their pages' checksums were compared.
#[derive(Debug)]
pub(crate) struct SealedFile {
    name: String,
    map: Arc<Map>,
    body_bytes: usize,
    table_checksum: u64,
    parameters: Parameters,
    /// One bit for each page whose checksum was compared and held.
    checked: Box<[AtomicU64]>,
}

impl SealedFile {
    /// Opens the file that `entry` describes. Its length, header, footer and checksum table are compared; no page is yet.
    pub(crate) fn open(folder: &Path, entry: &FileEntry, kind: Kind, shard: u32) -> Result<Self> {
        let name = entry.name.clone();
        let map = Arc::new(Map::open(&folder.join(&name), &name)?);
        let length = map.len() as u64;
        if length != entry.bytes {
            let what = format!("it has {length} bytes, the manifest says {}", entry.bytes);
            return Err(IndexError::damaged(&name, length.min(entry.bytes), what));
        }
        let footer_at = map.len().checked_sub(FOOTER_BYTES).filter(|&at| at >= HEADER_BYTES);
        let footer_at = footer_at.ok_or_else(|| IndexError::damaged(&name, 0, "it is too short"))?;
        check_header(&name, &map[..HEADER_BYTES], kind, shard)?;
        let (footer, written) = map[footer_at..].split_at(FOOTER_BYTES - 8);
        let got = seal(&map[..HEADER_BYTES], footer);
        if got.to_le_bytes() != written || got != entry.checksum {
            let what = format!("the footer's checksum is {got:016x}, the manifest says {:016x}", entry.checksum);
            return Err(IndexError::damaged(&name, footer_at as u64, what));
        }
        let mut words = footer.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let body_bytes = words.next().unwrap_or_default();
        let table_checksum = words.next().unwrap_or_default();
        let mut parameters = Parameters::default();
        parameters.iter_mut().zip(words).for_each(|(parameter, word)| *parameter = word);
        let pages = body_bytes.div_ceil(PAGE_BYTES as u64);
        let whole = pages.checked_mul(8).and_then(|table| table.checked_add(body_bytes));
        if whole != Some(footer_at as u64) {
            return Err(IndexError::damaged(&name, footer_at as u64, "body and checksums do not fill the file"));
        }
        let body_bytes = body_bytes as usize;
        if xxh3_64(&map[body_bytes..footer_at]) != table_checksum {
            return Err(IndexError::damaged(&name, body_bytes as u64, "the checksum table does not hold"));
        }
        let checked = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { name, map, body_bytes, table_checksum, parameters, checked })
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Bytes of the body, the header included.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes as u64
    }

    /// Bytes `range` of the body, their pages checked.
    pub(crate) fn bytes(&self, range: Range<u64>) -> Result<&[u8]> {
        let range = range.start as usize..range.end as usize;
        let Some(bytes) = self.map[..self.body_bytes].get(range.clone()) else {
            return Err(IndexError::damaged(&self.name, range.start as u64, "an offset points beyond the body"));
        };
        if !bytes.is_empty() {
            for page in range.start / PAGE_BYTES..=(range.end - 1) / PAGE_BYTES {
                if self.checked[page / 64].load(Ordering::Relaxed) & 1 << (page % 64) == 0 {
                    self.check_page(page)?;
                }
            }
        }
        Ok(bytes)
    }

    /// Bytes `range` of the body, their pages checked now and not again.
    pub(crate) fn part(&self, range: Range<u64>) -> Result<SealedPart> {
        self.bytes(range.clone())?;
        Ok(SealedPart { map: Arc::clone(&self.map), range: range.start as usize..range.end as usize })
    }

    /// Bytes from `start` to at most `length` further, less where the body ends.
    pub(crate) fn bytes_up_to(&self, start: u64, length: u64) -> Result<&[u8]> {
        let end = start.saturating_add(length).min(self.body_bytes as u64);
        self.bytes(start.min(end)..end)
    }

    /// Compares every page's checksum. Reads the file in `folder` once more, not the map: what cannot be read is an error here, and no fault.
    pub(crate) fn check_all(&self, folder: &Path) -> Result<()> {
        let file = File::open(folder.join(&self.name)).map_err(IndexError::io("open", &*self.name))?;
        let mut table = vec![0; self.body_bytes.div_ceil(PAGE_BYTES) * 8];
        self.read(&file, &mut table, self.body_bytes)?;
        if xxh3_64(&table) != self.table_checksum {
            return Err(self.damaged(self.body_bytes as u64, "the checksum table does not hold"));
        }
        let mut piece = vec![0; CHECK_BYTES.min(self.body_bytes)];
        for start in (0..self.body_bytes).step_by(CHECK_BYTES) {
            let piece = &mut piece[..CHECK_BYTES.min(self.body_bytes - start)];
            self.read(&file, piece, start)?;
            for (number, bytes) in piece.chunks(PAGE_BYTES).enumerate() {
                let page = start / PAGE_BYTES + number;
                self.compare_page(page, bytes, &table[page * 8..page * 8 + 8])?;
            }
        }
        Ok(())
    }

    fn read(&self, file: &File, bytes: &mut [u8], at: usize) -> Result<()> {
        file.read_exact_at(bytes, at as u64).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged(at as u64, "the file was cut short"),
            _ => IndexError::io("read", &*self.name)(error),
        })
    }

    /// Damage inside the body that checksums cannot see: a defect of the writer, or a forged file.
    pub(crate) fn damaged(&self, at: u64, what: impl Into<String>) -> IndexError {
        IndexError::damaged(&self.name, at, what)
    }

    #[cold]
    fn check_page(&self, page: usize) -> Result<()> {
        let start = page * PAGE_BYTES;
        let place = self.body_bytes + page * 8;
        self.compare_page(
            page,
            &self.map[start..(start + PAGE_BYTES).min(self.body_bytes)],
            &self.map[place..place + 8],
        )
    }

    fn compare_page(&self, page: usize, bytes: &[u8], checksum: &[u8]) -> Result<()> {
        let start = page * PAGE_BYTES;
        if xxh3_64(bytes).to_le_bytes() != checksum {
            let what = format!("the checksum of bytes {start} to {} does not hold", start + bytes.len());
            return Err(IndexError::damaged(&self.name, start as u64, what));
        }
        self.checked[page / 64].fetch_or(1 << (page % 64), Ordering::Relaxed);
        Ok(())
    }
}

/// A part of a sealed file whose pages were checked.
#[derive(Clone, Debug)]
pub(crate) struct SealedPart {
    map: Arc<Map>,
    range: Range<usize>,
}

impl AsRef<[u8]> for SealedPart {
    fn as_ref(&self) -> &[u8] {
        self.map.get(self.range.clone()).unwrap_or_default()
    }
}

fn header(kind: Kind, shard: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    header[16..20].copy_from_slice(&shard.to_le_bytes());
    header
}

fn check_header(name: &str, got: &[u8], kind: Kind, shard: u32) -> Result<()> {
    let expected = header(kind, shard);
    if got[..8] == expected[..8] && got[8..12] != expected[8..12] {
        let got = u32::from_le_bytes([got[8], got[9], got[10], got[11]]);
        return Err(IndexError::Version {
            file: name.to_owned(),
            what: "format version",
            expected: FORMAT_VERSION.into(),
            got: got.into(),
        });
    }
    match expected.iter().zip(got).position(|(a, b)| a != b) {
        Some(at) => Err(IndexError::damaged(name, at as u64, "the header is not that of this file")),
        None => Ok(()),
    }
}

fn seal(header: &[u8], footer: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(header);
    hash.update(footer);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealFiles;

    fn write(folder: &Path, body: &[u8]) -> FileEntry {
        let mut writer = SealedWriter::create(&RealFiles, folder, "f", Kind::Words, 7).unwrap();
        body.chunks(1000).for_each(|chunk| writer.write(chunk).unwrap());
        writer.finish(&[3; PARAMETERS]).unwrap()
    }

    #[test]
    fn reads_back_and_refuses_every_flipped_byte() {
        for length in [0, 1, PAGE_BYTES - HEADER_BYTES, PAGE_BYTES, 2 * PAGE_BYTES + 5] {
            let folder = tempfile::tempdir().unwrap();
            let body: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let entry = write(folder.path(), &body);
            let path = folder.path().join("f");
            let file = SealedFile::open(folder.path(), &entry, Kind::Words, 7).unwrap();
            let start = HEADER_BYTES as u64;
            assert_eq!(file.bytes(start..start + length as u64).unwrap(), body);
            assert_eq!(file.parameters(), &[3; PARAMETERS]);
            assert!(file.bytes(0..start + length as u64 + 1).is_err());
            let good = std::fs::read(&path).unwrap();
            // Every byte of the small ones, a stride that meets every region of the large ones.
            for at in (0..good.len()).step_by(1 + good.len() / 2000) {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                std::fs::write(&path, &bad).unwrap();
                let opened = SealedFile::open(folder.path(), &entry, Kind::Words, 7);
                assert!(
                    opened.is_err() || opened.unwrap().check_all(folder.path()).is_err(),
                    "byte {at} of {}",
                    good.len()
                );
            }
        }
    }

    #[test]
    fn another_files_twin_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let entry = write(folder.path(), b"one");
        std::fs::remove_file(folder.path().join("f")).unwrap();
        write(folder.path(), b"two");
        assert!(matches!(SealedFile::open(folder.path(), &entry, Kind::Words, 7), Err(IndexError::Damaged { .. })));
        assert!(SealedFile::open(folder.path(), &entry, Kind::Rowids, 7).is_err());
        assert!(SealedFile::open(folder.path(), &entry, Kind::Words, 8).is_err());
    }
}
