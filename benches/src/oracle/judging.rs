//! One reply against what must come: rows, their order and values, total, cursor, warning.
//!
//! What it finds is told without any personal data: by kind of question, row number and column.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::questions::Expected;
use super::scan::{Cell, Row, Table};

/// The longest cursor, in bytes.
const CURSOR_BYTES_MAX: usize = 512;

/// Where a question stands after a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is answered.
    Done,
    /// The following page is at this cursor; so many rows came with this one.
    Next { cursor: String, rows: usize },
    /// The server was overloaded: ask the same again after so many milliseconds.
    Again { after_ms: u64 },
}

/// How a reply differs from what must come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Differs {
    /// The row that should have come where another did.
    pub(crate) rowid: Option<i64>,
    pub(crate) what: String,
}

fn differs(what: impl Into<String>) -> Differs {
    Differs { rowid: None, what: what.into() }
}

/// Judges the reply to a page that begins behind `taken` rows and may have `limit`.
pub(crate) fn judge(
    table: &Table,
    expected: Expected<'_>,
    taken: usize,
    limit: usize,
    reply: &Value,
) -> Result<Step, Differs> {
    match reply["status"].as_str() {
        Some("ok") => match expected {
            Expected::Rows { rows, warning } => judge_rows(table, rows, warning, taken, limit, reply),
            Expected::Code(code) => Err(differs(format!("expected the error {code}, got an answer"))),
        },
        Some("error") => judge_error(expected, reply),
        _ => Err(differs("`status` is neither `ok` nor `error`")),
    }
}

fn judge_error(expected: Expected<'_>, reply: &Value) -> Result<Step, Differs> {
    let code = reply["code"].as_str().ok_or_else(|| differs("an error without `code`"))?;
    if !reply["message"].is_string() {
        return Err(differs(format!("the error {code} without `message`")));
    }
    match expected {
        Expected::Code(wanted) if wanted == code => Ok(Step::Done),
        _ if code == "overloaded" => match reply["retry_after_ms"].as_u64() {
            Some(after_ms) => Ok(Step::Again { after_ms }),
            None => Err(differs("`overloaded` without `retry_after_ms`")),
        },
        Expected::Code(wanted) => Err(differs(format!("expected the error {wanted}, got {code}"))),
        Expected::Rows { rows, .. } => Err(differs(format!("expected {} rows, got the error {code}", rows.len()))),
    }
}

fn judge_rows(
    table: &Table,
    rows: &[u32],
    warning: bool,
    taken: usize,
    limit: usize,
    reply: &Value,
) -> Result<Step, Differs> {
    let page = &rows[taken..rows.len().min(taken + limit)];
    let got = reply["rows"].as_array().ok_or_else(|| differs("`rows` is no array"))?;
    for (&at, got) in page.iter().zip(got) {
        let row = &table.rows[at as usize];
        judge_row(table, row, got).map_err(|what| Differs { rowid: Some(row.rowid), what })?;
    }
    if got.len() != page.len() {
        return Err(Differs {
            rowid: page.get(got.len()).map(|&at| table.rows[at as usize].rowid),
            what: format!(
                "rows {taken}.. of {} at limit {limit}: expected {}, got {}",
                rows.len(),
                page.len(),
                got.len()
            ),
        });
    }
    if reply["total"].as_u64() != Some(rows.len() as u64) {
        return Err(differs(format!("total: expected {}, got {}", rows.len(), reply["total"])));
    }
    let wanted = if warning { "check_digits".into() } else { Value::Null };
    if reply["warning"] != wanted {
        return Err(differs(format!("warning: expected {wanted}, got {}", reply["warning"])));
    }
    let is_last = taken + page.len() == rows.len();
    match reply.get("next") {
        Some(Value::Null) if is_last => Ok(Step::Done),
        Some(Value::String(cursor)) if !is_last && cursor.len() <= CURSOR_BYTES_MAX => {
            Ok(Step::Next { cursor: cursor.clone(), rows: page.len() })
        }
        Some(Value::String(_)) if is_last => Err(differs("a cursor behind the last row")),
        Some(Value::String(_)) => Err(differs(format!("a cursor of more than {CURSOR_BYTES_MAX} bytes"))),
        Some(Value::Null) => Err(differs(format!("no cursor after {} of {} rows", taken + page.len(), rows.len()))),
        _ => Err(differs("`next` is neither a text nor null")),
    }
}

fn judge_row(table: &Table, row: &Row, got: &Value) -> Result<(), String> {
    let got = got.as_object().ok_or("the row is no object")?;
    for (column, cell) in table.columns.iter().zip(&row.cells) {
        let value = got.get(column).ok_or_else(|| format!("the row has no column {column:?}"))?;
        if !is_shown_as(cell, value) {
            return Err(format!("column {column:?} has another value, or it is another row"));
        }
    }
    if got.len() > table.columns.len() {
        return Err(format!("the row has {} members, the table {} columns", got.len(), table.columns.len()));
    }
    Ok(())
}

/// Whether `value` is how the protocol shows `cell`.
fn is_shown_as(cell: &Cell, value: &Value) -> bool {
    match cell {
        Cell::Null => value.is_null(),
        Cell::Integer(number) => value.as_i64() == Some(*number),
        Cell::Real(number) if number.is_infinite() => value.is_string(),
        Cell::Real(number) => value.as_f64().is_some_and(|got| is_read_as(got, *number)),
        Cell::Text(text) => value.as_str() == Some(text),
        Cell::Blob(bytes) => {
            let members = value.as_object();
            members.is_some_and(|members| members.len() == 1) && value["base64"] == STANDARD.encode(bytes).as_str()
        }
    }
}

/// Whether a number that was read is `number`. The reader of JSON used here misses some doubles by a few units in the last place;
/// it misses them in the same way when it reads the shortest digits that mean `number`.
fn is_read_as(got: f64, number: f64) -> bool {
    got == number || serde_json::from_str(&format!("{number:e}")).is_ok_and(|misread: f64| misread == got)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_as_the_protocol_says() {
        #[track_caller]
        fn check(cell: &Cell, value: &Value, expected: bool) {
            assert_eq!(is_shown_as(cell, value), expected, "{cell:?} {value}");
        }
        check(&Cell::Null, &json!(null), true);
        check(&Cell::Null, &json!(""), false);
        check(&Cell::Integer(i64::MIN), &json!(i64::MIN), true);
        check(&Cell::Integer(1), &json!("1"), false);
        check(&Cell::Integer(1), &json!(1.0), false);
        check(&Cell::Real(1.0), &json!(1.0), true);
        check(&Cell::Real(0.1), &json!(0.2), false);
        check(&Cell::Real(0.1), &json!(0.1_f64.next_up()), false);
        let extreme = 9.016659478467763e-156;
        check(&Cell::Real(extreme), &serde_json::from_str("9.016659478467763e-156").unwrap(), true);
        check(&Cell::Real(f64::INFINITY), &json!("Inf"), true);
        check(&Cell::Real(f64::INFINITY), &json!(null), false);
        check(&Cell::Text("É\u{fffd}".into()), &json!("É\u{fffd}"), true);
        check(&Cell::Text("1".into()), &json!(1), false);
        check(&Cell::Blob([0, 255].into()), &json!({"base64": "AP8="}), true);
        check(&Cell::Blob([0, 255].into()), &json!("AP8="), false);
    }
}
