//! `build --cluster`: what the copy of the rows holds, whatever the memory, and what becomes of a build whose copy fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use balcao_index::{Build, CLUSTER_FILE, CLUSTER_TABLE, ClusterEntry, Generation};
use balcao_indexer::{BuildError, BuildPlan, MEMORY_MIN, Progress, SearchPlan, Silent, build, verify};
use balcao_registry::TableName;
use rusqlite::Connection;

use crate::command::{LONG_NAMES, Place, refused, run, run_json};
use crate::small_disk::{Ballast, SmallDisk};

fn copy_of(place: &Place) -> PathBuf {
    place.generation().join(CLUSTER_FILE)
}

/// The rowids, and what this SQL gives for each row of the copy.
fn rows(place: &Place, sql: &str) -> Vec<(i64, String)> {
    let connection = Connection::open(copy_of(place)).unwrap();
    let mut statement =
        connection.prepare(&format!("SELECT rowid, {sql} FROM {CLUSTER_TABLE} ORDER BY rowid")).unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

fn copy_file(name: &String, from: &Path, to: &Path) {
    fs::copy(from.join(name), to.join(name)).unwrap();
}

fn verified(place: &Place) {
    verify(Path::new(&place.index), Some(Path::new(&place.db)), &Silent).unwrap();
}

#[test]
fn the_copy_and_its_bytes() {
    let place = Place::of(
        "CREATE TABLE cpf(cpf TEXT, nome TEXT, n INTEGER);
         INSERT INTO cpf VALUES ('1', 'EVA', 1), ('2', NULL, 2), ('3', 'Ana', 3), ('4', 'ána', 4), ('5', '-', 5), ('6', 'ANA', 6), ('7', 'ANA B', 7);",
    );
    let without = run_json(&place.build(&[]));
    assert!(without.get("cluster_bytes").is_none() && !copy_of(&place).exists(), "{without}");
    let with = run_json(&place.build(&["--cluster"]));
    assert_eq!(with["bytes"], without["bytes"]);
    let file = fs::metadata(copy_of(&place)).unwrap();
    assert_eq!(with["cluster_bytes"], file.len());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    // In the order of the names' keys, equal ones in that of their rowids, and without those that have none.
    let found: Vec<_> = rows(&place, "CAST(n AS TEXT)");
    let expected = [(1, "3"), (2, "4"), (3, "6"), (4, "7"), (5, "1")];
    assert_eq!(found, expected.map(|(rowid, n)| (rowid, n.to_owned())));
    verified(&place);
    let stats = run_json(&["stats", "--index", &place.index]);
    assert_eq!((&stats["cluster_bytes"], &stats["bytes_total"]), (&with["cluster_bytes"], &with["bytes"]));
    let told = run(&["stats", "--index", &place.index]).out + &run(&place.build(&["--cluster"])).out;
    let bytes = file.len().to_string();
    assert_eq!(told.lines().filter(|line| line.starts_with("copy ") && line.contains(&bytes)).count(), 2, "{told}");
    place.assert_no_litter();
    // It goes with its generation.
    run_json(&place.build(&[]));
    run_json(&place.build(&[]));
    assert!(!copy_of(&place).exists());
    place.assert_no_litter();
}

/// Windows of any size give one copy, byte by byte.
#[test]
fn any_memory_and_any_number_of_threads() {
    let place = Place::of(LONG_NAMES);
    let copy = |memory: u64, threads: usize| {
        let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        let (db, index) = (PathBuf::from(&place.db), PathBuf::from(&place.index));
        let plan = BuildPlan { db, index, table, shards: None, memory, cluster: true, search: SearchPlan::default() };
        let threads = threads.try_into().unwrap();
        balcao_indexer::build_with(&plan, threads, &balcao_index::RealFiles, &Silent).unwrap();
        verified(&place);
        fs::read(copy_of(&place)).unwrap()
    };
    let first = copy(1 << 30, 2);
    for (memory, threads) in [(MEMORY_MIN, 1), (MEMORY_MIN, 3), (1 << 20, 5)] {
        assert!(copy(memory, threads) == first, "{memory} bytes, {threads} threads");
    }
}

#[test]
fn rows_that_no_window_has_room_for() {
    let place = Place::of(
        "CREATE TABLE cpf(cpf, nome, v, w);
         WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 4000)
            INSERT INTO cpf SELECT n, printf('NOME %05d', n * 7919 % 4001), n, CASE WHEN n % 500 = 3 THEN randomblob(5000000) END FROM k;",
    );
    run_json(&place.build(&["--cluster", "--memory", "16MiB"]));
    verified(&place);
    let long =
        rows(&place, "printf('%d %s', length(w), nome)").into_iter().filter(|(_, row)| row.starts_with("5000000 "));
    assert_eq!(long.count(), 8);
}

