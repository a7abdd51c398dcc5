//! Word indexes of any words against a plain map, and every way of walking a list against the list.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};

use balcao_record::spelling_key;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::posting_writer::WordIndexWriter;
use crate::postings::PostingCursor;
use crate::storage::RealFiles;

type Model = BTreeMap<String, BTreeSet<u32>>;

/// Runs of neighbours, one after the other.
fn runs(ranks: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for rank in ranks {
        match runs.last_mut() {
            Some((start, length)) if *start + *length == rank => *length += 1,
            _ => runs.push((rank, 1)),
        }
    }
    runs
}

/// The index of a model; `cut` breaks runs of neighbours into shorter ones.
pub(crate) fn write(model: &Model, cut: u32) -> (TempDir, WordIndex) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = WordIndexWriter::create_with(&RealFiles, folder.path()).unwrap();
    for (word, ranks) in model {
        writer.begin_word(word.as_bytes()).unwrap();
        for (mut start, mut length) in runs(ranks.iter().copied()) {
            while length > 0 {
                let now = length.min(cut);
                writer.push_run(start, now).unwrap();
                (start, length) = (start.wrapping_add(now), length - now);
            }
        }
    }
    let entry = writer.finish().unwrap();
    let index = WordIndex::open(folder.path(), &entry, WORD_INDEX_ROWS_MAX).unwrap();
    (folder, index)
}

fn all(list: Postings<'_>) -> Vec<u32> {
    let (mut cursor, mut ranks, mut next) = (list.cursor(), Vec::new(), 0);
    while let Some(rank) = cursor.seek(next).unwrap() {
        ranks.push(rank);
        let Some(above) = rank.checked_add(1) else { break };
        next = above;
    }
    assert_eq!((ranks.len() as u64, cursor.touched()), (list.count(), list.count()));
    ranks
}

fn marked(cursor: &mut PostingCursor<'_>, window: Range<u32>) -> Vec<u32> {
    let mut bits = vec![0; window.len().div_ceil(64)];
    cursor.mark(window.clone(), &mut bits).unwrap();
    let ones = (0..bits.len() as u32 * 64).filter(|at| bits[(at / 64) as usize] >> (at % 64) & 1 == 1);
    ones.map(|at| window.start + at).collect()
}

