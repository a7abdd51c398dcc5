//! The wire's pieces: a line into a request, a row into a reply.

use balcao_wire::limits::BATCH_ITEMS_MAX;
use balcao_wire::{Id, Operation, RowWriter, RowsWriter, decode};

use crate::house::{House, Person};
use crate::piece::{Piece, mean_bytes};

/// A question by CPF, as our client writes it.
pub(crate) fn decode_cpf(house: &House) -> Piece<'_> {
    let line = |(id, person): (usize, &Person)| format!(r#"{{"id":{id},"cpf":"{}"}}"#, person.digits());
    lines(house.people.iter().enumerate().map(line).collect())
}

/// A question by the beginning of a name.
pub(crate) fn decode_prefix(house: &House) -> Piece<'_> {
    let line = |(id, person): (usize, &Person)| format!(r#"{{"id":{id},"nome":"{}","limit":50}}"#, person.prefix());
    lines(house.people.iter().enumerate().map(line).collect())
}

/// A batch of as many CPFs as one may have.
pub(crate) fn decode_batch(house: &House) -> Piece<'_> {
    let piece = lines(house.people.chunks(BATCH_ITEMS_MAX).map(batch_line).collect());
    piece.of_elements(house.people.len().min(BATCH_ITEMS_MAX))
}

/// The line that asks for all of these people.
pub(crate) fn batch_line(people: &[Person]) -> String {
    let item = |(id, person): (usize, &Person)| format!(r#"{{"id":{id},"cpf":"{}"}}"#, person.digits());
    let items: Vec<String> = people.iter().enumerate().map(item).collect();
    format!(r#"{{"id":1,"op":"batch","items":[{}]}}"#, items.join(","))
}

fn lines<'a>(lines: Vec<String>) -> Piece<'a> {
    let bytes = mean_bytes(&lines);
    Piece::over(lines, |line| {
        matches!(decode(line.as_bytes()).operation, Ok(Operation::Lookup(_) | Operation::Batch(_)))
    })
    .of_bytes(bytes)
}

/// The reply with one row of four texts.
pub(crate) fn encode_row(house: &House) -> Piece<'_> {
    let names: Vec<_> = house.table.columns.iter().map(|name| RowWriter::encode_name(name)).collect();
    let values = |person: &Person| [person.digits(), person.name.clone(), person.sex.clone(), person.birth.clone()];
    let people: Vec<_> = house.people.iter().map(values).collect();
    let mut out = Vec::new();
    let mut write = move |values: &[String; 4]| {
        out.clear();
        let mut rows = RowsWriter::begin(&mut out, &Id::Integer(12345));
        let mut row = rows.row();
        for (name, value) in names.iter().zip(values) {
            row.name(name).text(value.as_bytes());
        }
        row.finish();
        rows.finish(1, None, false);
        out.len()
    };
    let bytes = people.iter().map(&mut write).sum::<usize>() / people.len().max(1);
    Piece::over(people, move |values| write(values) > 0).of_bytes(bytes)
}
