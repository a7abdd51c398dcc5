//! The seeds of the targets over tables and over words: made here, so that nobody wonders what their bytes are.

use std::fs;
use std::path::Path;

use balcao_fuzz::pages_of;

/// A variable that has the seeds written anew.
const WRITE: &str = "BALCAO_WRITE_SEEDS";

/// Rows of many kinds, in every table that takes them.
const MIXED: &str = "insert or ignore into t(rowid, c0, c1, c2) values (-5, null, 0, 1), (1, 'ANA DA SILVA', 2.0, x'00ff'), (2, 1.5, -9e999, 'ção'),
    (300, 9223372036854775807, 1e300, -128), (301, 70000, -0.0, 5000000000), (9000000000, zeroblob(300), 0.5, 200000000000000)";

/// Two levels, of rows with gaps.
const MANY: &str = "with recursive n(i) as (select 1 union all select i + 3 from n where i < 200)
    insert into t(rowid, c0, c1, c2) select i, i, i / 2.0, 'MARIA' from n";

/// A row that goes on on other pages, and one that just does not.
const LONG: &str = "insert into t(rowid, c0, c1, c2) values (1, zeroblob(471), 1, 1), (2, zeroblob(470), 1, 1), (3, zeroblob(900), 1, 1)";

/// Rows of before a column, and of after.
const ADDED: &str =
    "insert into t(rowid, c0, c1, c2) values (1, 1, 1, 1); alter table t add a; insert into t values (2, 2, 2, 2)";

/// Beginnings of lists in the golden word index: of one block and ranks behind it, of three blocks, two of them neighbours.
const LISTS: [usize; 2] = [4374, 691];

/// Lists as they were written, and any bytes.
fn lists() -> impl Iterator<Item = (String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../index/tests/golden/v1-searched/g000001/words.index");
    let golden = fs::read(path).unwrap();
    let of = move |at: usize| [&[0, 0], &golden[at..at + 400]].concat();
    let lists = LISTS.into_iter().map(of).chain((0..4).map(|at| noise(90 + at, 300)));
    lists.enumerate().map(|(at, bytes)| (format!("word_lists/seed-{at:02}"), bytes))
}

/// Numbers that look random and are the same everywhere.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| byte()).collect()
}

#[test]
fn the_seeds_are_what_is_made_here() {
    let pages = [
        (0, ""),
        (0, MIXED),
        (1, MIXED),
        (2, MIXED),
        (3, MIXED),
        (12, MIXED),
        (0, MANY),
        (2, MANY),
        (9, MANY),
        (0, LONG),
        (8, LONG),
        (0, ADDED),
    ];
    let pages =
        pages.iter().enumerate().map(|(at, &(kind, sql))| (format!("table_pages/seed-{at:02}"), pages_of(kind, sql)));
    let rows = (0..12_u64).map(|at| (format!("table_rows/seed-{at:02}"), noise(at, 40 << (at / 2))));
    let words = (0..10_u64).map(|at| (format!("word_index/seed-{at:02}"), noise(50 + at, 40 << (at / 2))));
    let damaged = (0..12_u64).map(|at| (format!("damaged_search/seed-{at:02}"), noise(70 + at, 30 << (at / 3))));
    for (name, made) in pages.chain(rows).chain(words).chain(damaged).chain(lists()) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(&name);
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &made).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|kept| kept == made),
            "{name} is not what is made here; run with {WRITE}=1 and commit it"
        );
    }
}
