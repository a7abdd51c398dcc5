//! A database that is damaged, locked, empty, half written, or changed while it is read: the error names the cause and what to do, and the
//! former generation stays.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use balcao_index::{IndexError, SourceFile};
use balcao_indexer::{BuildError, BuildPlan, MEMORY_MIN, Progress, SearchPlan, Silent, Summary, build, verify};
use balcao_registry::TableName;
use rusqlite::Connection;

use crate::command::{Place, refused, run_json};

/// A place with a former generation, and its database as it was then.
struct Before {
    place: Place,
    names: Vec<String>,
    database: Vec<u8>,
}

impl Before {
    fn new(place: Place) -> Self {
        run_json(&place.build(&[]));
        let (names, database) = (place.names(), fs::read(&place.db).unwrap());
        Self { place, names, database }
    }

    fn db(&self) -> &Path {
        Path::new(&self.place.db)
    }

    fn path(&self, suffix: &str) -> PathBuf {
        format!("{}{suffix}", self.place.db).into()
    }

    /// The command refuses the database as it is now, and the former generation stays.
    #[track_caller]
    fn refused(&self, told: &[&str]) {
        refused(&self.place.build(&[]), told);
        self.assert_former();
    }

    /// The same while another program has the database open: its files must not be touched.
    #[track_caller]
    fn refused_while_open(&self, told: &[&str]) {
        refused(&self.place.build(&[]), told);
        assert_eq!(self.place.names(), self.names);
        verify(Path::new(&self.place.index), None, &Silent).unwrap();
    }

    /// The former generation is all there is, and whole; with the database as it was.
    #[track_caller]
    fn assert_former(&self) {
        assert_eq!(self.place.names(), self.names);
        let now = fs::read(self.db());
        let beside = ["-wal", "-journal", "-shm"].map(|suffix| fs::read(self.path(suffix)));
        for suffix in ["-wal", "-journal", "-shm"] {
            let _ = fs::remove_file(self.path(suffix));
        }
        fs::write(self.db(), &self.database).unwrap();
        verify(Path::new(&self.place.index), Some(self.db()), &Silent).unwrap();
        for (content, path) in beside.into_iter().zip(["-wal", "-journal", "-shm"].map(|suffix| self.path(suffix))) {
            if let Ok(content) = content {
                fs::write(path, content).unwrap();
            }
        }
        if let Ok(now) = now {
            fs::write(self.db(), now).unwrap();
        }
    }

    fn build(&self, progress: &dyn Progress) -> Result<Summary, BuildError> {
        let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        let (db, index) = (self.db().to_owned(), PathBuf::from(&self.place.index));
        let plan = BuildPlan {
            db,
            index,
            table,
            shards: None,
            memory: MEMORY_MIN,
            cluster: false,
            search: SearchPlan::default(),
        };
        loop {
            match build(&plan, progress) {
                // Another test may just be starting a program, and until that has begun it holds what is open here.
                Err(BuildError::Index(IndexError::Locked)) => thread::sleep(Duration::from_millis(1)),
                result => return result,
            }
        }
    }

    /// Builds, and does `act` while the rows are read.
    fn build_while(&self, act: impl FnOnce() + Send) -> Result<Summary, BuildError> {
        let reading = WhileReading { act: Mutex::new(Some(act)), reading: AtomicBool::new(false) };
        let result = self.build(&reading);
        assert!(reading.act.into_inner().unwrap().is_none(), "nothing was done while the rows were read");
        result
    }
}

/// Does something once, when a thousand rows are read and most are not.
struct WhileReading<F> {
    act: Mutex<Option<F>>,
    reading: AtomicBool,
}

impl<F: FnOnce() + Send> Progress for WhileReading<F> {
    fn stage(&self, name: &'static str) {
        self.reading.store(name == "reading", Ordering::Relaxed);
    }

    fn rows(&self, _: u64, done: f64) {
        if self.reading.load(Ordering::Relaxed) && done < 0.9 {
            // Taken out first, so that the other threads read on meanwhile.
            let act = self.act.lock().unwrap().take();
            if let Some(act) = act {
                act();
            }
        }
    }
}

