//! The index's pieces, and the row behind a rowid: key to rank, prefix to ranks, rank to rowid, rowid to values.

use std::hint::black_box;

use balcao_index::Part;
use balcao_record::normalize;

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

/// All values of a row by its rowid, with the engine's SQL and way of opening: SQLite's share of an answer.
pub(crate) fn row_fetch(house: &House) -> Piece<'_> {
    let rowids = house.people.iter().map(|person| person.rowid).collect();
    let columns = house.table.columns.len();
    let sql = house.table.row_sql();
    let operation = move |rowid: &i64| {
        // As the engine asks: through the connection's cache of statements.
        let Ok(mut statement) = house.connection.prepare_cached(&sql) else { return false };
        let Ok(mut rows) = statement.query([*rowid]) else { return false };
        let Ok(Some(row)) = rows.next() else { return false };
        (0..columns).all(|at| row.get_ref(at).map(black_box).is_ok())
    };
    Piece::over(rowids, operation)
}
