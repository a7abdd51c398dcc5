//! Dirty rows: as many as asked for, each with one defect that is what the list says.
//!
//! A dirty row is compared with the clean row of the same number and seed.

use std::collections::{HashMap, HashSet};

use balcao_record::{Cell, Cpf, NameKey, normalize};

use super::{date, near, rows, text};
use crate::{APOSTROPHES, Column, Defect, PLACEHOLDERS, Row};

#[test]
fn dirt_has_its_share_and_every_defect_its_part() {
    for (share, of) in [(0.02, 300_000), (0.5, 50_000)] {
        let all = rows(of, 9, share);
        near(all.iter().filter(|row| row.defect.is_some()).count(), all.len(), share);
    }
    let all = rows(100_000, 10, 1.0);
    for defect in Defect::ALL {
        let count = all.iter().filter(|row| row.defect == Some(defect)).count();
        near(count, all.len(), 1.0 / Defect::ALL.len() as f64);
    }
}

#[test]
fn every_defect_gives_what_it_says() {
    let (spoilt, clean) = (rows(60_000, 11, 1.0), rows(60_000, 11, 0.0));
    let owners: HashMap<_, _> = clean.iter().enumerate().map(|(number, row)| (row.cpf.clone(), number)).collect();
    let mut met = HashSet::new();
    for (number, (row, clean_row)) in spoilt.iter().zip(&clean).enumerate() {
        let defect = row.defect.expect("all are dirty");
        let column = defect.column();
        met.insert(defect);
        assert_eq!(row.sexo, clean_row.sexo);
        assert_eq!(row.cpf != clean_row.cpf, matches!(column, Column::Cpf | Column::CpfAndNome), "{row:?}");
        assert_eq!(row.nome != clean_row.nome, matches!(column, Column::Nome | Column::CpfAndNome), "{row:?}");
        assert_eq!(row.nasc != clean_row.nasc, column == Column::Nasc, "{row:?}");
        if defect == Defect::CpfShared {
            let owner = owners[&row.cpf];
            assert!(owner < number && spoilt[owner].cpf == row.cpf, "the other row shows it too: {row:?}");
        }
        match column {
            Column::Cpf => check_cpf(defect, row, clean_row),
            Column::Nome => check_name(defect, row, clean_row),
            Column::Nasc => check_date(defect, row, clean_row),
            Column::CpfAndNome => {
                for cell in [&row.cpf, &row.nome] {
                    assert!(cell.as_ref().is_none_or(Vec::is_empty), "{row:?}");
                }
            }
        }
    }
    assert_eq!(met.len(), Defect::ALL.len());
}

#[track_caller]
fn check_cpf(defect: Defect, row: &Row, clean: &Row) {
    if defect == Defect::CpfNull {
        return assert_eq!(row.cpf, None);
    }
    let (written, own) = (text(&row.cpf), Cpf::parse(text(&clean.cpf)).unwrap());
    let read = Cpf::parse(written);
    let right = match defect {
        Defect::CpfPunctuation => written.len() > 11 && read == Ok(own),
        Defect::CpfLostZeros => written.len() < 11 && read == Ok(own),
        Defect::CpfCheckDigits => {
            written.len() == 11 && read.is_ok_and(|cpf| cpf.base() == own.base() && !cpf.has_right_check_digits())
        }
        Defect::CpfLetters => read.is_err() && written.contains(|c: char| c.is_ascii_alphabetic()),
        Defect::CpfEmpty => written.is_empty(),
        Defect::CpfShared => read.is_ok_and(Cpf::has_right_check_digits),
        Defect::CpfPlaceholder => PLACEHOLDERS.contains(&written) && read.is_ok_and(Cpf::has_right_check_digits),
        _ => false,
    };
    assert!(right, "{row:?}");
}

