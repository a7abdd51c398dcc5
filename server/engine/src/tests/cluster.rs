//! The copy of the rows in the order of their names: every reply is the one that the same index without it gives, and a copy that is damaged,
//! cut or gone is never believed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use balcao_index::CLUSTER_FILE;
use balcao_indexer::{BuildPlan, MEMORY_MIN, SearchPlan, Silent, build, verify};
use serde_json::Value;

use super::damage::small::{keys, registry};
use super::{Desk, PADDING, TABLE, ask, is_alone, plain};
use crate::{OpenError, Snapshot};

/// The same database indexed twice: the desk's own index, and one with the copy.
struct Pair {
    desk: Desk,
    index: PathBuf,
    clustered: Snapshot,
}

impl Pair {
    fn of(desk: Desk) -> Self {
        let index = desk.folder.path().join("clustered");
        let (db, table) = (desk.db(), desk.table.clone());
        let plan = BuildPlan {
            db,
            index: index.clone(),
            table,
            shards: None,
            memory: MEMORY_MIN,
            cluster: true,
            search: SearchPlan::default(),
        };
        let summary = build(&plan, &Silent).unwrap();
        assert_eq!(summary.cluster_bytes, Some(fs::metadata(index.join("g000001").join(CLUSTER_FILE)).unwrap().len()));
        let clustered = Snapshot::open(&desk.db(), &index).unwrap();
        Self { desk, index, clustered }
    }

    fn copy(&self) -> PathBuf {
        self.index.join("g000001").join(CLUSTER_FILE)
    }

    fn reopen(&self) -> Result<Snapshot, OpenError> {
        Snapshot::open(&self.desk.db(), &self.index)
    }

