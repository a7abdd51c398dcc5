//! Generations with a word index and filter columns: `verify` against lists that are not those of the names, every damaged byte, and columns of any
//! shards. All names in here are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use balcao_index::{
    Build, FORMAT_VERSION, FilterColumns, FilterEntry, FilterValue, FilterWriter, Generation, IndexError, Manifest,
    NameShardWriter, Near, RealFiles, RowidRange, ShardEntry, Source, WordCounter, WordIndexWriter, verify,
};
use balcao_record::{BirthDay, NORMALIZATION_VERSION, Sex, words};
use tempfile::TempDir;

type Lists = BTreeMap<String, BTreeSet<u32>>;

/// Names in their order, each once or several times.
fn names() -> Vec<String> {
    let mut names: Vec<_> =
        (0..900).map(|i| format!("N{:02} M{:03} {}", i % 40, i % 171, ["DA PROVA", "AMOSTRA"][i % 2])).collect();
    names.extend((0..400).map(|_| "N07 TESTE TESTE".to_owned()));
    names.sort();
    names
}

/// The lists of the words of names.
fn lists(names: &[String]) -> Lists {
    let mut lists = Lists::new();
    for (rank, name) in (0..).zip(names) {
        for word in words(name) {
            lists.entry(word.to_owned()).or_default().insert(rank);
        }
    }
    lists
}

fn value(rank: usize) -> FilterValue {
    let birth = BirthDay::from_days((rank as u32).wrapping_mul(40_503) % 200_000);
    FilterValue { sex: Sex::from_code((rank % 41) as u8), birth }
}

/// A generation of these names in shards of `shard_rows`, with these lists and columns.
fn publish(names: &[String], lists: &Lists, shard_rows: usize, columns: &FilterColumns) -> TempDir {
    try_publish(names, lists, shard_rows, columns).unwrap()
}

fn try_publish(
    names: &[String],
    lists: &Lists,
    shard_rows: usize,
    columns: &FilterColumns,
) -> Result<TempDir, IndexError> {
    let folder = tempfile::tempdir().unwrap();
    let build = Build::begin(folder.path()).unwrap();
    let inside = build.folder();
    let dictionary = Arc::new(WordCounter::new(1 << 20).into_words());
    let words_entry = dictionary.write(&inside).unwrap();
    let range = RowidRange { min: 0, max: names.len() as i64 };
    let (mut shards, mut files) = (Vec::new(), Vec::new());
    let mut rank = 0;
    for (shard, names) in (0..).zip(names.chunks(shard_rows)) {
        let mut writer = NameShardWriter::create(&inside, shard, range, Arc::clone(&dictionary)).unwrap();
        let mut filters = FilterWriter::create_with(&RealFiles, &inside, shard, columns).unwrap();
        for name in names {
            writer.push(name.as_bytes(), rank as i64).unwrap();
            filters.push(value(rank)).unwrap();
            rank += 1;
        }
        let (keys, rows) = writer.finish().unwrap();
        shards.push(ShardEntry { keys, rows });
        files.push(filters.finish().unwrap());
    }
    let mut writer = WordIndexWriter::create_with(&RealFiles, &inside).unwrap();
    for (word, ranks) in lists {
        writer.begin_word(word.as_bytes()).unwrap();
        ranks.iter().for_each(|&rank| writer.push_run(rank, 1).unwrap());
    }
    let filters = FilterEntry {
        sex_column: columns.sex.clone(),
        birth_column: columns.birth.clone(),
        sex_unreadable: 0,
        birth_unreadable: 0,
        files,
    };
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        normalization_version: NORMALIZATION_VERSION,
        generation: build.name().to_owned(),
        former: None,
        built_at: 0,
        source: Source::default(),
        rows: names.len() as u64,
        cpf_rows: 0,
        name_rows: names.len() as u64,
        anomalies: BTreeMap::new(),
        words: words_entry,
        cpf: Vec::new(),
        names: shards,
        anomalies_file: build.anomalies().unwrap().finish().unwrap(),
        cluster: None,
        word_index: Some(writer.finish().unwrap()),
        filters: Some(filters),
    };
    build.check(&manifest)?;
    build.publish(&manifest)?;
    Ok(folder)
}

