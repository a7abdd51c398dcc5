//! The definitions of the protocol page, applied to every row in turn: nothing is looked up, nothing is bounded.

use std::cell::RefCell;
use std::collections::HashMap;

use balcao_record::{BirthDay, Cell, Sex, edits_max, spelling_key};
use balcao_registry::cell;
use rusqlite::Connection;

/// A row with a name.
pub(super) struct Row {
    pub(super) number: i64,
    pub(super) name: String,
    sex: Option<Sex>,
    birth: Option<BirthDay>,
}

/// What `where` asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Where {
    pub(super) sex: Option<char>,
    pub(super) from: Option<u32>,
    pub(super) to: Option<u32>,
}

/// How names are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Exact,
    Prefix,
    Words,
    Fuzzy { spelling: bool },
}

/// A question as it is meant.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) how: How,
    /// Normalised.
    pub(super) name: String,
    pub(super) last_is_prefix: bool,
    pub(super) filter: Where,
}

pub(super) struct Model {
    /// In the order of (name, rowid).
    pub(super) rows: Vec<Row>,
    /// Distances that were computed before, by (asked, word, is prefix).
    known: RefCell<HashMap<(String, String, bool), usize>>,
}

impl Model {
    pub(super) fn read(db: &std::path::Path) -> Self {
        let connection = Connection::open(db).unwrap();
        let mut statement = connection.prepare("SELECT n, nome, sexo, nasc FROM cpf ORDER BY rowid").unwrap();
        let mut rows: Vec<Row> = statement
            .query_map([], |row| {
                let mut name = String::new();
                cell(row.get_ref(1)?).name_key(&mut name);
                let (sex, birth): (Cell<'_>, Cell<'_>) = (cell(row.get_ref(2)?), cell(row.get_ref(3)?));
                Ok(Row { number: row.get(0)?, name, sex: sex.sex(), birth: birth.birth() })
            })
            .unwrap()
            .map(Result::unwrap)
            .filter(|row| !row.name.is_empty())
            .collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Self { rows, known: RefCell::default() }
    }

    /// The numbers and distances of the rows that answer, in order.
    pub(super) fn answer(&self, asked: &Asked) -> Vec<(i64, u64)> {
        let mut found: Vec<(u64, u64, i64)> = Vec::new();
        for row in self.rows.iter().filter(|row| asked.filter.admits(row)) {
            match asked.how {
                How::Exact if row.name == asked.name => found.push((0, 0, row.number)),
                How::Prefix if row.name.starts_with(&asked.name) => found.push((0, 0, row.number)),
                How::Words if self.has_words(asked, &row.name) => found.push((0, 0, row.number)),
                How::Fuzzy { spelling } => {
                    if self.has_words(asked, &row.name) {
                        found.push((0, 0, row.number));
                    } else if let Some(sum) = self.sum(asked, &row.name, spelling) {
                        found.push((1 + sum, sum, row.number));
                    }
                }
                _ => {}
            }
        }
        found.sort_by_key(|&(level, ..)| level);
        found.into_iter().map(|(_, sum, number)| (number, sum)).collect()
    }

    fn has_words(&self, asked: &Asked, name: &str) -> bool {
        let words: Vec<&str> = asked.name.split(' ').collect();
        let whole = words.len() - usize::from(asked.last_is_prefix);
        words[..whole].iter().all(|asked| name.split(' ').any(|word| word == *asked))
            && words[whole..].iter().all(|asked| name.split(' ').any(|word| word.starts_with(asked)))
    }

    fn sum(&self, asked: &Asked, name: &str, spelling: bool) -> Option<u64> {
        let words: Vec<&str> = asked.name.split(' ').collect();
        let mut sum = 0;
        for (at, &word) in words.iter().enumerate() {
            if words[..at].contains(&word) {
                continue;
            }
            // A last word that stands earlier, too, is meant whole.
            let is_prefix = asked.last_is_prefix && at + 1 == words.len();
            sum += name.split(' ').filter_map(|found| self.distance(word, found, is_prefix, spelling)).min()?;
        }
        Some(sum)
    }

    fn distance(&self, asked: &str, word: &str, is_prefix: bool, spelling: bool) -> Option<u64> {
        if spelling {
            let (one, other) = (spelling_key(asked), spelling_key(word));
            if if is_prefix { other.starts_with(&one) } else { one == other } {
                return Some(0);
            }
        }
        let key = (asked.to_owned(), word.to_owned(), is_prefix);
        let distance = *self.known.borrow_mut().entry(key).or_insert_with(|| edits(asked, word, is_prefix));
        (distance <= usize::from(edits_max(asked))).then_some(distance as u64)
    }
}

impl Where {
    fn admits(&self, row: &Row) -> bool {
        let sex = self.sex.is_none_or(|sex| row.sex == Sex::parse(&sex.to_string()));
        let day = |number: u32| BirthDay::parse(&number.to_string());
        let bounds = [self.from.map(|from| (from, true)), self.to.map(|to| (to, false))];
        sex && bounds.into_iter().flatten().all(|(bound, is_low)| {
            row.birth
                .is_some_and(|birth| if is_low { birth >= day(bound).unwrap() } else { birth <= day(bound).unwrap() })
        })
    }
}

/// Inserted, deleted, replaced and swapped letters that lie between two words, or between one and the best beginning of the other: by recursion over both.
fn edits(asked: &str, word: &str, is_prefix: bool) -> usize {
    let (asked, word): (Vec<char>, Vec<char>) = (asked.chars().collect(), word.chars().collect());
    let mut known = HashMap::new();
    let mut to = |end: usize| between(&asked, &word[..end], &mut known);
    if is_prefix { (0..=word.len()).map(to).min().unwrap() } else { to(word.len()) }
}

fn between(a: &[char], b: &[char], known: &mut HashMap<(usize, usize), usize>) -> usize {
    let ([one @ .., last_one], [other @ .., last_other]) = (a, b) else { return a.len() + b.len() };
    if let Some(&distance) = known.get(&(a.len(), b.len())) {
        return distance;
    }
    let replaced = between(one, other, known) + usize::from(last_one != last_other);
    let mut least = replaced.min(between(one, b, known) + 1).min(between(a, other, known) + 1);
    if let ([rest @ .., x], [rest_other @ .., y]) = (one, other)
        && (x, last_one) == (last_other, y)
    {
        least = least.min(between(rest, rest_other, known) + 1);
    }
    known.insert((a.len(), b.len()), least);
    least
}
