//! `Asked`: what every row of a page is held against before it is written.
//!
//! It reads no row: whoever has one gives its values.

use balcao_registry::{Table, cell};
use balcao_wire::{Key, Match};
use rusqlite::types::ValueRef;

use crate::rows::RowError;
use crate::search::{FilterPlaces, Question, RowFilter};

/// What every row of a page must carry.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    key: AskedKey<'a>,
    filter: Option<(&'a RowFilter, &'a FilterPlaces)>,
}

#[derive(Clone, Copy)]
enum AskedKey<'a> {
    Key(&'a Key),
    /// A name of the level that the index gives it, for each row of the page.
    Question(&'a Question, &'a [u8]),
}

impl<'a> Asked<'a> {
    /// This key.
    pub(crate) fn key(key: &'a Key) -> Self {
        Self { key: AskedKey::Key(key), filter: None }
    }

    /// A name that answers `question`, with these levels in turn.
    pub(crate) fn question(question: &'a Question, levels: &'a [u8]) -> Self {
        Self { key: AskedKey::Question(question, levels), filter: None }
    }

    /// Also what a filter admits.
    pub(crate) fn filtered(self, filter: &'a RowFilter, places: &'a FilterPlaces) -> Self {
        Self { filter: Some((filter, places)), ..self }
    }

    /// Whether row `at` of the page carries it. `name` is room for a name.
    pub(crate) fn is_carried<'v>(
        &self,
        at: usize,
        table: &Table,
        value_at: impl Fn(usize) -> Result<ValueRef<'v>, RowError>,
        name: &mut String,
    ) -> Result<bool, RowError> {
        let has_key = match self.key {
            AskedKey::Key(Key::Cpf(asked)) => cell(value_at(table.cpf_at)?).cpf() == Some(*asked),
            AskedKey::Key(Key::Name { r#match, name: asked }) => {
                cell(value_at(table.name_at)?).name_key(name);
                match r#match {
                    Match::Exact => *name == **asked,
                    Match::Prefix => name.starts_with(&**asked),
                    // These come as questions.
                    Match::Words { .. } | Match::Fuzzy { .. } => false,
                }
            }
            AskedKey::Question(question, levels) => {
                cell(value_at(table.name_at)?).name_key(name);
                levels.get(at).is_some_and(|&level| question.level(name) == Some(level))
            }
        };
        match self.filter {
            Some((filter, places)) if has_key => filter.admits_row(places, |at| value_at(at).map(cell)),
            _ => Ok(has_key),
        }
    }
}
