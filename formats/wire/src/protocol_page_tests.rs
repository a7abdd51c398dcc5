//! `docs/protocol.md` against the code: every code and every limit stands on the page, and no other; its tables of edits, days and spelling keys
//! are what the code does, its examples what its definitions come to, and its questions are understood.

use std::collections::{BTreeMap, BTreeSet};

use balcao_record::{BirthDay, edits_max, normalize, spelling_key, words};

use crate::client::{Hello, Limits};
use crate::limits::{
    BATCH_ITEMS_MAX, BATCH_ROWS_MAX, CURSOR_BYTES_MAX, DEADLINE_MS_BATCH, DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX,
    DEPTH_MAX, FILTERS_MAX, FUZZY_LETTERS_MAX, ID_INTEGER_MAX, ID_TEXT_BYTES_MAX, IN_FLIGHT_MAX, LIMIT_DEFAULT,
    LIMIT_MAX, LINE_BYTES_MAX, POSTINGS_MAX, QUESTION_WORDS_MAX, REPLY_BYTES_MAX,
};
use crate::request::decode;
use crate::{Code, Cursor, Greeting, Id, Match, write_greeting};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    std::fs::read_to_string(path).unwrap()
}

/// What stands on the page between the heading `heading` and the next one of its rank or a higher one.
fn section(heading: &str) -> String {
    let page = page();
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let mut text = section.split("\n## ").next().unwrap_or_default();
    if heading.starts_with("### ") {
        text = text.split("\n### ").next().unwrap_or_default();
    }
    text.to_owned()
}

/// The cells of the rows of a section's tables, without the tables' heads.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.strip_prefix("| ")?.strip_suffix(" |").map(|row| row.split(" | ").map(str::to_owned).collect())
    };
    let lines: Vec<Option<Vec<String>>> = section(heading).lines().map(cells).collect();
    let is_rule =
        |cells: &Option<Vec<String>>| cells.as_ref().is_some_and(|cells| cells.iter().all(|cell| cell == "---"));
    let is_head = |at: usize| is_rule(&lines[at]) || lines.get(at + 1).is_some_and(is_rule);
    (0..lines.len()).filter(|&at| !is_head(at)).filter_map(|at| lines[at].clone()).collect()
}

/// First and second cells of the tables' rows whose first cell is one name in backticks.
fn table(heading: &str) -> BTreeMap<String, String> {
    let row = |cells: Vec<String>| Some((name(&cells[0])?.to_owned(), cells[1].clone()));
    rows(&format!("## {heading}")).into_iter().filter_map(row).collect()
}

/// What one pair of backticks holds.
fn name(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|name| !name.contains('`'))
}

