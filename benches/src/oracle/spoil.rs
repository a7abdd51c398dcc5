//! Spoils a made registry in what filters and searches by words look at, before it is indexed: the generator's sexes are always clean, and its names
//! are all of ordinary words.
//!
//! The seed alone decides what becomes of which row.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::types::Value;

use crate::rng::Rng;

/// Of so many rows, one gets another sex, another day and another name each.
const SEX_ONE_IN: usize = 12;
const BIRTH_ONE_IN: usize = 12;
const NAME_ONE_IN: usize = 60;

/// What registries hold in the place of `F` and `M`.
const SEXES: [Option<&str>; 18] = [
    Some("f"),
    Some("m"),
    Some(" F"),
    Some("M "),
    Some("Feminino"),
    Some("MASCULINO"),
    Some("Ｆ"),
    Some("I"),
    Some("1"),
    Some("2"),
    Some("(m)"),
    Some(""),
    Some(" "),
    Some("?"),
    Some("Ø"),
    Some("--"),
    Some("Ê"),
    None,
];

/// Days that are none, or at the ends of those that are.
const DAYS: [&str; 16] = [
    "18000101",
    "17991231",
    "21571231",
    "21580101",
    "20000229",
    "19000229",
    "2023-02-29",
    "31/04/1980",
    "00/00/0000",
    "1980",
    "",
    " ",
    "1980/01/02",
    "1-1-1980",
    "19801301",
    "１９８００１０１",
];

/// Names, and words that some names get besides their own.
const WORDS: [&str; 20] = [
    "2º",
    "Ø",
    "김",
    "D'",
    "X",
    "PHILIPPE",
    "THEREZA",
    "WALTHER",
    "KATIA",
    "QUEIROZ",
    "ASSUMPÇÃO",
    "HELLENA",
    "YVONNE",
    "CONCEIÇÃO",
    "BAPTISTA",
    "Cézar",
    "ﬁlho",
    "NETO",
    "JUNIOR",
    "DA",
];

/// Letters of a word that is as long as a fuzzy question's may be, and of one that is longer.
const LONG_WORDS: [usize; 2] = [64, 65];

/// The table without types, so that a cell keeps the one it is written with, and with some rows below zero.
const UNTYPED: &str = "ALTER TABLE cpf RENAME TO typed;
    CREATE TABLE cpf(cpf, nome, sexo, nasc);
    INSERT INTO cpf(rowid, cpf, nome, sexo, nasc)
        SELECT CASE WHEN rowid % 16 = 0 THEN -rowid ELSE rowid END, cpf, nome, sexo, nasc FROM typed;
    DROP TABLE typed;";

/// Spoils the table `cpf` of the registry in `db`.
///
/// # Errors
/// When SQLite cannot read or write it.
pub(crate) fn spoil(db: &Path, seed: u64) -> anyhow::Result<()> {
    let mut database = rusqlite::Connection::open(db).context("cannot open the registry that was made")?;
    let change = database.transaction()?;
    change.execute_batch(UNTYPED).context("cannot make the registry's table anew")?;
    let mut rng = Rng::new(seed, 3);
    let rows: Vec<(i64, Option<Vec<u8>>, Option<String>)> = change
        .prepare("SELECT rowid, CAST(nome AS BLOB), nasc FROM cpf ORDER BY rowid")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut set_sex = change.prepare("UPDATE cpf SET sexo = ? WHERE rowid = ?")?;
    let mut set_birth = change.prepare("UPDATE cpf SET nasc = ? WHERE rowid = ?")?;
    let mut set_name = change.prepare("UPDATE cpf SET nome = ? WHERE rowid = ?")?;
    for (rowid, name, birth) in rows {
        if rng.one_in(SEX_ONE_IN) {
            set_sex.execute((other_sex(&mut rng), rowid))?;
        }
        if rng.one_in(BIRTH_ONE_IN) {
            set_birth.execute((other_birth(birth.as_deref().unwrap_or_default(), &mut rng), rowid))?;
        }
        if let Some(name) = name.and_then(|name| String::from_utf8(name).ok()).filter(|_| rng.one_in(NAME_ONE_IN)) {
            set_name.execute((other_name(&name, &mut rng), rowid))?;
        }
    }
    drop((set_sex, set_birth, set_name));
    change.commit().context("cannot write the registry that was made")
}

/// A sex in another writing, or none.
fn other_sex(rng: &mut Rng) -> Value {
    match rng.below(24) {
        0 => Value::Integer(rng.below(12) as i64 - 2),
        1 => Value::Real(1.0),
        2 => Value::Blob(b"F".to_vec()),
        _ => rng.pick(&SEXES).map_or(Value::Null, |text| Value::Text(text.to_owned())),
    }
}

/// The same day in another shape, or none.
fn other_birth(birth: &str, rng: &mut Rng) -> Value {
    let parts = birth.is_ascii().then(|| Some((birth.get(..4)?, birth.get(4..6)?, birth.get(6..8)?))).flatten();
    let Some((year, month, day)) = parts else { return Value::Null };
    match rng.below(11) {
        8 => birth.parse().map_or(Value::Null, Value::Integer),
        9 => birth.parse().map_or(Value::Null, Value::Real),
        10 => Value::Blob(birth.as_bytes().to_vec()),
        0 | 1 => Value::Text(format!("{year}-{month}-{day}")),
        2 | 3 => Value::Text(format!("{day}/{month}/{year}")),
        4 => Value::Text(format!("\u{3000} {birth}\t")),
        5 => Value::Null,
        _ => Value::Text((*rng.pick(&DAYS)).to_owned()),
    }
}

/// A name with words that make trouble.
fn other_name(name: &str, rng: &mut Rng) -> String {
    match rng.below(16) {
        // More words than a question may have.
        0 => [name; 6].join(" "),
        1 => (0..rng.between(16, 40)).map(|_| *rng.pick(&WORDS)).collect::<Vec<_>>().join(" "),
        2 => format!("{name} {}", "ABCDE".repeat(20).get(..*rng.pick(&LONG_WORDS)).unwrap_or_default()),
        3 => (*rng.pick(&WORDS)).to_owned(),
        _ => format!("{name} {}", rng.pick(&WORDS)),
    }
}