/// Ranks of many kinds: single ones, runs, dense and sparse stretches, the greatest there is.
fn any_ranks() -> impl Strategy<Value = BTreeSet<u32>> {
    let piece = prop_oneof![
        (any::<u32>(), 1..4_u32, 1..3_u32),
        (0..100_000_u32, 1..600_u32, 1..2_u32),
        (0..2_000_000_u32, 1..600_u32, 2..40_u32),
        (any::<u32>(), 1..300_u32, 1000..20_000_000_u32),
        (Just(0), 1..400_u32, 1..2_u32),
        (Just(u32::MAX - 1), 1..2_u32, 1..2_u32),
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| {
        let ranks = pieces
            .into_iter()
            .flat_map(|(start, count, step)| (0..count).filter_map(move |i| start.checked_add(i.checked_mul(step)?)));
        let ranks: BTreeSet<_> = ranks.filter(|&rank| rank < u32::MAX).collect();
        if ranks.is_empty() { BTreeSet::from([7]) } else { ranks }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_list_is_read_back_in_every_way(
        ranks in any_ranks(),
        cut in prop_oneof![Just(u32::MAX), 1..300_u32],
        steps in prop::collection::vec((any::<bool>(), prop_oneof![0..300_u32, 0..100_000_u32, any::<u32>()], 0..5000_u32), 1..60),
    ) {
        let model = Model::from([("A".to_owned(), BTreeSet::from([3])), ("B".to_owned(), ranks.clone()), ("C".to_owned(), BTreeSet::from([5]))]);
        let (_folder, index) = write(&model, cut);
        let list = index.word(b"B").unwrap().unwrap();
        let plain: Vec<u32> = ranks.iter().copied().collect();
        prop_assert_eq!(list.count(), plain.len() as u64);
        prop_assert_eq!(&all(list), &plain);
        // Seeks and windows in any order, each at or above the one before.
        let mut cursor = list.cursor();
        let mut at = 0_u32;
        for (is_window, step, length) in steps {
            at = at.saturating_add(step);
            if is_window {
                let end = at.saturating_add(length);
                let expected: Vec<u32> = ranks.range(at..end).copied().collect();
                prop_assert_eq!(marked(&mut cursor, at..end), expected);
                at = end;
            } else {
                prop_assert_eq!(cursor.seek(at).unwrap(), ranks.range(at..).next().copied());
                // And again: nothing is passed by being found.
                prop_assert_eq!(cursor.seek(at).unwrap(), ranks.range(at..).next().copied());
            }
            prop_assert!(cursor.touched() <= list.count());
        }
        // All windows of one length over the stretch around the first rank.
        let mut cursor = list.cursor();
        let first = plain[0];
        let mut found = Vec::new();
        for at in 0..40_u32 {
            let Some(start) = first.checked_add(at * 1000) else { break };
            found.extend(marked(&mut cursor, start..start.saturating_add(1000)));
        }
        prop_assert_eq!(found, ranks.range(first..first.saturating_add(40_000)).copied().collect::<Vec<_>>());
    }

    #[test]
    fn words_are_found_as_a_map_finds_them(
        words in prop::collection::btree_map("[A-D]{1,5}|[A-CØYHPT]{1,4}|𪛖A", prop::collection::btree_set(0..1000_u32, 1..5), 0..60),
        asked in prop::collection::vec("[A-DØYHPT]{0,4}", 1..12),
    ) {
        let (_folder, index) = write(&words, u32::MAX);
        prop_assert_eq!(index.words(), words.len() as u64);
        for asked in asked.iter().chain(words.keys()) {
            let found = index.word(asked.as_bytes()).unwrap().map(all);
            prop_assert_eq!(found, words.get(asked).map(|ranks| ranks.iter().copied().collect::<Vec<_>>()));
            let expected: Vec<_> = words.keys().filter(|word| word.starts_with(asked.as_str())).cloned().collect();
            prop_assert_eq!(visited(&words, |visit| index.prefixed(asked.as_bytes(), visit)), expected);
            for is_prefix in [false, true] {
                let mut expected: Vec<_> = words
                    .keys()
                    .map(|word| (spelling_key(word), word.clone()))
                    .filter(|(key, _)| if is_prefix { key.starts_with(asked.as_str()) } else { key == asked })
                    .collect();
                expected.sort();
                let expected: Vec<_> = expected.into_iter().map(|(_, word)| word).collect();
                prop_assert_eq!(visited(&words, |visit| index.spelled(asked.as_bytes(), is_prefix, visit)), expected);
                for edits in 0..=2 {
                    let near = Near::new(asked, edits, is_prefix);
                    let expected: Vec<_> = words
                        .keys()
                        .filter_map(|word| Some((word.clone(), crate::near::tests::distance(asked, word, edits, is_prefix)?)))
                        .collect();
                    let mut found = Vec::new();
                    index.near(&near, |word, distance, list| {
                        let word = String::from_utf8(word.to_vec()).unwrap();
                        assert!(all(list).iter().eq(&words[&word]));
                        found.push((word, distance));
                        ControlFlow::Continue(())
                    }).unwrap();
                    prop_assert_eq!(found, expected, "{} {} {}", asked, edits, is_prefix);
                }
            }
        }
    }
}

type Visit<'v> = &'v mut dyn FnMut(&[u8], Postings<'_>) -> ControlFlow<()>;

/// The words that a walk visits, their lists compared; and that it ends where it is told to.
fn visited(words: &Model, walk: impl Fn(Visit<'_>) -> Result<()>) -> Vec<String> {
    let mut found = Vec::new();
    walk(&mut |word, list| {
        let word = String::from_utf8(word.to_vec()).unwrap();
        assert!(all(list).iter().eq(&words[&word]));
        found.push(word);
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut count = 0;
    walk(&mut |_, _| {
        count += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    assert_eq!(count, found.len().min(1));
    found
}

#[test]
fn the_writer_refuses_what_is_out_of_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = WordIndexWriter::create_with(&RealFiles, folder.path()).unwrap();
    assert!(writer.push_run(0, 1).is_err(), "a rank before the first word");
    writer.begin_word(b"B").unwrap();
    writer.push_run(10, 300).unwrap();
    for (start, length) in [(309, 1), (0, 1), (400, 0), (u32::MAX, 1), (u32::MAX - 5, 6)] {
        assert!(writer.push_run(start, length).is_err(), "{start} {length}");
    }
    assert!(writer.begin_word(b"A").is_err() && writer.begin_word(b"B").is_err());
    let folder = tempfile::tempdir().unwrap();
    let mut writer = WordIndexWriter::create_with(&RealFiles, folder.path()).unwrap();
    writer.begin_word(b"A").unwrap();
    assert!(writer.begin_word(b"B").is_err(), "a word without a rank");
}
