//! The blocks of the writers, read by a second reader that is written by `docs/formats.md` alone: any table comes back as it was.
//!
//! The readers of the crate are not used here: writer and reader could agree on a wrong layout. All names in here are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use balcao_index::{
    CpfShardWriter, FilterColumns, FilterValue, FilterWriter, NameShardWriter, RealFiles, RowidRange, WordCounter,
    WordIndexWriter, Words, layout,
};
use balcao_record::{BirthDay, Sex, spelling_key};
use fst::Streamer;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

/// A sealed file's body, from the file's beginning, and its parameters; every checksum is compared.
fn open(folder: &Path, name: &str) -> (Vec<u8>, Vec<u64>) {
    let bytes = fs::read(folder.join(name)).unwrap();
    let (rest, footer) = bytes.split_at(bytes.len() - 120);
    let numbers: Vec<u64> = footer.chunks(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect();
    let (body, table) = rest.split_at(numbers[0] as usize);
    let expected: Vec<u8> = body.chunks(16_384).flat_map(|page| xxh3_64(page).to_le_bytes()).collect();
    assert_eq!((table, numbers[1]), (&expected[..], xxh3_64(table)));
    assert_eq!(numbers[14], xxh3_64(&[&body[..64], &footer[..112]].concat()));
    (body.to_vec(), numbers[2..14].to_vec())
}

/// Bits `at..at + width` of `bytes`, the lowest first, one by one.
fn bits(bytes: &[u8], at: u64, width: u64) -> u64 {
    let bit = |at: u64| u64::from(bytes[(at / 8) as usize] >> (at % 8) & 1);
    (0..width).map(|i| bit(at + i) << i).sum()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, tail) = rest.split_at(count);
    *rest = tail;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let length = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    take(rest, length).iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

/// The rowids of a shard.
fn rowids(folder: &Path, name: &str) -> Vec<i64> {
    let (body, parameters) = open(folder, name);
    let [count, width, least] = [parameters[0], parameters[1], parameters[2]];
    assert_eq!(body.len() as u64, 64 + (count * width).div_ceil(8) + 16);
    let distance = |rank: u64| bits(&body[64..], rank * width, width);
    (0..count).map(|rank| (least as i64).wrapping_add(distance(rank) as i64)).collect()
}

/// The keys of an `fst` with their values.
fn sparse(bytes: &[u8]) -> Vec<(Vec<u8>, u64)> {
    let map = fst::Map::new(bytes).unwrap();
    map.as_fst().verify().unwrap();
    let (mut keys, mut stream) = (Vec::new(), map.stream());
    while let Some((key, value)) = stream.next() {
        keys.push((key.to_vec(), value));
    }
    keys
}

/// The codes of a shard, by its blocks.
fn codes(folder: &Path) -> Vec<u64> {
    let (body, parameters) = open(folder, "cpf-0000.keys");
    let [count, end, fst_at, fst_bytes] = parameters[..4] else { panic!("four parameters") };
    assert_eq!((body[end as usize..fst_at as usize].to_vec(), fst_at + fst_bytes), (vec![0; 16], body.len() as u64));
    let (mut codes, mut ends) = (Vec::<u64>::new(), Vec::<(Vec<u8>, u64)>::new());
    let mut rest = &body[64..end as usize];
    while !rest.is_empty() {
        let place = end - rest.len() as u64;
        assert_eq!(varint(&mut rest), codes.len() as u64, "the first rank");
        let first = take(&mut rest, 5).iter().rev().fold(0, |code, &byte| code << 8 | u64::from(byte));
        let [width, gaps] = [rest[0], rest[1]].map(u64::from);
        take(&mut rest, 2);
        assert!(gaps < layout::CPF_BLOCK_KEYS as u64);
        let packed = take(&mut rest, (gaps * width).div_ceil(8) as usize);
        codes.push(first);
        (0..gaps).for_each(|i| codes.push(codes[codes.len() - 1] + bits(packed, i * width, width)));
        let last = codes[codes.len() - 1].to_be_bytes()[3..].to_vec();
        if ends.last().is_none_or(|(before, _)| *before != last) {
            ends.push((last, place));
        }
    }
    assert_eq!(codes.len() as u64, count);
    assert_eq!(sparse(&body[fst_at as usize..]), ends);
    codes
}

/// The tokens of a dictionary.
fn dictionary(folder: &Path) -> Vec<Vec<u8>> {
    let (body, parameters) = open(folder, "words.dict");
    let (ends, bytes) = body[64..].split_at(4 * parameters[0] as usize);
    assert_eq!(bytes.len() as u64, parameters[1]);
    let ends = ends.chunks(4).map(|end| u32::from_le_bytes(end.try_into().unwrap()) as usize);
    let mut start = 0;
    ends.map(|end| bytes[std::mem::replace(&mut start, end)..end].to_vec()).collect()
}

fn token(rest: &mut &[u8], words: &[Vec<u8>]) -> Vec<u8> {
    let first = usize::from(take(rest, 1)[0]);
    let mut next = || usize::from(take(rest, 1)[0]);
    let code = match first {
        0..=191 => first,
        192..=239 => 192 + (first - 192) * 256 + next(),
        240..=254 => 12_480 + (first - 240) * 65_536 + next() * 256 + next(),
        _ => {
            let length = varint(rest) as usize;
            return take(rest, length).to_vec();
        }
    };
    words[code].clone()
}

/// The names of a shard, once for each of their rows.
fn names(folder: &Path) -> Vec<Vec<u8>> {
    let words = dictionary(folder);
    let (body, parameters) = open(folder, "name-0000.keys");
    let [count, end, fst_at, fst_bytes, distinct] = parameters[..5] else { panic!("five parameters") };
    assert_eq!(fst_at + fst_bytes, body.len() as u64);
    let (mut names, mut all, mut blocks) = (Vec::<Vec<u8>>::new(), 0, Vec::new());
    let mut rest = &body[64..end as usize];
    while !rest.is_empty() {
        let place = end - rest.len() as u64;
        assert_eq!(varint(&mut rest), names.len() as u64, "the first rank");
        let bytes = varint(&mut rest) as usize;
        let in_block = usize::from(take(&mut rest, 1)[0]) + 1;
        let mut block = take(&mut rest, bytes);
        assert!(in_block <= layout::NAME_BLOCK_NAMES);
        let mut tokens: Vec<Vec<u8>> = Vec::new();
        let before = names.len();
        for at in 0..in_block {
            assert!(bytes - block.len() < layout::NAME_BLOCK_BYTES, "a block ends at 4,096 bytes");
            let head = take(&mut block, 1)[0];
            let mut more =
                |count: u8, all: u8| usize::from(count) + if count == all { varint(&mut block) as usize } else { 0 };
            let (shared, further) = (more(head >> 4, 15), more(head & 7, 7));
            assert!(at > 0 || shared == 0);
            tokens.truncate(shared);
            (0..further).for_each(|_| tokens.push(token(&mut block, &words)));
            let rows = if head & 8 == 0 { 1 } else { varint(&mut block) + 2 };
            (0..rows).for_each(|_| names.push(tokens.join(&b' ')));
            all += 1;
        }
        assert!(block.is_empty());
        blocks.push((names[before].clone(), names[names.len() - 1].clone(), place));
    }
    assert_eq!((names.len() as u64, all), (count, distinct));
    assert_eq!(body[end as usize..fst_at as usize], names[0]);
    check_separators(&sparse(&body[fst_at as usize..]), &blocks);
    names
}

/// Each block has a text at or above its last name and below the next one's first; the last block has its last name.
fn check_separators(sparse: &[(Vec<u8>, u64)], blocks: &[(Vec<u8>, Vec<u8>, u64)]) {
    assert_eq!(sparse.len(), blocks.len());
    for (at, ((end, place), (_, last, expected))) in sparse.iter().zip(blocks).enumerate() {
        assert_eq!(place, expected);
        match blocks.get(at + 1) {
            Some((next, ..)) => assert!(last <= end && end < next && end.len() <= last.len()),
            None => assert_eq!(last, end),
        }
    }
}

/// The ranks of a block of `bits` bits, of which the one before is `before`: four lanes of `u32`.
fn block(bytes: &[u8], bits: usize, before: i64) -> Vec<i64> {
    let lane_bit = |lane: usize, at: usize| {
        let number: [u8; 4] = bytes[4 * (at / 32 * 4 + lane)..][..4].try_into().unwrap();
        u64::from(u32::from_le_bytes(number) >> (at % 32) & 1)
    };
    let gap = |i: usize| (0..bits).map(|bit| lane_bit(i % 4, i / 4 * bits + bit) << bit).sum::<u64>();
    let mut ranks = vec![before];
    (0..128).for_each(|i| ranks.push(ranks[i] + 1 + gap(i) as i64));
    ranks.split_off(1)
}

/// The ranks of a list.
fn list(rest: &mut &[u8]) -> Vec<u32> {
    let count = varint(rest);
    let entries = take(rest, (count / 128 * 8) as usize).chunks(8);
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let (mut ranks, mut before, mut start) = (Vec::new(), -1, 0);
    for entry in entries {
        let (last, end) = (number(&entry[..4]), number(&entry[4..]));
        let bits = (end - start) as usize;
        let bytes = take(rest, 16 * bits);
        ranks.extend(block(bytes, bits, before));
        before = ranks[ranks.len() - 1];
        assert_eq!(before, i64::from(last));
        start = end;
    }
    for _ in 0..count % 128 {
        before += 1 + varint(rest) as i64;
        ranks.push(before);
    }
    ranks.into_iter().map(|rank| u32::try_from(rank).unwrap()).collect()
}

/// The lists of a word index by their words; the spellings must lead to each of them.
fn word_index(folder: &Path) -> BTreeMap<Vec<u8>, Vec<u32>> {
    let (body, parameters) = open(folder, "words.index");
    let [count, end, words_at, words_bytes, spelled_at, spelled_bytes, ranks_end, postings] = parameters[..8] else {
        panic!("eight parameters")
    };
    assert_eq!((words_at, words_at + words_bytes), (end, spelled_at));
    assert_eq!(spelled_at + spelled_bytes, body.len() as u64);
    let words = sparse(&body[words_at as usize..spelled_at as usize]);
    let mut expected: Vec<_> = words
        .iter()
        .map(|(word, place)| (spelling_key(str::from_utf8(word).unwrap()) + "\0", word, *place))
        .map(|(class, word, place)| ([class.as_bytes(), word].concat(), place))
        .collect();
    expected.sort();
    assert_eq!(sparse(&body[spelled_at as usize..]), expected);
    let mut rest = &body[64..end as usize];
    let mut lists = BTreeMap::new();
    for (word, place) in words {
        assert_eq!(place, end - rest.len() as u64);
        lists.insert(word, list(&mut rest));
    }
    assert!(rest.is_empty());
    let ranks = || lists.values().flatten();
    assert_eq!((lists.len() as u64, ranks().count() as u64), (count, postings));
    assert_eq!(ranks().max().map_or(0, |&rank| u64::from(rank) + 1), ranks_end);
    lists
}

/// The numbers of a file of filter columns.
fn columns(folder: &Path) -> Vec<u64> {
    let (body, parameters) = open(folder, "name-0003.cols");
    let [count, width] = [parameters[0], parameters[1]];
    assert_eq!(body.len() as u64, 64 + (count * width).div_ceil(8) + 16);
    (0..count).map(|rank| bits(&body[64..], rank * width, width)).collect()
}

fn range(rowids: impl Iterator<Item = i64> + Clone, wider: u8) -> RowidRange {
    let [min, max] = [rowids.clone().min().unwrap(), rowids.max().unwrap()];
    RowidRange { min: min.saturating_sub(wider.into()), max: max.saturating_add(wider.into()) }
}

fn check_cpfs(rows: &BTreeSet<(u64, i64)>, wider: u8) {
    let folder = tempfile::tempdir().unwrap();
    let range = range(rows.iter().map(|row| row.1), wider);
    let mut writer = CpfShardWriter::create(folder.path(), 0, range).unwrap();
    rows.iter().for_each(|&(code, rowid)| writer.push(code, rowid).unwrap());
    writer.finish().unwrap();
    assert!(codes(folder.path()).into_iter().zip(rowids(folder.path(), "cpf-0000.rows")).eq(rows.iter().copied()));
}

fn check_names(rows: &BTreeSet<(String, i64)>, counted: &BTreeSet<String>, wider: u8) {
    let folder = tempfile::tempdir().unwrap();
    let mut counter = WordCounter::new(1 << 20);
    counted.iter().for_each(|name| counter.count(b"", name.as_bytes()));
    let words: Arc<Words> = Arc::new(counter.into_words());
    words.write(folder.path()).unwrap();
    let range = range(rows.iter().map(|row| row.1), wider);
    let mut writer = NameShardWriter::create(folder.path(), 0, range, words).unwrap();
    rows.iter().for_each(|(name, rowid)| writer.push(name.as_bytes(), *rowid).unwrap());
    writer.finish().unwrap();
    let found = names(folder.path()).into_iter().zip(rowids(folder.path(), "name-0000.rows"));
    assert!(found.eq(rows.iter().map(|(name, rowid)| (name.clone().into_bytes(), *rowid))));
}

/// Names of few words, so that they share and repeat tokens; some long, some of many words.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "(ANA|EVA|Ø|𪛖|W[0-9]{1,3})( (DA |DE |E )?(SILVA|LIMA|W[0-9]{1,3})){0,4}",
        1 => "[A-Z]{1,90}( [A-Z]{1,4}){0,24}",
        1 => (1..2500_usize).prop_map(|length| "X".repeat(length)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cpf_blocks_hold_any_codes(
        dense in prop::collection::btree_set((0..300_u64, -50..50_i64), 0..500),
        sparse in prop::collection::btree_set((0..101_000_000_000_u64, any::<i64>()), 1..300),
        one in prop::collection::btree_set((Just(7_u64), any::<i64>()), 0..300),
        wider in any::<u8>(),
    ) {
        check_cpfs(&dense.into_iter().chain(sparse).chain(one).collect(), wider);
    }

    #[test]
    fn name_blocks_hold_any_names(
        rows in prop::collection::btree_set((any_name(), -9..9_i64), 1..400),
        others in prop::collection::btree_set(any_name(), 0..300),
        own in any::<bool>(),
        wider in any::<u8>(),
    ) {
        // The dictionary of these names, or of others.
        let counted = if own { rows.iter().map(|row| row.0.clone()).collect() } else { others };
        check_names(&rows, &counted, wider);
    }

    #[test]
    fn word_lists_hold_any_ranks(
        mut words in prop::collection::btree_map("[A-CHYØ]{1,4}", prop::collection::btree_set(0..5000_u32, 1..600), 0..6),
        far in prop::collection::btree_set(any::<u32>().prop_map(|rank| rank.min(u32::MAX - 1)), 1..400),
        runs in prop::collection::vec((0..400_u32, 1..700_u32), 1..8),
    ) {
        words.insert("FAR".to_owned(), far);
        let mut next = 0;
        let run = |(gap, length)| {
            let start = next + gap;
            next = start + length;
            (start, length)
        };
        let runs: Vec<(u32, u32)> = runs.into_iter().map(run).collect();
        words.insert("RUNS".to_owned(), runs.iter().flat_map(|&(start, length)| start..start + length).collect());
        let folder = tempfile::tempdir().unwrap();
        let mut writer = WordIndexWriter::create_with(&RealFiles, folder.path()).unwrap();
        for (word, ranks) in &words {
            writer.begin_word(word.as_bytes()).unwrap();
            if word == "RUNS" {
                runs.iter().for_each(|&(start, length)| writer.push_run(start, length).unwrap());
            } else {
                ranks.iter().for_each(|&rank| writer.push_run(rank, 1).unwrap());
            }
        }
        writer.finish().unwrap();
        let expected = words.into_iter().map(|(word, ranks)| (word.into_bytes(), ranks.into_iter().collect()));
        prop_assert_eq!(word_index(folder.path()), expected.collect::<BTreeMap<_, Vec<_>>>());
    }

    #[test]
    fn filter_columns_hold_any_values(
        values in prop::collection::vec((0..=36_u8, 0..=130_757_u32), 0..300),
    ) {
        for (has_sex, has_birth) in [(true, true), (true, false), (false, true)] {
            let columns_of = FilterColumns { sex: has_sex.then(|| "s".to_owned()), birth: has_birth.then(|| "b".to_owned()) };
            let folder = tempfile::tempdir().unwrap();
            let mut writer = FilterWriter::create_with(&RealFiles, folder.path(), 3, &columns_of).unwrap();
            for &(sex, birth) in &values {
                let birth = birth.checked_sub(1).and_then(BirthDay::from_days);
                writer.push(FilterValue { sex: Sex::from_code(sex), birth }).unwrap();
            }
            writer.finish().unwrap();
            let number = |&(sex, birth): &(u8, u32)| match (has_sex, has_birth) {
                (true, true) => u64::from(sex) << 17 | u64::from(birth),
                (true, false) => u64::from(sex),
                _ => u64::from(birth),
            };
            prop_assert_eq!(columns(folder.path()), values.iter().map(number).collect::<Vec<_>>());
        }
    }
}
