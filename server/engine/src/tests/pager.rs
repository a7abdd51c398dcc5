//! The pager as a state machine: any registry with many equal keys, any walk through its answers under changing limits, against a sorted list.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use serde_json::Value;

use super::Desk;

/// CPF cells with the eleven digits that they are; few, so that most rows share theirs.
const CPFS: [(&str, Option<&str>); 6] = [
    ("'00000000191'", Some("00000000191")),
    ("191", Some("00000000191")),
    ("'123.456.789-09'", Some("12345678909")),
    ("'12345678900'", Some("12345678900")),
    ("'letters'", None),
    ("NULL", None),
];

/// Name cells with their keys, several spellings of some.
const NAMES: [(&str, &str); 9] = [
    ("MARIA DA SILVA", "MARIA DA SILVA"),
    ("María  da Silva", "MARIA DA SILVA"),
    ("MARIA", "MARIA"),
    ("Mariana", "MARIANA"),
    ("MARIA DA", "MARIA DA"),
    ("D´Ávila", "DAVILA"),
    ("Øyvind", "ØYVIND"),
    ("ana", "ANA"),
    ("…", ""),
];

/// What is asked: the members of the question, and how its rows are known.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Question {
    members: &'static str,
    key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Cpf(&'static str),
    Exact(&'static str),
    Prefix(&'static str),
}

/// No two of them are the same question.
const QUESTIONS: [Question; 10] = [
    Question { members: r#""cpf":"191""#, key: Key::Cpf("00000000191") },
    Question { members: r#""cpf":12345678909"#, key: Key::Cpf("12345678909") },
    Question { members: r#""cpf":"12345678900""#, key: Key::Cpf("12345678900") },
    Question { members: r#""cpf":"529.982.247-25""#, key: Key::Cpf("52998224725") },
    Question { members: r#""nome":"maria","match":"exact""#, key: Key::Exact("MARIA") },
    Question { members: r#""nome":"maria da silva","match":"exact""#, key: Key::Exact("MARIA DA SILVA") },
    Question { members: r#""nome":" Mária""#, key: Key::Prefix("MARIA") },
    Question { members: r#""nome":"m","match":"prefix""#, key: Key::Prefix("M") },
    Question { members: r#""nome":"d'""#, key: Key::Prefix("D") },
    Question { members: r#""nome":"z""#, key: Key::Prefix("Z") },
];

/// A table: for each rowid the places of its cells in [`CPFS`] and [`NAMES`].
type Table = BTreeMap<i64, (usize, usize)>;

/// A table with rowids of any size, and one row or two hundred.
fn tables() -> impl Strategy<Value = Table> {
    let rowid = prop_oneof![8 => -300..300_i64, 1 => any::<i64>()];
    prop::collection::btree_map(rowid, (0..CPFS.len(), 0..NAMES.len()), 1..200)
}

fn limits() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1..8_usize, 2 => 8..60_usize, 1 => 1..=1000_usize]
}

fn desk(table: &Table) -> Desk {
    let rows = table.iter().map(|(rowid, &(cpf, name))| format!("({rowid}, {}, '{}')", CPFS[cpf].0, NAMES[name].0));
    let rows: Vec<String> = rows.collect();
    Desk::of(&format!(
        "CREATE TABLE cpf(n INTEGER PRIMARY KEY, cpf, nome); INSERT INTO cpf VALUES {};",
        rows.join(", ")
    ))
}

/// The rowids of a question's rows in the contract's order.
fn answer(table: &Table, question: Question) -> Vec<i64> {
    let mut rows: Vec<(&str, i64)> = table
        .iter()
        .filter_map(|(&rowid, &(cpf, name))| {
            let (cpf, name) = (CPFS[cpf].1, NAMES[name].1);
            match question.key {
                Key::Cpf(key) => (cpf == Some(key)).then_some(("", rowid)),
                Key::Exact(key) => (name == key).then_some((name, rowid)),
                Key::Prefix(key) => name.starts_with(key).then_some((name, rowid)),
            }
        })
        .collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, rowid)| rowid).collect()
}

/// What a reply tells.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Page { rows: Vec<i64>, total: usize, more: bool },
    Refused(String),
}

/// Asks for a page, and the cursor of the one behind it.
fn ask(desk: &Desk, question: Question, limit: usize, cursor: Option<&str>) -> (Told, Option<String>) {
    let cursor = cursor.map_or(String::new(), |cursor| format!(r#","cursor":"{cursor}""#));
    let reply = desk.ask(&format!(r#"{{{},"limit":{limit}{cursor}}}"#, question.members));
    if reply["status"] == "error" {
        return (Told::Refused(reply["code"].as_str().unwrap().to_owned()), None);
    }
    let rows = reply["rows"].as_array().unwrap().iter().map(|row| row["n"].as_i64().unwrap()).collect();
    let next = match &reply["next"] {
        Value::Null => None,
        next => Some(next.as_str().unwrap().to_owned()),
    };
    let total = reply["total"].as_u64().unwrap() as usize;
    (Told::Page { rows, total, more: next.is_some() }, next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The last limit goes on to the end.
    #[test]
    fn each_row_once_in_order(table in tables(), walks in prop::collection::vec(prop::collection::vec(limits(), 1..6), 3)) {
        let desk = desk(&table);
        for question in QUESTIONS {
            let expected = answer(&table, question);
            for limits in &walks {
                let (mut found, mut cursor) = (Vec::new(), None::<String>);
                for &limit in limits.iter().chain(std::iter::repeat(limits.last().unwrap())) {
                    let (told, next) = ask(&desk, question, limit, cursor.as_deref());
                    let Told::Page { rows, total, .. } = told else { panic!("{told:?}") };
                    prop_assert_eq!(total, expected.len());
                    prop_assert!(rows.len() == limit || next.is_none());
                    found.extend(rows);
                    cursor = next;
                    if cursor.is_none() {
                        break;
                    }
                }
                prop_assert_eq!(&found, &expected, "{:?}", question);
            }
        }
    }
}

/// A cursor that was given out: of which question, in front of which row, and after how many builds.
#[derive(Clone, Copy, Debug)]
struct Given {
    question: usize,
    position: usize,
    generation: usize,
}

#[derive(Clone, Debug)]
struct Model {
    table: Table,
    generation: usize,
    given: Vec<Given>,
    /// What the last transition must be told.
    told: Option<Told>,
}

/// How a cursor is altered into one that no server gave out.
#[derive(Clone, Copy, Debug)]
enum Forgery {
    Letter(usize),
    Shorter(usize),
    Longer,
    Empty,
}

/// A step; cursors are meant by their places among those that were given out.
#[derive(Clone, Debug)]
enum Step {
    /// The first page of a question, whether or not it was begun before.
    Begin {
        question: usize,
        limit: usize,
    },
    /// The page behind the one that was fetched last.
    Next {
        limit: usize,
    },
    /// Any cursor with its own question; it may be of a former generation.
    Resume {
        cursor: usize,
        limit: usize,
    },
    /// A cursor with another question.
    Mistake {
        cursor: usize,
        question: usize,
        limit: usize,
    },
    Forge {
        cursor: usize,
        forgery: Forgery,
    },
    /// Another generation of the same database.
    Rebuild,
}

impl Model {
    /// The first rows of an answer from `position` on, and the cursor behind them.
    fn page(&mut self, question: usize, position: usize, limit: usize) -> Told {
        let all = answer(&self.table, QUESTIONS[question]);
        let end = all.len().min(position + limit);
        let more = end < all.len();
        if more {
            self.given.push(Given { question, position: end, generation: self.generation });
        }
        Told::Page { rows: all[position..end].to_vec(), total: all.len(), more }
    }

    fn resume(&mut self, given: Given, question: usize, limit: usize) -> Told {
        if given.generation != self.generation {
            Told::Refused("stale_cursor".to_owned())
        } else if given.question != question {
            Told::Refused("bad_request".to_owned())
        } else {
            self.page(question, given.position, limit)
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        tables().prop_map(|table| Self { table, generation: 0, given: Vec::new(), told: None }).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let begin = (0..QUESTIONS.len(), limits()).prop_map(|(question, limit)| Step::Begin { question, limit });
        if state.given.is_empty() {
            return begin.boxed();
        }
        let cursor = || 0..state.given.len();
        let forgery = prop_oneof![
            (0..39_usize).prop_map(Forgery::Letter),
            (1..39_usize).prop_map(Forgery::Shorter),
            Just(Forgery::Longer),
            Just(Forgery::Empty),
        ];
        prop_oneof![
            4 => begin,
            8 => limits().prop_map(|limit| Step::Next { limit }),
            4 => (cursor(), limits()).prop_map(|(cursor, limit)| Step::Resume { cursor, limit }),
            2 => (cursor(), 0..QUESTIONS.len(), limits())
                .prop_map(|(cursor, question, limit)| Step::Mistake { cursor, question, limit }),
            2 => (cursor(), forgery).prop_map(|(cursor, forgery)| Step::Forge { cursor, forgery }),
            1 => Just(Step::Rebuild),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match *step {
            Step::Begin { .. } | Step::Rebuild => true,
            Step::Next { .. } => !state.given.is_empty(),
            Step::Resume { cursor, .. } | Step::Forge { cursor, .. } => cursor < state.given.len(),
            Step::Mistake { cursor, question, .. } => {
                state.given.get(cursor).is_some_and(|given| given.question != question)
            }
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.told = match *step {
            Step::Begin { question, limit } => Some(state.page(question, 0, limit)),
            Step::Next { limit } => {
                let given = state.given[state.given.len() - 1];
                Some(state.resume(given, given.question, limit))
            }
            Step::Resume { cursor, limit } => {
                let given = state.given[cursor];
                Some(state.resume(given, given.question, limit))
            }
            Step::Mistake { cursor, question, limit } => Some(state.resume(state.given[cursor], question, limit)),
            Step::Forge { .. } => Some(Told::Refused("bad_request".to_owned())),
            Step::Rebuild => {
                state.generation += 1;
                None
            }
        };
        state
    }
}

/// The engine, and the cursors that it gave out.
struct Pager {
    desk: Desk,
    given: Vec<(String, usize)>,
}

impl StateMachineTest for Pager {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        Self { desk: desk(&model.table), given: Vec::new() }
    }

    fn apply(mut pager: Self, model: &Model, step: Step) -> Self {
        let (question, limit, cursor) = match step {
            Step::Begin { question, limit } => (question, limit, None),
            Step::Next { limit } => {
                let (cursor, question) = pager.given[pager.given.len() - 1].clone();
                (question, limit, Some(cursor))
            }
            Step::Resume { cursor, limit } => {
                let (cursor, question) = pager.given[cursor].clone();
                (question, limit, Some(cursor))
            }
            Step::Mistake { cursor, question, limit } => (question, limit, Some(pager.given[cursor].0.clone())),
            Step::Forge { cursor, forgery } => {
                let (cursor, question) = &pager.given[cursor];
                (*question, 1, Some(forge(cursor, forgery)))
            }
            Step::Rebuild => {
                pager.desk.rebuild();
                return pager;
            }
        };
        let (told, next) = ask(&pager.desk, QUESTIONS[question], limit, cursor.as_deref());
        assert_eq!(Some(&told), model.told.as_ref(), "{step:?}");
        pager.given.extend(next.map(|next| (next, question)));
        pager
    }

    fn check_invariants(pager: &Self, model: &Model) {
        assert_eq!(pager.given.len(), model.given.len());
    }
}

fn forge(cursor: &str, forgery: Forgery) -> String {
    match forgery {
        Forgery::Letter(at) => {
            let other = if &cursor[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &cursor[..at], &cursor[at + 1..])
        }
        Forgery::Shorter(by) => cursor[by..].to_owned(),
        Forgery::Longer => format!("{cursor}A"),
        Forgery::Empty => String::new(),
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_walk_is_told_what_a_sorted_list_tells(sequential 1..40 => Pager);
}
