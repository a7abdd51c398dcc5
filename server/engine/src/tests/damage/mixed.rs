//! Whole files in wrong places: of another generation, of another name, not there, or no file at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use balcao_index::{Generation, verify};

use super::small::Small;
use super::{Outcome, Subject, Victim, check_answers, copy, subjects, whole};

/// The list of anomalies is not served from: whatever became of it, the replies stay.
fn is_list(file: &Subject) -> bool {
    file.name == "anomalies.csv"
}

/// Puts something in the place of a file, which `verify` and a snapshot must refuse with an error that names one of `told`.
#[track_caller]
fn check(small: &Small, victim: &Victim, file: &Subject, what: &str, told: &[&str], change: impl FnOnce(&Path)) {
    let (index, path) = (victim.index(), victim.index().join(&file.path));
    fs::remove_file(&path).unwrap();
    change(&path);
    whole(format_args!("{}: {what}", file.name), || {
        let error = Generation::open_current(index).and_then(|generation| verify(&generation)).unwrap_err().to_string();
        let told = told.iter().find(|told| error.contains(**told)).unwrap_or_else(|| panic!("{error}"));
        let expected = if is_list(file) { Outcome::Unchanged } else { Outcome::Refused };
        assert_eq!(check_answers(small, index, told), expected);
    });
    if path.is_dir() && !path.is_symlink() { fs::remove_dir(&path) } else { fs::remove_file(&path) }
        .unwrap_or_default();
    fs::write(&path, &file.bytes).unwrap();
}

#[test]
fn files_of_other_generations_and_names() {
    let (small, other) = (Small::new(), Small::of(6));
    let victim = Victim::copy_of(&small.desk.index());
    let (files, others) = (subjects(&small.desk.index()), subjects(&other.desk.index()));
    let mut tried = 0;
    for file in files.iter().filter(|file| file.name != "CURRENT") {
        for from in files.iter().chain(&others).filter(|from| from.bytes != file.bytes) {
            // With a manifest of others, no file is the one that it vouches for: the first is named.
            let told = if from.name == "MANIFEST" && file.name == "MANIFEST" { "words.dict" } else { &file.name };
            check(&small, &victim, file, "another's content", &[told], |path| fs::write(path, &from.bytes).unwrap());
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
    // Once more whole: every change was undone.
    assert_eq!(check_answers(&small, victim.index(), "no file"), Outcome::Unchanged);
}

#[test]
fn a_generation_in_the_place_of_another() {
    let small = Small::new();
    let victim = Victim::copy_of(&small.desk.index());
    let (former, current) = (victim.index().join("g000001"), victim.index().join("g000002"));
    // The manifest alone, then all of it.
    fs::copy(former.join("MANIFEST"), current.join("MANIFEST")).unwrap();
    assert_eq!(check_answers(&small, victim.index(), "cpf-0000.keys"), Outcome::Refused);
    fs::remove_dir_all(&current).unwrap();
    copy(&former, &current);
    assert_eq!(
        check_answers(&small, victim.index(), "MANIFEST is damaged at byte 0: it is that of g000001"),
        Outcome::Refused
    );
    fs::remove_dir_all(&current).unwrap();
    assert_eq!(
        check_answers(&small, victim.index(), "CURRENT is damaged at byte 0: it names g000002"),
        Outcome::Refused
    );
    // A file where the folder belongs.
    fs::write(&current, "g000001\n").unwrap();
    assert_eq!(
        check_answers(&small, victim.index(), "CURRENT is damaged at byte 0: it names g000002"),
        Outcome::Refused
    );
}

#[test]
fn what_is_no_file_or_not_there() {
    let small = Small::new();
    let victim = Victim::copy_of(&small.desk.index());
    for file in &subjects(&small.desk.index()) {
        // Without CURRENT nothing is published, which is said instead.
        let told = ["no index is published", &file.name];
        let told = if file.name == "CURRENT" { &told[..] } else { &told[1..] };
        check(&small, &victim, file, "it is missing", told, |_| ());
        let name = &told[told.len() - 1..];
        check(&small, &victim, file, "it is a folder", name, |path| fs::create_dir(path).unwrap());
        check(&small, &victim, file, "it is empty", name, |path| fs::write(path, "").unwrap());
        // A link to itself cannot be opened by anybody; a file without permissions can be by the system's own user.
        check(&small, &victim, file, "it cannot be opened", name, |path| symlink(path, path).unwrap());
        let forbidden = |path: &Path| {
            fs::write(path, &file.bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            if fs::read(path).is_ok() {
                fs::write(path, "").unwrap();
            }
        };
        check(&small, &victim, file, "it may not be read", name, forbidden);
    }
    assert_eq!(check_answers(&small, victim.index(), "no file"), Outcome::Unchanged);
}