/// A copy that holds by its checksum, and has other rows than the table.
#[test]
fn a_copy_of_other_rows() {
    let place = Place::registry(3000, 0.2);
    run_json(&place.build(&["--cluster"]));
    let index = Path::new(&place.index);
    let first = Generation::open_current(index).unwrap();
    let (last, kept) = (first.manifest().name_rows, tempfile::tempdir().unwrap());
    let files: Vec<_> = first.manifest().files().map(|file| file.name.clone()).collect();
    files.iter().for_each(|name| copy_file(name, first.folder(), kept.path()));
    let changes = [
        ("UPDATE cluster SET sexo = 'X' WHERE rowid = 1500".to_owned(), 1499),
        ("UPDATE cluster SET sexo = CAST(sexo AS BLOB) WHERE rowid = 2".to_owned(), 1),
        ("DELETE FROM cluster WHERE rowid = 7".to_owned(), 6),
        (format!("DELETE FROM cluster WHERE rowid = {last}"), last - 1),
        ("INSERT INTO cluster(nome) VALUES ('MAIS UMA')".to_owned(), last),
        (format!("UPDATE cluster SET rowid = {} WHERE rowid = {last}", last + 1), last - 1),
    ];
    for (change, rank) in changes {
        let build = Build::begin(index).unwrap();
        files.iter().for_each(|name| copy_file(name, kept.path(), &build.folder()));
        Connection::open(build.folder().join(CLUSTER_FILE)).unwrap().execute(&change, []).unwrap();
        let mut manifest = first.manifest().clone();
        build.name().clone_into(&mut manifest.generation);
        manifest.former = build.former().map(str::to_owned);
        manifest.cluster = Some(ClusterEntry::measure(&build.folder()).unwrap());
        build.check(&manifest).unwrap();
        build.publish(&manifest).unwrap();
        run_json(&["verify", "--index", &place.index]);
        let verify = ["verify", "--index", &place.index, "--db", &place.db];
        refused(&verify, &["the copy of the rows differs", &format!("rank {rank} "), "build the index again"]);
    }
}

/// Does something once, when the copy is begun.
struct WhenCopying<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> Progress for WhenCopying<F> {
    fn stage(&self, name: &'static str) {
        if name == "copying" {
            self.0.lock().unwrap().take().expect("a build copies once")();
        }
    }

    fn rows(&self, _: u64, _: f64) {}
}

#[test]
fn the_database_changes_while_it_is_copied() {
    let place = Place::registry(5000, 0.1);
    run_json(&place.build(&[]));
    let (before, whole, names) = (place.generation(), fs::read(&place.db).unwrap(), place.names());
    let changes: [(&str, &(dyn Fn() + Sync)); 3] = [
        ("other rows", &|| {
            fs::remove_file(&place.db).unwrap();
            place.write("CREATE TABLE cpf(cpf, nome, sexo, nasc); INSERT INTO cpf VALUES ('191', 'ANA', 1, 2)");
        }),
        ("cut", &|| fs::File::options().write(true).open(&place.db).unwrap().set_len(8192).unwrap()),
        ("replaced by itself", &|| {
            let other = format!("{}.other", place.db);
            fs::write(&other, &whole).unwrap();
            fs::rename(&other, &place.db).unwrap();
        }),
    ];
    for (what, change) in changes {
        let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        let (db, index) = (PathBuf::from(&place.db), PathBuf::from(&place.index));
        let plan = BuildPlan {
            db,
            index,
            table,
            shards: None,
            memory: MEMORY_MIN,
            cluster: true,
            search: SearchPlan::default(),
        };
        let error = build(&plan, &WhenCopying(Mutex::new(Some(change)))).expect_err(what);
        assert!(matches!(error, BuildError::Changed), "{what}: {error}");
        fs::write(&place.db, &whole).unwrap();
        assert_eq!((place.generation(), place.names()), (before.clone(), names.clone()), "{what}");
        verified(&place);
    }
}

#[test]
fn a_disk_that_has_no_room_for_it() {
    let Some(mut disk) = SmallDisk::new(8 << 20) else { return };
    // One row in three is long, and none of those that are looked at beforehand.
    let uneven = "CREATE TABLE cpf(cpf, nome, v);
        WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 3072)
            INSERT INTO cpf SELECT n, printf('NOME %05d', n), CASE WHEN n % 3 = 2 THEN zeroblob(1500) END FROM k;";
    let places = [
        (Place::registry(20_000, 0.1), ["takes about", "MiB are free"]),
        (Place::of(uneven), ["cannot write the copy", "is full"]),
    ];
    for (number, (mut place, told)) in places.into_iter().enumerate() {
        place.index = disk.path().join(format!("index{number}")).into_os_string().into_string().unwrap();
        let (db, index) = (place.db.clone(), disk.inside(&place.index));
        let with_copy = ["build", "--db", &db, "--out", &index, "--cluster"];
        // The two that a build keeps, and a third one: the room is the same from now on.
        (0..3).for_each(|_| drop(run_json(&place.build(&[]))));
        let before = place.names();
        let mut ballast = Ballast::fill(disk.path());
        let room = 1 << 20;
        ballast.leave(room);
        let (well, said) = disk.indexer(&with_copy);
        assert!(!well);
        for told in told.iter().chain(&["error: ", "free some space", "--cluster"]) {
            assert!(said.contains(told), "it does not say {told}: {said}");
        }
        assert_eq!(place.names(), before);
        verified(&place);
        assert_eq!(ballast.fill_again(), room);
        drop(ballast);
        fs::remove_file(disk.path().join("ballast")).unwrap();
        for args in [&with_copy[..], &["verify", "--index", &index, "--db", &db]] {
            let (well, said) = disk.indexer(args);
            assert!(well, "{said}");
        }
        assert!(copy_of(&place).exists());
        fs::remove_dir_all(&place.index).unwrap();
    }
}
