//! What every measure needs: the machine and the day, processes as the kernel sees them, several measurements of one thing, sections of a
//! Markdown file.
//!
//! It measures nothing of its own accord, and judges nothing.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::fs::{Advice, fadvise};

use crate::table::{Registry, quoted};

pub(crate) mod machine;
pub(crate) mod markdown;
pub(crate) mod observing;
pub(crate) mod records;
pub(crate) mod section;
pub(crate) mod spread;

pub(crate) fn count_rows(registry: &Registry) -> anyhow::Result<u64> {
    let sql = format!("SELECT count(*) FROM {}", quoted(&registry.table));
    let rows: i64 =
        registry.open()?.query_row(&sql, [], |row| row.get(0)).context("cannot count the rows of the table")?;
    Ok(rows as u64)
}

/// Brings a file to the disk and into the page cache, so that neither is part of what is measured next.
pub(crate) fn settle(path: &Path) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.sync_all()?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Asks the kernel to forget the pages of files; it does so where no process maps them.
pub(crate) fn drop_from_cache(files: &[PathBuf]) -> anyhow::Result<()> {
    for path in files {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed).context("cannot drop a file from the page cache")?;
    }
    Ok(())
}

/// The files of the generation that `index` serves.
pub(crate) fn index_files(index: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let current = std::fs::read_to_string(index.join("CURRENT")).context("the index names no generation")?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(index.join(current.trim_end()))? {
        files.push(entry?.path());
    }
    Ok(files)
}

/// Refuses to begin where `folder` has less than `needed` bytes free.
pub(crate) fn check_disk(folder: &Path, needed: u64, progress: impl Fn(&str)) -> anyhow::Result<()> {
    let disk =
        rustix::fs::statvfs(folder).with_context(|| format!("cannot ask for the disk of {}", folder.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let (needed_gb, free_gb) = (gb(needed), gb(free));
    progress(&format!("needs up to {needed_gb:.1} GB of disk, {free_gb:.1} GB are free"));
    ensure!(
        free > needed,
        "too little disk: up to {needed_gb:.1} GB are needed and {free_gb:.1} GB are free, so that {:.2} GB are missing in {}; free them, name a \
         folder on another disk with --work or --keep, or measure fewer rows",
        gb(needed - free),
        folder.display()
    );
    Ok(())
}

/// `duration` in seconds.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
