//! The index's pieces, and the row behind a rowid: key to rank, prefix to ranks, rank to rowid, rowid to values.

use std::hint::black_box;

use balcao_index::Part;
use balcao_record::normalize;

use crate::engine::PAGE_ROWS;
use crate::house::{House, Person};
use crate::piece::Piece;

/// The ranks of a CPF.
pub(crate) fn rank_cpf(house: &House) -> Piece<'_> {
    let cpfs = house.people.iter().map(|person| person.cpf).collect();
    Piece::over(cpfs, |cpf| house.generation.cpf_ranks(*cpf).is_ok_and(|ranks| !ranks.is_empty()))
}

/// The ranks of a whole name.
pub(crate) fn rank_name(house: &House) -> Piece<'_> {
    let names = house.people.iter().map(|person| normalize(&person.name).into_owned()).collect();
    Piece::over(names, |name: &String| house.generation.name_ranks(name).is_ok_and(|ranks| !ranks.is_empty()))
}

/// The ranks of a name's first two words.
pub(crate) fn prefix_bounds(house: &House) -> Piece<'_> {
    let prefixes = house.people.iter().map(Person::prefix).collect();
    Piece::over(prefixes, |prefix: &String| house.generation.prefix_ranks(prefix).is_ok_and(|ranks| !ranks.is_empty()))
}

/// The rowid of a rank by CPF.
pub(crate) fn rowid(house: &House) -> Piece<'_> {
    let rank = |person: &Person| house.generation.cpf_ranks(person.cpf).map_or(u64::MAX, |ranks| ranks.start);
    let ranks = house.people.iter().map(rank).collect();
    Piece::over(ranks, |rank| house.generation.rowid(Part::Cpf, *rank).map(black_box).is_ok())
}

/// All values of a row by its rowid, straight from its page as the engine reads a plain one.
pub(crate) fn row_pages(house: &House) -> Piece<'_> {
    rows_from_pages(house, 1)
}

/// The same of a page of rows from all over the table: their places first, then a touch of each, so that the memory fetches them at once.
pub(crate) fn row_pages_50(house: &House) -> Piece<'_> {
    rows_from_pages(house, PAGE_ROWS).of_elements(PAGE_ROWS)
}

fn rows_from_pages(house: &House, rows: usize) -> Piece<'_> {
    let rowids: Vec<i64> = house.people.iter().map(|person| person.rowid).collect();
    let pages: Vec<Vec<i64>> = rowids.chunks(rows).map(<[i64]>::to_vec).collect();
    let columns = house.table.columns.len();
    let (mut places, mut room) = (Vec::new(), Vec::new());
    Piece::over(pages, move |rowids: &Vec<i64>| {
        let (Some(tree), bytes) = (&house.tree, &*house.map) else { return false };
        places.clear();
        places.extend(rowids.iter().map(|&rowid| tree.place(bytes, rowid)));
        if places.len() > 1 {
            let touched = places.iter().flatten().fold(0, |sum: u8, &place| sum.wrapping_add(tree.touch(bytes, place)));
            black_box(touched);
        }
        rowids.iter().zip(&places).all(|(&rowid, place)| {
            let record = place.and_then(|place| tree.record(bytes, place, rowid, &mut room));
            record.is_some_and(|record| record.values().map(black_box).count() == columns)
        })
    })
}

/// All values of a row by its rowid through SQLite: what the engine does only with rows that are not plain, and what the short way is held against.
pub(crate) fn row_fetch_sqlite(house: &House) -> Piece<'_> {
    let rowids = house.people.iter().map(|person| person.rowid).collect();
    let columns = house.table.columns.len();
    let sql = house.table.row_sql();
    let operation = move |rowid: &i64| {
        // As the engine asks then: through the connection's cache of statements.
        let Ok(mut statement) = house.connection.prepare_cached(&sql) else { return false };
        let Ok(mut rows) = statement.query([*rowid]) else { return false };
        let Ok(Some(row)) = rows.next() else { return false };
        (0..columns).all(|at| row.get_ref(at).map(black_box).is_ok())
    };
    Piece::over(rowids, operation)
}
