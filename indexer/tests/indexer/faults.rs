//! The fault table: a small build with a fault at every operation, one after the other. After each the former generation is served and
//! verified, or the new one where it was published; the next build succeeds, and nothing is left beside the two.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use balcao_index::{IndexError, RealFiles, Storage, current_generation};
use balcao_indexer::{BuildError, BuildPlan, SearchPlan, Silent, Summary, build_with, verify};
use balcao_registry::TableName;
use tempfile::TempDir;

use crate::command::{Place, assert_no_litter, folder_in_memory, sorted_names};
use crate::disk::Loss;
use crate::faulty::{EIO, ENOSPC, Fault, Faulty};

const FORMER: &str = "g000002";

/// A database, an index beside it in a state that can be brought back, and how it is built.
struct Ground {
    place: Place,
    /// Holds nothing but the index: the model of the disk may empty it.
    root: TempDir,
    state: Vec<(PathBuf, Option<Vec<u8>>)>,
    former: Option<&'static str>,
    threads: usize,
    memory: u64,
    /// Whether the rows are copied too.
    cluster: bool,
    /// The operations of a build without fault, by name.
    log: Vec<&'static str>,
}

impl Ground {
    /// With a former generation there is also one before it, what a killed build left, and a file that is named like a generation.
    fn new(rows: u64, former: bool, threads: usize, memory: u64) -> Self {
        Self::with(rows, former, threads, memory, false)
    }

    fn with(rows: u64, former: bool, threads: usize, memory: u64, cluster: bool) -> Self {
        let place = Place::registry(rows, 0.2);
        let root = folder_in_memory();
        let former = former.then_some(FORMER);
        let mut ground = Self { place, root, state: Vec::new(), former, threads, memory, cluster, log: Vec::new() };
        if former.is_some() {
            ground.build_well("the first build");
            ground.build_well("the second build");
            fs::create_dir(ground.index().join("g000003")).unwrap();
            fs::write(ground.index().join("g000003/cpf-0000.keys"), "torn").unwrap();
            fs::write(ground.index().join("g000004"), "no folder").unwrap();
            fs::write(ground.index().join("CURRENT.new"), "g0000").unwrap();
        }
        ground.state = contents(ground.root.path());
        ground.log = ground.clean_log();
        // Every clean run counts the same, or the n-th operation would mean nothing.
        (0..3).for_each(|_| assert_eq!(ground.clean_log().len(), ground.log.len()));
        ground
    }

    fn index(&self) -> PathBuf {
        self.root.path().join("a/index")
    }

    /// Builds with storage that `storage` makes. Tries again where the lock is held: another test may just be starting a program, and until
    /// that has begun it holds what is open here.
    fn build<S: Storage>(&self, storage: impl Fn() -> S) -> (S, Result<Summary, BuildError>) {
        let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        let (db, shards) = (PathBuf::from(&self.place.db), NonZero::new(self.threads));
        let plan = BuildPlan {
            db,
            index: self.index(),
            table,
            shards,
            memory: self.memory,
            cluster: self.cluster,
            search: SearchPlan::default(),
        };
        loop {
            let storage = storage();
            match build_with(&plan, shards.unwrap(), &storage, &Silent) {
                Err(BuildError::Index(IndexError::Locked)) => thread::sleep(Duration::from_millis(1)),
                result => return (storage, result),
            }
        }
    }

    #[track_caller]
    fn build_well(&self, what: &str) -> Summary {
        self.build(|| RealFiles).1.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Brings the state back in which every build begins.
    fn bring_back(&self) {
        for entry in fs::read_dir(self.root.path()).unwrap().map(Result::unwrap) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
        for (path, content) in &self.state {
            match content {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::create_dir(path).unwrap(),
            }
        }
    }

    /// The operations of a build without fault.
    fn clean_log(&self) -> Vec<&'static str> {
        self.bring_back();
        let (storage, result) = self.build(|| Faulty::new(self.root.path(), None));
        result.unwrap();
        storage.log()
    }

