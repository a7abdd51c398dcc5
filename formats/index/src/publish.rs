//! `Build`: the life of a new generation, from an empty folder to the one that `CURRENT` names.
//!
//! A generation's folder is written once. `CURRENT` is replaced by a rename after everything that it will name is durable, so that a build
//! which dies at any point leaves the former generation served; what it left is removed by the next build.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{IndexError, Result};
use crate::generation::Generation;
use crate::manifest::{ANOMALIES_FILE, FileEntry, MANIFEST_FILE, Manifest};
use crate::storage::{RealFiles, Storage, StoredFile, create_folders, remove_tree, write_file};

/// One line: the name of the generation that is served.
pub(crate) const CURRENT_FILE: &str = "CURRENT";
const CURRENT_NEW_FILE: &str = "CURRENT.new";
const LOCK_FILE: &str = "LOCK";

/// A generation's name: `g` and its number in at least six digits.
const NAME_DIGITS: usize = 6;

/// A build at work, under the folder's exclusive lock. Dropped unpublished, it removes its folder.
#[derive(Debug)]
pub struct Build<'a> {
    storage: &'a dyn Storage,
    index: PathBuf,
    name: String,
    former: Option<String>,
    published: bool,
    /// Held until the build ends; the system lets go of it when the process dies.
    _lock: File,
}

impl Build<'static> {
    /// Begins a generation in the folder `index`, which is created where it is missing.
    ///
    /// # Errors
    /// [`IndexError::Locked`] while another build is at work; [`IndexError::Io`].
    pub fn begin(index: &Path) -> Result<Self> {
        Build::begin_with(&RealFiles, index)
    }
}

impl<'a> Build<'a> {
    /// [`Build::begin`] over any storage.
    ///
    /// # Errors
    /// As [`Build::begin`].
    pub fn begin_with(storage: &'a dyn Storage, index: &Path) -> Result<Self> {
        create_folders(storage, index).map_err(IndexError::io("create", folder_name(index)))?;
        let lock = storage.lock(&index.join(LOCK_FILE)).map_err(|error| match error {
            TryLockError::WouldBlock => IndexError::Locked,
            TryLockError::Error(error) => IndexError::io("lock", LOCK_FILE)(error),
        })?;
        // What dead builds left goes now, so that a full disk does not stay full; but only where it is certain what is dead. With a CURRENT or a
        // current generation that cannot be read, any other may be the good one: nothing goes before this build is published.
        let former = match current_generation(index) {
            Ok(current) => {
                if let Ok((manifest, _)) = Manifest::read(&index.join(&current)) {
                    remove_others(
                        storage,
                        index,
                        &[Some(current.clone()), manifest.former].into_iter().flatten().collect::<Vec<_>>(),
                    )?;
                }
                Some(current)
            }
            Err(IndexError::Unpublished) => {
                remove_others(storage, index, &[])?;
                None
            }
            Err(IndexError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let number = generations(index)?.filter_map(|name| name[1..].parse::<u64>().ok()).max().unwrap_or(0) + 1;
        let name = format!("g{number:0NAME_DIGITS$}");
        storage.create_folder(&index.join(&name)).map_err(IndexError::io("create", &*name))?;
        Ok(Self { storage, index: index.to_owned(), name, former, published: false, _lock: lock })
    }

    /// The folder to write the generation's files into.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.index.join(&self.name)
    }

    /// The generation's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The generation that is current while this one is built.
    #[must_use]
    pub fn former(&self) -> Option<&str> {
        self.former.as_deref()
    }

    /// Begins the generation's list of anomalies.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn anomalies(&self) -> Result<AnomaliesWriter> {
        AnomaliesWriter::create(self.storage, &self.folder())
    }

