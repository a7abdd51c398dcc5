//! Every committed corpus file through its target's body, and the shell that `cargo fuzz` runs against the list of targets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use balcao_fuzz::TARGETS;

/// A corpus is small, so that it is read at a glance and replayed in a moment.
const CORPUS_FILES_MAX: usize = 100;
const CORPORA_BYTES_MAX: u64 = 2 << 20;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names in a folder, without what stands behind their last dot.
fn names(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| PathBuf::from(entry.unwrap().file_name()));
    entries.map(|name| name.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn target_names() -> BTreeSet<String> {
    TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Runs the corpus of the targets whose place is `part` modulo `parts`.
fn replay(part: usize, parts: usize) {
    for (name, body) in TARGETS.iter().skip(part).step_by(parts) {
        let mut files: Vec<_> =
            fs::read_dir(folder("corpus").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!((1..=CORPUS_FILES_MAX).contains(&files.len()), "{name} has {} corpus files", files.len());
        files.sort();
        for file in files {
            // Shown where the body panics.
            println!("{name} {}", file.display());
            body(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn the_first_half_of_the_targets_holds_over_its_corpora() {
    replay(0, 2);
}

#[test]
fn the_second_half_of_the_targets_holds_over_its_corpora() {
    replay(1, 2);
}

#[test]
fn the_shell_has_every_target() {
    let expected = target_names();
    assert_eq!(names("fuzz/fuzz_targets"), expected);
    assert_eq!(names("corpus"), expected);
    let manifest = fs::read_to_string(folder("fuzz/Cargo.toml")).unwrap();
    for name in &expected {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
        let shell = fs::read_to_string(folder("fuzz/fuzz_targets").join(format!("{name}.rs"))).unwrap();
        let call = format!("fuzz_target!(|data: &[u8]| balcao_fuzz::{name}(data));");
        assert!(shell.contains(&call), "{name}: {shell}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), expected.len());
}

#[test]
fn the_corpora_are_small() {
    let sizes = TARGETS.iter().flat_map(|(name, _)| fs::read_dir(folder("corpus").join(name)).unwrap());
    let bytes: u64 = sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < CORPORA_BYTES_MAX, "the corpora take {bytes} bytes");
}
