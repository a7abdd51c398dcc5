//! Tests of the name shard: against a sorted table, over names of every shape.

use std::sync::Arc;

use super::*;
use crate::name_writer::{NameShardWriter, NameToken, separator, write_token};
use crate::rowids::RowidRange;
use crate::tokens::{shared_tokens, token_ends};
use crate::words::WordCounter;
use proptest::prelude::*;

#[track_caller]
fn check(mut rows: Vec<(String, i64)>, asked: &[String]) {
    rows.sort_unstable();
    rows.dedup();
    let mut counter = WordCounter::new(1 << 20);
    // Only some of the tokens get a code, so that coded and written-out ones mix.
    for pair in rows.windows(2).step_by(2) {
        counter.count(pair[0].0.as_bytes(), pair[1].0.as_bytes());
    }
    let words = Arc::new(counter.into_words());
    let folder = tempfile::tempdir().unwrap();
    let range = RowidRange { min: i64::MIN, max: i64::MAX };
    let mut writer = NameShardWriter::create(folder.path(), 1, range, Arc::clone(&words)).unwrap();
    rows.iter().for_each(|(name, rowid)| writer.push(name.as_bytes(), *rowid).unwrap());
    let (keys, rowids) = writer.finish().unwrap();
    assert_eq!((keys.checksum, rowids.checksum), write_by_tokens(&rows, &words));
    let shard = NameShard::open(folder.path(), &keys, &rowids, 1).unwrap();
    assert_eq!(shard.first(), rows[0].0.as_bytes());
    let own = rows.iter().map(|row| &row.0);
    for name in own.chain(asked) {
        let rank = rows.partition_point(|row| row.0 < *name) as u64;
        let expected = Place { rank, rows: rows.iter().filter(|row| row.0 == *name).count() as u64 };
        assert_eq!(shard.find(&words, name.as_bytes()).unwrap(), expected, "{name}");
        // Each of its beginnings is a prefix, one within a character too.
        for end in (1..=name.len()).rev().take(40) {
            let prefix = &name.as_bytes()[..end];
            let start = rows.partition_point(|row| row.0.as_bytes() < prefix);
            let begin = rows[start..].partition_point(|row| row.0.as_bytes().starts_with(prefix));
            let expected = start as u64..(start + begin) as u64;
            assert_eq!(shard.find_prefix(&words, prefix).unwrap(), expected, "{}", prefix.escape_ascii());
            assert_eq!(shard.prefix_end(&words, prefix).unwrap(), expected.end, "{}", prefix.escape_ascii());
        }
    }
    let mut all = Vec::new();
    shard
        .for_each(&words, |rank, name, count| {
            for rank in rank..rank + count {
                all.push((String::from_utf8(name.to_vec()).unwrap(), shard.rowids().get(rank)?));
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(all, rows);
}

/// The tokens of a normalised name.
fn tokens(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut ends = Vec::new();
    token_ends(name, &mut ends);
    let mut start = 0;
    ends.into_iter().map(move |end| {
        let token = &name[start..end as usize];
        start = end as usize + 1;
        token
    })
}

/// The checksums of the same shard, written by what each name does not share with the one before.
fn write_by_tokens(rows: &[(String, i64)], words: &Arc<Words>) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let range = RowidRange { min: i64::MIN, max: i64::MAX };
    let mut writer = NameShardWriter::create(folder.path(), 1, range, Arc::clone(words)).unwrap();
    let (mut before, mut before_ends, mut ends) = (None, Vec::new(), Vec::new());
    for (name, rowid) in rows {
        if before == Some(name) {
            writer.push_row(*rowid).unwrap();
            continue;
        }
        token_ends(name.as_bytes(), &mut ends);
        let shared = shared_tokens(before.map_or(b"", |name| name.as_bytes()), &before_ends, name.as_bytes(), &ends);
        let start = |at: usize| if at == 0 { 0 } else { ends[at - 1] as usize + 1 };
        let further = (shared..ends.len()).map(|at| {
            let token = &name.as_bytes()[start(at)..ends[at] as usize];
            words.code(token).map_or(NameToken::Rare(token), NameToken::Frequent)
        });
        writer.push_tokens(shared, further, *rowid).unwrap();
        before = Some(name);
        before_ends.clone_from(&ends);
    }
    let (keys, rowids) = writer.finish().unwrap();
    (keys.checksum, rowids.checksum)
}

#[test]
fn tokens_that_make_no_name_are_refused() {
    let names: [(usize, &[NameToken<'_>]); 5] = [
        (2, &[NameToken::Rare(b"B")]),
        (0, &[NameToken::Frequent(0)]),
        (1, &[]),
        (0, &[NameToken::Rare(b"A")]),
        (0, &[NameToken::Rare(&[b'B'; NAME_KEY_BYTES_MAX + 1])]),
    ];
    for (shared, further) in names {
        let folder = tempfile::tempdir().unwrap();
        let range = RowidRange { min: 0, max: 9 };
        let mut writer = NameShardWriter::create(folder.path(), 0, range, Arc::new(Words::default())).unwrap();
        assert!(matches!(writer.push_row(1), Err(IndexError::Order { .. })));
        writer.push_tokens(0, [NameToken::Rare(b"A")].into_iter(), 1).unwrap();
        let pushed = writer.push_tokens(shared, further.iter().copied(), 2);
        assert!(matches!(pushed, Err(IndexError::Order { .. })), "{shared} {further:?}");
    }
}

#[test]
fn tokens_keep_particles_with_their_word() {
    #[track_caller]
    fn split(name: &str, expected: &[&str]) {
        let found: Vec<_> = tokens(name.as_bytes()).map(|token| std::str::from_utf8(token).unwrap()).collect();
        assert_eq!(found, expected);
        assert_eq!(found.join(" "), name);
    }
    split("ANA", &["ANA"]);
    split("ANA DA SILVA E SOUZA", &["ANA", "DA SILVA", "E SOUZA"]);
    split("ANA DA", &["ANA", "DA"]);
    split("DA DA SILVA", &["DA DA", "SILVA"]);
    split("", &[]);
}

#[test]
fn separators_are_short_and_between() {
    #[track_caller]
    fn between(last: &str, next: &str, expected: &str) {
        let end = separator(last.as_bytes(), next.as_bytes());
        assert!(end.as_slice() >= last.as_bytes() && end.as_slice() < next.as_bytes());
        assert_eq!(end, expected.as_bytes());
    }
    between("MARIA SILVA", "MARIA SOUZA", "MARIA SJ");
    between("ANA", "ANA LIMA", "ANA");
    between("ANA LIMA", "ANB", "ANA!");
    between("A", "B", "A");
    between("AZZ", "B", "A[");
}

#[test]
fn many_rows_of_one_name_and_long_names() {
    check((0..5000).map(|i| (format!("ANA {}", i / 900), i)).collect(), &["ANA".into(), "ANA 9".into(), "Z".into()]);
    check((0..40).map(|i| ("X".repeat(1000 * (i + 1)), 0)).collect(), &["X".into(), "X".repeat(50_000)]);
    let wordy = |i: usize| (vec!["DE"; i].join(" ") + " A", 1);
    check((1..60).map(wordy).collect(), &["DE DE".into()]);
}

#[test]
fn codes_of_every_length() {
    // 20,000 tokens, each met twice, need codes of one, two and three bytes.
    let rows = (0..20_000).flat_map(|i| [(format!("A W{i:05}"), 1), (format!("B W{i:05}"), 1)]).collect();
    check(rows, &["A W99999".into()]);
}

#[test]
fn out_of_order_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let words = Arc::new(Words::default());
    let mut writer = NameShardWriter::create(folder.path(), 0, RowidRange { min: 0, max: 9 }, words).unwrap();
    assert!(matches!(writer.push(b"", 1), Err(IndexError::Order { .. })));
    writer.push(b"B", 1).unwrap();
    assert!(matches!(writer.push(b"B", 1), Err(IndexError::Order { .. })));
    assert!(matches!(writer.push(b"A", 2), Err(IndexError::Order { .. })));
}

#[test]
fn the_longest_name_is_that_of_a_key() {
    let longest = ["X".repeat(NAME_KEY_BYTES_MAX), format!("Y {}", "Z".repeat(NAME_KEY_BYTES_MAX - 2))];
    check(longest.iter().map(|name| (name.clone(), 0)).collect(), &["X".into(), "Y".into()]);
    let folder = tempfile::tempdir().unwrap();
    let range = RowidRange { min: 0, max: 9 };
    let mut writer = NameShardWriter::create(folder.path(), 0, range, Arc::new(Words::default())).unwrap();
    let longer = "X".repeat(NAME_KEY_BYTES_MAX + 1);
    assert!(matches!(writer.push(longer.as_bytes(), 1), Err(IndexError::Order { .. })));
}

#[test]
fn a_forged_name_longer_than_a_key_is_refused() {
    let token = vec![b'T'; NAME_KEY_BYTES_MAX / 4];
    let words = Words::default();
    let mut block = Vec::new();
    // Four of these tokens and the blanks between them are three bytes too many.
    for tokens in [3, 4] {
        block.push(tokens);
        (0..tokens).for_each(|_| write_token(&mut block, None, &token));
    }
    // The first name once more, with another token behind it.
    let mut names = Names { words: &words, rest: &block, name: Vec::new(), ends: Vec::new() };
    assert_eq!(names.next(), Some(1));
    assert_eq!(names.next(), None);
    assert!(names.name.len() <= NAME_KEY_BYTES_MAX);
    let mut block = block[..1 + 3 * (token.len() + 4)].to_vec();
    block.push(3 << 4 | 1);
    write_token(&mut block, None, &token);
    let mut names = Names { words: &words, rest: &block, name: Vec::new(), ends: Vec::new() };
    assert_eq!((names.next(), names.next()), (Some(1), None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn finds_what_a_sorted_table_finds(
        rows in prop::collection::vec(("[ABØ]{1,3}( (DA |E )?[ABØ]{1,2}){0,9}", 0..20_i64), 1..400),
        asked in prop::collection::vec("[ABCØ]{0,3}( [ABØ]{0,2}){0,3}", 30),
    ) {
        check(rows, &asked);
    }

    #[test]
    fn any_block_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = Words::default();
        let mut names = Names { words: &words, rest: &bytes, name: Vec::new(), ends: Vec::new() };
        while names.next().is_some() {}
        for asked in [&b"A"[..], b"A B", &bytes] {
            let mut search = Search::new(&words, asked, &bytes, 64, 0);
            let _ = search.pass(Side::Below).and_then(|_| search.pass(Side::Within));
        }
    }

    /// Names of which many begin with particles, so that a token of one is the beginning of another's.
    #[test]
    fn finds_where_tokens_begin_others(
        rows in prop::collection::vec(("(DA|E|A|AB)( (DA|E|A|AB)){0,14}", 0..3_i64), 1..300),
        asked in prop::collection::vec("(DA|E|A|AB)( (DA|E|A|AB)){0,14}", 30),
    ) {
        check(rows, &asked);
    }
}
