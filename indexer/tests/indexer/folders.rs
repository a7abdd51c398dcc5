//! What lies in the index's folder: which generations, with whose rights, and what is left of builds that failed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use balcao_index::Build;

use crate::command::{LONG_NAMES, Place, refused, run_json};

#[test]
fn the_current_and_the_former_generation() {
    let place = Place::registry(100, 0.0);
    let mut kept = Vec::new();
    for number in 1..=4 {
        let name = format!("g{number:06}");
        assert_eq!(run_json(&place.build(&[]))["generation"], name.as_str());
        kept.push(name);
        kept.drain(..kept.len().saturating_sub(2));
        assert_eq!(place.names(), [&["CURRENT".to_owned(), "LOCK".to_owned()], &kept[..]].concat());
        assert_eq!(place.generation().file_name().unwrap().to_str(), kept.last().map(|name| &**name));
    }
}

#[test]
fn only_the_owner_reads() {
    let place = Place::registry(1000, 0.5);
    run_json(&place.build(&[]));
    let mut checked = 0;
    let mut folders = vec![Path::new(&place.index).to_owned()];
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700, "{}", folder.display());
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            checked += 1;
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                assert_eq!(
                    entry.metadata().unwrap().permissions().mode() & 0o7777,
                    0o600,
                    "{}",
                    entry.path().display()
                );
            }
        }
    }
    assert!(checked > 8, "{checked}");
}

#[test]
fn one_build_at_a_time() {
    let place = Place::registry(100, 0.0);
    run_json(&place.build(&[]));
    // The lock that a build holds, held here.
    let other = Build::begin(Path::new(&place.index)).unwrap();
    refused(&place.build(&[]), &["another build", "wait"]);
    // The other one's folder is not touched, and readers are not locked out.
    assert!(other.folder().is_dir());
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    drop(other);
    run_json(&place.build(&[]));
}

#[test]
fn a_build_that_fails_leaves_the_former_one() {
    let place = Place::registry(100, 0.0);
    run_json(&place.build(&[]));
    let before = place.names();
    for wrong in [["--table", "other"], ["--cpf-column", "other"]] {
        refused(&place.build(&wrong), &["other"]);
        assert_eq!(place.names(), before);
    }
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
}

#[test]
fn a_build_that_is_killed_leaves_the_former_one() {
    let place = Place::of(LONG_NAMES);
    run_json(&place.build(&[]));
    for stage in 0..4 {
        let mut build = Command::new(env!("CARGO_BIN_EXE_indexer"))
            .args(place.build(&["--memory", "16MiB"]))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // As soon as its generation has so many files, the spill file among them.
        let current = place.generation();
        let deadline = Instant::now() + Duration::from_secs(60);
        let files = |name: &String| fs::read_dir(Path::new(&place.index).join(name)).map_or(0, Iterator::count);
        let begun = || {
            place.names().iter().any(|name| name.starts_with('g') && !current.ends_with(name) && files(name) >= stage)
        };
        while !begun() && build.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the build never began");
        }
        let _ = build.kill();
        build.wait().unwrap();
        run_json(&["verify", "--index", &place.index]);
    }
    // The next build clears up behind all of them.
    run_json(&place.build(&[]));
    assert_eq!(place.names().len(), 4, "{:?}", place.names());
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
}
