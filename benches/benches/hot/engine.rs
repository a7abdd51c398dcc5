//! The engine's pieces: from a request that is decoded already to the whole reply.

use balcao_engine::Snapshot;
use balcao_record::normalize;
use balcao_wire::limits::BATCH_ITEMS_MAX;
use balcao_wire::{Id, Key, Lookup, Match, Operation, Request, decode};
use rayon::ThreadPoolBuilder;

use crate::house::{House, Person};
use crate::piece::Piece;
use crate::wire::batch_line;

/// Rows of a page: what a question without `limit` gets.
pub(crate) const PAGE_ROWS: usize = 50;

/// The row of a CPF.
pub(crate) fn cpf(house: &House) -> Piece<'_> {
    answers(house, house.people.iter().map(|person| lookup(Key::Cpf(person.cpf), PAGE_ROWS)).collect())
}

/// The rows of a whole name; most names have one, the commonest a page.
pub(crate) fn name(house: &House) -> Piece<'_> {
    let request = |person: &Person| lookup(name_key(Match::Exact, &normalize(&person.name)), PAGE_ROWS);
    answers(house, house.people.iter().map(request).collect())
}

/// A page of a name's first two words, of those that fill one.
pub(crate) fn page(house: &House) -> Piece<'_> {
    answers(house, pages(house)).of_elements(PAGE_ROWS)
}

/// The same over an index with a copy of the rows in the order of their names: they lie side by side.
pub(crate) fn page_copy(house: &House) -> Piece<'_> {
    answers_of(&house.copy, pages(house)).of_elements(PAGE_ROWS)
}

fn pages(house: &House) -> Vec<Request> {
    let is_full = |prefix: &String| {
        house.generation.prefix_ranks(prefix).is_ok_and(|ranks| ranks.end - ranks.start >= PAGE_ROWS as u64)
    };
    let prefixes = house.people.iter().map(Person::prefix).filter(is_full);
    prefixes.map(|prefix| lookup(name_key(Match::Prefix, &prefix), PAGE_ROWS)).collect()
}

/// As many CPFs as a batch may have, on the threads of the current pool.
pub(crate) fn batch(house: &House) -> Piece<'_> {
    let piece = answers(house, batches(house));
    piece.of_elements(house.people.len().min(BATCH_ITEMS_MAX))
}

/// The same on one thread of a pool.
pub(crate) fn batch_one_thread(house: &House) -> Piece<'_> {
    let pool = ThreadPoolBuilder::new().num_threads(1).build();
    let snapshot = &house.snapshot;
    let mut out = Vec::new();
    let operation = move |request: &Request| {
        out.clear();
        pool.as_ref().is_ok_and(|pool| pool.install(|| snapshot.answer(request, &mut out).is_ok()))
    };
    Piece::over(batches(house), operation).of_elements(house.people.len().min(BATCH_ITEMS_MAX))
}

fn batches(house: &House) -> Vec<Request> {
    house.people.chunks(BATCH_ITEMS_MAX).map(|people| decode(batch_line(people).as_bytes())).collect()
}

fn name_key(r#match: Match, name: &str) -> Key {
    Key::Name { r#match, name: name.into() }
}

fn lookup(key: Key, limit: usize) -> Request {
    Request {
        id: Id::Integer(12345),
        operation: Ok(Operation::Lookup(Lookup { key, filters: Box::default(), limit, cursor: None })),
        deadline_ms: None,
    }
}

/// An answer without a row would have `"rows":[]` here.
fn has_rows(reply: &[u8]) -> bool {
    const EMPTY: &[u8] = br#"{"id":12345,"status":"ok","rows":[]"#;
    !reply.starts_with(EMPTY)
}

fn answers(house: &House, requests: Vec<Request>) -> Piece<'_> {
    answers_of(&house.snapshot, requests)
}

fn answers_of(snapshot: &Snapshot, requests: Vec<Request>) -> Piece<'_> {
    let mut out = Vec::new();
    Piece::over(requests, move |request| {
        out.clear();
        snapshot.answer(request, &mut out).is_ok() && has_rows(&out)
    })
}
