//! One reply against what must come: rows, their order and values, total, cursor, warning.
//!
//! What it finds is told without any personal data: by kind of question, row number and column.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::questions::Expected;
use super::scan::{Cell, Row, Table};
use super::search::{Agreement, Rows};

/// The longest cursor, in bytes.
const CURSOR_BYTES_MAX: usize = 512;

/// Postings that may be touched to count rows; beyond it `total_at_least` may come in the place of `total`.
const POSTINGS_MAX: u64 = 4_194_304;

/// How often a posting may be touched: the oracle counts each once, and a count of several levels looks at some of them again.
const PASSES_MAX: u64 = 4;

/// Where a question stands after a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is answered.
    Done,
    /// The following page is at this cursor; so many rows came with this one.
    Next { cursor: String, rows: usize },
    /// The server was overloaded, or has told this connection of enough claims: ask the same again after so many milliseconds.
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
            Expected::Rows { rows, warning } => {
                judge_rows(table, rows, taken, limit, reply)?;
                judge_total(rows.len(), None, reply)?;
                judge_ending(rows.len(), warning, taken, reply)
            }
            Expected::Found { found, warning } => judge_found(table, found, warning, taken, limit, reply),
            Expected::Agreement(agreement) => judge_agreement(agreement, reply),
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
        _ if code == "overloaded" || code == "budget_exceeded" => match reply["retry_after_ms"].as_u64() {
            Some(after_ms) => Ok(Step::Again { after_ms }),
            None => Err(differs(format!("`{code}` without `retry_after_ms`"))),
        },
        Expected::Code(wanted) => Err(differs(format!("expected the error {wanted}, got {code}"))),
        Expected::Agreement(_) => Err(differs(format!("expected an agreement, got the error {code}"))),
        Expected::Rows { .. } | Expected::Found { .. } => {
            Err(differs(format!("expected {} rows, got the error {code}", expected.rows())))
        }
    }
}

/// Judges the rows of a page and how many there are of them.
fn judge_rows(table: &Table, rows: &[u32], taken: usize, limit: usize, reply: &Value) -> Result<(), Differs> {
    let page = &rows[taken..rows.len().min(taken + limit)];
    let got = reply["rows"].as_array().ok_or_else(|| differs("`rows` is no array"))?;
    for (&at, got) in page.iter().zip(got) {
        let row = &table.rows[at as usize];
        judge_row(table, row, got).map_err(|what| Differs { rowid: Some(row.rowid), what })?;
    }
    // A page that says that it was cut short may be.
    let is_cut = reply["bounded"] == true && got.len() < page.len();
    if got.len() != page.len() && !is_cut {
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
    Ok(())
}

/// Judges `total`, and where counting may be too dear for this many postings, what is told in its stead.
fn judge_total(rows: usize, postings: Option<u64>, reply: &Value) -> Result<(), Differs> {
    let (total, at_least) = (&reply["total"], &reply["total_at_least"]);
    let is_dear = postings.is_some_and(|postings| postings * PASSES_MAX > POSTINGS_MAX);
    if is_dear && total.is_null() && at_least.as_u64().is_some_and(|known| known <= rows as u64) {
        return Ok(());
    }
    if total.as_u64() != Some(rows as u64) || !at_least.is_null() {
        return Err(differs(format!("total: expected {rows}, got {total}, at least {at_least}")));
    }
    Ok(())
}

/// Judges the warning and the cursor behind a page whose rows are right.
fn judge_ending(rows: usize, warning: bool, taken: usize, reply: &Value) -> Result<Step, Differs> {
    let wanted = if warning { "check_digits".into() } else { Value::Null };
    if reply["warning"] != wanted {
        return Err(differs(format!("warning: expected {wanted}, got {}", reply["warning"])));
    }
    let got = reply["rows"].as_array().map_or(0, Vec::len);
    let is_last = taken + got == rows;
    match reply.get("next") {
        Some(Value::Null) if is_last => Ok(Step::Done),
        // A page that was cut short may be followed by one without rows.
        Some(Value::String(cursor)) if (!is_last || reply["bounded"] == true) && cursor.len() <= CURSOR_BYTES_MAX => {
            Ok(Step::Next { cursor: cursor.clone(), rows: got })
        }
        Some(Value::String(_)) if is_last => Err(differs("a cursor behind the last row")),
        Some(Value::String(_)) => Err(differs(format!("a cursor of more than {CURSOR_BYTES_MAX} bytes"))),
        Some(Value::Null) => Err(differs(format!("no cursor after {} of {rows} rows", taken + got))),
        _ => Err(differs("`next` is neither a text nor null")),
    }
}

fn judge_found(
    table: &Table,
    found: &Rows,
    warning: bool,
    taken: usize,
    limit: usize,
    reply: &Value,
) -> Result<Step, Differs> {
    judge_rows(table, &found.rows, taken, limit, reply)?;
    let got = reply["rows"].as_array().map_or(0, Vec::len);
    let wanted = found.distances.as_ref().map(|distances| &distances[taken..taken + got]);
    let wanted = wanted.map_or(Value::Null, Value::from);
    if reply["distances"] != wanted {
        return Err(differs(format!("rows {taken}..: distances: expected {wanted}, got {}", reply["distances"])));
    }
    if !matches!(reply["bounded"], Value::Null | Value::Bool(_)) {
        return Err(differs("`bounded` is neither true nor false"));
    }
    judge_total(found.rows.len(), Some(found.postings), reply)?;
    judge_ending(found.rows.len(), warning, taken, reply)
}

/// A claim is told what was asked for and nothing else.
fn judge_agreement(expected: Agreement, reply: &Value) -> Result<Step, Differs> {
    let mut wanted = serde_json::Map::new();
    wanted.insert("cpf".to_owned(), expected.cpf.into());
    wanted.extend(expected.name.map(|name| ("nome".to_owned(), name.as_str().into())));
    wanted.extend(expected.birth.map(|birth| ("nasc".to_owned(), birth.into())));
    wanted.extend(expected.warning.then(|| ("warning".to_owned(), "check_digits".into())));
    let mut got = reply.as_object().cloned().unwrap_or_default();
    for name in ["id", "status"] {
        got.remove(name);
    }
    if got != wanted {
        let [wanted, got] = [wanted, got].map(Value::from);
        return Err(differs(format!("expected {wanted}, got {got}")));
    }
    Ok(Step::Done)
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
