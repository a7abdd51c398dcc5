//! Claims for `verify`: a row as somebody may hold it, right, half right, misspelt or of somebody else.

use super::filter_questions::{any_day, day_text};
use super::questions::Answer;
use super::reading::{normalise, read_cpf, read_cpf_number};
use super::search::{Searchable, is_allowed};
use super::search_questions::{draw_from, dressed, misspelt, respelt};
use super::spelling::{Written, json_text, other_cpf, strange_cpf};
use super::words::{Likeness, demands};
use crate::rng::Rng;

/// Draws a claim: its members, and what must be told. `shared` are the numbers of the CPFs of several rows.
pub(crate) fn draw(searchable: &Searchable<'_>, shared: &[u32], rng: &mut Rng) -> (String, Answer<'static>) {
    let table = searchable.table;
    let key = match shared {
        [_, ..] if rng.one_in(4) => *rng.pick(shared) as usize,
        _ => rng.below(table.cpfs.keys.len()),
    };
    let row = *rng.pick(table.cpfs.of(key));
    let written = match rng.below(16) {
        0 => strange_cpf(&table.cpfs.keys[key], rng),
        1 => Written::Text(format!("{:011}", rng.below(100_000_000_000))),
        2..=5 => other_cpf(&table.cpfs.keys[key], rng),
        _ => Written::Text(table.cpfs.keys[key].clone()),
    };
    let name = (!rng.one_in(8)).then(|| name(searchable, row, rng));
    let birth = (!rng.one_in(4)).then(|| {
        let of_row = searchable.births[row as usize].filter(|_| !rng.one_in(4));
        of_row.unwrap_or_else(|| any_day(rng))
    });
    let likeness = if rng.one_in(2) { Likeness::Edits } else { Likeness::EditsOrSpelling };

    let mut members = vec![format!("\"cpf\":{}", written.json(rng))];
    members.extend(name.as_ref().map(|name| format!("\"nome\":{}", json_text(name, rng))));
    members.extend(birth.map(|day| format!("\"nasc\":{}", json_text(&day_text(day, rng), rng))));
    members.extend((likeness == Likeness::EditsOrSpelling).then(|| "\"spelling\":\"pt\"".to_owned()));
    rng.shuffle(&mut members);
    let cpf = match &written {
        Written::Text(text) => read_cpf(text),
        Written::Number(number) => read_cpf_number(number),
    };
    let is_allowed = name.as_ref().is_none_or(|name| is_allowed(&demands(&normalise(name), false), likeness));
    let answer = match cpf {
        None => Answer::Code("invalid_cpf"),
        Some(_) if name.as_ref().is_some_and(|name| normalise(name).is_empty()) => Answer::Code("invalid_name"),
        Some(_) if !is_allowed => Answer::Code("bad_request"),
        Some(cpf) => Answer::Agreement(searchable.verify(&cpf, name.as_deref(), birth, likeness)),
    };
    (format!("\"op\":\"verify\",{}", members.join(",")), answer)
}

/// A name for the person of `row`.
fn name(searchable: &Searchable<'_>, row: u32, rng: &mut Rng) -> String {
    let key = normalise(&searchable.table.name_of(row));
    if key.is_empty() {
        return "ANA".to_owned();
    }
    match rng.below(8) {
        0 | 1 => searchable.table.name_of(row),
        2 => dressed(&key, rng),
        // Words of it, some of them misspelt.
        3 => draw_from(searchable, &key, Likeness::Same, rng).text,
        4 => draw_from(searchable, &key, Likeness::EditsOrSpelling, rng).text,
        5 => key.split(' ').map(|word| misspelt(word, rng)).collect::<Vec<_>>().join(" "),
        6 => key.split(' ').map(|word| respelt(word, rng)).collect::<Vec<_>>().join(" "),
        _ => rng.pick(&searchable.table.names.keys).clone(),
    }
}
