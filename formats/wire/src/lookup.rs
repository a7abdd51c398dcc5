//! Lookups: what the rows of an answer carry, how names are compared, what rows are filtered by.
//!
//! Nothing is read here from a line, and nothing is looked up.

use std::fmt;

use balcao_record::{BirthDay, Cpf};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::cursor::Cursor;

/// A question for rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// What the rows must carry.
    pub key: Key,
    /// What they must carry besides, all of it; at most 4, in the order of their columns' names.
    pub filters: Box<[Filter]>,
    /// Rows of a page, 1 to 1000.
    pub limit: usize,
    /// Where the page begins; at the beginning without one.
    pub cursor: Option<Cursor>,
}

impl Lookup {
    /// Whether the answer is searched for, by words or through a filter; else it is a run of ranks.
    #[must_use]
    pub fn is_search(&self) -> bool {
        let by_words = matches!(self.key, Key::Name { r#match: Match::Words { .. } | Match::Fuzzy { .. }, .. });
        by_words || !self.filters.is_empty()
    }

    /// A hash that tells this question from another one, for cursors. Filters count, in whichever order they came; the page's size does not.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let key = self.key.fingerprint();
        if self.filters.is_empty() {
            return key;
        }
        let mut bytes = Vec::new();
        for Filter { column, test } in &self.filters {
            let mut part = |kind: u8, content: &[u8]| {
                bytes.push(kind);
                bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
                bytes.extend_from_slice(content);
            };
            part(0, column.as_bytes());
            match test {
                Test::Text(text) => part(1, text.as_bytes()),
                Test::Days { from, to } => {
                    // No day is none, 0.
                    let day = |day: &Option<BirthDay>| day.map_or(0, |day| day.days() + 1).to_le_bytes();
                    part(2, &[day(from), day(to)].concat());
                }
            }
        }
        xxh3_64_with_seed(&bytes, key)
    }
}

/// What the rows of an answer carry.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// This CPF.
    Cpf(Cpf),
    /// A name that matches.
    Name {
        /// How.
        r#match: Match,
        /// Normalised, not empty; within the limits of words where it is compared by them.
        name: Box<str>,
    },
}

impl Key {
    /// A hash that tells this key from another one.
    fn fingerprint(&self) -> u64 {
        match self {
            Self::Cpf(cpf) => xxh3_64_with_seed(&cpf.number().to_le_bytes(), 0),
            Self::Name { r#match, name } => xxh3_64_with_seed(name.as_bytes(), r#match.seed()),
        }
    }
}

/// A key is a person's data: it never shows in a log by accident.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpf(_) => f.write_str("Cpf(***)"),
            Self::Name { r#match, .. } => write!(f, "Name({match:?}, ***)"),
        }
    }
}

/// How a name is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// The whole normalised name.
    Exact,
    /// Its beginning.
    Prefix,
    /// Its words, in any order.
    Words {
        /// What the last one may be.
        last: Last,
    },
    /// Its words, in any order, each within a few edits.
    Fuzzy {
        /// What the last one may be.
        last: Last,
        /// What counts as no edit.
        spelling: Spelling,
    },
}

impl Match {
    /// The values of `match`, as `hello` tells them: [`Match::name`] of each.
    pub const NAMES: [&'static str; 4] = ["exact", "prefix", "words", "fuzzy"];

    /// The text on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Words { .. } => "words",
            Self::Fuzzy { .. } => "fuzzy",
        }
    }

    /// Tells the matches apart in hashes. Cursors are bound to these numbers.
    fn seed(self) -> u64 {
        match self {
            Self::Exact => 1,
            Self::Prefix => 2,
            Self::Words { last } => 3 + last as u64,
            Self::Fuzzy { last, spelling } => 5 + last as u64 + 2 * spelling as u64,
        }
    }
}

/// What the last word of a question may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Last {
    /// The beginning of a word: it is being typed.
    #[default]
    Prefix,
    /// A whole word, as all others.
    Whole,
}

/// What counts as the same word beside its own letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// Nothing.
    #[default]
    Plain,
    /// What Portuguese reads alike, see [`balcao_record::spelling_key`].
    Portuguese,
}

/// What a row's cell in one column must be.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    /// The column's name, as it was sent.
    pub column: Box<str>,
    /// What is demanded of its cell.
    pub test: Test,
}

