//! `docs/protocol.md` against the code: every code and every limit stands on the page, and no other.

use std::collections::{BTreeMap, BTreeSet};

use crate::Code;
use crate::limits::{
    BATCH_ITEMS_MAX, BATCH_ROWS_MAX, CURSOR_BYTES_MAX, DEADLINE_MS_BATCH, DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX,
    DEPTH_MAX, FILTERS_MAX, FUZZY_LETTERS_MAX, ID_INTEGER_MAX, ID_TEXT_BYTES_MAX, IN_FLIGHT_MAX, LIMIT_DEFAULT,
    LIMIT_MAX, LINE_BYTES_MAX, POSTINGS_MAX, QUESTION_WORDS_MAX, REPLY_BYTES_MAX,
};

/// First and second cells of the tables' rows whose first cell is one name in backticks, under the heading `heading`.
fn table(heading: &str) -> BTreeMap<String, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    };
    section.lines().filter_map(row).collect()
}

#[test]
fn every_code_stands_on_the_page() {
    let stated: BTreeSet<_> = table("Codes").into_keys().collect();
    let known: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(stated, known);
}

#[test]
fn every_limit_stands_on_the_page() {
    let limits = [
        ("LINE_BYTES_MAX", LINE_BYTES_MAX),
        ("DEPTH_MAX", DEPTH_MAX),
        ("ID_INTEGER_MAX", ID_INTEGER_MAX as usize),
        ("ID_TEXT_BYTES_MAX", ID_TEXT_BYTES_MAX),
        ("LIMIT_DEFAULT", LIMIT_DEFAULT),
        ("LIMIT_MAX", LIMIT_MAX),
        ("CURSOR_BYTES_MAX", CURSOR_BYTES_MAX),
        ("BATCH_ITEMS_MAX", BATCH_ITEMS_MAX),
        ("BATCH_ROWS_MAX", BATCH_ROWS_MAX),
        ("REPLY_BYTES_MAX", REPLY_BYTES_MAX),
        ("IN_FLIGHT_MAX", IN_FLIGHT_MAX),
        ("QUESTION_WORDS_MAX", QUESTION_WORDS_MAX),
        ("FUZZY_LETTERS_MAX", FUZZY_LETTERS_MAX),
        ("FILTERS_MAX", FILTERS_MAX),
        ("DEADLINE_MS_DEFAULT", DEADLINE_MS_DEFAULT as usize),
        ("DEADLINE_MS_BATCH", DEADLINE_MS_BATCH as usize),
        ("DEADLINE_MS_MAX", DEADLINE_MS_MAX as usize),
        ("POSTINGS_MAX", POSTINGS_MAX as usize),
    ];
    // A limit that is added is added here too.
    assert_eq!(include_str!("limits.rs").matches("\npub const ").count(), limits.len());
    let known: BTreeMap<_, _> = limits.iter().map(|&(name, value)| (name.to_owned(), value.to_string())).collect();
    let stated: BTreeMap<_, _> =
        table("Limits").into_iter().map(|(name, value)| (name, value.replace(',', ""))).collect();
    assert_eq!(stated, known);
}
