//! Builds that succeed: the summary, every option, any memory, and `verify` and `stats` on what was built.

use std::num::NonZero;
use std::path::Path;

use balcao_indexer::{BuildPlan, SearchPlan, Silent, build_with, verify};
use balcao_registry::TableName;
use serde_json::{Value, json};

use crate::command::{LONG_NAMES, Place, run, run_json};

#[test]
fn help_version_and_wrong_usage() {
    let build = ["build", "--db", "a", "--out", "b"];
    let with = |further: &[&'static str]| [&build[..], further].concat();
    for (args, code) in [
        (vec![], 2),
        (vec!["--help"], 0),
        (vec!["build", "--help"], 0),
        (vec!["--version"], 0),
        (vec!["dance"], 2),
        (vec!["build"], 2),
        (vec!["verify"], 2),
        (vec!["stats"], 2),
        (with(&["--shards", "0"]), 2),
        (with(&["--shards", "1025"]), 2),
        (with(&["--memory", "1MiB"]), 2),
        (with(&["--memory", "much"]), 2),
        (with(&["--no-such-flag"]), 2),
    ] {
        let ended = run(&args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert_eq!((ended.out.is_empty(), ended.error.is_empty()), (code == 2, code == 0), "{args:?}: {ended:?}");
    }
    assert_eq!(run(&["--version"]).out, format!("indexer {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run(&[]).error.contains("Usage: indexer"));
}

#[test]
fn the_summary() {
    let place = Place::of(
        "CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);
         INSERT INTO cpf VALUES ('12345678909', 'ANA', 'F', ''), ('12345678900', 'EVA', 'F', ''), (NULL, 'IVO', 'M', ''), ('x', '', 'M', '');",
    );
    let mut summary = run_json(&place.build(&[]));
    let members = summary.as_object_mut().unwrap();
    assert!(members.remove("seconds").unwrap().as_f64().unwrap() > 0.0);
    assert!(members.remove("bytes").unwrap().as_u64().unwrap() > 0);
    for (part, least) in [("words", 100), ("filters", 12)] {
        let bytes = members[part].as_object_mut().unwrap().remove("bytes").unwrap();
        assert!(bytes.as_u64().unwrap() > least, "{part}: {bytes}");
    }
    let anomalies = json!({"cpf_check_digits": 1, "cpf_unreadable": 2, "name_empty": 1, "unreachable": 1});
    let expected = json!({"generation": "g000001", "rows": 4, "cpf_rows": 2, "name_rows": 3, "anomalies": anomalies, "spilled_bytes": 0,
        "words": {"distinct": 3}, "filters": {"sex_column": "sexo", "birth_column": "nasc", "sex_unreadable": 0, "birth_unreadable": 4}});
    assert_eq!(summary, expected);
    // The same in words.
    let text = run(&place.build(&[]));
    assert_eq!((text.code, &*text.error), (Some(0), ""));
    assert!(text.out.contains("words        3 distinct, "), "{}", text.out);
    for line in [
        "generation g000002 published",
        "rows         4",
        "cpf_unreadable     2",
        "by sex       column sexo, 0 without a value",
        "by birth     column nasc, 4 without a value",
    ] {
        assert!(text.out.lines().any(|found| found == line), "{line}: {}", text.out);
    }

    let verified = run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    for (member, expected) in
        [("cpf_rows", json!(2)), ("name_rows", json!(3)), ("anomalies", json!(5)), ("database", json!(true))]
    {
        assert_eq!(verified[member], expected, "{member}");
    }
    assert_eq!(run_json(&["verify", "--index", &place.index])["database"], false);
    let stats = run_json(&["stats", "--index", &place.index]);
    assert_eq!((&stats["rows"], &stats["table"], &stats["anomalies"]), (&json!(4), &json!("cpf"), &anomalies));
    let parts = stats["bytes"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap());
    assert_eq!(stats["bytes_total"], parts.sum::<u64>());
    let text = run(&["stats", "--index", &place.index]);
    assert!(text.code == Some(0) && text.out.contains("together"), "{text:?}");
}

#[test]
fn another_table_with_other_columns() {
    let place = Place::of(
        r#"CREATE TABLE "t "" 1"("n m", rowid, "c;f"); INSERT INTO "t "" 1" VALUES ('ANA', 'x', '191'), ('EVA', 'y', 12345678909);"#,
    );
    let further = ["--table", "T \" 1", "--cpf-column", "C;F", "--name-column", "N M"];
    let summary = run_json(&place.build(&further));
    assert_eq!((&summary["rows"], &summary["cpf_rows"], &summary["name_rows"]), (&json!(2), &json!(2), &json!(2)));
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    assert_eq!(run_json(&["stats", "--index", &place.index])["table"], "t \" 1");
}

#[test]
fn no_rows() {
    let place = Place::of("CREATE TABLE cpf(cpf, nome);");
    let summary = run_json(&place.build(&[]));
    assert_eq!((&summary["rows"], &summary["anomalies"]), (&json!(0), &json!({})));
    assert_eq!(run_json(&["verify", "--index", &place.index, "--db", &place.db])["cpf_rows"], 0);
    assert_eq!(run_json(&["stats", "--index", &place.index])["bytes_per_row"].as_f64().map(f64::is_finite), Some(true));
}

/// What must not depend on how an index was built.
fn content(verified: &Value) -> Vec<&Value> {
    ["cpf_rows", "name_rows", "distinct_names", "anomalies"].map(|member| &verified[member]).into()
}

#[test]
fn any_number_of_shards() {
    let place = Place::registry(20_000, 0.2);
    let mut first = None;
    for shards in [1, 2, 7] {
        run_json(&place.build(&["--shards", &shards.to_string()]));
        let stats = run_json(&["stats", "--index", &place.index]);
        assert_eq!(stats["shards"], json!([shards, shards]));
        let verified = run_json(&["verify", "--index", &place.index, "--db", &place.db]);
        assert_eq!(content(first.get_or_insert_with(|| verified.clone())), content(&verified));
    }
    // More shards than keys is no error.
    let place = Place::registry(3, 0.0);
    run_json(&place.build(&["--shards", "1024"]));
    assert_eq!(run_json(&["verify", "--index", &place.index, "--db", &place.db])["cpf_rows"], 3);
}

#[test]
fn any_memory() {
    let place = Place::of(LONG_NAMES);
    let mut content_before = None;
    for (memory, spills) in [("16MiB", true), ("1GiB", false)] {
        let summary = run_json(&place.build(&["--memory", memory]));
        assert_eq!(summary["spilled_bytes"].as_u64().unwrap() > 0, spills, "{memory}: {summary}");
        let verified = run_json(&["verify", "--index", &place.index, "--db", &place.db]);
        assert_eq!(verified["name_rows"], 150_000);
        let content: Vec<Value> = content(&verified).into_iter().cloned().collect();
        assert_eq!(*content_before.get_or_insert_with(|| content.clone()), content);
        // The spill file went with the build.
        let names: Vec<_> =
            std::fs::read_dir(place.generation()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names.len() as u64, verified["files"].as_u64().unwrap() + 1, "{names:?}");
    }
}

/// Names of 100 KiB, of words that no other has; some share their first kilobytes and some are the same, and every one is spilled.
#[test]
fn very_long_names_in_little_memory() {
    let place = Place::of(
        "CREATE TABLE cpf(cpf, nome, sexo, nasc);
         WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 200)
             INSERT INTO cpf(cpf, nome) SELECT n, replace(hex(randomblob(51200)), 'A0', ' ') FROM k;
         INSERT INTO cpf(cpf, nome) SELECT cpf, nome FROM cpf WHERE rowid % 3 = 0;
         INSERT INTO cpf(cpf, nome) SELECT cpf, substr(nome, 1, 5000) || hex(randomblob(9)) FROM cpf WHERE rowid % 4 = 0;
         INSERT INTO cpf(cpf, nome) SELECT cpf, 'ANA ' || rowid % 7 FROM cpf;",
    );
    let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
    let (db, index) = (Path::new(&place.db), Path::new(&place.index));
    for (threads, shards, memory) in [(1, 1, 64 << 20), (3, 5, 1 << 20), (2, 64, 100_000)] {
        let (threads, shards) = (NonZero::new(threads).unwrap(), NonZero::new(shards));
        let plan = BuildPlan {
            db: db.into(),
            index: index.into(),
            table: table.clone(),
            shards,
            memory,
            cluster: false,
            search: SearchPlan::default(),
        };
        let summary = build_with(&plan, threads, &balcao_index::RealFiles, &Silent).unwrap();
        assert_eq!((summary.rows, summary.name_rows), (664, 664));
        assert!(memory > 1 << 20 || summary.spilled_bytes > 20 << 20, "{summary:?}");
        verify(index, Some(db), &Silent).unwrap();
        let stats = run_json(&["stats", "--index", &place.index]);
        let made = stats["shards"][1].as_u64().unwrap();
        assert!((1..=shards.unwrap().get() as u64).contains(&made) && (made > 1) == (threads.get() > 1), "{stats}");
    }
}