/// A registry that is as good as the other by every counter and by the pages that are looked at, but for one letter of a name.
pub(crate) fn twin(database: &[u8]) -> Vec<u8> {
    let mut twin = database.to_vec();
    let page_bytes = usize::from(u16::from_be_bytes([twin[16], twin[17]]));
    let pages = twin.len() / page_bytes;
    let looked_at: Vec<usize> = (0..64).map(|i| i * (pages - 1) / 63).collect();
    let page = (2..pages).find(|page| !looked_at.contains(page)).expect("a page that is not looked at");
    let letter = twin[page * page_bytes..][..page_bytes].iter().rposition(u8::is_ascii_uppercase).unwrap();
    twin[page * page_bytes + letter] ^= 3;
    twin
}

#[test]
fn changed_while_it_is_read() {
    let before = Before::new(Place::registry(30_000, 0.1));
    let (db, other) = (before.db(), before.path(".other"));
    let twin = twin(&before.database);
    fs::write(&other, &twin).unwrap();
    // What is compared of two files does not tell these two apart.
    assert_eq!(SourceFile::read(db).unwrap(), SourceFile::read(&other).unwrap());
    let away = before.path(".away");
    let changes: [(&str, &(dyn Fn() + Sync)); 7] = [
        ("replaced by a twin", &|| fs::rename(&other, db).unwrap()),
        ("replaced and put back", &|| {
            fs::rename(db, &away).unwrap();
            fs::rename(&other, db).unwrap();
            fs::rename(&away, db).unwrap();
        }),
        ("replaced by a copy", &|| {
            fs::copy(db, &other).unwrap();
            fs::rename(&other, db).unwrap();
        }),
        ("removed", &|| fs::remove_file(db).unwrap()),
        ("changed in place", &|| {
            let file = File::options().write(true).open(db).unwrap();
            file.write_all_at(&twin, 0).unwrap();
        }),
        ("cut short", &|| File::options().write(true).open(db).unwrap().set_len(8192).unwrap()),
        ("emptied", &|| File::options().write(true).open(db).unwrap().set_len(0).unwrap()),
    ];
    for (what, change) in changes {
        fs::write(&other, &twin).unwrap();
        let error = before.build_while(change).expect_err(what);
        assert!(matches!(error, BuildError::Changed), "{what}: {error}");
        for told in ["changed", "replaced", "removed", "while it was read", "build again"] {
            assert!(error.to_string().contains(told), "{what}: {error}");
        }
        fs::write(db, &before.database).unwrap();
        before.assert_former();
    }
    run_json(&before.place.build(&[]));
    before.place.assert_no_litter();
}

#[test]
fn a_writer_that_comes_while_it_is_read() {
    // Kept out by SQLite's locks.
    let before = Before::new(Place::registry(30_000, 0.1));
    let write = |busy: bool| {
        let writer = Connection::open(before.db()).unwrap();
        writer.busy_timeout(Duration::ZERO).unwrap();
        let written = writer.execute("UPDATE cpf SET nome = 'OUTRA' WHERE rowid = 7", []);
        assert_eq!(written.is_err(), busy, "{written:?}");
    };
    before.build_while(|| write(true)).unwrap();
    verify(Path::new(&before.place.index), Some(before.db()), &Silent).unwrap();
    before.place.assert_no_litter();

    // Not so in write-ahead mode, where the file is read as it lies there.
    let place = Place::registry(30_000, 0.1);
    place.write("PRAGMA journal_mode = WAL");
    let before = Before::new(place);
    let writer = Mutex::new(None);
    let error = before
        .build_while(|| {
            let connection = Connection::open(before.db()).unwrap();
            connection.execute("UPDATE cpf SET nome = 'OUTRA' WHERE rowid = 7", []).unwrap();
            *writer.lock().unwrap() = Some(connection);
        })
        .unwrap_err();
    // What it wrote waits in its log.
    assert!(error.to_string().contains("`-wal`") && error.to_string().contains("wal_checkpoint"), "{error}");
    assert_eq!(before.place.names(), before.names);
    // Or in the file, once it is closed.
    drop(writer);
    let error = before
        .build_while(|| {
            let connection = Connection::open(before.db()).unwrap();
            connection.execute("UPDATE cpf SET nome = 'MAIS UMA' WHERE rowid = 9", []).unwrap();
        })
        .unwrap_err();
    assert!(matches!(error, BuildError::Changed), "{error}");
    assert_eq!(before.place.names(), before.names);
    run_json(&before.place.build(&[]));
    before.place.assert_no_litter();
}