    /// Opens what was written as a server would, and compares the checksum of every page: what did not reach the disk whole is not
    /// published. The checksum of a copy of the rows is that of what was read back already.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn check(&self, manifest: &Manifest) -> Result<()> {
        crate::verify::check_sealed(&self.open(manifest)?)
    }

    /// Opens what is written so far, as `manifest` says.
    ///
    /// # Errors
    /// As [`Generation::open`].
    pub fn open(&self, manifest: &Manifest) -> Result<Generation> {
        Generation::open_unpublished(&self.folder(), manifest.clone())
    }

    /// Writes the manifest and makes the generation the current one; then removes all but this and the former one.
    ///
    /// # Errors
    /// [`IndexError::Io`]. Until `CURRENT` is replaced the former generation stays; where only the sync behind that failed, the new one is
    /// current, and a power cut could bring the former one back.
    pub fn publish(mut self, manifest: &Manifest) -> Result<()> {
        let folder = self.folder();
        write_file(self.storage, &folder.join(MANIFEST_FILE), manifest.to_text()?.as_bytes())
            .map_err(IndexError::io("write", MANIFEST_FILE))?;
        self.storage.sync_folder(&folder).map_err(IndexError::io("sync", &*self.name))?;
        let new = self.index.join(CURRENT_NEW_FILE);
        self.storage.remove_file(&new).map_err(IndexError::io("remove", CURRENT_NEW_FILE))?;
        write_file(self.storage, &new, format!("{}\n", self.name).as_bytes())
            .map_err(IndexError::io("write", CURRENT_NEW_FILE))?;
        // The generation's own folder must be durable in the index's before CURRENT names it.
        self.sync_index()?;
        self.replace_current(&new)?;
        self.sync_index()?;
        let kept: Vec<_> = self.former.iter().cloned().chain([self.name.clone()]).collect();
        // It is published: an old generation that cannot be removed now is removed by the next build.
        let _ = remove_others(self.storage, &self.index, &kept);
        Ok(())
    }

    fn sync_index(&self) -> Result<()> {
        self.storage.sync_folder(&self.index).map_err(IndexError::io("sync", folder_name(&self.index)))
    }

    /// Puts `new` in the place of `CURRENT`. A file system behind a network may say no to what it did: only where `CURRENT` certainly names
    /// another generation, or none, may this one's folder be removed.
    fn replace_current(&mut self, new: &Path) -> Result<()> {
        let Err(error) = self.storage.rename(new, &self.index.join(CURRENT_FILE)) else {
            self.published = true;
            return Ok(());
        };
        match current_generation(&self.index) {
            Ok(current) if current == self.name => {
                self.published = true;
                return Ok(());
            }
            Ok(_) | Err(IndexError::Unpublished) => {}
            Err(_) => self.published = true,
        }
        Err(IndexError::io("replace", CURRENT_FILE)(error))
    }
}

impl Drop for Build<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed by the next build.
            let _ = remove_tree(self.storage, &self.folder());
            let _ = self.storage.remove_file(&self.index.join(CURRENT_NEW_FILE));
        }
    }
}

/// Writes `anomalies.csv`: a header line, then a line for each anomaly.
pub struct AnomaliesWriter {
    out: BufWriter<Box<dyn StoredFile>>,
    hash: Box<xxhash_rust::xxh3::Xxh3>,
    bytes: u64,
}

impl AnomaliesWriter {
    fn create(storage: &dyn Storage, folder: &Path) -> Result<Self> {
        let file =
            storage.create_file(&folder.join(ANOMALIES_FILE)).map_err(IndexError::io("create", ANOMALIES_FILE))?;
        let mut writer = Self { out: BufWriter::new(file), hash: Box::default(), bytes: 0 };
        writer.line(format_args!("rowid,kind\n"))?;
        Ok(writer)
    }

    /// Adds an anomaly of the row `rowid`. `kind` is a plain word.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn push(&mut self, rowid: i64, kind: &str) -> Result<()> {
        self.line(format_args!("{rowid},{kind}\n"))
    }

    /// Syncs the file.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn finish(self) -> Result<FileEntry> {
        let checksum = self.hash.digest();
        let mut file =
            self.out.into_inner().map_err(|error| IndexError::io("write", ANOMALIES_FILE)(error.into_error()))?;
        file.sync().map_err(IndexError::io("sync", ANOMALIES_FILE))?;
        Ok(FileEntry { name: ANOMALIES_FILE.to_owned(), bytes: self.bytes, checksum })
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) -> Result<()> {
        let line = line.to_string();
        self.hash.update(line.as_bytes());
        self.bytes += line.len() as u64;
        self.out.write_all(line.as_bytes()).map_err(IndexError::io("write", ANOMALIES_FILE))
    }
}

/// What is published, at a glance: the name of the generation, and the file that says so. A generation may come by the name of one that was removed;
/// it does not come by the same `CURRENT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    generation: String,
    inode: u64,
    /// Last change of the file or of what the system keeps about it, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl Published {
    /// Looks at what is published in the folder `index`.
    ///
    /// # Errors
    /// As [`current_generation`].
    pub fn read(index: &Path) -> Result<Self> {
        let (inode, changed) = Self::stamp(index)?;
        Ok(Self { generation: current_generation(index)?, inode, changed })
    }

    /// As [`Published::read`], and without a descriptor as long as nothing was published since `self`.
    ///
    /// # Errors
    /// As [`current_generation`].
    pub fn glance(&self, index: &Path) -> Result<Self> {
        if Self::stamp(index)? == (self.inode, self.changed) { Ok(self.clone()) } else { Self::read(index) }
    }

    fn stamp(index: &Path) -> Result<(u64, (i64, i64))> {
        let metadata = match fs::metadata(index.join(CURRENT_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(IndexError::Unpublished),
            result => result.map_err(IndexError::io("read", CURRENT_FILE))?,
        };
        Ok((metadata.ino(), (metadata.ctime(), metadata.ctime_nsec())))
    }
}