fn both() -> FilterColumns {
    FilterColumns { sex: Some("sexo".to_owned()), birth: Some("nasc".to_owned()) }
}

/// What `verify` says of these lists.
fn verify_lists(lists: &Lists) -> Result<(u64, u64, u64), IndexError> {
    let folder = publish(&names(), lists, 10_000, &both());
    let verified = verify(&Generation::open_current(folder.path()).unwrap())?;
    Ok((verified.words, verified.postings, verified.filter_rows))
}

#[test]
fn verify_compares_lists_with_names() {
    let good = lists(&names());
    let postings: usize = good.values().map(BTreeSet::len).sum();
    assert_eq!(verify_lists(&good).unwrap(), (good.len() as u64, postings as u64, 1300));
    let refused = |change: &dyn Fn(&mut Lists)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_ne!(bad, good);
        let error = verify_lists(&bad).unwrap_err();
        assert!(matches!(&error, IndexError::Damaged { file, .. } if file == "words.index"), "{error}");
        // Neither names nor their words are told.
        assert!(!error.to_string().contains("TESTE") && error.to_string().contains("indexer build"), "{error}");
    };
    let list = |lists: &mut Lists, word: &str| std::mem::take(lists.get_mut(word).unwrap());
    let first = |ranks: &BTreeSet<u32>| *ranks.first().unwrap();
    // A rank that is missing, one too many, one in place of another, a word that is missing, one that no name has, two lists exchanged.
    refused(&|lists| {
        lists.get_mut("TESTE").unwrap().pop_last();
    });
    refused(&|lists| {
        lists.get_mut("N01").unwrap().insert(1299);
    });
    refused(&|lists| {
        let ranks = lists.get_mut("M005").unwrap();
        let at = first(ranks);
        ranks.remove(&at);
        ranks.insert(at + 1);
    });
    refused(&|lists| drop(lists.remove("M005")));
    refused(&|lists| drop(lists.insert("STRANGER".to_owned(), BTreeSet::from([0]))));
    refused(&|lists| {
        let (one, other) = (list(lists, "M005"), list(lists, "M006"));
        lists.extend([("M005".to_owned(), other), ("M006".to_owned(), one)]);
    });
    // As many ranks, and the same sum of them: two that moved towards each other.
    refused(&|lists| {
        let ranks = lists.get_mut("PROVA").unwrap();
        let low = (0..).find(|rank| ranks.contains(rank) && !ranks.contains(&(rank + 1))).unwrap();
        let high = (low + 5..).find(|rank| ranks.contains(rank) && !ranks.contains(&(rank - 1))).unwrap();
        ranks.retain(|rank| ![low, high].contains(rank));
        ranks.extend([low + 1, high - 1]);
    });
}

#[test]
fn a_word_index_of_more_names_is_refused_at_open() {
    let names = names();
    let mut lists = lists(&names);
    lists.get_mut("TESTE").unwrap().insert(1300);
    let error = try_publish(&names, &lists, 10_000, &both()).unwrap_err().to_string();
    assert!(error.contains("words.index") && error.contains("1300 names"), "{error}");
}