    /// The number of the only rename: with it the new generation is the current one.
    fn renamed_at(&self) -> usize {
        assert_eq!(self.log.iter().filter(|name| **name == "rename").count(), 1);
        1 + self.log.iter().position(|name| *name == "rename").unwrap()
    }

    /// The number of the operation that makes the generation's folder.
    fn begun_at(&self) -> usize {
        1 + self.log.iter().rposition(|name| *name == "create folder").unwrap()
    }

    /// Every operation of that name, or every one.
    fn numbers(&self, name: Option<&str>) -> Vec<usize> {
        (1..=self.log.len()).filter(|n| name.is_none_or(|name| self.log[n - 1] == name)).collect()
    }

    /// Tries the fault at every operation, or at every one of that name.
    fn try_each(&self, what: &str, fault: Fault, losses: &[Option<Loss>], only: Option<&str>) {
        let mut survived = 0;
        for n in self.numbers(only) {
            for &loss in losses {
                self.try_one(fault, loss, n);
                survived += 1;
            }
        }
        let every = self.clean_log().iter().filter(|name| only.is_none_or(|only| only == **name)).count();
        let tried = every * losses.len();
        let kind = match (self.former, self.threads, self.memory) {
            _ if self.cluster => "build with a copy of the rows",
            (None, ..) => "first build",
            (_, 2.., _) => "build by two threads",
            (.., memory) if memory < MEMORY => "build that spills",
            _ => "build",
        };
        println!("fault table: {kind}, {what} at n-th operation: {tried} tried, {survived} survived");
        assert!(tried > 0);
        assert_eq!(tried, survived, "a clean run has {every} such operations");
    }

    #[track_caller]
    fn try_one(&self, fault: Fault, loss: Option<Loss>, n: usize) {
        let what = format!("{fault:?} {loss:?} at {n}, {}", self.log[n - 1]);
        self.bring_back();
        let (storage, result) = self.build(|| Faulty::new(self.root.path(), Some((fault, n))));
        // The fault came, and where it was meant to; two threads may have changed their order.
        let met = storage.log().get(n - 1).copied();
        assert!(met == Some(self.log[n - 1]) || self.threads > 1 && met.is_some(), "{what}: {met:?}");
        let renamed_at = self.renamed_at();
        let done = matches!(fault, Fault::DoneButFails(_) | Fault::Last);
        let published = n > renamed_at || n == renamed_at && done || fault == Fault::Short;
        // After the rename only the sync of the index's folder can make a build fail.
        let well = match fault {
            Fault::Short => true,
            Fault::DoneButFails(_) => n == renamed_at || n > renamed_at + 1,
            _ => n > renamed_at + 1,
        };
        match &result {
            Ok(_) => assert!(well, "{what}: the build succeeded"),
            Err(error) => {
                assert!(!well, "{what}: {error}");
                self.assert_remedy(fault, &error.to_string());
            }
        }
        // A build that fails and lives on clears up behind itself.
        if !published
            && n > self.begun_at()
            && matches!(fault, Fault::Fails(_) | Fault::DoneButFails(_) | Fault::ShortThenFull)
        {
            let expected: &[&str] =
                if self.former.is_some() { &["CURRENT", "LOCK", "g000001", FORMER] } else { &["LOCK"] };
            assert_eq!(self.names(), expected, "{what}");
        }
        if let Some(loss) = loss {
            storage.disk(|disk| disk.lose(loss));
        }
        let current = match current_generation(&self.index()) {
            Ok(current) => Some(current),
            Err(IndexError::Unpublished) => None,
            Err(error) => panic!("{what}: {error}"),
        };
        // Before the folder is synced nobody knows whether the rename outlives the power.
        let either = loss.is_some() && n == renamed_at;
        let new = if self.former.is_some() { "g000003" } else { "g000001" };
        let expected = if published { Some(new) } else { self.former };
        assert!(current.as_deref() == expected || either && current.as_deref() == self.former, "{what}: {current:?}");
        if current.is_some() {
            self.assert_whole(&what);
        }
        let summary = self.build_well(&what);
        self.assert_whole(&what);
        assert_no_litter(&self.index());
        let kept: BTreeSet<String> = current.into_iter().chain([summary.generation]).collect();
        let expected: Vec<String> = ["CURRENT".to_owned(), "LOCK".to_owned()].into_iter().chain(kept).collect();
        assert_eq!(self.names(), expected, "{what}");
    }