/// What is demanded of a cell.
#[derive(Clone, PartialEq, Eq)]
pub enum Test {
    /// This text, as it was sent: what it means depends on the column.
    Text(Box<str>),
    /// A day from the first to the second one, both included; at least one of them is there, and they are in order.
    Days {
        /// The first day.
        from: Option<BirthDay>,
        /// The last day.
        to: Option<BirthDay>,
    },
}

/// A filter tells what is known of a person.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(***)")
    }
}

/// See [`Filter`].
impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Test(***)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::request::{Operation, decode};

    fn lookup(members: &str) -> Lookup {
        match decode(format!("{{{members}}}").as_bytes()).operation {
            Ok(Operation::Lookup(lookup)) => lookup,
            other => panic!("{members}: {other:?}"),
        }
    }

    #[test]
    fn every_question_has_its_own_fingerprint() {
        let keys = [
            r#""cpf":"191""#,
            r#""nome":"ANA""#,
            r#""nome":"ANA","match":"exact""#,
            r#""nome":"ANA","match":"words""#,
            r#""nome":"ANA","match":"words","last":"whole""#,
            r#""nome":"ANA","match":"fuzzy""#,
            r#""nome":"ANA","match":"fuzzy","last":"whole""#,
            r#""nome":"ANA","match":"fuzzy","spelling":"pt""#,
            r#""nome":"ANA","match":"fuzzy","last":"whole","spelling":"pt""#,
            r#""nome":"ANA LIMA","match":"words""#,
        ];
        let filters = [
            "",
            r#","where":{"s":"F"}"#,
            r#","where":{"s":"M"}"#,
            r#","where":{"t":"F"}"#,
            r#","where":{"s":"F","t":"F"}"#,
            r#","where":{"s":"1980-01-01"}"#,
            r#","where":{"s":{"from":"1980-01-01"}}"#,
            r#","where":{"s":{"to":"1980-01-01"}}"#,
            r#","where":{"s":{"from":"1980-01-01","to":"1980-01-01"}}"#,
        ];
        let mut seen = HashSet::new();
        for key in keys {
            for filter in filters {
                assert!(seen.insert(lookup(&format!("{key}{filter}")).fingerprint()), "{key}{filter}");
            }
        }
    }

    #[test]
    fn what_changes_no_answer_changes_no_fingerprint() {
        #[track_caller]
        fn check(one: &str, other: &str) {
            assert_eq!(lookup(one).fingerprint(), lookup(other).fingerprint(), "{one} {other}");
        }
        check(
            r#""nome":"ana""#,
            r#""nome":" ANA","limit":7,"last":"whole","spelling":"pt","where":{},"deadline_ms":1"#,
        );
        check(r#""nome":"a","where":{"s":"F","t":"M"}"#, r#""nome":"a","where":{"t":"M","s":"F"}"#);
        check(r#""nome":"a","where":{"s":"F","t":null}"#, r#""nome":"a","where":{"s":"F"}"#);
        check(
            r#""nome":"a","where":{"s":{"from":"19800101","to":null}}"#,
            r#""nome":"a","where":{"s":{"from":"01/01/1980"}}"#,
        );
    }

    /// Cursors of servers before this one go on.
    #[test]
    fn the_fingerprints_of_old_kinds_stay() {
        assert_eq!(lookup(r#""cpf":"191""#).fingerprint(), xxh3_64_with_seed(&191_u64.to_le_bytes(), 0));
        assert_eq!(lookup(r#""nome":"ANA","match":"exact""#).fingerprint(), xxh3_64_with_seed(b"ANA", 1));
        assert_eq!(lookup(r#""nome":"ANA""#).fingerprint(), xxh3_64_with_seed(b"ANA", 2));
    }

    #[test]
    fn the_names_are_those_that_are_read() {
        for name in Match::NAMES {
            let Key::Name { r#match, .. } = lookup(&format!(r#""nome":"ANA","match":"{name}""#)).key else {
                panic!("a name")
            };
            assert_eq!(r#match.name(), name);
        }
    }

    #[test]
    fn what_is_a_search() {
        for (members, expected) in [
            (r#""cpf":"191""#, false),
            (r#""cpf":"191","match":"words""#, false),
            (r#""nome":"ANA","match":"exact""#, false),
            (r#""nome":"ANA","where":{}"#, false),
            (r#""nome":"ANA","where":{"s":"F"}"#, true),
            (r#""cpf":"191","where":{"s":"F"}"#, true),
            (r#""nome":"ANA","match":"words""#, true),
            (r#""nome":"ANA","match":"fuzzy""#, true),
        ] {
            assert_eq!(lookup(members).is_search(), expected, "{members}");
        }
    }
}
