//! The whole way in small, with the real programs: a dirty registry is made, indexed and served, and every answer over the wire is held
//! against a plain scan; and the demonstration runs.
//!
//! The programs must be built before: `make test` sees to it.

use balcao_benches::oracle::make::{Make, registry, run};
use balcao_benches::oracle::{Kind, Plan};
use balcao_benches::processes::{Server, command, output};
use balcao_benches::reload;
use balcao_benches::scratch::Scratch;

#[test]
fn every_answer_is_that_of_a_plain_scan() {
    let make = Make { rows: 20_000, dirty: 0.1, seed: 11 };
    // Once with the rows in table order alone, once with the copy of them in the order of their names.
    for further in [&[][..], &["--cluster", "--shards", "5"]] {
        let adjust = |plan: &mut Plan| {
            plan.prefixes = 2000;
            (plan.words, plan.fuzzy, plan.filtered, plan.claims) = (300, 200, 200, 100);
        };
        let report = run(&make, further, adjust, |_| ()).unwrap();
        assert_eq!(report.differences, 0, "{further:?}: {:?}", report.shown);
        assert!(report.table[2] > 10_000);
        for kind in [Kind::Words, Kind::Fuzzy, Kind::FuzzySpelling, Kind::FilteredCpf, Kind::FilteredWords] {
            let count = report.counts[&kind];
            assert!(count.found * 2 > count.questions, "most of {kind:?} finds something: {count:?}");
        }
    }
}

#[test]
fn the_demonstration_runs() {
    let mut demo = command("demo").unwrap();
    demo.args(["--rows", "50000"]);
    let text = output(demo).unwrap();
    for expected in ["ready on 127.0.0.1:", "by CPF", "no row", "\"next\":\"", "total ", "answers.csv", "invalid_cpf"] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}

#[test]
fn every_kind_of_keys_is_answered_at_every_pace() {
    let folder = Scratch::new_in(&std::env::temp_dir()).unwrap();
    let [db, index] = ["basecpf.db", "index"].map(|name| folder.path().join(name));
    registry(&Make { rows: 20_000, dirty: 0.05, seed: 5 }, &db).unwrap();
    let mut build = command("indexer").unwrap();
    build.args(["build", "--db"]).arg(&db).arg("--out").arg(&index);
    output(build).unwrap();
    let server = Server::start(&["--db".as_ref(), db.as_ref(), "--index".as_ref(), index.as_ref()]).unwrap();
    for what in ["cpfs", "prefixes", "mixed"] {
        let keys = folder.path().join(what);
        let mut draw = command("load").unwrap();
        draw.args(["--draw", what, "--count", "3000", "--db"]).arg(&db).arg("--out").arg(&keys);
        assert_eq!(output(draw).unwrap(), format!("{}: 3000 keys\n", keys.display()));
        for pace in [&["--pipeline", "1"][..], &["--pipeline", "8"], &["--pipeline", "2", "--rate", "2000"]] {
            let mut load = command("load").unwrap();
            load.args(["--connections", "40", "--seconds", "0.5", "--warmup", "0.1", "--expect-rows", "--json"]);
            load.args(["--server", &server.address.to_string(), "--keys"]).arg(&keys).args(pace);
            // It fails where one question does.
            let told: serde_json::Value = serde_json::from_str(&output(load).unwrap()).unwrap();
            assert!(told["requests"].as_u64() > Some(40), "{told}");
            assert!(told["reply_bytes"].as_u64() > told["requests"].as_u64(), "{told}");
            assert_eq!(told.get("never_sent").is_some(), pace.contains(&"--rate"), "{told}");
        }
    }
    server.stop().unwrap();
}

#[test]
fn ten_reloads_go_unnoticed() {
    let make = Make { rows: 20_000, dirty: 0.05, seed: 3 };
    let time = std::time::Duration::from_secs(20);
    let (text, is_well) = reload::run(&reload::Plan { make, connections: 20, time, out: None }, |_| ()).unwrap();
    assert!(is_well, "{text}");
}

#[test]
fn damage_is_survived() {
    let mut faults = command("faults").unwrap();
    faults.args([
        "--rows",
        "30000",
        "--flips",
        "60",
        "--cuts",
        "10",
        "--also",
        "echo 'fault table: nothing: 1 tried, 1 survived'",
    ]);
    let text = output(faults).unwrap();
    for expected in ["| nothing | 1 | 1 |", "| a flipped byte, `name-NNNN.rows` |", "| cut short, `CURRENT` | 1 | 1 |"]
    {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    // A run that finds something ends with another code, as one does whose command does.
    let mut faults = command("faults").unwrap();
    faults.args([
        "--rows",
        "1000",
        "--flips",
        "1",
        "--cuts",
        "1",
        "--also",
        "echo 'fault table: x: 2 tried, 1 survived'",
    ]);
    assert!(output(faults).is_err());
}
