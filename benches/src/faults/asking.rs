//! Questions to a server whose index is damaged: each reply is what the table says, or `unavailable`.

use std::net::SocketAddr;

use anyhow::ensure;
use serde_json::Value;

use super::Bench;
use super::aim::Column;
use super::trial::Trial;
use crate::oracle::asking::Line;
use crate::oracle::judging::{Differs, judge};
use crate::oracle::questions::Expected;
use crate::oracle::reading::{check_digits_hold, normalise};
use crate::oracle::scan::Table;

/// Rows of a page.
const LIMIT: usize = 20;

/// One name in so many is asked as a prefix too.
const PREFIX_ONE_IN: usize = 4;

/// Characters of such a prefix.
const PREFIX_CHARS: usize = 9;

/// What a server answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) right: u64,
    pub(crate) unavailable: u64,
    /// What differs from the table, told without any key.
    pub(crate) wrong: Vec<String>,
}

/// Asks about the place of a damage.
pub(crate) fn ask(bench: &Bench<'_>, trial: &Trial<'_>, server: SocketAddr) -> anyhow::Result<Answers> {
    let table = bench.table;
    let mut asked = Vec::new();
    for (number, (column, key)) in bench.aim.keys(trial).into_iter().enumerate() {
        asked.extend(question(table, column, key));
        if column == Column::Name && number % PREFIX_ONE_IN == 0 {
            asked.extend(prefix(table, key));
        }
    }
    let mut line = Line::open(server)?;
    for (id, (members, _)) in asked.iter().enumerate() {
        line.write(format!("{{\"id\":{id},{members},\"limit\":{LIMIT}}}").as_bytes())?;
    }
    let mut answers = Answers::default();
    let mut waiting: Vec<_> = asked.iter().map(|(_, expected)| Some(*expected)).collect();
    let mut bytes = Vec::new();
    for _ in 0..waiting.len() {
        line.read(&mut bytes)?;
        let reply: Value = serde_json::from_slice(&bytes)?;
        let expected = reply["id"].as_u64().and_then(|id| waiting.get_mut(id as usize)?.take());
        let Some(expected) = expected else {
            answers.wrong.push("a reply that nobody waits for".to_owned());
            continue;
        };
        if reply["status"] == "error" && reply["code"] == "unavailable" {
            answers.unavailable += 1;
            continue;
        }
        match judge(table, expected, 0, LIMIT, &reply) {
            Ok(_) => answers.right += 1,
            Err(Differs { rowid, what }) => answers.wrong.push(format!("row {rowid:?}: {what}")),
        }
    }
    ensure!(!asked.is_empty(), "no questions");
    Ok(answers)
}

/// The members that ask for exactly this key, and what must come.
fn question(table: &Table, column: Column, key: usize) -> Option<(String, Expected<'_>)> {
    match column {
        Column::Cpf => {
            let text = &table.cpfs.keys[key];
            let expected = Expected::Rows { rows: table.cpfs.of(key), warning: !check_digits_hold(text) };
            Some((format!("\"cpf\":\"{text}\""), expected))
        }
        Column::Name => {
            let text = &table.names.keys[key];
            let expected = Expected::Rows { rows: table.names.of(key), warning: false };
            // A few keys do not mean themselves.
            let means_itself = normalise(text) == *text;
            means_itself.then(|| (format!("\"nome\":{},\"match\":\"exact\"", Value::from(text.as_str())), expected))
        }
    }
}

/// The same for the beginning of a name.
fn prefix(table: &Table, key: usize) -> Option<(String, Expected<'_>)> {
    let text: String = table.names.keys[key].chars().take(PREFIX_CHARS).collect();
    let wanted = normalise(&text);
    let expected = Expected::Rows { rows: table.names.starting_with(&wanted), warning: false };
    (!wanted.is_empty()).then(|| (format!("\"nome\":{}", Value::from(text)), expected))
}
