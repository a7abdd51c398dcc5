//! The prefixes that are asked: drawn from the table's names, so that most of them find something.
//!
//! Draws that would transfer very many rows are thinned out, except for a few of the largest, which are always asked.

use std::collections::BTreeMap;

use super::reading::normalise;
use super::scan::Table;
use crate::rng::Rng;

/// How many of the largest prefixes of one letter are asked.
const LARGEST: usize = 3;

/// A prefix with more rows than this is kept with a probability of this over its rows: no size dominates the run.
const ROWS_UNTHINNED_MAX: usize = 400;

/// After so many draws in vain, the last one is taken: a table may hold nothing but one name.
const DRAWS_MAX: usize = 200;

/// Draws `count` prefixes as a user might write them. None but the largest finds more than `rows_max` rows.
pub(crate) fn draw(table: &Table, count: usize, rows_max: usize, seed: u64) -> Vec<String> {
    let mut rng = Rng::new(seed, 1);
    let mut prefixes = largest(table);
    prefixes.truncate(count);
    while prefixes.len() < count {
        let mut prefix = String::new();
        for _ in 0..DRAWS_MAX {
            prefix = draw_one(table, &mut rng);
            let rows = table.names.starting_with(&normalise(&prefix)).len();
            if rows <= rows_max && rng.below(rows) < ROWS_UNTHINNED_MAX {
                break;
            }
        }
        prefixes.push(prefix);
    }
    prefixes
}

/// The first letters that most rows begin with.
fn largest(table: &Table) -> Vec<String> {
    let mut rows = BTreeMap::<char, usize>::new();
    for (at, name) in table.names.keys.iter().enumerate() {
        if let Some(first) = name.chars().next() {
            *rows.entry(first).or_default() += table.names.of(at).len();
        }
    }
    let mut letters: Vec<(usize, char)> = rows.into_iter().map(|(letter, rows)| (rows, letter)).collect();
    letters.sort_unstable_by(|a, b| b.cmp(a));
    letters.into_iter().take(LARGEST).map(|(_, letter)| letter.to_string()).collect()
}

fn draw_one(table: &Table, rng: &mut Rng) -> String {
    if table.names.keys.is_empty() {
        return not_found(rng);
    }
    let key = rng.below(table.names.keys.len());
    let name: Vec<char> = table.names.keys[key].chars().collect();
    match rng.below(10) {
        // In the middle of a word.
        0 => cut_where(&name, rng, |before, after| before != ' ' && after != ' '),
        // With a blank at the end, which counts for nothing.
        1 => cut_where(&name, rng, |_, after| after == ' ') + [" ", "  ", "\t"][rng.below(3)],
        // As the table spells it.
        2 => {
            let raw: Vec<char> = table.name_of(*rng.pick(table.names.of(key))).chars().collect();
            cut(&raw, rng)
        }
        3 => cut(&name, rng) + &not_found(rng),
        4 => cut(&name, rng).to_lowercase().replace(' ', "  "),
        _ => cut(&name, rng),
    }
}

/// The beginning of `name`, of random length from one character to all.
fn cut(name: &[char], rng: &mut Rng) -> String {
    name[..rng.between(1, name.len().max(1)).min(name.len())].iter().collect()
}

/// The beginning of `name` up to a random place between two characters that are `wanted`; to its end where there is none.
fn cut_where(name: &[char], rng: &mut Rng, wanted: fn(char, char) -> bool) -> String {
    let places: Vec<usize> = (1..name.len()).filter(|&at| wanted(name[at - 1], name[at])).collect();
    let end = if places.is_empty() { name.len() } else { *rng.pick(&places) };
    name[..end].iter().collect()
}

/// Letters that begin no name, most likely.
fn not_found(rng: &mut Rng) -> String {
    (0..rng.between(3, 6)).map(|_| *rng.pick(&['Q', 'X', 'Z', 'W', '9'])).collect()
}
