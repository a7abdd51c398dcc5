//! Folders for what a target writes: in memory where the system has such a place, for thousands of them are made each second.

use std::path::Path;

use tempfile::TempDir;

const IN_MEMORY: &str = "/dev/shm";

/// A folder that is removed when it is dropped.
pub(crate) fn folder() -> TempDir {
    let in_memory = Path::new(IN_MEMORY).is_dir().then(|| tempfile::tempdir_in(IN_MEMORY).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}
