//! One damage: done to a copy of the index, held against `verify` and a server, and mended.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Bench;
use super::asking::{self, Answers};
use super::subject::{Kind, Subject};
use crate::processes::{self, Server};
use crate::rng::Rng;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// These bits of the byte at this place are flipped.
    Flip(u64, u8),
    /// It ends at this length.
    Cut(u64),
}

impl Change {
    /// Where it happens.
    pub(crate) fn at(self) -> u64 {
        match self {
            Self::Flip(at, _) | Self::Cut(at) => at,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Flip(at, bits) => format!("byte {at}, bits {bits:08b}"),
            Self::Cut(length) => format!("cut to {length} bytes"),
        }
    }
}

/// One damage of one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) file: &'a Subject,
    pub(crate) change: Change,
    /// Draws its questions.
    pub(crate) number: u64,
}

/// What became of a damaged index.
#[derive(Debug)]
pub(crate) struct Came {
    /// `None` where the server refused it.
    pub(crate) answers: Option<Answers>,
    /// What was not as promised.
    pub(crate) faults: Vec<String>,
    pub(crate) took: Duration,
}

/// `count` flips: at least one in twelve in each kind of file, the others where they fall by size. Each byte has new bits, whichever.
pub(crate) fn flips(files: &[Subject], count: usize, seed: u64) -> Vec<Trial<'_>> {
    let mut rng = Rng::new(seed, 101);
    let fall = |rng: &mut Rng, of: &dyn Fn(&Subject) -> bool| {
        let bytes: u64 = files.iter().filter(|file| of(file)).map(|file| file.bytes).sum();
        let mut at = rng.below(bytes as usize) as u64;
        for file in files.iter().filter(|file| of(file)) {
            if at < file.bytes {
                return Some((file, at));
            }
            at -= file.bytes;
        }
        None
    };
    let kinds = Kind::ALL.iter().flat_map(|&kind| vec![Some(kind); count.div_ceil(12)]);
    let kinds = kinds.chain(std::iter::repeat(None)).take(count);
    let mut trials: Vec<_> = kinds
        .zip(0..)
        .filter_map(|(kind, number)| {
            let (file, at) = fall(&mut rng, &|file| kind.is_none_or(|kind| file.kind == kind))?;
            Some(Trial { file, change: Change::Flip(at, rng.between(1, 255) as u8), number })
        })
        .collect();
    rng.shuffle(&mut trials);
    trials
}

/// `count` lengths, drawn for each kind of file in turn.
pub(crate) fn cuts(files: &[Subject], count: usize, seed: u64) -> Vec<Trial<'_>> {
    let mut rng = Rng::new(seed, 102);
    let kinds = Kind::ALL.iter().cycle().take(count).zip(0..);
    kinds
        .filter_map(|(&kind, number)| {
            let of_kind: Vec<_> = files.iter().filter(|file| file.kind == kind).collect();
            let file = of_kind.get(rng.below(of_kind.len()))?;
            Some(Trial { file, change: Change::Cut(rng.below(file.bytes as usize) as u64), number })
        })
        .collect()
}

/// A copy of the index that is damaged and mended.
#[derive(Debug)]
pub(crate) struct Victim {
    whole: PathBuf,
    folder: tempfile::TempDir,
}

impl Victim {
    /// A copy of `whole` in a folder of its own below `parent`.
    pub(crate) fn copy_of(whole: &Path, parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(parent).context("cannot make a folder for a copy of the index")?;
        copy(whole, folder.path())?;
        Ok(Self { whole: whole.to_owned(), folder })
    }

    /// Damages, judges and mends.
    pub(crate) fn try_out(&self, bench: &Bench<'_>, trial: &Trial<'_>) -> anyhow::Result<Came> {
        let started = Instant::now();
        let (path, index) = (self.folder.path().join(&trial.file.path), self.folder.path());
        let file = File::options().read(true).write(true).open(&path)?;
        match trial.change {
            Change::Flip(at, bits) => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at)?;
                file.write_all_at(&[byte[0] ^ bits], at)?;
            }
            Change::Cut(length) => file.set_len(length)?,
        }
        let mut faults = Vec::new();
        faults.extend(verify(index, trial)?);
        let answers = match serve(bench, index, trial) {
            Ok(answers) => answers,
            Err(error) => {
                faults.push(format!("{error:#}"));
                None
            }
        };
        faults.extend(answers.iter().flat_map(|answers| answers.wrong.iter().cloned()));
        let place = format!("{}, {}", trial.file.name, trial.change.describe());
        faults.iter_mut().for_each(|fault| *fault = format!("{place}: {fault}"));
        fs::copy(self.whole.join(&trial.file.path), &path).context("cannot mend the copy of the index")?;
        Ok(Came { answers, faults, took: started.elapsed() })
    }
}

/// Runs `indexer verify`, which must end with 1 and name the file; what it did otherwise.
fn verify(index: &Path, trial: &Trial<'_>) -> anyhow::Result<Option<String>> {
    let mut command = processes::command("indexer")?;
    command.arg("verify").arg("--index").arg(index).stdout(Stdio::null());
    let output = command.output().context("cannot run `indexer verify`")?;
    let told = String::from_utf8_lossy(&output.stderr);
    let is_well = output.status.code() == Some(1) && told.starts_with("error: ") && told.contains(&trial.file.name);
    Ok((!is_well).then(|| format!("`indexer verify` ended with {}, and said: {}", output.status, told.trim())))
}

/// Starts a server and asks it about the place of the damage; `None` where it refuses to start and names the file.
pub(crate) fn serve(bench: &Bench<'_>, index: &Path, trial: &Trial<'_>) -> anyhow::Result<Option<Answers>> {
    let arguments: [&OsStr; 4] = ["--db".as_ref(), bench.db.as_os_str(), "--index".as_ref(), index.as_os_str()];
    match Server::start(&arguments) {
        // It is killed when it goes out of scope.
        Ok(server) => asking::ask(bench, trial, server.address).map(Some),
        Err(error) => {
            let told = format!("{error:#}");
            let is_well = told.contains("error: ") && told.contains(&trial.file.name) && !told.contains("panicked");
            if is_well { Ok(None) } else { Err(error) }
        }
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).context("cannot list the index")? {
        let entry = entry?;
        let inside = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &inside)?;
        } else {
            fs::copy(entry.path(), inside).context("cannot copy the index")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<Subject> {
        let file = |(kind, bytes): (&Kind, u64)| {
            let name = kind.as_str().to_owned();
            Subject { kind: *kind, path: PathBuf::from(&name), name, bytes, shard: None }
        };
        Kind::ALL.iter().zip([9000, 8, 100, 1, 50, 60, 70, 5, 3, 2]).map(file).collect()
    }

    #[test]
    fn every_kind_has_its_share() {
        let files = files();
        for (trials, least) in [(flips(&files, 1000, 1), 83), (cuts(&files, 100, 1), 10)] {
            assert!(trials.iter().all(|trial| trial.change.at() < trial.file.bytes));
            for kind in Kind::ALL {
                let count = trials.iter().filter(|trial| trial.file.kind == kind).count();
                assert!(count >= least, "{kind:?}: {count}");
            }
        }
        assert_eq!((flips(&files, 1000, 2).len(), cuts(&files, 100, 2).len()), (1000, 100));
    }
}
