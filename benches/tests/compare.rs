//! The figures that need neither Redis nor PostgreSQL, in small: every one of them is measured, written and drawn.
//!
//! What they come to is not judged: the machine may do anything else meanwhile.

use balcao_benches::processes::{command, output};

#[test]
fn figures_are_measured_written_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results.md");
    let compare = |figures: &str| {
        let mut command = command("compare").unwrap();
        command.args(["--only", figures, "--rows", "3000", "--sizes", "1000,2000", "--rounds", "2", "--seconds", "1"]);
        command.args(["--connections", "20"]).arg("--out").arg(&out).arg("--work").arg(folder.path());
        output(command).unwrap()
    };
    let text = compare("build,python,engine,start");
    for part in [
        "times as fast",
        "; the copy has ",
        "| Python |",
        "| 2 |",
        "| dropped from it |",
        "images/bench-build-bytes.svg",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let first = std::fs::read_to_string(&out).unwrap();
    // A figure is renewed in its place, and alone.
    compare("start");
    let second = std::fs::read_to_string(&out).unwrap();
    let sections = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("<!-- ")).map(str::to_owned).collect()
    };
    assert_eq!(sections(&first), sections(&second));
    let of_build = |text: &str| text.split("<!-- bench-").nth(1).map(str::to_owned);
    assert_eq!(of_build(&first), of_build(&second));
    let drawn = std::fs::read_to_string(folder.path().join("images/bench-python-throughput.svg")).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("Python"), "{drawn}");
    // Nothing big is left behind.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Questions as people type them, files of them, every answer: what comes out is compared in number by the figures themselves.
#[test]
fn names_as_people_type_them_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("results.md");
    let mut command = command("compare").unwrap();
    command.args(["--only", "words,word-index,batch,all-answers,beside-fuzzy", "--rows", "20000"]);
    command.args(["--rounds", "2", "--seconds", "1", "--connections", "20", "--out"]);
    command.arg(&out).arg("--work").arg(folder.path());
    let text = output(command).unwrap();
    for part in [
        "| two common words | 4 | ours |",
        "| a rare word and a common one | 1 | FTS5, in its own order |",
        "| ours, `--no-words` |",
        "| `client batch` |",
        "| `--json` |",
        "| beside `fuzzy` |",
        "images/bench-batch.svg",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let page = std::fs::read_to_string(&out).unwrap();
    for goal in
        ["`words` at 4 connections, p99", "word index, bytes a row", "filter columns, bytes a row", "without pause"]
    {
        assert_eq!(page.matches(goal).count(), 2, "{goal} stands in its section and in the overview");
    }
}

/// Where this may make no memory cgroup, the section says so and what would help, and the run goes on.
#[test]
fn a_cold_cache_is_measured_in_a_cgroup() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command("compare").unwrap();
    command.args(["--only", "cold,start", "--rows", "20000", "--rounds", "1", "--seconds", "1", "--out"]);
    command.arg(folder.path().join("results.md")).arg("--work").arg(folder.path());
    let text = output(command).unwrap();
    let parts: &[&str] = if text.contains("**Not measured**") {
        &["run this as root"]
    } else {
        &["| nothing |", "| 8 × cold CPFs |", "images/bench-cold-latency.svg"]
    };
    for part in parts.iter().chain(&["| dropped from it |"]) {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    // Nothing is left behind, neither a folder nor a server in a cgroup.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "results.md" || name == "images"), "{left:?}");
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_measured() {
    for arguments in [&["--only", "build"][..], &["--sizes", "2,1", "--full", "--out", "x.md"], &["--only", "nothing"]]
    {
        let mut command = command("compare").unwrap();
        command.args(arguments);
        let error = output(command).unwrap_err().to_string();
        assert!(error.contains("exit status: 2"), "{arguments:?}: {error}");
    }
}
