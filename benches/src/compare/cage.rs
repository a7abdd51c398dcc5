//! `Cage`: a memory cgroup of one run, so that a server has less memory than its files are long.
//!
//! The page cache is charged to whoever reads a page first: what is to be cold must be dropped from it before the server starts. It limits; it measures nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::{processes, scratch};

/// Where cgroups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// How often, and how far apart, the removal is tried: the kernel takes a moment to let the last process go.
const REMOVALS_MAX: usize = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// Memory of a cgroup that is only tried: enough for a shell.
const TRIAL_BYTES: u64 = 16 << 20;

const REMEDY: &str = "run this as root on a machine whose cgroups may be written to, or where a cgroup with the memory controller is delegated";

/// A memory cgroup, removed when it is dropped. Whoever is in it must have ended by then.
#[derive(Debug)]
pub(crate) struct Cage(PathBuf);

impl Cage {
    /// A cgroup below the one of this process, or beside it where that takes no children, with so many bytes of memory, page cache included.
    ///
    /// # Errors
    /// When none can be made here.
    pub(crate) fn new(bytes: u64) -> anyhow::Result<Self> {
        let of_us = fs::read_to_string("/proc/self/cgroup").context("this system has no cgroups")?;
        let name = format!("balcao-{}", std::process::id());
        let mut refusals = Vec::new();
        for (parent, limit) in places(&of_us, Path::new(MOUNT)) {
            match Self::make(&parent.join(&name), limit, bytes) {
                Ok(cage) => return Ok(cage),
                Err(error) => refusals.push(format!("{error:#}")),
            }
        }
        bail!(
            "no memory cgroup can be made here ({}); {REMEDY}",
            if refusals.is_empty() { "no hierarchy has the memory controller".to_owned() } else { refusals.join("; ") }
        )
    }

    /// Makes one, has a process enter it, and removes it.
    ///
    /// # Errors
    /// When no process of this run can be limited here; says what would help.
    pub(crate) fn try_out() -> anyhow::Result<()> {
        let cage = Self::new(TRIAL_BYTES)?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", r#"echo $$ > "$0""#]).arg(cage.entrance()).stdin(Stdio::null());
        processes::output(shell).map(drop).with_context(|| format!("a memory cgroup takes no process in; {REMEDY}"))
    }

    fn make(folder: &Path, limit: &str, bytes: u64) -> anyhow::Result<Self> {
        fs::create_dir(folder).context("the cgroup's folder cannot be made")?;
        scratch::note_cgroup(folder);
        let cage = Self(folder.to_owned());
        let file = folder.join(limit);
        fs::metadata(&file).with_context(|| format!("a new cgroup has no {limit}"))?;
        fs::write(&file, bytes.to_string()).with_context(|| format!("{limit} cannot be written"))?;
        Ok(cage)
    }

    /// The file that takes the processes in.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        remove(&self.0);
        scratch::forget_cgroup(&self.0);
    }
}

/// Removes a cgroup that everybody has left.
pub(crate) fn remove(folder: &Path) {
    for _ in 0..REMOVALS_MAX {
        // Not with what is in it: these are the kernel's files, which go with the folder.
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => std::thread::sleep(REMOVAL_PAUSE),
            _ => return,
        }
    }
}

/// Where a memory cgroup may be made, and the file of its limit: as `/proc/self/cgroup` tells, `HIERARCHY:CONTROLLERS:PATH` a line.
fn places(of_us: &str, mount: &Path) -> Vec<(PathBuf, &'static str)> {
    let lines = || of_us.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let below = |folder: &Path, path: &str| folder.join(path.trim_start_matches('/'));
    let own = lines().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    if let Some((_, path)) = own {
        return vec![(below(&mount.join("memory"), path), "memory.limit_in_bytes")];
    }
    let Some((_, path)) = lines().find(|(controllers, _)| controllers.is_empty()) else { return Vec::new() };
    let own = below(mount, path);
    // One that has processes gives its children no controllers, unless it is the first of all.
    let parent = own.parent().filter(|parent| parent.starts_with(mount)).map(Path::to_owned);
    [own].into_iter().chain(parent).map(|folder| (folder, "memory.max")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(of_us: &str, expected: &[(&str, &str)]) {
        let found = places(of_us, Path::new("/m"));
        let found: Vec<_> = found.iter().map(|(folder, limit)| (folder.to_str().unwrap(), *limit)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn it_is_made_where_this_process_is() {
        check("5:cpu:/x\n4:memory:/a/b\n0::/\n", &[("/m/memory/a/b", "memory.limit_in_bytes")]);
        check("4:hugetlb,memory:/\n", &[("/m/memory/", "memory.limit_in_bytes")]);
        check("0::/user/of:one\n", &[("/m/user/of:one", "memory.max"), ("/m/user", "memory.max")]);
        check("0::/\n", &[("/m/", "memory.max")]);
        check("1:cpu:/\n", &[]);
    }
}
