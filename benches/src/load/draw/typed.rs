//! Questions as people type names: some words of one, in any order, right or mistyped; and the request lines that ask them.
//!
//! Every question is made of the words of a row, so that somebody answers it. Particles are left out, as people leave them out.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::ensure;
use serde_json::{Map, Value};

use super::{PAGE_ROWS, names, write};
use crate::rng::Rng;

/// Names that words are counted in and taken from: a word that two of them carry is in some hundred rows of ten million.
const SAMPLE_ROWS: usize = 200_000;

/// Words with the most names are common: so many of them. The last of them is in about one name of two hundred.
const COMMON_WORDS: usize = 50;

/// A rare word is carried by so many names of the sample at most.
const RARE_NAMES_MAX: usize = 2;

/// Words that join others, as they are compared: nobody looks for them.
const PARTICLES: [&str; 6] = ["DE", "DA", "DO", "DOS", "DAS", "E"];

/// Letters of a word that may be mistyped once, and twice, at least: what is left of it when they are left out is still found by so many edits.
const MISTYPED_LETTERS_MIN: usize = 4;
const TWICE_LETTERS_MIN: usize = 8;

/// One in so many long words is mistyped twice.
const TWICE_ONE_IN: usize = 3;

/// The stream of random numbers.
const STREAM_TYPED: u64 = (1 << 33) + 8;

/// Which words of a name are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frequency {
    /// Any.
    Any,
    /// The most frequent of the registry alone.
    Common,
    /// One that few rows carry, and the most frequent beside it.
    Rare,
}

/// What questions are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Typed {
    /// Words of a question, at least 1.
    pub words: usize,
    /// Which ones.
    pub frequency: Frequency,
    /// Whether one word of each question is mistyped: by one edit, long ones at times by two.
    pub is_mistyped: bool,
}

/// How a question is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The `match`.
    pub matching: &'a str,
    /// The `last`, where it is not the default.
    pub last: Option<&'a str>,
    /// The `spelling`, likewise.
    pub spelling: Option<&'a str>,
    /// Rows of a page.
    pub limit: usize,
}

impl Asking<'_> {
    /// Pages of 50 rows with this `match` and its defaults.
    #[must_use]
    pub fn pages(matching: &str) -> Asking<'_> {
        Asking { matching, last: None, spelling: None, limit: PAGE_ROWS }
    }

    /// The request line for `name`.
    #[must_use]
    pub fn line(&self, name: &str) -> String {
        let Self { matching, last, spelling, limit } = *self;
        let members = [("nome", Some(name)), ("match", Some(matching)), ("last", last), ("spelling", spelling)];
        let mut line: Map<String, Value> =
            members.into_iter().filter_map(|(member, text)| Some((member.to_owned(), text?.into()))).collect();
        line.insert("limit".to_owned(), limit.into());
        Value::from(line).to_string()
    }
}

/// Different questions, `count` at most, in random order.
///
/// # Errors
/// When the database cannot be read, or no name of it has such words.
pub fn questions(db: &Path, typed: &Typed, count: usize, seed: u64) -> anyhow::Result<Vec<String>> {
    ensure!(typed.words > 0 && count > 0, "no words are wanted; ask for one at least");
    let names = names(db, SAMPLE_ROWS, seed)?;
    let names: Vec<Vec<&str>> = names.iter().map(|name| words_of(name)).collect();
    let frequencies = Frequencies::of(&names);
    let mut rng = Rng::new(seed, STREAM_TYPED);
    let mut drawn = HashSet::new();
    for name in &names {
        let Some(mut words) = frequencies.pick(name, typed, &mut rng) else { continue };
        if typed.is_mistyped && !mistype(&mut words, &mut rng) {
            continue;
        }
        drawn.insert(words.join(" "));
        if drawn.len() == count {
            break;
        }
    }
    ensure!(
        !drawn.is_empty(),
        "no name that was drawn from {} has such words; ask for fewer words, or others",
        db.display()
    );
    // What many names hold was drawn first: no part of the list may be dearer than another.
    let mut drawn: Vec<String> = drawn.into_iter().collect();
    drawn.sort_unstable();
    rng.shuffle(&mut drawn);
    Ok(drawn)
}

/// Writes [`questions`] as request lines into `out`; returns how many there are.
///
/// # Errors
/// As [`questions`]; also when `out` exists or cannot be written.
pub fn lines(
    db: &Path,
    typed: &Typed,
    asking: &Asking<'_>,
    count: usize,
    seed: u64,
    out: &Path,
) -> anyhow::Result<usize> {
    let questions = questions(db, typed, count, seed)?;
    write(out, &questions.iter().map(|question| asking.line(question)).collect::<Vec<_>>())
}

/// The different words of a name but for particles.
fn words_of(name: &str) -> Vec<&str> {
    let mut words: Vec<&str> = Vec::new();
    for word in name.split(' ').filter(|word| !PARTICLES.contains(word)) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// Which words are common, and which are rare.
struct Frequencies<'a> {
    names_with: HashMap<&'a str, usize>,
    /// Names that carry a common word at least.
    common: usize,
}

