//! Clean rows: reproducible, valid, distinct and distributed as the census says.
//!
//! Dirt and files have their own modules.

use std::collections::{HashMap, HashSet};

use balcao_record::{Cpf, normalize};

use super::{date, near, rows, text};
use crate::{AGE_MAX, Error, REFERENCE_YEAR, ROWS_MAX, Recipe, Sex};

#[test]
fn rows_depend_on_seed_and_number_alone() {
    let some = rows(3_000, 1, 0.3);
    assert_eq!(some, rows(3_000, 1, 0.3));
    assert_eq!(some[..777], rows(777, 1, 0.3), "a longer registry begins with the shorter one");
    let (one, other) = (rows(3_000, 1, 0.0), rows(3_000, 2, 0.0));
    assert!(one.iter().zip(&other).all(|(a, b)| a.cpf != b.cpf));
    for (dirty, clean) in some.iter().zip(rows(3_000, 1, 0.0)) {
        assert!(dirty.defect.is_some() || *dirty == clean, "dirt changes the dirty rows alone");
    }
    let recipe = Recipe::new(130, 1, 0.3).unwrap();
    let mut iterator = recipe.rows();
    assert_eq!(iterator.len(), 130);
    assert_eq!(iterator.nth(99).as_ref(), Some(&some[99]));
    assert_eq!(iterator.len(), 30);
}

