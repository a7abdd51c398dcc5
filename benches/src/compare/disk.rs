//! Whether the disk has room for what a run makes, less what a kept folder has of it already.
//!
//! It knows how much a row takes at most, not what each figure makes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::ground::{made_folder, postgres_folder};
use super::{Figure, Plan};
use crate::measure::check_disk;

/// What a row takes of the disk at most, in bytes: the registry, two copies with SQLite's indexes and two with FTS5's, PostgreSQL's, our indexes, some of them with
/// their own rows, and what sorting takes meanwhile.
const BYTES_PER_ROW: u64 = 900;

/// The same without peers.
const BYTES_PER_ROW_OF_OURS: u64 = 100;

/// Bytes of a block as the kernel counts them, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// Refuses to begin where the disk has too little room for the plan.
pub(crate) fn check(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<()> {
    let folder = plan.keep.clone().or_else(|| plan.work.clone()).unwrap_or_else(std::env::temp_dir);
    let there = plan.keep.as_ref().map_or(0, |folder| kept(plan, folder));
    if there > 0 {
        progress(&format!("{:.1} GB of what is needed lie in {} already", there as f64 / 1e9, folder.display()));
    }
    check_disk(&existing(&folder), needed(plan).saturating_sub(there), progress)
}

/// Bytes that the plan takes at most where nothing of it is there.
fn needed(plan: &Plan) -> u64 {
    let scale: u64 = plan.sizes.iter().map(|rows| rows * BYTES_PER_ROW_OF_OURS).sum();
    let others = plan.make.rows * BYTES_PER_ROW;
    (if has_scale(plan) { scale } else { 0 }) + (if has_others(plan) { others } else { 0 })
}

fn has_scale(plan: &Plan) -> bool {
    plan.figures.contains(&Figure::Scale)
}

fn has_others(plan: &Plan) -> bool {
    plan.figures.iter().any(|figure| *figure != Figure::Scale)
}

/// Bytes in a kept folder that are counted in [`needed`] and need not be written again.
fn kept(plan: &Plan, folder: &Path) -> u64 {
    let made = folder.join(made_folder(&plan.make));
    let whole = format!("{}.", plan.make.rows);
    // Of the registries of several sizes nothing else is kept.
    let of_sizes: Vec<String> = plan.sizes.iter().map(|rows| format!("{rows}.db")).collect();
    let is_counted = |name: &str| {
        has_others(plan) && name.starts_with(&whole) || has_scale(plan) && of_sizes.iter().any(|size| size == name)
    };
    let mut bytes = 0;
    for entry in fs::read_dir(&made).into_iter().flatten().flatten() {
        if is_counted(&entry.file_name().to_string_lossy()) {
            bytes += bytes_below(&entry.path());
        }
    }
    if has_others(plan) {
        bytes += bytes_below(&folder.join(postgres_folder(&plan.make)));
    }
    bytes
}

/// What a file takes of the disk, or a folder with all that is in it; nothing where it cannot be looked at: rather too much is asked for.
fn bytes_below(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * BLOCK_BYTES;
    if !metadata.is_dir() {
        return own;
    }
    own + fs::read_dir(path).into_iter().flatten().flatten().map(|entry| bytes_below(&entry.path())).sum::<u64>()
}

/// The folder itself, or the nearest above it that there is: they are on one disk.
fn existing(folder: &Path) -> PathBuf {
    let above = folder.ancestors().find(|above| above.is_dir());
    above.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::plan;

    #[test]
    fn it_is_asked_for_what_is_measured() {
        let mut plan = plan(Path::new("results.md"));
        let bench = needed(&plan);
        plan.figures = Plan::figures(true);
        assert_eq!((bench, needed(&plan)), (7000 * 900, 30 * 100));
    }

    #[test]
    fn what_is_kept_is_not_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(Path::new("results.md"));
        let put = |name: &str, bytes: usize| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![1; bytes]).unwrap();
        };
        assert_eq!(kept(&plan, folder.path()), 0);
        put("0.01-1/7000.db", 200_000);
        put("0.01-1/7000.index/g000001/cpf-0000.keys", 100_000);
        put("7000-0.01-1.postgres/data/base/1", 400_000);
        // Of another plan.
        put("0.01-1/70000.db", 10_000_000);
        put("0.01-2/7000.db", 10_000_000);
        put("0.01-1/10.db", 50_000);
        let all = kept(&plan, folder.path());
        assert!((700_000..1_000_000).contains(&all), "{all}");
        plan.figures = Plan::figures(true);
        let of_sizes = kept(&plan, folder.path());
        assert!((50_000..200_000).contains(&of_sizes), "{of_sizes}");
    }

    #[test]
    fn a_kept_folder_is_always_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = plan(Path::new("results.md"));
        plan.make.rows = 1 << 50;
        for kept in [folder.path().to_owned(), folder.path().join("not/yet")] {
            plan.keep = Some(kept);
            let error = check(&plan, |_| ()).unwrap_err().to_string();
            assert!(error.contains("are missing") && error.contains("--keep"), "{error}");
        }
        plan.make.rows = 1;
        check(&plan, |_| ()).unwrap();
    }
}