    fn assert_remedy(&self, fault: Fault, error: &str) {
        let remedy = match fault {
            Fault::Fails(ENOSPC) | Fault::ShortThenFull => "free some space",
            _ => "check the disk",
        };
        assert!(error.contains(remedy), "{fault:?}: {error}");
    }

    /// What is published is verified, with the database.
    #[track_caller]
    fn assert_whole(&self, what: &str) {
        let verified = verify(&self.index(), Some(Path::new(&self.place.db)), &Silent);
        verified.unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    fn names(&self) -> Vec<String> {
        sorted_names(&self.index())
    }
}

/// Everything below a folder, folders before what is in them.
fn contents(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.push((path.clone(), None));
            found.extend(contents(&path));
        } else {
            let content = fs::read(&path).unwrap();
            found.push((path, Some(content)));
        }
    }
    found
}

const MEMORY: u64 = 16 << 20;

/// What is not synced when the power goes: gone, zeros, or as a coin decides.
const LOSSES: [Option<Loss>; 5] =
    [Some(Loss::All), Some(Loss::Content), Some(Loss::Some(1)), Some(Loss::Some(2)), Some(Loss::Some(3))];

fn every_fault(ground: &Ground, losses: &[Option<Loss>]) {
    ground.try_each("an I/O error", Fault::Fails(EIO), &[None], None);
    ground.try_each("a full disk", Fault::Fails(ENOSPC), &[None], None);
    ground.try_each("an I/O error though it was done", Fault::DoneButFails(EIO), &[None], None);
    ground.try_each("half a write", Fault::Short, &[None], Some("write"));
    ground.try_each("half a write, then a full disk,", Fault::ShortThenFull, &[None], Some("write"));
    ends(ground, losses);
}

/// The faults after which nothing more is done.
fn ends(ground: &Ground, losses: &[Option<Loss>]) {
    ground.try_each("a dead disk", Fault::Dead(EIO), &[None], None);
    ground.try_each("a killed process", Fault::Last, &[None], None);
    ground.try_each("a power cut", Fault::Last, losses, None);
}

#[test]
fn a_build_after_others() {
    let ground = Ground::new(300, true, 1, MEMORY);
    for name in ["lock", "create", "create folder", "write", "sync", "sync folder", "remove", "remove folder"] {
        assert!(ground.log.contains(&name), "{name}: {:?}", ground.log);
    }
    every_fault(&ground, &LOSSES);
}

#[test]
fn the_first_build() {
    let ground = Ground::new(300, false, 1, MEMORY);
    // The index's folder, the one above it and the generation's.
    assert_eq!(ground.numbers(Some("create folder")).len(), 3);
    every_fault(&ground, &LOSSES);
}

#[test]
fn a_build_that_spills() {
    let ground = Ground::new(700, true, 1, 24 << 10);
    for name in ["create nameless", "spill", "read spilled"] {
        assert!(ground.log.contains(&name), "{name}: {:?}", ground.log);
    }
    every_fault(&ground, &LOSSES[..1]);
}

#[test]
fn a_build_with_a_copy_of_the_rows() {
    let ground = Ground::with(300, true, 1, MEMORY, true);
    every_fault(&ground, &LOSSES[..3]);
}

#[test]
fn a_build_by_two_threads() {
    let ground = Ground::new(300, true, 2, MEMORY);
    ground.try_each("an I/O error", Fault::Fails(EIO), &[None], None);
    ends(&ground, &LOSSES[2..4]);
}
