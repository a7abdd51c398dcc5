//! Target `source`: any bytes as a database file, read by the hundred bytes that SQLite's file format documents.

use std::fs;

use balcao_index::{SourceError, SourceFile};
use xxhash_rust::xxh3::xxh3_64;

use crate::scratch;

/// Pages that are hashed, by docs/formats.md.
const SAMPLED_PAGES: u64 = 64;

/// The identity of any file, against a second reading of it.
pub fn source(data: &[u8]) {
    let Some((&shape, data)) = data.split_first() else { return };
    let folder = scratch::folder();
    let path = folder.path().join("x.db");
    // Longer files than a fuzzer makes: the bytes over and over.
    let bytes = data.repeat(usize::from(shape & 63) + 1);
    fs::write(&path, &bytes).unwrap();
    let beside = match shape >> 6 {
        2 => Some(("x.db-wal", data)),
        3 => Some(("x.db-journal", data)),
        _ => None,
    };
    if let Some((name, content)) = beside {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let is_wal = bytes.get(18..20).map(|versions| versions == [2, 2]);
    assert_eq!(SourceFile::is_wal(&path).ok(), is_wal);
    let found = SourceFile::read(&path);
    let pending = match beside {
        Some(("x.db-wal", content)) => !content.is_empty(),
        Some((_, content)) => content.first().is_some_and(|&byte| byte != 0),
        None => false,
    };
    if pending {
        assert!(matches!(found, Err(SourceError::Pending(_))));
        return;
    }
    let Some(expected) = identity(&bytes) else {
        assert!(matches!(found, Err(SourceError::NotADatabase)));
        return;
    };
    let found = found.unwrap();
    assert_eq!(SourceFile::hash_content(&fs::File::open(&path).unwrap()).unwrap(), xxh3_64(&bytes));
    assert_eq!(found.wal_modified_ns.is_some(), is_wal == Some(true));
    assert_eq!(SourceFile { wal_modified_ns: None, ..found }, expected);
}

fn identity(bytes: &[u8]) -> Option<SourceFile> {
    let header = bytes.get(..100).filter(|header| header.starts_with(b"SQLite format 3\0"))?;
    let number = |at: usize| header[at..at + 4].iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
    let page_bytes = match number(16) >> 16 {
        1 => 65_536,
        size if (9..16).any(|power| size == 1 << power) => size,
        _ => return None,
    };
    let pages: Vec<&[u8]> = bytes.chunks_exact(page_bytes as usize).collect();
    let last = pages.len() as u64 - u64::from(!pages.is_empty());
    let sampled = SAMPLED_PAGES.min(pages.len() as u64);
    let sample: Vec<u8> =
        (0..sampled).flat_map(|i| pages[(i * last / (sampled - 1).max(1)) as usize]).copied().collect();
    Some(SourceFile {
        bytes: bytes.len() as u64,
        page_bytes,
        pages: number(28),
        change_counter: number(24),
        schema_cookie: number(40),
        wal_modified_ns: None,
        sample: xxh3_64(&sample),
        content: None,
    })
}
