//! The vocabulary's pieces: a CPF read from text, a name made a key.

use std::hint::black_box;

use balcao_record::{Cell, Cpf, NameKey};

use crate::house::House;
use crate::piece::{Piece, mean_bytes};

/// Eleven digits.
pub(crate) fn cpf_parse(house: &House) -> Piece<'_> {
    parse(house.people.iter().map(crate::house::Person::digits).collect())
}

/// `123.456.789-09`.
pub(crate) fn cpf_parse_points(house: &House) -> Piece<'_> {
    parse(house.people.iter().map(|person| person.cpf.to_string()).collect())
}

/// A name as the table holds it.
pub(crate) fn name_key(house: &House) -> Piece<'_> {
    key(house.people.iter().map(|person| person.name.clone()).collect())
}

/// In lower case, as it is typed.
pub(crate) fn name_key_lower(house: &House) -> Piece<'_> {
    key(house.people.iter().map(|person| person.name.to_lowercase()).collect())
}

/// In lower case and with accents: every `A` gets one.
pub(crate) fn name_key_accents(house: &House) -> Piece<'_> {
    key(house.people.iter().map(|person| person.name.to_lowercase().replace('a', "á")).collect())
}

fn parse<'a>(texts: Vec<String>) -> Piece<'a> {
    let bytes = mean_bytes(&texts);
    Piece::over(texts, |text| black_box(Cpf::parse(text)).is_ok()).of_bytes(bytes)
}

fn key<'a>(names: Vec<String>) -> Piece<'a> {
    let bytes = mean_bytes(&names);
    let mut key = String::new();
    let operation = move |name: &String| {
        let found = Cell::Text(name.as_bytes()).name_key(&mut key);
        black_box(key.as_bytes());
        found == NameKey::Key
    };
    Piece::over(names, operation).of_bytes(bytes)
}
