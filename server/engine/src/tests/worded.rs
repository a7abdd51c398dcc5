//! Publishes a generation anew with a word index and filter columns beside what it has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use balcao_index::{
    Build, FilterColumns, FilterEntry, FilterValue, FilterWriter, Generation, Part, RealFiles, WordIndexWriter,
};
use balcao_record::{Cell, words};
use balcao_registry::cell;
use rusqlite::Connection;

pub(super) fn add_words(db: &Path, index: &Path) {
    let old = Generation::open_current(index).unwrap();
    let build = Build::begin(index).unwrap();
    let folder = build.folder();
    for file in old.manifest().files() {
        fs::copy(old.folder().join(&file.name), folder.join(&file.name)).unwrap();
    }
    let connection = Connection::open(db).unwrap();
    let mut statement = connection.prepare("SELECT nome, sexo, nasc FROM cpf WHERE rowid = ?").unwrap();
    let mut lists: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut values = Vec::new();
    for rank in 0..old.name_rows() {
        let rowid = old.rowid(Part::Name, rank).unwrap();
        let (name, value) = statement
            .query_row([rowid], |row| {
                let mut name = String::new();
                cell(row.get_ref(0)?).name_key(&mut name);
                let cell_at = |at| row.get_ref(at).map(cell);
                let (sex, birth): (Cell<'_>, Cell<'_>) = (cell_at(1)?, cell_at(2)?);
                Ok((name, FilterValue { sex: sex.sex(), birth: birth.birth() }))
            })
            .unwrap();
        values.push(value);
        for word in words(&name) {
            let list = lists.entry(word.to_owned()).or_default();
            if list.last() != Some(&(rank as u32)) {
                list.push(rank as u32);
            }
        }
    }
    let mut writer = WordIndexWriter::create_with(&RealFiles, &folder).unwrap();
    for (word, ranks) in &lists {
        writer.begin_word(word.as_bytes()).unwrap();
        ranks.iter().for_each(|&rank| writer.push_run(rank, 1).unwrap());
    }
    let mut manifest = old.manifest().clone();
    manifest.word_index = Some(writer.finish().unwrap());
    let columns = FilterColumns { sex: Some("sexo".into()), birth: Some("nasc".into()) };
    assert_eq!(manifest.names.len(), 1);
    let mut writer = FilterWriter::create_with(&RealFiles, &folder, 0, &columns).unwrap();
    values.into_iter().for_each(|value| writer.push(value).unwrap());
    let files = vec![writer.finish().unwrap()];
    manifest.filters = Some(FilterEntry {
        sex_column: columns.sex,
        birth_column: columns.birth,
        sex_unreadable: 0,
        birth_unreadable: 0,
        files,
    });
    manifest.generation = build.name().to_owned();
    manifest.former = build.former().map(str::to_owned);
    build.publish(&manifest).unwrap();
}
