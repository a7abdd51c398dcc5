//! Tests of segments: runs, words and their merge against a plain model, in any memory.

use std::collections::{BTreeMap, BTreeSet};

use balcao_index::{RealFiles, TokenTable, token_ends};
use proptest::prelude::*;

use super::*;
use crate::keys::NameKeys;
use crate::occurrences::Occurrences;
use crate::ranking::Ranking;
use crate::run::Keys;

/// Words, each with the ranks that it has.
type Lists = BTreeMap<Vec<u8>, Vec<u32>>;

/// What the names' words are, cut at blanks: the plain model.
fn expected(names: &[String]) -> Lists {
    let mut lists = Lists::new();
    for (name, rank) in names.iter().zip(0..) {
        let words: BTreeSet<&str> = name.split(' ').filter(|word| !word.is_empty()).collect();
        words.into_iter().for_each(|word| lists.entry(word.as_bytes().to_vec()).or_default().push(rank));
    }
    lists
}

/// A table that numbers the tokens of these names, the other tokens being texts.
fn table(names: &[String], memory: usize) -> TokenTable {
    let mut table = TokenTable::new(memory);
    for name in names {
        table.cut(name.as_bytes());
    }
    table.number_waiting(|_, _| ());
    table.sort();
    table
}

/// A name as a run packs it, all of its tokens as texts, read back.
fn read<'r>(ranking: &'r Ranking<'r>, name: &str) -> NameKeys<'r> {
    let (mut packed, mut ends, mut start) = (Vec::new(), Vec::new(), 0);
    token_ends(name.as_bytes(), &mut ends);
    crate::keys::pack_name(&mut packed, 0, ends.len());
    for end in ends {
        crate::keys::pack_text(&mut packed, &name.as_bytes()[start..end as usize]);
        start = end as usize + 1;
    }
    varint::write(&mut packed, 0);
    let mut keys = NameKeys::new(ranking, 0);
    assert_eq!(keys.read(&mut &packed[..]), Some(0));
    keys
}

/// The lists that the segments hold, read as the merge reads them.
fn lists(segments: &[(u32, Segment)], dictionary: &Dictionary<'_>, read_bytes: usize) -> Lists {
    let mut lists = Lists::new();
    let mut last: Option<Vec<u8>> = None;
    merge(segments, dictionary, read_bytes, |step| {
        match step {
            Step::Word(word) => {
                assert!(last.as_deref().is_none_or(|last| last < word), "words ascend");
                last = Some(word.to_vec());
                assert!(lists.insert(word.to_vec(), Vec::new()).is_none());
            }
            Step::Run(start, length) => {
                lists.get_mut(last.as_ref().unwrap()).unwrap().extend(start..start + length);
            }
        }
        Ok(())
    })
    .unwrap();
    lists
}

/// The names in their order, cut into shards at these places, through occurrences, segments and merge, with so much memory.
fn check(mut names: Vec<String>, shards: usize, known: usize, memory: u64) {
    names.sort();
    let expected = expected(&names);
    let tables = [table(&names[..known.min(names.len())], 1 << 20)];
    let ranking = Ranking::of(&tables);
    let dictionary = Dictionary::of(&ranking);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(memory, 1, &RealFiles, folder.path().to_owned());
    let mut segments = Vec::new();
    let mut base = 0;
    for shard in names.chunks(names.len().div_ceil(shards).max(1)) {
        let mut occurrences = Occurrences::new(&dictionary, &store);
        let mut before = NameKeys::new(&ranking, 0);
        for name in shard {
            let name = read(&ranking, name);
            let shared = name.shared(&before);
            if shared < name.len() || shared < before.len() {
                occurrences.begin_name(&name, shared).unwrap();
                before.copy(&name);
            }
            occurrences.add_row();
        }
        segments.extend(occurrences.finish().unwrap().into_iter().map(|segment| (base, segment)));
        base += shard.len() as u32;
    }
    for read_bytes in [1, 100, 1 << 16] {
        assert_eq!(lists(&segments, &dictionary, read_bytes), expected);
    }
    assert!(
        memory > 0
            || names.is_empty()
            || segments.iter().all(|(_, segment)| matches!(segment.bytes, SegmentBytes::Spilled { .. }))
    );
}

