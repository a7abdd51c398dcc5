//! `Faulty`: real files that count every operation, and at the n-th one do what a bad disk, a killed process or a power cut does.
//!
//! It sees what `Storage` sees: creations, locks, writes, syncs, renames, removals, and reads of the spill file. Each is done, with the model of
//! the disk beside it, under one mutex, so that threads meet the fault one by one.

use std::fmt::Debug;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use balcao_index::{NamelessFile, RealFiles, Storage, StoredFile};

use crate::disk::Disk;

/// Numbers of Linux for what a disk says.
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

/// What happens at the n-th operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing else does.
    Fails(i32),
    /// It is done, and told as failed.
    DoneButFails(i32),
    /// A write takes half of its bytes and says so; the rest is taken with the next one.
    Short,
    /// A write takes half of its bytes, and the disk is full at the next operation.
    ShortThenFull,
    /// It fails, and so does every one after it: a dead disk.
    Dead(i32),
    /// It is done, a write to the half, and nothing is after it: a killed process, a power cut.
    Last,
}

/// The storage.
#[derive(Clone, Debug)]
pub(crate) struct Faulty(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fault: Option<(Fault, usize)>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The operations so far, by name.
    log: Vec<&'static str>,
    /// What every further operation fails with.
    dead: Option<i32>,
    /// What the next one fails with.
    next: Option<i32>,
    disk: Disk,
}

/// How much of an operation is done, and what is told.
struct Verdict {
    done: Done,
    told: Result<(), i32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    Half,
    Whole,
}

impl Faulty {
    /// Storage in and below `root` that has this fault at the operation with this number, counted from one.
    pub(crate) fn new(root: &Path, fault: Option<(Fault, usize)>) -> Self {
        let state = State { log: Vec::new(), dead: None, next: None, disk: Disk::read(root) };
        Self(Arc::new(Shared { fault, state: Mutex::new(state) }))
    }

    /// The operations so far, by name.
    pub(crate) fn log(&self) -> Vec<&'static str> {
        self.0.lock().log.clone()
    }

    /// Calls `look` with the model of the disk.
    pub(crate) fn disk<T>(&self, look: impl FnOnce(&Disk) -> T) -> T {
        look(&self.0.lock().disk)
    }

    fn remove(&self, name: &'static str, path: &Path, remove: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.0.io(name, |disk, _| {
            remove()?;
            if disk.has(path) {
                disk.removed(path);
            }
            Ok(())
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation, has `act` do it or half of it, and tells what is to be told.
    fn touch<T>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut Disk, Done) -> Result<T, TryLockError>,
    ) -> Result<T, TryLockError> {
        let mut state = self.lock();
        let verdict = self.verdict(&mut state, name);
        let error = |number| TryLockError::Error(io::Error::from_raw_os_error(number));
        match verdict {
            Verdict { done: Done::Nothing, told } => Err(error(told.err().unwrap_or(EIO))),
            Verdict { done, told } => {
                let acted = act(&mut state.disk, done)?;
                told.map(|()| acted).map_err(error)
            }
        }
    }

    fn verdict(&self, state: &mut State, name: &'static str) -> Verdict {
        if let Some(number) = state.dead.or(state.next.take()) {
            return Verdict { done: Done::Nothing, told: Err(number) };
        }
        state.log.push(name);
        match self.fault {
            Some((fault, at)) if at == state.log.len() => match fault {
                Fault::Fails(number) => Verdict { done: Done::Nothing, told: Err(number) },
                Fault::DoneButFails(number) => Verdict { done: Done::Whole, told: Err(number) },
                Fault::Short => Verdict { done: Done::Half, told: Ok(()) },
                Fault::ShortThenFull => {
                    state.next = Some(ENOSPC);
                    Verdict { done: Done::Half, told: Ok(()) }
                }
                Fault::Dead(number) => {
                    state.dead = Some(number);
                    Verdict { done: Done::Nothing, told: Err(number) }
                }
                Fault::Last => {
                    state.dead = Some(EIO);
                    Verdict { done: Done::Half, told: Err(EIO) }
                }
            },
            _ => Verdict { done: Done::Whole, told: Ok(()) },
        }
    }

    fn io<T>(&self, name: &'static str, act: impl FnOnce(&mut Disk, Done) -> io::Result<T>) -> io::Result<T> {
        self.touch(name, |disk, done| act(disk, done).map_err(TryLockError::Error)).map_err(io::Error::from)
    }
}

impl Storage for Faulty {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let (file, number) =
            self.0.io("create", |disk, _| Ok((RealFiles.create_file(path)?, disk.created_file(path))))?;
        Ok(Box::new(FaultyFile { file, path: path.to_owned(), number, shared: Arc::clone(&self.0) }))
    }

    fn create_nameless(&self, folder: &Path) -> io::Result<Box<dyn NamelessFile>> {
        let file = self.0.io("create nameless", |_, _| RealFiles.create_nameless(folder))?;
        Ok(Box::new(FaultyNameless { file, shared: Arc::clone(&self.0) }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.io("create folder", |disk, _| {
            RealFiles.create_folder(path)?;
            disk.created_folder(path);
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> Result<File, TryLockError> {
        self.0.touch("lock", |disk, _| {
            let file = RealFiles.lock(path)?;
            if !disk.has(path) {
                disk.created_file(path);
            }
            Ok(file)
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.0.io("sync folder", |disk, _| {
            RealFiles.sync_folder(path)?;
            disk.synced_folder(path);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.io("rename", |disk, _| {
            RealFiles.rename(from, to)?;
            disk.renamed(from, to);
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.remove("remove", path, || RealFiles.remove_file(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.remove("remove folder", path, || RealFiles.remove_folder(path))
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn StoredFile>,
    path: PathBuf,
    number: usize,
    shared: Arc<Shared>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shared.io("write", |disk, done| {
            // Half of one byte is none, and none would be told as the end of the file.
            let taken = if done == Done::Half { bytes.len().div_ceil(2) } else { bytes.len() };
            self.file.write_all(&bytes[..taken])?;
            disk.wrote(self.number, &bytes[..taken]);
            Ok(taken)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StoredFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.shared.io("sync", |disk, _| {
            self.file.sync()?;
            disk.written_by_others(self.number, &self.path);
            disk.synced(self.number);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct FaultyNameless {
    file: Box<dyn NamelessFile>,
    shared: Arc<Shared>,
}

impl NamelessFile for FaultyNameless {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.shared.io("spill", |_, done| {
            let taken = if done == Done::Half { bytes.len() / 2 } else { bytes.len() };
            self.file.write_all_at(&bytes[..taken], at)
        })
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.shared.io("read spilled", |_, _| self.file.read_exact_at(bytes, at))
    }
}