/// The name of the generation that is published in the folder `index`.
///
/// # Errors
/// [`IndexError::Unpublished`] where there is none; [`IndexError::Damaged`] where `CURRENT` is no name.
pub fn current_generation(index: &Path) -> Result<String> {
    let bytes = match fs::read(index.join(CURRENT_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(IndexError::Unpublished),
        result => result.map_err(IndexError::io("read", CURRENT_FILE))?,
    };
    match str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n')) {
        Some(name) if is_generation(name) => Ok(name.to_owned()),
        _ => Err(IndexError::damaged(CURRENT_FILE, 0, "it does not name a generation")),
    }
}

/// Only what is named like a generation is ever removed.
fn is_generation(name: &str) -> bool {
    name.strip_prefix('g')
        .is_some_and(|number| number.len() >= NAME_DIGITS && number.bytes().all(|b| b.is_ascii_digit()))
}

fn generations(index: &Path) -> Result<impl Iterator<Item = String> + use<>> {
    let entries = fs::read_dir(index).map_err(IndexError::io("list", folder_name(index)))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| is_generation(name)))
}

fn remove_others(storage: &dyn Storage, index: &Path, kept: &[String]) -> Result<()> {
    for name in generations(index)?.filter(|name| !kept.contains(name)) {
        remove_tree(storage, &index.join(&name)).map_err(IndexError::io("remove", name))?;
    }
    Ok(())
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "the index folder".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::example;

    fn publish(index: &Path) -> String {
        let build = Build::begin(index).unwrap();
        let name = build.name().to_owned();
        let former = build.former().map(str::to_owned);
        build.publish(&Manifest { generation: name.clone(), former, ..example() }).unwrap();
        name
    }

    fn folders(index: &Path) -> Vec<String> {
        let mut names: Vec<_> = generations(index).unwrap().collect();
        names.sort();
        names
    }

    #[test]
    fn current_and_former_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index");
        assert!(matches!(current_generation(&index), Err(IndexError::Unpublished)));
        let names: Vec<_> = (0..4).map(|_| publish(&index)).collect();
        assert_eq!(current_generation(&index).unwrap(), names[3]);
        assert_eq!(folders(&index), names[2..]);
    }

    #[test]
    fn a_dead_build_leaves_nothing_behind_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path();
        let name = publish(index);
        drop(Build::begin(index).unwrap());
        assert_eq!(folders(index), std::slice::from_ref(&name));
        // What a killed process leaves, and what is not ours.
        fs::create_dir(index.join("g000077")).unwrap();
        fs::write(index.join("g000077/cpf-0000.keys"), "x").unwrap();
        fs::create_dir(index.join("good")).unwrap();
        let next = publish(index);
        assert_eq!(folders(index), [name, next]);
        assert!(index.join("good").exists());
    }

    #[test]
    fn a_second_build_at_the_same_time_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let build = Build::begin(folder.path()).unwrap();
        assert!(matches!(Build::begin(folder.path()), Err(IndexError::Locked)));
        drop(build);
        Build::begin(folder.path()).unwrap();
    }

    #[test]
    fn only_the_owner_reads() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index");
        let name = publish(&index);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&index), mode(&index.join(&name))), (0o700, 0o700));
        assert_eq!((mode(&index.join(CURRENT_FILE)), mode(&index.join(&name).join(MANIFEST_FILE))), (0o600, 0o600));
    }

    #[test]
    fn a_damaged_current_is_mended_by_the_next_build() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path();
        let good = ["g000001", "g000002"];
        for damaged in [&b"?"[..], b"\xff\n", b"g000077\n"] {
            fs::remove_dir_all(index).unwrap();
            publish(index);
            publish(index);
            fs::write(index.join(CURRENT_FILE), damaged).unwrap();
            // A build that fails removes nothing that may be good; one that succeeds puts an end to the doubt.
            drop(Build::begin(index).unwrap());
            assert_eq!(folders(index), good);
            assert_eq!(publish(index), "g000003");
            assert_eq!(folders(index), ["g000003"]);
        }
    }

    #[test]
    fn the_former_survives_a_damaged_current_generation() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path();
        publish(index);
        publish(index);
        fs::write(index.join("g000002").join(MANIFEST_FILE), "?").unwrap();
        drop(Build::begin(index).unwrap());
        assert_eq!(folders(index), ["g000001", "g000002"]);
    }

    #[test]
    fn a_current_that_names_no_generation_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "g1\n", "../g000001\n", "g000001", "g00000x\n"] {
            fs::write(folder.path().join(CURRENT_FILE), text).unwrap();
            assert!(matches!(current_generation(folder.path()), Err(IndexError::Damaged { .. })), "{text:?}");
        }
    }
}
