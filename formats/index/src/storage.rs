//! `Storage`: every touch of the file system by writer and publisher, so that tests can count the touches and let each of them fail.
//! `RealFiles` is the product's.
//!
//! Only what changes the disk goes through here, and what is read back of a nameless file. Finished files are mapped, folders listed and
//! small texts read without it.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Files hold names: their owner's eyes only.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Where a build writes. Its files are made once, readable by their owner only, and synced before anything points at them.
pub trait Storage: Debug + Send + Sync {
    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// What the system says.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Creates a file in `folder` that has no name: whatever ends the build, nothing is left of it.
    ///
    /// # Errors
    /// What the system says.
    fn create_nameless(&self, folder: &Path) -> io::Result<Box<dyn NamelessFile>>;

    /// Creates a folder that must not exist yet; the one above it must.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Opens the lock file, creating it where it is missing, and locks it until the file is dropped. Its content means nothing.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] while another holds it; what the system says.
    fn lock(&self, path: &Path) -> Result<File, TryLockError>;

    /// Makes the names inside a folder durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Puts `from` in the place of `to` at once.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// What the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder; one that is not there is removed already.
    ///
    /// # Errors
    /// What the system says.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
}

/// A file that is written from its beginning to its end.
pub trait StoredFile: Debug + Send + Write {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file without a name, written and read at any place by any thread.
pub trait NamelessFile: Debug + Send + Sync {
    /// Writes all of `bytes` at the place `at`.
    ///
    /// # Errors
    /// What the system says.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Fills `bytes` from the place `at`.
    ///
    /// # Errors
    /// What the system says.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

/// The system's own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Storage for RealFiles {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?))
    }

    fn create_nameless(&self, folder: &Path) -> io::Result<Box<dyn NamelessFile>> {
        Ok(Box::new(tempfile::tempfile_in(folder)?))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(FOLDER_MODE).create(path)
    }

    fn lock(&self, path: &Path) -> Result<File, TryLockError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
        let file = file.map_err(TryLockError::Error)?;
        file.try_lock()?;
        Ok(file)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        removed(fs::remove_file(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        removed(fs::remove_dir(path))
    }
}

impl StoredFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl NamelessFile for File {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, at)
    }
}

fn removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Writes a small file that must not exist yet, and syncs it.
pub(crate) fn write_file(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = storage.create_file(path)?;
    file.write_all(bytes)?;
    file.sync()
}

/// Creates a folder and what is missing above it, each durable in the one above.
pub(crate) fn create_folders(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    // The folder above a bare name is the one that the program stands in.
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    create_folders(storage, above)?;
    match storage.create_folder(path) {
        // Another build may have been quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => storage.sync_folder(above),
    }
}

/// Removes what has this name, a folder with all that is in it. A link is removed and not followed, at the top too: what it leads to is
/// somebody else's.
pub(crate) fn remove_tree(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return storage.remove_file(path);
    }
    for entry in fs::read_dir(path)? {
        remove_tree(storage, &entry?.path())?;
    }
    storage.remove_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_removed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folders(&RealFiles, &deep).unwrap();
        create_folders(&RealFiles, &deep).unwrap();
        write_file(&RealFiles, &deep.join("f"), b"x").unwrap();
        assert!(write_file(&RealFiles, &deep.join("f"), b"y").is_err());
        assert!(create_folders(&RealFiles, &deep.join("f")).is_err());
        // What a link points at is not ours.
        fs::create_dir(folder.path().join("kept")).unwrap();
        fs::write(folder.path().join("kept/f"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path().join("kept"), deep.join("link")).unwrap();
        // Nor where the link itself is what shall go; one that leads nowhere is a link too.
        for target in ["kept", "missing"] {
            let link = folder.path().join("top");
            std::os::unix::fs::symlink(folder.path().join(target), &link).unwrap();
            remove_tree(&RealFiles, &link).unwrap();
            assert!(link.symlink_metadata().is_err());
        }
        remove_tree(&RealFiles, &folder.path().join("a")).unwrap();
        assert!(!folder.path().join("a").exists() && folder.path().join("kept/f").exists());
        remove_tree(&RealFiles, &folder.path().join("kept/f")).unwrap();
        assert!(!folder.path().join("kept/f").exists());
        RealFiles.remove_file(&deep).unwrap();
        RealFiles.remove_folder(&deep).unwrap();
    }
}
