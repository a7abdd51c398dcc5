//! `verify` on an index that is not what was written: every file, many bytes, and a file that is shorter, longer or not there.

use std::fs;
use std::path::Path;

use balcao_index::SourceFile;
use balcao_indexer::{Silent, verify};

use crate::command::{Place, refused, run_json};
use crate::registry::twin;

/// Positions that are tried in each file: its ends, and a stride between them.
fn positions(length: usize) -> impl Iterator<Item = usize> {
    let stride = (length / 60).max(1);
    (0..length).step_by(stride).chain(length.saturating_sub(9)..length)
}

/// The verdict on the index, which must be one that names `file`.
#[track_caller]
fn assert_found(index: &Path, file: &str, what: &str) {
    match verify(index, None, &Silent) {
        Ok(_) => panic!("{file}: {what} was not found"),
        Err(error) => assert!(error.to_string().contains(file), "{file}: {what} was told as: {error}"),
    }
}

#[test]
fn every_file_every_region() {
    let place = Place::registry(30_000, 0.3);
    run_json(&place.build(&["--shards", "2"]));
    let index = Path::new(&place.index);
    verify(index, None, &Silent).unwrap();
    let files: Vec<_> = fs::read_dir(place.generation()).unwrap().map(|file| file.unwrap().path()).collect();
    // Keys and rowids of two shards by CPF and of two by name, filters of these, both files of words, anomalies, and the manifest.
    assert_eq!(files.len(), 14, "{files:?}");
    for path in &files {
        let file = path.file_name().unwrap().to_str().unwrap();
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        for at in positions(whole.len()) {
            bytes[at] ^= 1 << (at % 8);
            fs::write(path, &bytes).unwrap();
            assert_found(index, file, &format!("byte {at} of {}", whole.len()));
            bytes[at] = whole[at];
        }
        for length in [0, 1, 31, whole.len() / 2, whole.len() - 1] {
            fs::write(path, &whole[..length]).unwrap();
            assert_found(index, file, &format!("a length of {length} of {}", whole.len()));
        }
        fs::write(path, [&whole[..], &[0]].concat()).unwrap();
        assert_found(index, file, "a byte behind its end");
        // As the command tells it, once for each file.
        refused(&["verify", "--index", &place.index], &[file]);
        fs::remove_file(path).unwrap();
        assert_found(index, file, "that it is missing");
        fs::write(path, &whole).unwrap();
    }
    verify(index, None, &Silent).unwrap();
}

#[test]
fn files_that_changed_places() {
    let place = Place::registry(5000, 0.0);
    run_json(&place.build(&["--shards", "2"]));
    let generation = place.generation();
    let mut names: Vec<String> =
        fs::read_dir(&generation).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    // Each file in the place of the next one: whole files, but not these.
    for pair in names.windows(2) {
        let (first, second) = (generation.join(&pair[0]), generation.join(&pair[1]));
        let whole = fs::read(&first).unwrap();
        fs::copy(&second, &first).unwrap();
        assert_found(Path::new(&place.index), &pair[0], "another file's content");
        fs::write(&first, whole).unwrap();
    }
    run_json(&["verify", "--index", &place.index]);
}

#[test]
fn current_is_damaged() {
    let place = Place::registry(10, 0.0);
    run_json(&place.build(&[]));
    let current = Path::new(&place.index).join("CURRENT");
    for text in ["", "g000001", "../index/g000001\n", "g000001\ng000001\n", "G000001\n"] {
        fs::write(&current, text).unwrap();
        refused(&["verify", "--index", &place.index], &["CURRENT", "indexer build"]);
        refused(&["stats", "--index", &place.index], &["CURRENT"]);
    }
    // A name that nothing has.
    fs::write(&current, "g000009\n").unwrap();
    refused(&["verify", "--index", &place.index], &["CURRENT", "g000009"]);
    fs::remove_file(&current).unwrap();
    refused(&["verify", "--index", &place.index], &["indexer build"]);
}

#[test]
fn the_database_changed_since() {
    let place = Place::registry(1000, 0.1);
    run_json(&place.build(&[]));
    let verify = ["verify", "--index", &place.index, "--db", &place.db];
    run_json(&verify);
    let whole = fs::read(&place.db).unwrap();
    place.write("UPDATE cpf SET nome = 'OUTRO NOME' WHERE rowid = 500");
    refused(&verify, &["not the one that was indexed", "build the index again"]);
    fs::write(&place.db, &whole).unwrap();
    run_json(&verify);
    // The index alone is whole all the same.
    fs::remove_file(&place.db).unwrap();
    run_json(&["verify", "--index", &place.index]);
    refused(&verify, &["cannot read the database"]);
}

#[test]
fn a_database_that_differs_between_the_sampled_pages() {
    let place = Place::registry(30_000, 0.1);
    run_json(&place.build(&[]));
    let whole = fs::read(&place.db).unwrap();
    let read = || SourceFile::read(Path::new(&place.db)).unwrap();
    let indexed = read();
    fs::write(&place.db, twin(&whole)).unwrap();
    assert_eq!(read(), indexed);
    let verify = ["verify", "--index", &place.index, "--db", &place.db];
    refused(&verify, &["not the one that was indexed", "its content differs", "build the index again"]);
    fs::write(&place.db, &whole).unwrap();
    run_json(&verify);
}