#[track_caller]
fn check_name(defect: Defect, row: &Row, clean: &Row) {
    let mut key = String::new();
    let cell = row.nome.as_deref().map_or(Cell::Null, Cell::Text);
    let found = cell.name_key(&mut key);
    assert_eq!(cell.is_invalid_utf8(), defect == Defect::NameInvalidUtf8, "{row:?}");
    match defect {
        Defect::NameNull => return assert_eq!(row.nome, None),
        // A stray byte reads as a blank: where it stands between words, the key may be the clean one all the same.
        Defect::NameInvalidUtf8 => return,
        _ => assert_eq!(key == text(&clean.nome), defect.keeps_name_key(), "{row:?}"),
    }
    let name = text(&row.nome);
    let right = match defect {
        Defect::Accents => name.chars().any(|c| !c.is_ascii() && normalize(&c.to_string()) != c.to_string()),
        Defect::LowerCase => name == name.to_ascii_lowercase(),
        Defect::TitleCase => name.contains(|c: char| c.is_lowercase()) && name.starts_with(|c: char| c.is_uppercase()),
        Defect::DoubleBlanks => name.contains("  ") && name.trim() == name,
        Defect::TrailingBlanks => name.trim_end_matches(' ') == text(&clean.nome),
        Defect::ControlCharacters => name.contains(char::is_control),
        Defect::Apostrophe => name.contains(APOSTROPHES),
        Defect::Hyphen => name.contains(['-', '\u{2010}', '\u{2011}', '\u{2013}']),
        Defect::FullWidth => !name.contains(|c: char| c.is_ascii()),
        Defect::NameEmpty => name.is_empty(),
        Defect::NamePunctuation => !name.is_empty() && found == NameKey::Empty,
        _ => false,
    };
    assert!(right, "{row:?}");
}

#[track_caller]
fn check_date(defect: Defect, row: &Row, clean: &Row) {
    if defect == Defect::DateNull {
        return assert_eq!(row.nasc, None);
    }
    let (written, (year, month, day)) = (text(&row.nasc), date(text(&clean.nasc)).unwrap());
    let right = match defect {
        Defect::DateIso => written == format!("{year:04}-{month:02}-{day:02}"),
        Defect::DateBrazilian => written == format!("{day:02}/{month:02}/{year:04}"),
        Defect::DateEmpty => written.is_empty(),
        Defect::DateGarbage => !written.is_empty() && date(written).is_none(),
        _ => false,
    };
    assert!(right, "{row:?}");
}

#[test]
fn every_kind_within_a_defect_occurs() {
    let all = rows(60_000, 12, 1.0);
    let has = |defect: Defect, part: &[u8]| {
        all.iter().filter(|row| row.defect == Some(defect)).any(|row| {
            [&row.cpf, &row.nome].into_iter().flatten().any(|cell| cell.windows(part.len()).any(|bytes| bytes == part))
        })
    };
    for apostrophe in APOSTROPHES {
        assert!(has(Defect::Apostrophe, apostrophe.to_string().as_bytes()), "{apostrophe:?}");
    }
    for placeholder in PLACEHOLDERS {
        assert!(has(Defect::CpfPlaceholder, placeholder.as_bytes()), "{placeholder}");
    }
    for control in ["\t", "\n", "\r\n", "\u{1}", "\u{7f}"] {
        assert!(has(Defect::ControlCharacters, control.as_bytes()), "{control:?}");
    }
    for mark in ["É", "Ç", "Ã", "\u{301}"] {
        assert!(has(Defect::Accents, mark.as_bytes()), "{mark}");
    }
    for bytes in [b"\xff".as_slice(), b"\xc9", b"\xc3"] {
        assert!(has(Defect::NameInvalidUtf8, bytes), "{bytes:?}");
    }
}

#[test]
fn the_readme_lists_every_defect() {
    let readme = include_str!("../../README.md");
    let names: HashSet<_> = Defect::ALL.iter().map(|defect| defect.name()).collect();
    assert_eq!(names.len(), Defect::ALL.len());
    assert!(names.iter().all(|name| readme.contains(&format!("`{name}`"))));
}