/// Rows are promised for ever: if this fails, a change made other rows out of the same arguments.
#[test]
fn the_first_rows_are_those_of_version_1() {
    let written: Vec<String> = rows(3, 0, 0.0)
        .iter()
        .map(|row| [text(&row.cpf), text(&row.nome), row.sexo.letter(), text(&row.nasc)].join("|"))
        .collect();
    assert_eq!(
        written,
        [
            "84922539409|MARIA FERREIRA LAZAVIM|F|19951125",
            "59200244700|BRANHILDA SELPUJO DA CRETEIRA ZABAS|F|19920821",
            "55719343792|TACABEIDE LHABAZONDES|F|19691127",
        ]
    );
    // Many more, with all the dirt, as FNV-1a of the cells (a NULL is FE, the end of a cell FF).
    let mut print = 0xcbf2_9ce4_8422_2325_u64;
    for row in rows(20_000, 1, 0.5) {
        for cell in [row.cpf, row.nome, Some(row.sexo.letter().into()), row.nasc] {
            for byte in cell.unwrap_or(vec![0xfe]).into_iter().chain([0xff]) {
                print = (print ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    assert_eq!(print, 17765158698990026103);
}

#[test]
fn clean_cpfs_are_valid_and_distinct() {
    let mut seen = HashSet::new();
    for row in rows(200_000, 5, 0.0) {
        let digits = text(&row.cpf);
        assert!(digits.len() == 11 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{digits}");
        assert!(Cpf::parse(digits).unwrap().has_right_check_digits(), "{digits}");
        assert!(seen.insert(digits.to_owned()), "{digits} twice");
        assert_eq!(row.defect, None);
    }
}

#[test]
fn clean_dates_are_real_and_ages_plausible() {
    let all = rows(200_000, 6, 0.0);
    let mut days = HashSet::new();
    let ages: Vec<u32> = all
        .iter()
        .map(|row| {
            let (year, month, day) = date(text(&row.nasc)).expect("a real date");
            days.insert((month, day));
            REFERENCE_YEAR.checked_sub(year).expect("nobody is born later")
        })
        .collect();
    assert_eq!(days.len(), 366);
    assert_eq!((ages.iter().min(), ages.iter().max()), (Some(&0), Some(&AGE_MAX)));
    // Thousands of the 206,848 that the pyramid adds up to.
    for (range, thousands) in [(0..=9, 26_400.0), (35..=44, 32_800.0), (80..=AGE_MAX, 4_948.0)] {
        near(ages.iter().filter(|age| range.contains(age)).count(), ages.len(), thousands / 206_848.0);
    }
}

#[test]
fn clean_names_are_as_the_registry_writes_them() {
    const PARTICLES: [&str; 5] = ["DA", "DE", "DO", "DAS", "DOS"];
    let all = rows(200_000, 7, 0.0);
    let (mut two_to_five, mut distinct, mut with_particle) = (0, HashSet::new(), HashMap::new());
    let mut sex_of = HashMap::new();
    for row in &all {
        let name = text(&row.nome);
        assert!(name.is_ascii() && normalize(name) == name, "{name:?}");
        let words: Vec<&str> = name.split(' ').collect();
        assert!((2..=8).contains(&words.len()), "{name}");
        assert!(!PARTICLES.contains(&words[0]) && !PARTICLES.contains(words.last().unwrap()), "{name}");
        assert_eq!(*sex_of.entry(words[0]).or_insert(row.sexo), row.sexo, "{name}");
        two_to_five += usize::from(words.len() <= 5);
        distinct.insert(name);
        for particle in PARTICLES {
            *with_particle.entry(particle).or_insert(0) += usize::from(words.contains(&particle));
        }
    }
    assert!(two_to_five * 100 >= all.len() * 95, "{two_to_five}");
    assert!((85..99).contains(&(distinct.len() * 100 / all.len())), "{}", distinct.len());
    assert!(with_particle.values().all(|&count| count > 1_000), "{with_particle:?}");
    for compound in ["MARIA JULIA ", "MARIA ANA ", "JOSE CARLOS ", "JOAO PEDRO "] {
        assert!(all.iter().any(|row| text(&row.nome).starts_with(compound)), "{compound}");
    }
    near(all.iter().filter(|row| row.sexo == Sex::Woman).count(), all.len(), 97_348_809.0 / 190_755_799.0);
}

#[test]
fn frequencies_follow_the_census() {
    let all = rows(400_000, 8, 0.0);
    let (mut first, mut last) = (HashMap::new(), HashMap::new());
    for row in &all {
        let mut words = text(&row.nome).split(' ');
        *first.entry(words.next().unwrap()).or_insert(0_u64) += 1;
        *last.entry(words.next_back().unwrap()).or_insert(0_u64) += 1;
    }
    // Of 190,755,799 people.
    for (name, count) in [("MARIA", 11_734_129.0), ("JOSE", 5_754_529.0), ("BRUNO", 668_217.0)] {
        // The tail carries a little more than what is missing, so the census share is met within a hundredth of itself.
        let expected = all.len() as f64 * count / 190_755_799.0;
        let off = (first[name] as f64 - expected).abs();
        assert!(off < 5.0 * expected.sqrt() + expected / 100.0, "{name}: {} {expected}", first[name]);
    }
    for falling in [["MARIA", "ANA", "ANTONIA"], ["JOSE", "ANTONIO", "EDUARDO"]] {
        assert!(falling.is_sorted_by(|a, b| first[a] > first[b]), "{falling:?}");
    }
    assert!(["SILVA", "SANTOS", "OLIVEIRA", "PEREIRA", "ANDRADE"].is_sorted_by(|a, b| last[a] > last[b]));
    assert!(first.len() > 4_000 && last.len() > 20_000, "{} {}", first.len(), last.len());
}

#[test]
fn impossible_recipes_are_refused() {
    assert!(matches!(Recipe::new(ROWS_MAX + 1, 0, 0.0), Err(Error::TooManyRows { got }) if got == ROWS_MAX + 1));
    for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(Recipe::new(1, 0, share), Err(Error::DirtyShare { .. })), "{share}");
    }
    let all = Recipe::new(ROWS_MAX, u64::MAX, 1.0).unwrap();
    assert_eq!(all.rows().len(), 1_000_000_000);
    assert_eq!(all.rows().next().map(|row| row.sexo), rows(1, u64::MAX, 0.0).first().map(|row| row.sexo));
    assert!(rows(0, 0, 0.5).is_empty());
}
