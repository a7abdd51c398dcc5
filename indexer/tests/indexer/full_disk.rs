//! A disk that runs full under the real `indexer`, at every page that a build writes: the error says what to do, the former generation stays
//! whole, and the room that the build took is free again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use balcao_indexer::{Silent, verify};

use crate::command::{Ended, LONG_NAMES, Place, ended, run, run_json};
use crate::small_disk::{Ballast, SmallDisk};

/// The former generation is all there is, and whole.
#[track_caller]
fn assert_former(place: &Place, names: &[String]) {
    assert_eq!(place.names(), names);
    verify(Path::new(&place.index), Some(Path::new(&place.db)), &Silent).unwrap();
}

/// The error, of which it is known that it is one line and says each of `told`.
#[track_caller]
fn assert_told(ended: &Ended, told: &[&str]) {
    assert_eq!((ended.code, &*ended.out), (Some(1), ""), "{}", ended.error);
    assert_eq!(ended.error.lines().count(), 1, "{}", ended.error);
    for told in told {
        assert!(ended.error.contains(told), "it does not say {told}: {}", ended.error);
    }
}

#[test]
fn every_page_of_a_small_build() {
    let Some(disk) = SmallDisk::new(2 << 20) else { return a_limit_of_file_size() };
    let mut place = Place::registry(4000, 0.2);
    place.index = disk.path().join("index").into_os_string().into_string().unwrap();
    // The two that a build keeps, and a third one: the room is the same from now on.
    for _ in 0..3 {
        run_json(&place.build(&["--shards", "1"]));
    }
    let mut ballast = Ballast::fill(disk.path());
    let (before, mut told, mut pages) = (place.names(), BTreeSet::new(), 0);
    loop {
        ballast.leave(pages * Ballast::PAGE_BYTES);
        let ended = run(&place.build(&["--shards", "1"]));
        if ended.code == Some(0) {
            break;
        }
        assert_told(&ended, &["No space left", "free some space and build again"]);
        let (_, file) = ended.error.split_once("cannot write ").expect("what was written");
        told.insert(file.split_once(':').unwrap().0.to_owned());
        assert_former(&place, &before);
        assert_eq!(ballast.fill_again(), pages * Ballast::PAGE_BYTES, "with {pages} pages");
        pages += 1;
        assert!(pages < 400, "{}", ended.error);
    }
    println!("no room for {told:?}");
    println!("fault table: build, full disk from the n-th page on: {pages} tried, {pages} survived");
    // Which of the shards' files meets it is a matter of two threads; and two builds may differ by a page, so that the room for one of the last
    // files is never exactly what is missing.
    for files in [&["words.dict"][..], &["keys", "rows"], &["MANIFEST", "CURRENT.new"]] {
        assert!(files.iter().any(|file| told.iter().any(|told| told.ends_with(file))), "{files:?}: {told:?}");
    }
    place.assert_no_litter();
    verify(Path::new(&place.index), Some(Path::new(&place.db)), &Silent).unwrap();
}

#[test]
fn spilled_keys_and_large_files() {
    let Some(mut disk) = SmallDisk::new(64 << 20) else { return a_limit_of_file_size() };
    let mut place = Place::of(LONG_NAMES);
    place.index = disk.path().join("index").into_os_string().into_string().unwrap();
    // Words would be spilled, too, and later: where the disk is full is then another file.
    let further = ["--memory", "16MiB", "--shards", "1", "--no-words"];
    let spilled = run_json(&place.build(&further))["spilled_bytes"].as_u64().unwrap();
    assert!(spilled > 2 << 20, "{spilled}");
    let spilled = spilled.next_multiple_of(Ballast::PAGE_BYTES);
    let mut ballast = Ballast::fill(disk.path());
    let before = place.names();
    for (room, words) in
        [(spilled / 2, "the disk is full; free some space, or raise --memory"), (spilled + (2 << 20), "cannot write")]
    {
        ballast.leave(room / Ballast::PAGE_BYTES * Ballast::PAGE_BYTES);
        assert_told(&run(&place.build(&further)), &[words, "free some space"]);
        assert_former(&place, &before);
        assert_eq!(ballast.fill_again(), room / Ballast::PAGE_BYTES * Ballast::PAGE_BYTES);
    }
    disk.remount("size=128m");
    run_json(&place.build(&further));
    place.assert_no_litter();
    verify(Path::new(&place.index), Some(Path::new(&place.db)), &Silent).unwrap();
}

/// Runs a build whose files may have so many blocks, of 512 or 1024 bytes as the shell has it, at most; what goes beyond is an error, not the end of the process.
fn run_limited(blocks: u64, args: &[&str]) -> Ended {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; ulimit -f "$1" && shift && exec "$@""#, "sh", &blocks.to_string()]);
    ended(shell.arg(env!("CARGO_BIN_EXE_indexer")).args(args))
}

/// What stands for a full disk where none can be made, and is tested beside it where one can.
#[test]
fn a_limit_of_file_size() {
    let place = Place::of(LONG_NAMES);
    run_json(&place.build(&[]));
    let before = place.names();
    let spills = ["--memory", "16MiB"];
    for (blocks, further, words) in [
        (0, &[][..], "cannot write"),
        (16, &[], "cannot write"),
        (4096, &[], "cannot write"),
        (1024, &spills, "spilled keys may not grow so large"),
    ] {
        assert_told(&run_limited(blocks, &place.build(further)), &[words, "raise the limit", "ulimit -f"]);
        assert_former(&place, &before);
    }
    assert_eq!(run_limited(1 << 20, &place.build(&[])).code, Some(0));
    place.assert_no_litter();
    verify(Path::new(&place.index), Some(Path::new(&place.db)), &Silent).unwrap();
}
