//! `IndexError`: everything that can go wrong between a key and its rowids.

use std::io;

/// The crate's result.
pub type Result<T, E = IndexError> = std::result::Result<T, E>;

/// Why an index could not be written, opened or asked. Files are named without their folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The operating system refused.
    #[error("cannot {action} {file}: {cause}{}", remedy(.cause))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file's name.
        file: String,
        /// What the system said. The message holds it: it is no `source()`, so that a chain of errors tells it once.
        cause: io::Error,
    },
    /// There is no published generation.
    #[error("no index is published in this folder; run `indexer build` first")]
    Unpublished,
    /// A file is of another kind, or of a version that this program does not read.
    #[error(
        "{file} has {what} {got}, this program reads {expected}; rebuild the index with this version's `indexer build`"
    )]
    Version {
        /// The file's name.
        file: String,
        /// What differs.
        what: &'static str,
        /// What this program reads.
        expected: u64,
        /// What the file says.
        got: u64,
    },
    /// Bytes are not what was written.
    #[error("{file} is damaged at byte {at}: {what}; rebuild the index with `indexer build`")]
    Damaged {
        /// The file's name.
        file: String,
        /// Where, in bytes from the file's beginning.
        at: u64,
        /// What was found.
        what: String,
    },
    /// Another build is at work in the folder.
    #[error("another build is at work in this folder; wait for it to end")]
    Locked,
    /// The writer was given keys out of order: a defect of the caller.
    #[error("keys must be pushed in ascending order (shard {shard})")]
    Order {
        /// The shard.
        shard: u32,
    },
}

/// Linux's number for an error of input or output, for which there is no kind.
const EIO: i32 = 5;

/// What to do about the commonest refusals of the system.
fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "; the index is not whole: build it again with `indexer build`",
        io::ErrorKind::IsADirectory => "; a file belongs there: remove the folder and build the index again",
        io::ErrorKind::PermissionDenied => "; check who owns the index's folder",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space and build again",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; its file system is mounted read-only: make it writable, or name another folder for the index"
        }
        io::ErrorKind::FileTooLarge => {
            "; files may not grow so large here: raise the limit (`ulimit -f`) and build again"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "; name a folder for the index",
        _ if cause.raw_os_error() == Some(EIO) => "; check the disk and build again",
        _ => "",
    }
}

impl IndexError {
    /// Wraps an I/O error with what was tried on which file.
    pub(crate) fn io(action: &'static str, file: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |cause| Self::Io { action, file, cause }
    }

    pub(crate) fn damaged(file: &str, at: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), at, what: what.into() }
    }
}
