//! `words`, `fuzzy` and `where` against a model that applies the definitions row by row, whatever the pages and the bounds.

mod edges;
mod model;

use balcao_datasets::{Plan, Recipe, write_registry};
use serde_json::{Value, json};

use super::Desk;
use crate::search::Bounds;
use model::{Asked, How, Model, Where};

/// Repeatable choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % count
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A word with a letter too few, too many, another one, or two that are swapped.
    fn mistype(&mut self, word: &str) -> String {
        let mut letters: Vec<char> = word.chars().collect();
        let at = self.below(letters.len());
        let letter = *self.of(&['A', 'E', 'L', 'S', 'X', 'Ø']);
        match self.below(4) {
            0 if letters.len() > 1 => drop(letters.remove(at)),
            1 => letters.insert(at, letter),
            2 if at > 0 => letters.swap(at - 1, at),
            _ => letters[at] = letter,
        }
        letters.into_iter().collect()
    }
}

/// A dirty registry of so many rows, each with its number, whose names are mistyped here and there; with words and filters.
fn desk(rows: u32, seed: u64) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("basecpf.db");
    write_registry(&Plan { recipe: Recipe::new(rows.into(), seed, 0.3).unwrap(), out: out.clone() }, |_| {}).unwrap();
    let made = rusqlite::Connection::open(&out).unwrap();
    let mut dice = Dice(seed);
    let mut sql = format!(
        "ATTACH '{}' AS made; CREATE TABLE cpf(n, cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);
         INSERT INTO cpf SELECT rowid, cpf, nome, sexo, nasc FROM made.cpf;",
        out.display()
    );
    let mut statement =
        made.prepare("SELECT rowid, nome FROM cpf WHERE typeof(nome) = 'text' AND nome GLOB '*[A-Z]*'").unwrap();
    let mut found = statement.query([]).unwrap();
    while let Some(row) = found.next().unwrap() {
        let (rowid, Ok(name)) = (row.get::<_, i64>(0).unwrap(), row.get::<_, String>(1)) else { continue };
        if dice.one_in(4) && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' ') && !name.contains("  ")
        {
            let mut words: Vec<String> = name.trim().split(' ').map(str::to_owned).collect();
            let at = dice.below(words.len());
            words[at] = dice.mistype(&words[at]);
            sql += &format!("UPDATE cpf SET nome = '{}' WHERE n = {rowid};", words.join(" "));
        }
    }
    Desk::of(&sql)
}

/// Asks page by page to the end: the rows' numbers and distances, and the totals.
fn pages(desk: &Desk, question: &Value, limits: &[usize]) -> Result<Answered, String> {
    let mut answered = Answered::default();
    let mut question = question.clone();
    for limit in limits.iter().cycle() {
        question["limit"] = (*limit).into();
        let reply = desk.ask(&question.to_string());
        let rows = reply["rows"].as_array().ok_or_else(|| reply.to_string())?;
        let is_full = rows.len() == *limit || reply["next"].is_null();
        assert_eq!(reply["bounded"] == true, !is_full, "{question}");
        answered.pages += 1;
        answered.bounded += u64::from(!is_full);
        let known = answered.rows.len() as u64 + rows.len() as u64;
        match (reply["total"].as_u64(), reply["total_at_least"].as_u64()) {
            (Some(total), None) => answered.exact.push(total),
            (None, Some(least)) => {
                assert!(least >= known, "{question}");
                answered.at_least.push(least);
            }
            _ => panic!("{reply}"),
        }
        let distances = reply["distances"].as_array();
        assert_eq!(distances.is_some(), question["match"] == "fuzzy", "{question}");
        for (at, row) in rows.iter().enumerate() {
            let distance = distances.map_or(0, |distances| distances[at].as_u64().unwrap());
            answered.rows.push((row["n"].as_i64().unwrap(), distance));
        }
        match reply["next"].as_str() {
            Some(next) => {
                assert!(next.len() <= 512);
                question["cursor"] = next.into();
            }
            None => break,
        }
    }
    Ok(answered)
}

#[derive(Debug, Default)]
struct Answered {
    rows: Vec<(i64, u64)>,
    exact: Vec<u64>,
    at_least: Vec<u64>,
    pages: u64,
    bounded: u64,
}

