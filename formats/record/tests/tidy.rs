//! The repository's own order: what no compiler and no lint looks at. It walks the tree from the workspace's root.
//!
//! It stands in the smallest room, so that it is built in a moment and runs with every test of the workspace.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// A file with more lines than this is asking to be split.
const LINES_MAX: usize = 600;

/// Folders that are no part of the sources: what is built, the repository's own, and scratch that git ignores.
const NOT_OURS: [&str; 6] =
    ["target", ".git", "work", "formats/fuzz/fuzz/target", "formats/fuzz/fuzz/artifacts", "formats/fuzz/fuzz/corpus"];

/// Macros that are for the time of writing only; spelled in halves, so that this file does not hold them.
const UNFINISHED: [&str; 3] = [concat!("dbg", "!("), concat!("todo", "!("), concat!("unimplemented", "!(")];

/// Where somebody's files lie; in halves as well.
const PRIVATE: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Use", "rs/")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file below the root, by its path from there.
fn files() -> Vec<PathBuf> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(&root).unwrap();
            if NOT_OURS.iter().any(|name| inside == Path::new(name)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(inside.to_owned());
            }
        }
    }
    files.sort();
    assert!(files.len() > 50, "this is not the repository");
    files
}

/// The text of a file; `None` where it is none.
fn text(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(root().join(path)).unwrap()).ok()
}

/// The Rust files with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let rust =
        |path: PathBuf| (path.extension() == Some(OsStr::new("rs"))).then(|| text(&path).map(|text| (path, text)));
    files().into_iter().filter_map(rust).flatten().collect()
}

/// Fails with every fault that was found, not with the first.
#[track_caller]
fn check(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_member_opts_into_the_lints() {
    let workspace = text(Path::new("Cargo.toml")).unwrap();
    let (_, members) = workspace.split_once("members = [").unwrap();
    let members: Vec<_> = members.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2).collect();
    assert!(members.len() > 5, "{members:?}");
    let opts_in = |member: &&str| {
        let manifest = text(&Path::new(member).join("Cargo.toml")).unwrap();
        manifest.split_once("\n[lints]\n").is_some_and(|(_, lints)| lints.starts_with("workspace = true"))
    };
    let without: Vec<_> = members.into_iter().filter(|member| !opts_in(member)).collect();
    assert!(without.is_empty(), "without `[lints] workspace = true`: {without:?}");
}

#[test]
fn every_module_says_what_it_is() {
    let in_src = |path: &Path| path.components().any(|part| part.as_os_str() == "src");
    let faults: Vec<_> = sources()
        .iter()
        .filter(|(path, text)| in_src(path) && !text.starts_with("//! "))
        .map(|(path, _)| format!("{} does not open with `//!`", path.display()))
        .collect();
    check(&faults);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{} has {lines} lines; split it", path.display()));
        }
        for word in UNFINISHED.iter().filter(|word| text.contains(*word)) {
            faults.push(format!("{} holds {word})", path.display()));
        }
    }
    check(&faults);
}

/// What stands between backticks on one line, and what Markdown links point at.
fn named(page: &str) -> Vec<(&str, bool)> {
    let mut named = Vec::new();
    for line in page.lines() {
        named.extend(line.split('`').skip(1).step_by(2).map(|text| (text, false)));
        named.extend(line.split("](").skip(1).filter_map(|rest| Some((rest.split_once(')')?.0, true))));
    }
    named
}

/// Whether a text in backticks reads as a path of this repository: plain names with slashes, beginning in one of its folders, or ending
/// like one of its files.
fn is_repository_path(text: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let Some((first, _)) = text.split_once('/') else { return false };
    let ours = root().join(first).is_dir() && !NOT_OURS.contains(&first);
    let like_ours = [".rs", ".md", ".toml"].iter().any(|end| text.ends_with(end));
    text.trim_end_matches('/').split('/').all(is_name) && (ours || like_ours)
}

#[test]
fn pages_name_files_that_exist() {
    let is_page = |path: &PathBuf| {
        path == Path::new("README.md") || path.starts_with("docs") && path.extension() == Some(OsStr::new("md"))
    };
    let mut faults = Vec::new();
    for path in files().into_iter().filter(is_page) {
        let page = text(&path).unwrap();
        for (name, is_link) in named(&page) {
            let place = if !is_link {
                if !is_repository_path(name) {
                    continue;
                }
                root().join(name)
            } else if name.contains("://") || name.starts_with('#') {
                continue;
            } else {
                root().join(&path).with_file_name(name.split('#').next().unwrap_or_default())
            };
            if !place.exists() {
                faults.push(format!("{} names {name}, which is not there", path.display()));
            }
        }
    }
    check(&faults);
}

#[test]
fn no_file_names_a_private_folder() {
    let mut faults = Vec::new();
    for path in files() {
        let Some(text) = text(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            // A path begins there: what stands before is no part of a longer one.
            let begins = |at: usize| {
                line[..at]
                    .chars()
                    .next_back()
                    .is_none_or(|before| !before.is_alphanumeric() && !"._-/~".contains(before))
            };
            if PRIVATE.iter().any(|folder| line.match_indices(folder).any(|(at, _)| begins(at))) {
                faults.push(format!("{}:{} names a private folder", path.display(), number + 1));
            }
        }
    }
    check(&faults);
}
