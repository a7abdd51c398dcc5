//! The index on disk: layout, writer, reader, verify. `docs/formats.md` draws it; the constants stand at the head of each module.
//!
//! The only crate that knows the index's bytes, `fst` and mmap. It knows neither sockets nor SQLite: the indexer hands it sorted keys,
//! the engine asks it for ranks and rowids.

mod error;
mod storage;

mod bits;
mod fault;
mod mmap;
mod sealed;
mod sparse;
pub mod varint;

mod cpf;
mod name_search;
mod name_writer;
mod names;
mod rowids;
mod tokens;
mod words;

mod filters;
mod near;
mod posting_writer;
mod postings;
mod word_index;

mod cluster;
mod generation;
mod manifest;
mod publish;
mod source;
mod verify;

pub use cluster::{CLUSTER_FILE, CLUSTER_FIRST_ROWID, CLUSTER_TABLE, ClusterEntry, cluster_rowid};
pub use cpf::{CpfShardWriter, cpf_code};
pub use error::{IndexError, Result};
pub use fault::{catch_map_faults, map_faults};
pub use filters::{FILTER_BITS, FilterColumns, FilterEntry, FilterValue, FilterWriter, Filters};
pub use generation::{Generation, Part};
pub use manifest::{FORMAT_VERSION, FileEntry, Manifest, ShardEntry};
pub use mmap::Map;
pub use name_writer::{NameShardWriter, NameToken};
pub use near::{NEAR_EDITS_MAX, Near};
pub use posting_writer::WordIndexWriter;
pub use postings::{PostingCursor, Postings};
pub use publish::{AnomaliesWriter, Build, Published, current_generation};
pub use rowids::RowidRange;
pub use sealed::{FOOTER_BYTES, HEADER_BYTES, MAGIC, PAGE_BYTES};
pub use source::{Source, SourceError, SourceFile, SourceStamp};
pub use storage::{NamelessFile, RealFiles, Storage, StoredFile};
pub use tokens::{TokenTable, first_bytes, token_ends};
pub use verify::{Verified, verify};
pub use word_index::{WORD_INDEX_ROWS_MAX, WordIndex};
pub use words::{WordCounter, Words};

/// Layout constants that `docs/formats.md` states; a test holds the page against them.
pub mod layout {
    pub use crate::cpf::CPF_BLOCK_KEYS;
    pub use crate::filters::FILTER_BITS;
    pub use crate::names::{NAME_BLOCK_BYTES, NAME_BLOCK_NAMES};
    pub use crate::postings::BLOCK_POSTINGS;
    pub use crate::words::{WORD_BYTES_MAX, WORDS_MAX};
}

#[cfg(test)]
mod codec_tests;