#[test]
fn a_word_that_stands_twice_counts_once() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let twice = names(&[
        "ANA MARIA",
        "ANA MARIA DA MARIA",
        "ANA JOSE MARIA",
        "MARIA",
        "MARIA MARIA",
        "DA",
        "DE DA",
        "DA DA DA",
    ]);
    for known in [0, 3, 8] {
        for memory in [0, 1 << 20] {
            check(twice.clone(), 1, known, memory);
            check(twice.clone(), 3, known, memory);
        }
    }
    check(Vec::new(), 1, 0, 0);
}

#[test]
fn a_first_name_is_one_run_however_many_rows_it_has() {
    let names = (0..20_000).map(|i| format!("MARIA {:05}", i / 2)).collect::<Vec<_>>();
    let tables = [table(&names, 8 << 20)];
    let ranking = Ranking::of(&tables);
    let dictionary = Dictionary::of(&ranking);
    let mut writer = SegmentWriter::new(&dictionary, 1 << 20);
    writer.push(dictionary.find(b"MARIA").unwrap(), 0, 10_000);
    writer.push(dictionary.find(b"MARIA").unwrap(), 10_000, 10_000);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(1 << 20, 1, &RealFiles, folder.path().to_owned());
    let segment = writer.write(&store).unwrap().unwrap();
    // The word, one run, and its length: no more.
    assert!(segment.length < 10, "{segment:?}");
    assert_eq!(lists(&[(7, segment)], &dictionary, 1)[&b"MARIA"[..]], (7..20_007).collect::<Vec<_>>());
    assert!(writer.write(&store).unwrap().is_none());
    check(names, 2, 20_000, 1 << 20);
}

/// One name of a hundred thousand words, none of them known, and a word that fills a segment.
#[test]
fn names_of_very_many_words_and_very_long_ones() {
    let many = (0..100_000).map(|i: u32| format!("{:X}", i.wrapping_mul(0x9E37_79B9))).collect::<Vec<_>>().join(" ");
    let names = vec![many.clone(), format!("{many} A"), "B".repeat(500_000), "B".repeat(500_001), "C".to_owned()];
    for known in [0, 5] {
        check(names.clone(), 2, known, 64 << 10);
    }
}

#[test]
fn bytes_that_nobody_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let tables = [table(&["ANA".to_owned()], 1 << 20)];
    let ranking = Ranking::of(&tables);
    let dictionary = Dictionary::of(&ranking);
    let store = Store::new(0, 1, &RealFiles, folder.path().to_owned());
    for bytes in [
        &[0x80][..],
        &[2],
        &[2, 5],
        &[1, 200, 1],
        &[2, 1, 1],
        &[2, 1, 0xff],
        &[255; 40],
        &[2, 1, 255, 255, 255, 255, 31, 9],
    ] {
        let file = store.spill_file().unwrap();
        let at = file.append(bytes).unwrap();
        let spilled = Segment { bytes: SegmentBytes::Spilled { file, at }, length: bytes.len() as u64 };
        let kept = Segment { bytes: SegmentBytes::Memory(bytes.to_vec()), length: bytes.len() as u64 };
        for segment in [spilled, kept] {
            let merged = merge(&[(u32::MAX - 3, segment)], &dictionary, 1, |_| Ok(()));
            assert!(matches!(merged, Err(BuildError::Spill(_))), "{bytes:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_names(
        names in prop::collection::vec("(A|B|C|DA|E|DOS|[A-D]{2})( (A|B|DA|DE|[A-D]{1,2})){0,6}", 0..60),
        copies in 1..4_usize,
        shards in 1..5_usize,
        known in 0..60_usize,
        memory in prop::sample::select(vec![0_u64, 500, 4000, 1 << 20]),
    ) {
        let names = names.iter().flat_map(|name| std::iter::repeat_n(name.clone(), copies)).collect();
        check(names, shards, known, memory);
    }
}
