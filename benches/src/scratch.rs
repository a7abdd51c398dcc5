//! What a run leaves while it goes on, folders, their modes and child processes, and how that is undone also where the run is interrupted.
//!
//! SIGKILL leaves both behind: nobody is asked then.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::compare::cage;

/// What a shell shows for a program that Ctrl-C ended.
const EXIT_INTERRUPTED: i32 = 130;

/// How long children that are asked to end are waited for before they are killed.
const END_WITHIN: Duration = Duration::from_secs(6);

/// What is to be removed if the run is interrupted now.
static LEFT: Mutex<Left> =
    Mutex::new(Left { folders: Vec::new(), modes: Vec::new(), children: Vec::new(), cgroups: Vec::new() });

/// What a mode has beside the kind of the file, and what lets group and others enter a folder.
const MODE_BITS: u32 = 0o7777;
const ENTER_BITS: u32 = 0o011;

struct Left {
    folders: Vec<PathBuf>,
    /// Folders that others may enter meanwhile, and their modes of before.
    modes: Vec<(PathBuf, u32)>,
    /// Process ids, and what each is ended by.
    children: Vec<(Pid, Signal)>,
    cgroups: Vec<PathBuf>,
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT and SIGTERM kill the children, remove the folders and end this program.
///
/// # Errors
/// When the signals cannot be caught.
pub fn clean_up_when_interrupted() -> anyhow::Result<()> {
    let (mut receiver, sender) = UnixStream::pair().context("cannot make a pair of sockets")?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, sender.try_clone()?).context("cannot catch signals")?;
    }
    std::thread::spawn(move || {
        // Holds the other end open, so that this returns only for a signal.
        let _sender = sender;
        if receiver.read_exact(&mut [0]).is_ok() {
            clean_up();
            eprintln!("error: interrupted; what was started is stopped, what was made is removed");
            std::process::exit(EXIT_INTERRUPTED);
        }
    });
    Ok(())
}

/// Kills and removes what is left. Keeps the lock for good: nothing may be started or made any more.
fn clean_up() {
    let left = left();
    for &(pid, end) in &left.children {
        // One that has ended by itself is as good, here and below.
        let _ = kill_process(pid, end);
    }
    let deadline = Instant::now() + END_WITHIN;
    for &(pid, _) in left.children.iter().filter(|(_, end)| *end != Signal::KILL) {
        while matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
            if Instant::now() > deadline {
                let _ = kill_process(pid, Signal::KILL);
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for folder in &left.folders {
        // The program ends in any case.
        let _ = std::fs::remove_dir_all(folder);
    }
    left.modes.iter().for_each(|(folder, mode)| set_mode(folder, *mode));
    left.cgroups.iter().for_each(|folder| cage::remove(folder));
    std::mem::forget(left);
}

/// Notes a child that must not outlive an interrupted run, and the signal that ends it.
pub(crate) fn note_child(child: u32, end: Signal) {
    left().children.extend(pid(child).map(|pid| (pid, end)));
}

/// Forgets a child, before its process id may be given to another one.
pub(crate) fn forget_child(child: u32) {
    left().children.retain(|&(noted, _)| Some(noted) != pid(child));
}

/// Notes a cgroup that must not outlive an interrupted run.
pub(crate) fn note_cgroup(folder: &Path) {
    left().cgroups.push(folder.to_owned());
}

/// Forgets a cgroup that is removed.
pub(crate) fn forget_cgroup(folder: &Path) {
    left().cgroups.retain(|noted| noted != folder);
}

fn pid(child: u32) -> Option<Pid> {
    i32::try_from(child).ok().and_then(Pid::from_raw)
}

/// A folder that is removed when it is dropped and when the run is interrupted.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder in `parent`, under a name that nothing has there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_in(parent: &Path) -> anyhow::Result<Self> {
        // Made and noted in one: an interruption meets it noted, or before it is made.
        let mut left = left();
        let folder = tempfile::Builder::new().prefix("balcao-").tempdir_in(parent);
        let folder = folder.with_context(|| format!("cannot make a folder in {}", parent.display()))?.keep();
        left.folders.push(folder.clone());
        Ok(Self(folder))
    }

    /// An empty folder at `path`, in the place of what a run that was killed may have left there.
    ///
    /// # Errors
    /// When that cannot be removed, or the folder not be made.
    pub fn anew(path: &Path) -> anyhow::Result<Self> {
        let mut left = left();
        let removed = match std::fs::symlink_metadata(path) {
            Ok(there) if there.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(_) => Ok(()),
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
        std::fs::create_dir(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        left.folders.push(path.to_owned());
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// From now on the folder stays.
    pub fn keep(self) {
        forget_folder(&self.0);
        std::mem::forget(self);
    }
}

fn forget_folder(folder: &Path) {
    left().folders.retain(|noted| noted != folder);
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Forgotten only when it is gone: an interruption meanwhile removes the rest. What cannot be removed stays.
        let _ = std::fs::remove_dir_all(&self.0);
        forget_folder(&self.0);
    }
}

/// A folder that every user may enter until this is dropped or the run is interrupted; nobody may list it who could not before.
#[derive(Debug)]
pub(crate) struct Passage(PathBuf);

impl Passage {
    /// Lets others through `folder`.
    pub(crate) fn through(folder: &Path) -> anyhow::Result<Self> {
        let mut left = left();
        let metadata = std::fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
        let mode = metadata.permissions().mode() & MODE_BITS;
        left.modes.push((folder.to_owned(), mode));
        std::fs::set_permissions(folder, Permissions::from_mode(mode | ENTER_BITS))
            .with_context(|| format!("cannot let other users into {}", folder.display()))?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut left = left();
        if let Some(at) = left.modes.iter().position(|(folder, _)| *folder == self.0) {
            let (folder, mode) = left.modes.swap_remove(at);
            set_mode(&folder, mode);
        }
    }
}

fn set_mode(folder: &Path, mode: u32) {
    // One that is gone needs no mode.
    let _ = std::fs::set_permissions(folder, Permissions::from_mode(mode));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_noted_until_it_is_gone_or_kept() {
        let parent = tempfile::tempdir().unwrap();
        let is_noted = |path: &Path| left().folders.iter().any(|noted| noted == path);
        let scratch = Scratch::new_in(parent.path()).unwrap();
        let path = scratch.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        assert!(is_noted(&path));
        drop(scratch);
        assert!(!path.exists() && !is_noted(&path));
        let path = parent.path().join("half");
        std::fs::write(&path, "a file of a run before").unwrap();
        drop(Scratch::anew(&path).unwrap());
        std::fs::create_dir_all(path.join("of a run before")).unwrap();
        let scratch = Scratch::anew(&path).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        assert!(is_noted(&path));
        scratch.keep();
        assert!(path.is_dir() && !is_noted(&path));
    }

    #[test]
    fn a_passage_is_closed_again() {
        let folder = tempfile::tempdir().unwrap();
        let mode = || std::fs::metadata(folder.path()).unwrap().permissions().mode() & MODE_BITS;
        set_mode(folder.path(), 0o700);
        let passage = Passage::through(folder.path()).unwrap();
        assert_eq!(mode(), 0o711);
        drop(passage);
        assert_eq!(mode(), 0o700);
    }
}
