//! What lies in the index's folder: which generations, with whose rights, and what is left of builds that failed.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::{LONG_NAMES, Place, ended, refused, run_json, sorted_names};
use crate::kills::start;
use crate::small_disk::SmallDisk;

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
fn links_and_files_named_like_generations_are_litter() {
    let place = Place::registry(100, 0.0);
    let index = Path::new(&place.index);
    let kept = index.with_file_name("kept");
    fs::create_dir_all(kept.join("g000001")).unwrap();
    fs::write(kept.join("file"), "x").unwrap();
    // Before the first build, and before one that has a former generation.
    for _ in 0..2 {
        fs::create_dir_all(index).unwrap();
        symlink(&kept, index.join("g000097")).unwrap();
        symlink(kept.join("missing"), index.join("g000098")).unwrap();
        fs::write(index.join("g000099"), "x").unwrap();
        run_json(&place.build(&[]));
        place.assert_no_litter();
        assert_eq!(sorted_names(&kept), ["file", "g000001"]);
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
    let place = Place::registry(50_000, 0.0);
    run_json(&place.build(&[]));
    // Stopped as soon as it has its folder, and with it the lock.
    let mut first = start(&place, &[]);
    let id = first.0.id();
    let deadline = Instant::now() + Duration::from_secs(60);
    while place.names().len() < 4 {
        assert!(first.0.try_wait().unwrap().is_none() && Instant::now() < deadline, "the first build never began");
    }
    signal("STOP", id);
    refused(&place.build(&[]), &["another build", "wait"]);
    // Readers are not locked out.
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    assert!(place.generation().ends_with("g000001"));
    signal("CONT", id);
    assert!(first.0.wait().unwrap().success());
    assert!(place.generation().ends_with("g000002"));
    place.assert_no_litter();
}

fn signal(name: &str, id: u32) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap().success());
}

#[test]
fn builds_that_begin_at_once() {
    let place = Place::registry(5000, 0.1);
    run_json(&place.build(&[]));
    for _ in 0..3 {
        let before = place.generation();
        let mut builds: Vec<_> = (0..4).map(|_| start(&place, &[])).collect();
        let mut published = 0;
        for build in &mut builds {
            let mut error = String::new();
            build.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            match build.0.wait().unwrap().code() {
                Some(0) => published += 1,
                code => assert!(code == Some(1) && error.contains("another build is at work"), "{code:?} {error}"),
            }
        }
        assert!(published > 0 && place.generation() != before);
        place.assert_no_litter();
        run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    }
}

/// Root may write whatever the modes say: its build runs as nobody, with a copy of the program that nobody may run.
#[test]
fn a_folder_that_may_not_be_written() {
    let place = Place::registry(500, 0.1);
    run_json(&place.build(&[]));
    let before = place.names();
    let folder = Path::new(&place.index).parent().unwrap();
    let mut build = Command::new(env!("CARGO_BIN_EXE_indexer"));
    if fs::metadata(folder).unwrap().uid() == 0 {
        let program = folder.join("indexer");
        fs::copy(env!("CARGO_BIN_EXE_indexer"), &program).unwrap();
        give_to_nobody(folder);
        build = Command::new(program);
        build.uid(NOBODY);
    }
    build.args(place.build(&[]));
    let index = Path::new(&place.index);
    for (mode, told) in [(0o500, "cannot create g000002"), (0o000, "LOCK")] {
        fs::set_permissions(index, Permissions::from_mode(mode)).unwrap();
        let ended = ended(&mut build);
        fs::set_permissions(index, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for told in [told, "Permission denied", "check who owns the index's folder"] {
            assert!(ended.error.contains(told), "{told}: {}", ended.error);
        }
        assert_eq!(place.names(), before);
        run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    }
    assert_eq!(ended(&mut build).code, Some(0));
    place.assert_no_litter();
}

/// A number that is no user's, or nobody's.
const NOBODY: u32 = 65_534;

fn give_to_nobody(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_to_nobody(&entry.unwrap().path()));
    }
}

#[test]
fn a_file_system_that_is_mounted_read_only() {
    // Where none can be mounted, modes stand for it: the test above.
    let Some(mut disk) = SmallDisk::new(4 << 20) else { return a_folder_that_may_not_be_written() };
    let mut place = Place::registry(500, 0.1);
    place.index = disk.path().join("index").into_os_string().into_string().unwrap();
    run_json(&place.build(&[]));
    let before = place.names();
    disk.remount("ro");
    refused(&place.build(&[]), &["Read-only file system", "make it writable, or name another folder"]);
    assert_eq!(place.names(), before);
    // Reading needs no writing.
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
    disk.remount("rw");
    run_json(&place.build(&[]));
    place.assert_no_litter();
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