impl<'a> Frequencies<'a> {
    fn of(names: &[Vec<&'a str>]) -> Self {
        let mut names_with = HashMap::new();
        for word in names.iter().flatten() {
            *names_with.entry(*word).or_default() += 1;
        }
        let mut counts: Vec<usize> = names_with.values().copied().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // In a registry of few words the rare ones are not common all the same.
        let common = counts.get(COMMON_WORDS - 1).copied().unwrap_or_default().max(RARE_NAMES_MAX + 1);
        Self { names_with, common }
    }

    fn is_common(&self, word: &str) -> bool {
        self.names_with.get(word).is_some_and(|&names| names >= self.common)
    }

    fn is_rare(&self, word: &str) -> bool {
        self.names_with.get(word).is_some_and(|&names| names <= RARE_NAMES_MAX)
    }

    /// The words of a question about this name, in random order; none where it has not got them.
    fn pick(&self, name: &[&str], typed: &Typed, rng: &mut Rng) -> Option<Vec<String>> {
        let mut left: Vec<&str> = name.to_vec();
        rng.shuffle(&mut left);
        let mut picked = Vec::new();
        match typed.frequency {
            Frequency::Any => {}
            Frequency::Common => left.retain(|word| self.is_common(word)),
            Frequency::Rare => {
                picked.push((*left.iter().find(|word| self.is_rare(word))?).to_owned());
                left.retain(|word| self.is_common(word));
            }
        }
        let more = typed.words - picked.len();
        picked.extend(left.iter().take(more).map(|&word| word.to_owned()));
        rng.shuffle(&mut picked);
        (picked.len() == typed.words).then_some(picked)
    }
}

/// Mistypes one of the words that may be; whether there is one.
fn mistype(words: &mut [String], rng: &mut Rng) -> bool {
    let long: Vec<usize> = (0..words.len()).filter(|&at| words[at].chars().count() >= MISTYPED_LETTERS_MIN).collect();
    if long.is_empty() {
        return false;
    }
    let at = *rng.pick(&long);
    let mut letters: Vec<char> = words[at].chars().collect();
    if letters.len() >= TWICE_LETTERS_MIN && rng.one_in(TWICE_ONE_IN) {
        // Two letters taken for others are two edits in every case; what is put between two that were swapped would count three.
        substitute(&mut letters, rng);
        substitute(&mut letters, rng);
    } else {
        edit(&mut letters, rng);
    }
    words[at] = letters.into_iter().collect();
    true
}

/// One edit: a letter left out, put in, taken for another, or two neighbours swapped.
fn edit(letters: &mut Vec<char>, rng: &mut Rng) {
    let at = rng.below(letters.len());
    match rng.below(4) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, any_letter(rng)),
        2 => substitute(letters, rng),
        _ => {
            let at = rng.below(letters.len() - 1);
            letters.swap(at, at + 1);
        }
    }
}

fn substitute(letters: &mut [char], rng: &mut Rng) {
    let at = rng.below(letters.len());
    letters[at] = any_letter(rng);
}

fn any_letter(rng: &mut Rng) -> char {
    char::from(b'A' + rng.below(26) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3000 rows: two given names and two surnames that everybody has, and a word of their own for one row in a hundred.
    fn registry() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
            INSERT INTO cpf SELECT i, iif(i % 2, 'Maria ', 'José ') || iif(i % 100, '', 'Raro' || char(65 + i / 100 % 26) || ' ') || 'da ' ||
            iif(i % 3, 'Silva', 'Souza') FROM n";
        rusqlite::Connection::open(file.path()).unwrap().execute_batch(sql).unwrap();
        file
    }

    fn drawn(words: usize, frequency: Frequency, is_mistyped: bool) -> Vec<String> {
        let typed = Typed { words, frequency, is_mistyped };
        let file = registry();
        let drawn = questions(file.path(), &typed, 500, 7).unwrap();
        assert_eq!(drawn, questions(file.path(), &typed, 500, 7).unwrap());
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len(), "none is drawn twice");
        drawn
    }

    #[test]
    fn words_are_of_one_name_in_any_order() {
        let common = drawn(2, Frequency::Common, false);
        // Four pairs of a given name and a surname, each in both orders.
        assert_eq!(common.len(), 8, "{common:?}");
        assert!(common.contains(&"SILVA MARIA".to_owned()) && common.contains(&"JOSE SOUZA".to_owned()), "{common:?}");
        let rare = drawn(2, Frequency::Rare, false);
        assert_eq!(rare.iter().filter(|question| question.contains("RARO")).count(), rare.len());
        assert!(rare.len() > 20 && rare.iter().any(|question| question.starts_with("RARO")), "{rare:?}");
        assert!(drawn(1, Frequency::Any, false).iter().all(|question| !question.contains(' ')));
    }

    #[test]
    fn a_mistyped_word_is_near_one_of_the_registry() {
        let mistyped = drawn(2, Frequency::Common, true);
        assert!(mistyped.len() > 100);
        let known = ["MARIA", "JOSE", "SILVA", "SOUZA"];
        let wrong = |question: &&String| question.split(' ').filter(|word| !known.contains(word)).count();
        assert!(mistyped.iter().all(|question| wrong(&question) <= 1));
        assert!(mistyped.iter().filter(|question| wrong(question) == 1).count() > 100);
    }

    #[test]
    fn what_no_name_has_is_told() {
        let typed = Typed { words: 9, frequency: Frequency::Common, is_mistyped: false };
        let error = questions(registry().path(), &typed, 5, 1).unwrap_err().to_string();
        assert!(error.contains("fewer words"), "{error}");
    }

    #[test]
    fn a_line_asks_as_it_is_told() {
        assert_eq!(Asking::pages("words").line("A B"), r#"{"nome":"A B","match":"words","limit":50}"#);
        let asking = Asking { matching: "fuzzy", last: Some("whole"), spelling: Some("pt"), limit: 5 };
        assert_eq!(asking.line("A"), r#"{"nome":"A","match":"fuzzy","last":"whole","spelling":"pt","limit":5}"#);
    }
}