/// Pairs of cells: a table with four columns holds two in each row.
fn pairs(heading: &str, columns: usize) -> Vec<(String, String)> {
    let rows = rows(heading).into_iter().filter(|row| row.len() == columns);
    let pairs = rows.flat_map(|row| row.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect::<Vec<_>>());
    pairs.collect()
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

#[test]
fn the_edits_are_those_of_the_page() {
    let rows = pairs("### Fuzzy", 2);
    assert_eq!(rows.len(), 3);
    let mut stated = Vec::new();
    for (letters, edits) in rows {
        let edits: u8 = edits.parse().unwrap();
        let mut ends = letters.split(' ').filter_map(|part| part.parse::<usize>().ok());
        let first = ends.next().unwrap();
        let last = ends.next().unwrap_or_else(|| {
            assert!(letters.ends_with("or more"), "{letters}");
            100
        });
        stated.extend((first..=last).map(|letters| (letters, edits)));
    }
    let known: Vec<_> = (1..=100).map(|letters| (letters, edits_max(&"Ø".repeat(letters)))).collect();
    assert_eq!(stated, known);
}

#[test]
fn the_spelling_keys_are_those_of_the_page() {
    let examples = pairs("### Spelling", 4)
        .into_iter()
        .filter_map(|(word, key)| Some((name(&word)?.to_owned(), name(&key)?.to_owned())));
    let examples: Vec<_> = examples.collect();
    assert!(examples.len() > 30, "{examples:?}");
    for (word, key) in examples {
        assert_eq!(spelling_key(&word), key, "{word}");
    }
}

/// The page's D(m, n).
fn distance(one: &str, other: &str) -> usize {
    let (q, w): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let mut d = vec![vec![0; w.len() + 1]; q.len() + 1];
    for i in 0..=q.len() {
        for j in 0..=w.len() {
            if i == 0 || j == 0 {
                d[i][j] = i + j;
                continue;
            }
            let replaced = d[i - 1][j - 1] + usize::from(q[i - 1] != w[j - 1]);
            d[i][j] = replaced.min(d[i - 1][j] + 1).min(d[i][j - 1] + 1);
            if i >= 2 && j >= 2 && q[i - 1] == w[j - 2] && q[i - 2] == w[j - 1] {
                d[i][j] = d[i][j].min(d[i - 2][j - 2] + 1);
            }
        }
    }
    d[q.len()][w.len()]
}

/// The page's examples of distances and levels are what its own definitions come to.
#[test]
fn the_levels_are_those_of_the_page() {
    assert!(section("### Fuzzy").contains("So d(`CA`, `ABC`) is 3."));
    assert_eq!(distance("CA", "ABC"), 3);
    let examples: Vec<_> = rows("### Fuzzy").into_iter().filter(|row| row.len() == 3).collect();
    assert_eq!(examples.len(), 5);
    let (mut sums, mut order) = (Vec::new(), Vec::new());
    for example in &examples {
        let name = name(&example[0]).unwrap();
        let found: Option<Vec<(usize, bool)>> = ["TIAGO", "SOUZA"]
            .into_iter()
            .map(|q| {
                let near = |w: &str| if spelling_key(q) == spelling_key(w) { 0 } else { distance(q, w) };
                let least = words(name).map(near).min().unwrap();
                (least <= usize::from(edits_max(q))).then(|| (least, words(name).any(|w| w == q)))
            })
            .collect();
        let level = found.map(|found| {
            let sum: usize = found.iter().map(|(distance, _)| distance).sum();
            sums.push(sum);
            if found.iter().all(|(_, exact)| *exact) { 0 } else { sum + 1 }
        });
        assert_eq!(level.map_or("not found".to_owned(), |level| level.to_string()), example[2], "{name}");
        order.extend(level);
    }
    assert!(order.is_sorted());
    assert!(section("### Fuzzy").contains(&format!("`distances` is `{}`", serde_json::json!(sums))));
}

#[test]
fn the_words_are_those_of_the_page() {
    let examples: Vec<_> = rows("### Words").into_iter().filter(|row| row.len() == 4).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let question = normalize(name(&example[0]).unwrap()).into_owned();
        let (first, last) = question.rsplit_once(' ').unwrap();
        let has = |name: &str| {
            let is_last = |w: &str| if example[1] == "`whole`" { w == last } else { w.starts_with(last) };
            words(first).all(|q| words(name).any(|w| w == q)) && words(name).any(is_last)
        };
        assert!(example[2].split(", ").all(|found| has(name(found).unwrap())), "{example:?}");
        assert!(!example[3].split(", ").any(|missed| has(name(missed).unwrap())), "{example:?}");
    }
}

#[test]
fn the_days_are_those_of_the_page() {
    let examples = pairs("### Filters", 4);
    assert!(examples.len() > 10, "{examples:?}");
    for (text, day) in examples {
        let text = name(&text).unwrap();
        let expected = BirthDay::parse(&day);
        assert_eq!(expected.is_none(), day == "none", "{text}");
        assert_eq!(BirthDay::parse(text), expected, "{text}");
    }
}

/// The questions of the page, with something in the place of each `…`.
#[test]
fn the_questions_of_the_page_are_understood() {
    let cursor = Cursor { generation: 1, question: 2, position: 3, search: None }.encode();
    let text = section("### Requests");
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    {")).collect();
    assert!(lines.len() >= 10, "{lines:?}");
    for line in lines {
        let line = format!("{{{line}").replace(r#""cursor":"…""#, &format!(r#""cursor":"{cursor}""#));
        let line = line.replace(r#""cpf":"…""#, r#""cpf":"191""#).replace('…', "ANA");
        let request = decode(line.as_bytes());
        assert!(request.operation.is_ok() && request.id != Id::Absent, "{line}: {request:?}");
    }
}

/// What `hello` tells is named on the page, and the client reads it.
#[test]
fn the_greeting_is_that_of_the_page() {
    let greeting = Greeting {
        server: "balcao/0".to_owned(),
        generation: "g".to_owned(),
        rows: 3,
        columns: vec!["cpf".to_owned()],
        matches: Match::NAMES.to_vec(),
        filters: vec![("sex", "sexo".to_owned()), ("birth", "nasc".to_owned())],
    };
    let mut line = Vec::new();
    write_greeting(&mut line, &Id::Absent, &greeting);
    let hello: Hello = serde_json::from_slice(&line).unwrap();
    assert_eq!((&hello.matches[..], hello.filters.len()), (&Match::NAMES.map(str::to_owned)[..], 2));
    let Limits { question_words, deadline_ms, .. } = hello.limits;
    assert_eq!((question_words, deadline_ms), (QUESTION_WORDS_MAX, DEADLINE_MS_DEFAULT));
    let told: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let page = section("### `hello` and `ping`");
    let (hello, limits) = (told.as_object().unwrap(), told["limits"].as_object().unwrap());
    for name in hello.keys().filter(|name| *name != "status").chain(limits.keys()) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    for name in Match::NAMES {
        assert!(section("### Requests").contains(&format!("`{name}`")), "{name}");
    }
}