/// A question about somebody, more or less as people type.
fn question(model: &Model, dice: &mut Dice) -> Asked {
    let name = &dice.of(&model.rows).name;
    let mut words: Vec<String> = name.split(' ').map(str::to_owned).collect();
    let how = *dice.of(&[
        How::Words,
        How::Words,
        How::Fuzzy { spelling: false },
        How::Fuzzy { spelling: true },
        How::Exact,
        How::Prefix,
    ]);
    if matches!(how, How::Words | How::Fuzzy { .. }) {
        for at in (1..words.len()).rev() {
            words.swap(at, dice.below(at + 1));
        }
        words.truncate(1 + dice.below(4));
    }
    if matches!(how, How::Fuzzy { .. }) {
        for word in &mut words {
            for _ in 0..dice.below(5).saturating_sub(2) {
                *word = dice.mistype(word);
            }
        }
    }
    if dice.one_in(8) {
        words.push(words[0].clone());
    }
    if how != How::Exact && dice.one_in(2) {
        let last = words.last_mut().unwrap();
        *last = last.chars().take(1 + dice.below(5)).collect();
    }
    let filter = Where {
        sex: dice.one_in(3).then(|| *dice.of(&['F', 'M'])),
        from: dice.one_in(4).then(|| 19_000_101 + 10_000 * dice.below(100) as u32),
        to: dice.one_in(4).then(|| 19_401_231 + 10_000 * dice.below(80) as u32),
    };
    let filter = if filter.from.zip(filter.to).is_some_and(|(from, to)| from > to) { Where::default() } else { filter };
    let filter = if dice.one_in(2) { Where::default() } else { filter };
    Asked { how, name: words.join(" "), last_is_prefix: dice.one_in(2), filter }
}

/// The question on the wire.
fn line(asked: &Asked) -> Value {
    let mut line = json!({"nome": asked.name.to_lowercase()});
    line["match"] = match asked.how {
        How::Exact => "exact",
        How::Prefix => "prefix",
        How::Words => "words",
        How::Fuzzy { .. } => "fuzzy",
    }
    .into();
    if matches!(asked.how, How::Words | How::Fuzzy { .. }) {
        line["last"] = if asked.last_is_prefix { "prefix" } else { "whole" }.into();
    }
    if asked.how == (How::Fuzzy { spelling: true }) {
        line["spelling"] = "pt".into();
    }
    let mut filter = json!({});
    if let Some(sex) = asked.filter.sex {
        filter["sexo"] = sex.to_string().into();
    }
    for (member, bound) in [("from", asked.filter.from), ("to", asked.filter.to)] {
        if let Some(bound) = bound {
            filter["nasc"][member] = bound.to_string().into();
        }
    }
    if filter != json!({}) {
        line["where"] = filter;
    }
    line
}

/// Asks so many questions, with bounds and limits in turn. Of what is met the least numbers are given, so that no branch goes untried.
fn check(desk: &mut Desk, questions: usize, seed: u64, bounds: &[Bounds], least: [u64; 3]) {
    let model = Model::read(&desk.db());
    let mut dice = Dice(seed);
    let (mut found, mut bounded, mut estimated) = (0, 0, 0);
    for number in 0..questions {
        let asked = question(&model, &mut dice);
        let expected = model.answer(&asked);
        desk.snapshot.bounds = bounds[number % bounds.len()];
        let limits = *dice.of(&[&[50][..], &[1000], &[3, 1, 7, 50], &[1, 400]]);
        let answered = pages(desk, &line(&asked), limits).unwrap_or_else(|reply| panic!("{asked:?}: {reply}"));
        assert_eq!(answered.rows, expected, "{asked:?} {:?}", desk.snapshot.bounds);
        let total = expected.len() as u64;
        assert!(answered.exact.iter().all(|&exact| exact == total), "{asked:?} {answered:?}");
        assert!(answered.at_least.iter().all(|&at_least| at_least <= total), "{asked:?} {answered:?}");
        found += total;
        bounded += answered.bounded;
        estimated += answered.at_least.len() as u64;
    }
    println!("{found} rows, {bounded} bounded pages, {estimated} totals from below");
    assert!(found >= least[0] && bounded >= least[1] && estimated >= least[2], "{found} {bounded} {estimated}");
}

#[test]
fn the_rows_of_a_plain_scan() {
    let wide = Bounds::default();
    let windows = [64, 128, 4096].map(|window| Bounds { window, ..wide });
    check(&mut desk(2500, 5), 2500, 1, &[wide, windows[0], windows[1], windows[2]], [20_000, 0, 0]);
}

#[test]
fn the_same_rows_in_pages_that_are_cut_short() {
    let tight = |postings, lists, cursors, window| Bounds { postings, lists, cursors, window };
    let bounds = [
        tight(0, 1 << 18, 0, 64),
        tight(100, 3, 4096, 128),
        tight(700, 1 << 18, 3, 256),
        tight(3000, 0, 4096, 64),
        tight(20, 50, 3, 1024),
        tight(3000, 1 << 18, 0, 64),
        tight(20, 1 << 18, 4096, 64),
    ];
    check(&mut desk(1500, 6), 2500, 2, &bounds, [10_000, 1000, 1000]);
}
