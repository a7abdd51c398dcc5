//! What a search must find: words and fuzzy words in all names, filters on any question, and whether a claim agrees with a row.
//!
//! Rows are found by looking at every name. It draws no question and judges no reply.

use super::filters::{Day, Where, read_day, read_sex};
use super::reading::{check_digits_hold, normalise};
use super::scan::{Cell, Table};
use super::words::{Demand, Lexicon, Likeness, demands};

/// The columns that an index filters by, unless it is told others.
pub(crate) const SEX_COLUMN: &str = "sexo";
pub(crate) const BIRTH_COLUMN: &str = "nasc";

/// Distinct words that a question may have.
pub(crate) const QUESTION_WORDS_MAX: usize = 16;

/// Letters that a word of a fuzzy question may have.
pub(crate) const FUZZY_LETTERS_MAX: usize = 64;

/// How many words are common ones.
const COMMON_WORDS: usize = 25;

/// A table, with what searches look at.
#[derive(Debug)]
pub(crate) struct Searchable<'a> {
    pub(crate) table: &'a Table,
    pub(crate) lexicon: Lexicon,
    /// The numbers of the words that most rows have: questions of these are the dearest.
    pub(crate) common_words: Vec<usize>,
    /// One for each row.
    pub(crate) sexes: Vec<Option<char>>,
    pub(crate) births: Vec<Option<Day>>,
}

/// The rows that a question finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    /// In their order.
    pub(crate) rows: Vec<u32>,
    /// One for each row of a fuzzy question.
    pub(crate) distances: Option<Vec<u8>>,
    /// How many postings one pass over all words that are near enough touches, or ranks one over all rows that are filtered.
    pub(crate) postings: u64,
}

/// How well the name of a claim agrees with that of a row, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameAgreement {
    No,
    Fuzzy,
    Words,
    Exact,
}

impl NameAgreement {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Fuzzy => "fuzzy",
            Self::Words => "words",
            Self::Exact => "exact",
        }
    }
}

/// What a claim must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) cpf: bool,
    /// `None` where no name was claimed.
    pub(crate) name: Option<NameAgreement>,
    /// `None` where no day of birth was claimed.
    pub(crate) birth: Option<bool>,
    /// Whether the CPF's check digits are wrong.
    pub(crate) warning: bool,
}

/// Whether a question of these words may be asked.
pub(crate) fn is_allowed(demands: &[Demand], likeness: Likeness) -> bool {
    let are_short = demands.iter().all(|demand| demand.word.chars().count() <= FUZZY_LETTERS_MAX);
    demands.len() <= QUESTION_WORDS_MAX && (are_short || likeness == Likeness::Same)
}

impl<'a> Searchable<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        let names = (0..table.names.keys.len()).map(|at| (table.names.keys[at].as_str(), table.names.of(at).len()));
        let cell = |row: usize, wanted: &str| {
            let column = table.columns.iter().position(|column| column.eq_ignore_ascii_case(wanted));
            column.and_then(|column| table.rows[row].cells[column].spelled())
        };
        let rows = 0..table.rows.len();
        let lexicon = Lexicon::new(names);
        Self {
            table,
            common_words: lexicon.most_common(COMMON_WORDS),
            lexicon,
            sexes: rows.clone().map(|row| cell(row, SEX_COLUMN).and_then(|text| read_sex(&text))).collect(),
            births: rows.map(|row| cell(row, BIRTH_COLUMN).and_then(|text| read_day(&text))).collect(),
        }
    }

    fn is_wanted(&self, row: u32, filter: &Where) -> bool {
        filter.matches(self.sexes[row as usize], self.births[row as usize])
    }

    /// The rows of `rows` that the filter lets through.
    pub(crate) fn filtered(&self, rows: &[u32], filter: &Where) -> Rows {
        let wanted = rows.iter().copied().filter(|&row| self.is_wanted(row, filter)).collect();
        Rows { rows: wanted, distances: None, postings: rows.len() as u64 }
    }

    /// The rows whose names meet all demands, those in which every word occurs first, then by distance, then by name and rowid.
    pub(crate) fn search(&self, demands: &[Demand], likeness: Likeness, filter: &Where) -> Rows {
        let (mut names, postings) = self.lexicon.search(demands, likeness);
        names.sort_by_key(|found| (!found.is_exact, found.distance, found.name));
        let (mut rows, mut distances) = (Vec::new(), Vec::new());
        for found in names {
            let wanted = self.table.names.of(found.name).iter().filter(|row| self.is_wanted(**row, filter));
            rows.extend(wanted);
            distances.resize(rows.len(), found.distance);
        }
        Rows { rows, distances: (likeness != Likeness::Same).then_some(distances), postings }
    }

    /// How this claim agrees with the row of its CPF with which it agrees best; `name` is not normalised.
    pub(crate) fn verify(&self, cpf: &str, name: Option<&str>, birth: Option<Day>, likeness: Likeness) -> Agreement {
        let name = name.map(normalise);
        let rows = self.table.cpfs.exact(cpf);
        let agreements = rows.iter().map(|&row| {
            let of_name = name.as_deref().map(|name| self.name_agreement(name, row, likeness));
            (of_name, birth.map(|birth| self.births[row as usize] == Some(birth)))
        });
        let nothing = (name.as_ref().map(|_| NameAgreement::No), birth.map(|_| false));
        let (of_name, of_birth) = agreements.max().unwrap_or(nothing);
        Agreement { cpf: !rows.is_empty(), name: of_name, birth: of_birth, warning: !check_digits_hold(cpf) }
    }

    fn name_agreement(&self, name: &str, row: u32, likeness: Likeness) -> NameAgreement {
        let cell: &Cell = &self.table.rows[row as usize].cells[self.table.name_column];
        let Some(key) = cell.name_key() else { return NameAgreement::No };
        let of_row = Lexicon::new([(key.as_str(), 1)].into_iter());
        let demands = demands(name, false);
        let (found, _) = of_row.search(&demands, likeness);
        match found.first() {
            _ if key == name => NameAgreement::Exact,
            Some(found) if found.is_exact => NameAgreement::Words,
            Some(_) => NameAgreement::Fuzzy,
            None => NameAgreement::No,
        }
    }
}