    /// Asks both, page by page to the end: the rows.
    #[track_caller]
    fn check(&self, members: &str) -> usize {
        let (mut cursors, mut rows) = ([String::new(), String::new()], 0);
        loop {
            let line = |cursor: &str| format!("{{{members}{cursor}}}");
            let replies = [ask(&self.desk.snapshot, &line(&cursors[0])), ask(&self.clustered, &line(&cursors[1]))];
            rows += replies[0]["rows"].as_array().map_or(0, Vec::len);
            let next = replies.each_ref().map(|reply| reply["next"].as_str().map(str::to_owned));
            let [one, other] = replies.map(|reply| plain(reply).to_string());
            assert_eq!(one, other, "{members}");
            let [Some(one), Some(other)] = next else { return rows };
            cursors = [one, other].map(|next| format!(r#","cursor":"{next}""#));
        }
    }
}

#[test]
fn the_same_answers_as_without() {
    let pair = Pair::of(registry(2000, 3));
    for (number, (_, cpf, name)) in keys(&pair.desk.db()).into_iter().enumerate() {
        if let Some(cpf) = cpf {
            pair.check(&format!(r#""cpf":{}"#, Value::from(cpf)));
        }
        let Some(name) = name else { continue };
        pair.check(&format!(r#""nome":{},"match":"exact""#, Value::from(name.as_str())));
        let limit = [1, 2, 7, 50, 1000][number % 5];
        let beginning: String = name.chars().take(1 + number % 8).collect();
        pair.check(&format!(r#""nome":{},"limit":{limit}"#, Value::from(beginning)));
    }
    let all: usize = ('A'..='Z').map(|letter| pair.check(&format!(r#""nome":"{letter}","limit":50"#))).sum();
    assert!(all > 1500, "{all}");
    // Searches fetch their rows from the copy one by one.
    let searched: usize = [
        r#""nome":"maria","match":"words","limit":7"#,
        r#""nome":"silva m","match":"words","limit":50"#,
        r#""nome":"a","match":"words","limit":1000"#,
        r#""nome":"marai silva","match":"fuzzy","limit":7"#,
        r#""nome":"joao","match":"fuzzy","spelling":"pt","limit":50"#,
        r#""nome":"m","where":{"sexo":"F"},"limit":7"#,
        r#""nome":"a","match":"words","where":{"sexo":"F","nasc":{"from":"1950-01-01"}},"limit":50"#,
    ]
    .iter()
    .map(|members| {
        let rows = pair.check(members);
        assert!(rows > 0, "{members}");
        rows
    })
    .sum();
    assert!(searched > 500, "{searched}");
    let batch = r#""id":"b","op":"batch","items":[{"nome":"M"},{"cpf":"191"},{"nome":"NOME IGUAL","match":"exact"},{"nome":"ZZZZ"}]"#;
    pair.check(batch);
    verify(&pair.index, Some(&pair.desk.db()), &Silent).unwrap();
}

#[test]
fn any_value_and_any_table() {
    let sql = |encoding: &str| {
        format!(
            "PRAGMA encoding = '{encoding}';
             CREATE TABLE cpf(rowid TEXT, cpf INTEGER, nome TEXT, v, r REAL, g GENERATED ALWAYS AS (upper(nome)), \"o \"\" d\" TEXT);
             INSERT INTO cpf(oid, rowid, cpf, nome, v, r, \"o \"\" d\") VALUES
                ({}, 'x', 191, 'Ana', NULL, 1, 7), (-5, 'y', '191', 'ANA', 2.0, -0.0, NULL), (0, '', NULL, 'ána', x'00ff', 9e999, ''),
                (7, 'z', 'x', NULL, 'nameless', 0, ''), (8, 'z', 'x', 12, -1, 5e-324, char(0)), ({}, 'w', 1.5, 'ANA B', zeroblob(5000), 0.5, 'é');",
            i64::MIN,
            i64::MAX
        )
    };
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let pair = Pair::of(Desk::of(&sql(encoding)));
        assert_eq!(pair.check(r#""nome":"ana","limit":1"#), 4);
        assert_eq!(pair.check(r#""nome":"12""#), 1);
        verify(&pair.index, Some(&pair.desk.db()), &Silent).unwrap();
    }
    // Texts that are not UTF-8 keep their bytes.
    let pair = Pair::of(Desk::of(&format!(
        "{TABLE} INSERT INTO cpf VALUES ('191', CAST(x'414e41ff' AS TEXT), CAST(x'ff00c3' AS TEXT), CAST('F' AS BLOB));"
    )));
    assert_eq!(pair.check(r#""nome":"ana""#), 1);
    verify(&pair.index, Some(&pair.desk.db()), &Silent).unwrap();
    // And no rows at all, or none with a name.
    for rows in ["", "INSERT INTO cpf(cpf) VALUES ('191');"] {
        let pair = Pair::of(Desk::of(&format!("{TABLE} {rows}")));
        assert_eq!(pair.check(r#""nome":"ana""#), 0);
        pair.check(r#""cpf":"191""#);
        verify(&pair.index, Some(&pair.desk.db()), &Silent).unwrap();
    }
}

/// A registry whose copy has far more pages than are sampled when it is opened.
fn large() -> Pair {
    Pair::of(registry(20_000, 8))
}

#[test]
fn a_copy_that_is_no_longer_whole_is_refused() {
    let pair = large();
    let whole = fs::read(pair.copy()).unwrap();
    let refused = |what: &str| {
        let error = pair.reopen().map(drop).expect_err(what);
        assert!(matches!(error, OpenError::Index(_)), "{what}: {error}");
        assert!(error.to_string().contains(CLUSTER_FILE), "{what}: {error}");
        verify(&pair.index, None, &Silent).expect_err(what);
    };
    for length in [0, 50, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(pair.copy(), &whole[..length]).unwrap();
        refused(&format!("cut to {length}"));
    }
    fs::write(pair.copy(), [&whole[..], &[0]].concat()).unwrap();
    refused("a byte behind its end");
    for at in [0, 20, 96, 4095, whole.len() - 1] {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        fs::write(pair.copy(), bad).unwrap();
        refused(&format!("byte {at}"));
    }
    fs::remove_file(pair.copy()).unwrap();
    refused("gone");
    fs::write(pair.copy(), &whole).unwrap();
    pair.reopen().unwrap().check_index().unwrap();
}

/// What the sample does not see: rows carry the key that was asked for, or the answer is `unavailable`, and `verify` and a reload see it.
#[test]
fn a_copy_that_is_damaged_between_the_sampled_pages() {
    let pair = large();
    let whole = fs::read(pair.copy()).unwrap();
    let file = File::options().write(true).open(pair.copy()).unwrap();
    let (mut unseen, mut unavailable) = (0, 0);
    for page in (1..whole.len() / 4096).step_by(7) {
        // The header, the first cell pointers, the middle, and the end of the page, where the first rows lie.
        for inside in [0, 3, 5, 9, 2048, 4090] {
            let at = page * 4096 + inside;
            file.write_all_at(&[whole[at] ^ 0x41], at as u64).unwrap();
            if let Ok(snapshot) = pair.reopen() {
                unseen += 1;
                assert!(snapshot.check_index().unwrap_err().to_string().contains(CLUSTER_FILE), "byte {at}");
                verify(&pair.index, None, &Silent).unwrap_err();
                for letter in ["A", "E", "J", "M", "R", "MARIA", "NOME IGUAL"] {
                    let line = format!(r#"{{"nome":"{letter}","limit":1000}}"#);
                    let reply = ask(&snapshot, &line);
                    if reply["status"] != "ok" {
                        assert_eq!(reply["code"], "unavailable", "{reply}");
                        unavailable += 1;
                        continue;
                    }
                    let right = pair.desk.ask(&line);
                    assert_eq!(reply["total"], right["total"]);
                    let count = |reply: &Value| reply["rows"].as_array().unwrap().len();
                    assert_eq!(count(&reply), count(&right), "byte {at}");
                }
                // The registry itself is whole.
                assert_eq!(ask(&snapshot, r#"{"cpf":"191"}"#)["status"], "ok");
            }
            file.write_all_at(&whole[at..=at], at as u64).unwrap();
        }
    }
    assert!(unseen > 50 && unavailable > 20, "{unseen} unseen, {unavailable} unavailable");
}

#[test]
fn a_copy_that_is_cut_or_written_while_it_is_served() {
    if !is_alone("tests::cluster::a_copy_that_is_cut_or_written_while_it_is_served") {
        return;
    }
    for cut in [true, false] {
        let pair = Pair::of(Desk::of(&format!(
            "{TABLE}{PADDING} WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 5000)
                INSERT INTO cpf(cpf, nome, sexo) SELECT n, 'ANA ' || n, 'F' FROM k;"
        )));
        assert!(pair.clustered.is_intact());
        // Clocks of file systems go in steps of some milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let file = File::options().write(true).open(pair.copy()).unwrap();
        if cut {
            file.set_len(8192).unwrap();
            let reply = ask(&pair.clustered, r#"{"nome":"ANA 49","limit":1000}"#);
            assert_eq!(reply["code"], "unavailable", "{reply}");
        } else {
            file.write_all_at(b"x", 9000).unwrap();
        }
        assert!(!pair.clustered.is_intact());
    }
}
