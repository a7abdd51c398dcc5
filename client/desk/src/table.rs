//! `Rows`: pages of rows as one aligned table, written page by page with no more than one of them in memory.
//!
//! Widths are those of the first page and grow only when a later page needs it. Long cells are cut: whole values are what `--json`
//! and `batch` are for.

use std::borrow::Cow;
use std::io::{self, Write};

use balcao_client::Row;
use comfy_table::{Attribute, Cell, ColumnConstraint, Table, Width, presets};
use serde_json::Value;

use crate::screen::printable;

/// Characters of a cell at most. A hostile one would else widen its column, and with it every row of the page.
const CELL_CHARS_MAX: usize = 200;

/// Blanks between two columns.
const GAP: u16 = 2;

/// A table that is being written.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    styled: bool,
    columns: Vec<String>,
    /// Widths of the columns so far, their gaps included.
    widths: Vec<u16>,
}

impl Rows {
    /// An empty table; `styled` for a terminal that takes colours.
    pub(crate) fn new(styled: bool) -> Self {
        Self { styled, ..Self::default() }
    }

    /// Writes a page: the header first, where it is the first page or has other columns than the one before.
    pub(crate) fn write(&mut self, rows: &[Row], out: &mut impl Write) -> io::Result<()> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if self.styled {
            table.enforce_styling();
        }
        if !first.keys().eq(&self.columns) {
            if !self.columns.is_empty() {
                writeln!(out)?;
            }
            self.columns = first.keys().cloned().collect();
            self.widths = vec![0; self.columns.len()];
            table.set_header(self.columns.iter().map(|name| Cell::new(shown(name)).add_attribute(Attribute::Bold)));
        }
        for row in rows {
            table.add_row(row.values().map(|value| shown(&text(value)).into_owned()));
        }
        for (width, content) in self.widths.iter_mut().zip(table.column_max_content_widths()) {
            *width = content.saturating_add(GAP).max(*width);
        }
        for (column, &width) in table.column_iter_mut().zip(&self.widths) {
            column.set_padding((0, GAP)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A value as text: NULL is empty, a number as the server wrote it, a BLOB its base64.
pub(crate) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        Value::Object(members) if members.len() == 1 => match members.get("base64") {
            Some(Value::String(base64)) => Cow::Borrowed(base64),
            _ => Cow::Owned(value.to_string()),
        },
        other => Cow::Owned(other.to_string()),
    }
}

/// A cell for the eye: escaped, and cut where it is too long.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", printable(&text[..end]))),
        None => printable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value) -> Row {
        match value {
            Value::Object(row) => row,
            _ => unreachable!("a row is an object"),
        }
    }

    #[track_caller]
    fn check(styled: bool, pages: Vec<Vec<Value>>, expected: &str) {
        let mut out = Vec::new();
        let mut table = Rows::new(styled);
        for page in pages {
            table.write(&page.into_iter().map(row).collect::<Vec<_>>(), &mut out).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn columns_are_aligned_and_grow_only_when_needed() {
        check(
            false,
            vec![
                vec![
                    json!({"cpf": "1", "nome": "JOSÉ", "n": 1.0}),
                    json!({"cpf": "12345678909", "nome": "Ana 東京", "n": null}),
                ],
                vec![],
                vec![json!({"cpf": "2", "nome": "B", "n": 3})],
                vec![json!({"cpf": "3", "nome": "MARIA DA SILVA", "n": {"base64": "AP8="}})],
                vec![json!({"cpf": "4", "nome": "C", "n": 5})],
                vec![json!({"other": true})],
            ],
            "cpf          nome      n\n\
             1            JOSÉ      1.0\n\
             12345678909  Ana 東京\n\
             2            B         3\n\
             3            MARIA DA SILVA  AP8=\n\
             4            C               5\n\
             \n\
             other\n\
             true\n",
        );
    }

    #[test]
    fn hostile_cells_are_escaped_and_cut() {
        let long = "x".repeat(CELL_CHARS_MAX + 1);
        check(
            false,
            vec![vec![json!({"a\u{1b}[2J": "x\n\u{1b}]0;y\u{7}", "b": long})]],
            &format!("a\\u{{1b}}[2J          b\nx\\n\\u{{1b}}]0;y\\u{{7}}  {}…\n", "x".repeat(CELL_CHARS_MAX)),
        );
    }

    #[test]
    fn a_terminal_gets_a_bold_header() {
        check(true, vec![vec![json!({"a": 1})]], "\u{1b}[1ma  \u{1b}[0m\n1\n");
    }
}
