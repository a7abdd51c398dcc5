//! `anomalies.csv` against a list that is made here by the protocol's words, without the code that the indexer uses.

use std::fs;

use balcao_datasets::Recipe;

use crate::command::{Place, run_json};

/// The check digits of nine digits, by the official rule.
fn check_digits(base: &[u32]) -> [u32; 2] {
    let digit = |digits: &[u32]| {
        let sum: u32 = digits.iter().rev().zip(2..).map(|(digit, weight)| digit * weight).sum();
        sum * 10 % 11 % 10
    };
    let first = digit(base);
    [first, digit(&[base, &[first]].concat())]
}

/// What is odd about a CPF cell: nothing, or the anomaly.
fn cpf_anomaly(cell: Option<&[u8]>) -> Option<&'static str> {
    let unreadable = Some("cpf_unreadable");
    let Some(Ok(text)) = cell.map(std::str::from_utf8) else { return unreadable };
    let kept: Vec<char> = text.chars().filter(|c| !matches!(c, '.' | '-' | '/') && !c.is_whitespace()).collect();
    let digits: Option<Vec<u32>> = kept.iter().map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| (1..=11).contains(&digits.len())) else { return unreadable };
    let padded = [vec![0; 11 - digits.len()], digits.clone()].concat();
    if padded[9..] == check_digits(&padded[..9]) {
        None
    } else if digits.len() == 11 {
        Some("cpf_check_digits")
    } else {
        unreadable
    }
}

#[test]
fn a_dirty_registry_line_by_line() {
    let (rows, dirty) = (20_000, 0.5);
    let place = Place::registry(rows, dirty);
    let mut expected = String::from("rowid,kind\n");
    let mut lines = 0;
    for (row, rowid) in Recipe::new(rows, 5, dirty).unwrap().rows().zip(1..) {
        let (cpf, name) = (row.cpf.as_deref(), row.nome.as_deref());
        let cpf_kind = cpf_anomaly(cpf);
        let nameless = !String::from_utf8_lossy(name.unwrap_or_default()).chars().any(char::is_alphanumeric);
        let invalid = [cpf, name].into_iter().flatten().any(|cell| std::str::from_utf8(cell).is_err());
        let kinds = [
            cpf_kind,
            nameless.then_some("name_empty"),
            invalid.then_some("text_invalid_utf8"),
            (nameless && cpf_kind == Some("cpf_unreadable")).then_some("unreachable"),
        ];
        for kind in kinds.into_iter().flatten() {
            expected.push_str(&format!("{rowid},{kind}\n"));
            lines += 1;
        }
    }
    // At the least memory too, where the list is made of several runs.
    for further in [&[][..], &["--memory", "16MiB", "--shards", "3"]] {
        let summary = run_json(&place.build(further));
        let found = fs::read_to_string(place.generation().join("anomalies.csv")).unwrap();
        assert!(found == expected, "{}", first_difference(&found, &expected));
        for (kind, count) in summary["anomalies"].as_object().unwrap() {
            let listed =
                expected.lines().filter(|line| line.split_once(',').is_some_and(|(_, listed)| listed == kind)).count();
            assert!(listed > 0 && *count == listed, "{kind}: {listed} listed, {count} counted");
        }
        assert_eq!(run_json(&["verify", "--index", &place.index])["anomalies"], lines);
    }
}

fn first_difference(found: &str, expected: &str) -> String {
    let differs = |pair: &(&str, &str)| pair.0 != pair.1;
    format!("{:?}", found.lines().zip(expected.lines()).find(differs))
}

#[test]
fn cells_of_every_kind() {
    let place = Place::of(&format!(
        "CREATE TABLE cpf(id INTEGER PRIMARY KEY, cpf, nome);
         INSERT INTO cpf VALUES ({min}, 191, 'ANA'), (-5, 191.0, 'ANA'), (0, x'313931', 'ANA'), (1, 12345678900, 12), (2, -191, 1.5),
            (3, '191', x'414e41'), (4, CAST(x'ff' AS TEXT), NULL), (5, '191', CAST(x'ff' AS TEXT)), (6, '1 9 1', CAST(x'ff41' AS TEXT)),
            (7, '٠٠٠٠٠٠٠٠١٩١', '_'), ({max}, '191', CAST(zeroblob(1048570) AS TEXT) || 'ANA'), (8, '191', {long}), (9, 192, 'ANA');",
        min = i64::MIN,
        max = i64::MAX,
        long = "replace(hex(zeroblob(600000)), '0', 'A')",
    ));
    run_json(&place.build(&[]));
    let expected = "rowid,kind\n-5,cpf_unreadable\n0,cpf_unreadable\n1,cpf_check_digits\n2,cpf_unreadable\n2,name_empty\n2,unreachable\n\
        3,name_empty\n4,cpf_unreadable\n4,name_empty\n4,text_invalid_utf8\n4,unreachable\n5,name_empty\n5,text_invalid_utf8\n\
        6,text_invalid_utf8\n7,cpf_unreadable\n7,name_empty\n7,unreachable\n8,name_cut\n9,cpf_unreadable\n";
    assert_eq!(fs::read_to_string(place.generation().join("anomalies.csv")).unwrap(), expected);
    run_json(&["verify", "--index", &place.index, "--db", &place.db]);
}
