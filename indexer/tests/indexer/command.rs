//! Runs the binary, and makes the databases that it is run on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use balcao_datasets::{Plan, Recipe, write_registry};
use balcao_index::Generation;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

/// Runs `indexer`.
pub(crate) fn run(args: &[&str]) -> Ended {
    ended(Command::new(env!("CARGO_BIN_EXE_indexer")).args(args))
}

/// Runs a command to its end.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
}

/// Runs `indexer`, which must end well: the JSON line that it prints.
#[track_caller]
pub(crate) fn run_json(args: &[&str]) -> Value {
    let ended = run(&[args, &["--json"]].concat());
    assert_eq!((ended.code, &*ended.error), (Some(0), ""), "{args:?}");
    assert_eq!(ended.out.lines().count(), 1, "{args:?}: {}", ended.out);
    serde_json::from_str(&ended.out).unwrap()
}

/// Runs `indexer`, which must fail with exit code 1 and an error that says each of `told`.
#[track_caller]
pub(crate) fn refused(args: &[&str], told: &[&str]) {
    let ended = run(args);
    assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{args:?}: {}", ended.error);
    assert!(ended.error.starts_with("error: ") && ended.error.lines().count() == 1, "{args:?}: {}", ended.error);
    for told in told {
        assert!(ended.error.contains(told), "{args:?} does not say {told}: {}", ended.error);
    }
}

/// A folder with a database and room for an index.
pub(crate) struct Place {
    /// Removed with the place.
    _folder: TempDir,
    pub(crate) db: String,
    pub(crate) index: String,
}

impl Place {
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    fn in_folder(folder: TempDir) -> Self {
        let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        let (db, index) = (path("basecpf.db"), path("index"));
        Self { _folder: folder, db, index }
    }

    /// The database that this SQL makes.
    pub(crate) fn of(sql: &str) -> Self {
        let place = Self::new();
        place.write(sql);
        place
    }

    /// A registry of `rows` rows, the share `dirty` of them dirty.
    pub(crate) fn registry(rows: u64, dirty: f64) -> Self {
        Self::new().with_registry(rows, dirty)
    }

    /// The same in a folder for hundreds of builds.
    pub(crate) fn registry_in_memory(rows: u64, dirty: f64) -> Self {
        Self::in_folder(folder_in_memory()).with_registry(rows, dirty)
    }

    fn with_registry(self, rows: u64, dirty: f64) -> Self {
        let recipe = Recipe::new(rows, 5, dirty).unwrap();
        write_registry(&Plan { recipe, out: PathBuf::from(&self.db) }, |_| {}).unwrap();
        self
    }

    pub(crate) fn write(&self, sql: &str) {
        Connection::open(&self.db).unwrap().execute_batch(sql).unwrap();
    }

    /// The arguments that build its index.
    pub(crate) fn build<'a>(&'a self, further: &[&'a str]) -> Vec<&'a str> {
        [&["build", "--db", &self.db, "--out", &self.index], further].concat()
    }

    /// The folder of the current generation.
    pub(crate) fn generation(&self) -> PathBuf {
        let current = fs::read_to_string(Path::new(&self.index).join("CURRENT")).unwrap();
        Path::new(&self.index).join(current.strip_suffix('\n').unwrap())
    }

    /// The names in the index's folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        sorted_names(Path::new(&self.index))
    }

    /// The index's folder holds `CURRENT`, `LOCK` and at most two generations, and these nothing that their manifests do not name.
    #[track_caller]
    pub(crate) fn assert_no_litter(&self) {
        assert_no_litter(Path::new(&self.index));
    }
}

/// As [`Place::assert_no_litter`].
#[track_caller]
pub(crate) fn assert_no_litter(index: &Path) {
    let current = Generation::open_current(index).unwrap();
    let former = current.manifest().former.as_ref().map(|former| Generation::open(&index.join(former)).unwrap());
    let mut kept = vec!["CURRENT".to_owned(), "LOCK".to_owned()];
    for generation in former.iter().chain([&current]) {
        let mut files: Vec<_> = generation.manifest().files().map(|file| &*file.name).collect();
        files.push("MANIFEST");
        files.sort_unstable();
        assert_eq!(sorted_names(generation.folder()), files);
        kept.push(generation.folder().file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(sorted_names(index), kept);
}

/// A folder in memory, where there is one: a sync costs nothing there.
pub(crate) fn folder_in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The names in a folder.
pub(crate) fn sorted_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A table like a registry's, with long random names: few rows fill much memory.
pub(crate) const LONG_NAMES: &str = "CREATE TABLE cpf(cpf, nome, sexo, nasc);
    WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 150000)
        INSERT INTO cpf(rowid, cpf, nome) SELECT n * 1000003 - 70000000000, abs(random()) % 100000000000, hex(randomblob(40)) FROM k;";
