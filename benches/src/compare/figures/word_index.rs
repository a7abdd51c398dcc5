//! What the word index and the filter columns cost: bytes, and time of the build, beside a build without words and FTS5's own.
//!
//! All three take turns in each round, over the same table in the page cache.

use std::path::Path;

use anyhow::{Context as _, ensure};

use super::Report;
use super::build::{self, Built};
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::peers::{fts5, python};
use crate::compare::rounds::{in_turns, over, ratio};
use crate::measure::markdown::{grouped, mib, per_row};
use crate::measure::observing::Memory;
use crate::measure::spread::Spread;
use crate::measure::{count_rows, index_files, settle};
use crate::scratch::Scratch;

/// The word index, and what the filter columns of each shard end with.
const WORDS: &str = "words.index";
const FILTERS_END: &str = ".cols";

/// One build.
struct One {
    seconds: f64,
    peak: Memory,
    /// Bytes of the word index or FTS5's, of the filter columns, and of everything else.
    bytes: [u64; 3],
}

const SIDES: [&str; 3] = ["ours, with words", "ours, `--no-words`", "FTS5"];

pub(crate) fn measure(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let registry = ground.registry()?;
    let rows = count_rows(&registry)?;
    let folder = Scratch::new_in(ground.folder())?;
    let rounds = ground.plan.rounds;
    let built = in_turns(rounds, SIDES.len(), |round, side| {
        ground.say(&format!("round {} of {rounds}: building, {}", round + 1, SIDES[side]));
        match side {
            0 => ours(&registry.db, folder.path(), &[]),
            1 => ours(&registry.db, folder.path(), &["--no-words"]),
            _ => peer(&registry.db, folder.path()),
        }
    })?;
    let [with, without] = [&built[0], &built[1]];
    ensure!(with[0].bytes[0] > 0, "a build with words has no `{WORDS}`");
    ensure!(without.iter().all(|one| one.bytes[0] == 0), "a build without words has a word index");
    let each = |bytes: u64| Spread::new([bytes as f64 / rows as f64]).context("a number is a spread");
    let mut text = format!(
        "{} rows; {rounds} rounds in which the three take turns, page cache warm: `indexer build --memory 1GiB` as it is, with `--no-words`, and FTS5 \
         ({}) over an external table, its segments merged. The filter columns are those of sex and birth; both of ours have them.\n\n\
         | | seconds | word index, bytes | a row | filter columns, bytes | a row | the rest, bytes a row | peak private memory, MiB |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n",
        grouped(rows),
        python::version()?,
    );
    for (name, ones) in SIDES.iter().zip(&built) {
        let [words, filters, rest] = ones[0].bytes;
        text.push_str(&format!(
            "| {name} | {:.2} | {} | {} | {} | {} | {} | {:.0} |\n",
            over(ones, |one| one.seconds),
            grouped(words),
            per_row(words, rows),
            grouped(filters),
            per_row(filters, rows),
            per_row(rest, rows),
            over(ones, |one| mib(one.peak.private)),
        ));
    }
    let [words, filters, _] = with[0].bytes;
    Ok(Report {
        heading: "What words and filters cost".to_owned(),
        text,
        reached: vec![
            Reached::new(Goal::WordIndexBytes, each(words)?),
            Reached::new(Goal::FilterBytes, each(filters)?),
            Reached::new(Goal::WordIndexTime, ratio(with, without, |one| one.seconds)),
        ],
        ..Report::default()
    })
}

fn ours(db: &Path, folder: &Path, more: &[&str]) -> anyhow::Result<One> {
    let index = folder.join("index");
    let Built { seconds, peak, .. } = build::ours(db, &index, more)?;
    let mut bytes = [0; 3];
    for file in index_files(&index)? {
        bytes[part(&file)] += std::fs::metadata(&file)?.len();
    }
    Ok(One { seconds: seconds[0], peak, bytes })
}

/// Which of the bytes a file of a generation counts to.
fn part(file: &Path) -> usize {
    match file.file_name().unwrap_or_default().to_string_lossy() {
        name if name == WORDS => 0,
        name if name.ends_with(FILTERS_END) => 1,
        _ => 2,
    }
}

fn peer(db: &Path, folder: &Path) -> anyhow::Result<One> {
    let copy = folder.join("fts5.db");
    std::fs::copy(db, &copy).context("cannot copy the registry for FTS5")?;
    settle(&copy)?;
    let built = fts5::build(&copy)?;
    std::fs::remove_file(&copy).context("cannot remove FTS5's copy")?;
    Ok(One { seconds: built.seconds, peak: built.peak, bytes: [built.bytes, 0, 0] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        for (name, expected) in [("words.index", 0), ("name-0003.cols", 1), ("words.dict", 2), ("MANIFEST", 2)] {
            assert_eq!(part(&Path::new("g000001").join(name)), expected, "{name}");
        }
    }
}