#[test]
fn columns_of_any_shards() {
    let names = names();
    let none = |value: FilterValue| value;
    for (columns, kept) in [
        (both(), &none as &dyn Fn(FilterValue) -> FilterValue),
        (FilterColumns { birth: None, ..both() }, &|value| FilterValue { birth: None, ..value }),
        (FilterColumns { sex: None, ..both() }, &|value| FilterValue { sex: None, ..value }),
    ] {
        for shard_rows in [401, 1300] {
            let folder = publish(&names, &lists(&names), shard_rows, &columns);
            let generation = Generation::open_current(folder.path()).unwrap();
            // Equal names may not lie in two shards; the columns do not mind.
            assert!(shard_rows == 401 || verify(&generation).is_ok());
            let filters = generation.filters().unwrap();
            assert_eq!(filters.columns(), &columns);
            for range in [0..1300, 0..0, 5..6, 399..404, 801..1300, 1299..1300] {
                let mut found = Vec::new();
                filters
                    .for_each(range.clone(), |rank, value| {
                        found.push((rank, value));
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                let expected = range.map(|rank| (rank, kept(value(rank as usize))));
                assert!(found.into_iter().eq(expected));
            }
            (0..1300).for_each(|rank| assert_eq!(filters.get(rank).unwrap(), kept(value(rank as usize))));
            for rank in [1300, 1301, u64::MAX] {
                assert!(filters.get(rank).is_err());
                assert!(filters.for_each(1299..rank.saturating_add(1), |_, _| ControlFlow::Continue(())).is_err());
            }
            let mut count = 0;
            let stop = |_, _| {
                count += 1;
                ControlFlow::Break(())
            };
            filters.for_each(0..1300, stop).unwrap();
            assert_eq!(count, 1);
        }
    }
}

#[test]
fn values_are_their_bits() {
    for rank in 0..1000 {
        assert_eq!(FilterValue::from_bits(value(rank).bits()), value(rank));
    }
    assert_eq!(FilterValue::from_bits(0), FilterValue::default());
    // A code and a day that there are not.
    assert_eq!(FilterValue::from_bits(37 << 17 | 131_000), FilterValue::default());
    assert_eq!(FilterValue::from_bits(u32::MAX), FilterValue::default());
}

/// Every question that reads the two kinds of files; what it comes to.
fn ask(generation: &Generation) -> Result<u64, IndexError> {
    let (index, mut sum) = (generation.word_index().unwrap(), 0_u64);
    let mut bits = vec![0; 1300 / 64 + 1];
    let mut mark = |list: balcao_index::Postings<'_>| {
        let marked = list.cursor().mark(0..1300, &mut bits);
        sum += list.count();
        if marked.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    index.prefixed(b"", |_, list| mark(list))?;
    index.near(&Near::new("TSETE", 1, true), |_, _, list| mark(list))?;
    index.spelled(b"", true, |_, list| mark(list))?;
    generation.filters().unwrap().for_each(0..generation.name_rows(), |_, value| {
        sum += u64::from(value.bits());
        ControlFlow::Continue(())
    })?;
    Ok(sum)
}

#[test]
fn every_damaged_byte_and_length_is_noticed() {
    let names = names();
    let folder = publish(&names, &lists(&names), 10_000, &both());
    let inside = folder.path().join("g000001");
    let whole = ask(&Generation::open_current(folder.path()).unwrap()).unwrap();
    for name in ["words.index", "name-0000.cols"] {
        let path = inside.join(name);
        let good = fs::read(&path).unwrap();
        let check = |bytes: &[u8], what: &str| {
            // A new file: the old one may be mapped still.
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            let checked = Generation::open_current(folder.path()).and_then(|generation| {
                // What is answered before the damage is met is right.
                assert!(ask(&generation).is_err() || ask(&generation).unwrap() <= whole, "{name} {what}");
                generation.check_files()
            });
            let error = checked.expect_err(what);
            assert!(error.to_string().contains(name), "{name} {what}: {error}");
        };
        for at in (0..good.len()).step_by(1 + good.len() / 1500) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            check(&bad, &format!("byte {at}"));
        }
        for length in [0, 1, 64, good.len() / 2, good.len() - 1] {
            check(&good[..length], &format!("length {length}"));
        }
        check(&[&good[..], &[0]].concat(), "a byte more");
        fs::remove_file(&path).unwrap();
        let error = Generation::open_current(folder.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("indexer build"), "{error}");
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(ask(&Generation::open_current(folder.path()).unwrap()).unwrap(), whole);
    assert!(Path::new(&inside).exists());
}