#[test]
fn cut_short() {
    let before = Before::new(Place::registry(3000, 0.1));
    let (length, page) = (before.database.len(), 4096);
    for (kept, told) in [
        (0, "no SQLite database"),
        (50, "no SQLite database"),
        (100, "damaged"),
        (page, "damaged"),
        (length / 2 / page * page, "damaged"),
        (length / 2 / page * page + 1000, "damaged"),
        (length - page, "damaged"),
        (length - 1000, "damaged"),
        (length - 1, "damaged"),
    ] {
        fs::write(before.db(), &before.database[..kept]).unwrap();
        let remedy = if told == "damaged" { "integrity_check" } else { "--db" };
        before.refused(&[told, remedy]);
    }
}

#[test]
fn locked_and_half_written() {
    let before = Before::new(Place::registry(300, 0.1));
    let writer = Connection::open(before.db()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    before.refused_while_open(&["another program is writing", "try again"]);
    // What a power cut leaves of a transaction: pages in the file, the old ones in a journal beside it.
    writer.execute_batch("PRAGMA cache_size = 1; UPDATE cpf SET nome = 'OUTRA'").unwrap();
    let (database, journal) = (fs::read(before.db()).unwrap(), fs::read(before.path("-journal")).unwrap());
    drop(writer);
    assert_ne!(database, before.database);
    fs::write(before.db(), database).unwrap();
    fs::write(before.path("-journal"), journal).unwrap();
    before.refused(&["-journal", "close the programs"]);
    // SQLite rolls it back as soon as it is opened to be written.
    before.place.write("PRAGMA user_version");
    before.place.write("BEGIN IMMEDIATE; COMMIT");
    run_json(&before.place.build(&[]));
    run_json(&["verify", "--index", &before.place.index, "--db", &before.place.db]);
    before.place.assert_no_litter();
}

#[test]
fn write_ahead_logs() {
    let before = Before::new(Place::registry(300, 0.1));
    let writer = Connection::open(before.db()).unwrap();
    writer.execute_batch("PRAGMA journal_mode = WAL; INSERT INTO cpf(cpf) VALUES ('191')").unwrap();
    before.refused_while_open(&["-wal", "wal_checkpoint(TRUNCATE)"]);
    // One that is checkpointed but not cut still has its frames.
    writer.execute_batch("PRAGMA wal_checkpoint(FULL)").unwrap();
    before.refused_while_open(&["-wal", "wal_checkpoint(TRUNCATE)"]);
    writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert_eq!(run_json(&before.place.build(&[]))["rows"], 301);
    drop(writer);
    assert_eq!(run_json(&before.place.build(&[]))["rows"], 301);
    run_json(&["verify", "--index", &before.place.index, "--db", &before.place.db]);
    // An empty one, and an empty table, which is a registry without rows.
    before.place.write("PRAGMA journal_mode = DELETE; DELETE FROM cpf; VACUUM");
    assert_eq!(run_json(&before.place.build(&[]))["rows"], 0);
    run_json(&["verify", "--index", &before.place.index, "--db", &before.place.db]);
    before.place.assert_no_litter();
}

/// A byte of the database is another one: refused with the cause, or, where SQLite cannot know, indexed as it reads now.
fn flip(before: &Before, at: usize, mask: u8) -> Option<BuildError> {
    let file = File::options().write(true).open(before.db()).unwrap();
    file.write_all_at(&[before.database[at] ^ mask], at as u64).unwrap();
    let result = before.build(&Silent);
    let verified = verify(Path::new(&before.place.index), result.is_ok().then(|| before.db()), &Silent);
    verified.unwrap_or_else(|error| panic!("byte {at} ^ {mask:#x}: {error}; {result:?}"));
    file.write_all_at(&before.database[at..=at], at as u64).unwrap();
    result.err()
}

#[test]
fn any_byte_of_the_header() {
    let before = Before::new(Place::registry_in_memory(50, 0.0));
    let mut refused = 0;
    for at in 0..100 {
        for mask in [1, 0xff] {
            if let Some(error) = flip(&before, at, mask) {
                refused += 1;
                let error = error.to_string();
                assert!(error.contains(';'), "byte {at} ^ {mask:#x}: {error}");
            }
        }
    }
    println!("{refused} refused");
    println!("fault table: build, a byte of the database's header changed: 200 tried, 200 survived");
    assert!(refused > 30, "{refused}");
}

#[test]
fn pages_of_the_table() {
    let before = Before::new(Place::registry_in_memory(600, 0.1));
    let (page_bytes, mut tried, mut refused) = (4096, 0, 0);
    for page in 0..before.database.len() / page_bytes {
        let start = page * page_bytes + if page == 0 { 100 } else { 0 };
        // Kind, first free block, number of cells, their beginning, the first two pointers to them, and a cell's head.
        let pointer = usize::from(u16::from_be_bytes([before.database[start + 8], before.database[start + 9]]));
        for at in [0, 1, 3, 4, 5, 8, 9, 11].map(|at| start + at).into_iter().chain([page * page_bytes + pointer]) {
            for mask in [0x04, 0xff] {
                let error = flip(&before, at, mask);
                tried += 1;
                refused += u32::from(error.is_some());
                if at == start {
                    let error = error.expect("a page of an unknown kind").to_string();
                    assert!(error.contains("damaged") && error.contains("integrity_check"), "{error}");
                }
            }
        }
    }
    println!("{refused} refused");
    println!("fault table: build, a byte of its pages' structure changed: {tried} tried, {tried} survived");
    assert!(refused > 100, "{refused} of {tried}");
}

/// Zeros where a file system lost what it had not written. What they met is gone, and SQLite may not know; but no other row is left out in
/// silence.
#[test]
fn holes() {
    let rows = 600;
    let before = Before::new(Place::registry_in_memory(rows, 0.1));
    let (mut tried, mut refused) = (0, 0);
    for hole in [128, 512, 4096] {
        for at in (0..before.database.len()).step_by(hole) {
            let mut database = before.database.clone();
            database[at..at + hole].fill(0);
            fs::write(before.db(), &database).unwrap();
            tried += 1;
            match before.build(&Silent) {
                // A row takes more than sixteen bytes.
                Ok(summary) => assert!((rows - summary.rows) * 16 <= hole as u64, "{hole} bytes at {at}: {summary:?}"),
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains(';'), "{hole} bytes at {at}: {error}");
                }
            }
        }
    }
    println!("{refused} refused");
    println!("fault table: build, zeros in its file: {tried} tried, {tried} survived");
    assert!(refused > tried / 2, "{refused} of {tried}");
}

#[test]
fn a_page_that_hangs_in_the_tree_twice() {
    let before = Before::new(Place::registry(3000, 0.1));
    let page_bytes = 4096;
    let number = |at: usize| u32::from_be_bytes(before.database[at..at + 4].try_into().unwrap());
    // An inner page of a table: each cell begins with the number of a page below.
    let inner =
        (1..before.database.len() / page_bytes).map(|page| page * page_bytes).find(|at| before.database[*at] == 5);
    let inner = inner.expect("a table of more than one page");
    let cell = |n: usize| {
        let at = inner + 12 + 2 * n;
        inner + usize::from(u16::from_be_bytes([before.database[at], before.database[at + 1]]))
    };
    let file = File::options().write(true).open(before.db()).unwrap();
    for (first, second) in [(0, 1), (2, 5), (5, 2)] {
        file.write_all_at(&number(cell(first)).to_be_bytes(), cell(second) as u64).unwrap();
        before.refused(&["damaged", "not in order", "integrity_check"]);
        file.write_all_at(&before.database[cell(second)..cell(second) + 4], cell(second) as u64).unwrap();
    }
    run_json(&before.place.build(&[]));
}
