//! Targets `word_index` and `word_lists`: words with any ranks go through the public writer, and every way to find and to walk them is compared with a plain
//! `BTreeMap`; and any bytes as lists, whose two ways of walking must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use arbitrary::{Result, Unstructured};
use balcao_index::{
    FileEntry, Generation, IndexError, Near, PostingCursor, Postings, RealFiles, WordIndex, WordIndexWriter,
};
use balcao_record::{normalize, spelling_key};
use fst::raw::Builder;

use crate::forge::Forged;
use crate::scratch;

/// Ranks of a target's index at most, so that one input does not take long.
const RANKS_MAX: usize = 20_000;

/// Words of a target's index at most.
const WORDS_MAX: usize = 60;

/// Names that the forged shards pretend to have, so that lists may have any rank.
const NAMES: u64 = u32::MAX as u64 - 1000;

/// Steps of a walk at most.
const STEPS_MAX: usize = 60;

/// Lists by their words.
type Lists = BTreeMap<String, BTreeSet<u32>>;

/// A generation of forged shards, so large that any rank is one, with this word index in place of the forged one.
fn open(folder: &Path, entry: Option<FileEntry>, forged: Forged) -> balcao_index::Result<Generation> {
    let mut forged = forged;
    for kind in ["keys", "rows"] {
        forged.named(&format!("name-0001.{kind}")).parameters[0] = NAMES;
    }
    forged.manifest.as_object_mut().unwrap().remove("filters");
    let written = entry.map(|entry| (entry, fs::read(folder.join("words.index")).unwrap()));
    if let Some((entry, _)) = &written {
        forged.manifest["word_index"] =
            serde_json::to_value(FileEntry { name: "own.index".to_owned(), ..entry.clone() }).unwrap();
    }
    forged.write(folder);
    if let Some((_, bytes)) = written {
        fs::write(folder.join("own.index"), bytes).unwrap();
    }
    Generation::open(folder)
}

/// A rank and further ones in runs: neighbours, near and far ones.
fn any_ranks(u: &mut Unstructured<'_>, left: &mut usize) -> Result<BTreeSet<u32>> {
    let (mut ranks, mut at) = (BTreeSet::new(), u.arbitrary::<u16>()?.into());
    for _ in 0..=u.arbitrary::<u8>()? % 12 {
        let kind: u8 = u.arbitrary()?;
        let gap = match kind & 3 {
            0 => 0,
            1 => u32::from(u.arbitrary::<u8>()?),
            2 => u32::from(u.arbitrary::<u16>()?),
            _ => u.arbitrary::<u32>()?,
        };
        let step = 1 + u32::from(kind >> 6) * u32::from(u.arbitrary::<u8>()?);
        at = u32::saturating_add(at, gap);
        for _ in 0..=u.arbitrary::<u16>()? % 700 {
            if u64::from(at) >= NAMES || *left == 0 {
                break;
            }
            *left -= 1;
            ranks.insert(at);
            at = at.saturating_add(step);
        }
    }
    Ok(ranks)
}

fn any_lists(u: &mut Unstructured<'_>) -> Result<Lists> {
    let (mut lists, mut left) = (Lists::new(), RANKS_MAX);
    let mut word = String::new();
    while !u.is_empty() && lists.len() < WORDS_MAX {
        match u.arbitrary::<u8>()? & 7 {
            0 => word.clear(),
            1 => drop(word.pop()),
            2 => word = u.arbitrary()?,
            _ => word.push(char::from(b"AEHIYLMNSTZCKQUV"[usize::from(u.arbitrary::<u8>()? & 15)])),
        }
        word = normalize(&word).replace(' ', "");
        let ranks = any_ranks(u, &mut left)?;
        if !word.is_empty() && !ranks.is_empty() {
            lists.insert(word.clone(), ranks);
        }
    }
    Ok(lists)
}

fn write(folder: &Path, lists: &Lists) -> FileEntry {
    let mut writer = WordIndexWriter::create_with(&RealFiles, folder).unwrap();
    for (word, ranks) in lists {
        writer.begin_word(word.as_bytes()).unwrap();
        let mut ranks = ranks.iter().copied().peekable();
        while let Some(start) = ranks.next() {
            let mut end = start + 1;
            while ranks.next_if_eq(&end).is_some() {
                end += 1;
            }
            writer.push_run(start, end - start).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// Optimal string alignment, cell by cell: the smallest distance to the word, or to any beginning of it.
fn distance(asked: &str, word: &str, is_prefix: bool) -> usize {
    let (asked, word): (Vec<char>, Vec<char>) = (asked.chars().collect(), word.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=word.len()).collect()];
    for (i, one) in asked.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in word.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(one != other);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *one == word[j - 1] && asked[i - 1] == *other {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    let last = &rows[asked.len()];
    if is_prefix { *last.iter().min().unwrap() } else { last[word.len()] }
}

/// The bits of a window as ranks.
fn marked(cursor: &mut PostingCursor<'_>, window: Range<u32>) -> balcao_index::Result<Vec<u32>> {
    let mut bits = vec![0; window.len().div_ceil(64)];
    cursor.mark(window.clone(), &mut bits)?;
    let ones = (0..bits.len() as u32 * 64).filter(|at| bits[(at / 64) as usize] >> (at % 64) & 1 == 1);
    Ok(ones.map(|at| window.start + at).collect())
}

/// Seeks and windows in any order.
fn walk(u: &mut Unstructured<'_>, list: Postings<'_>, ranks: &BTreeSet<u32>) -> Result<()> {
    assert_eq!(list.count(), ranks.len() as u64);
    let (mut cursor, mut at) = (list.cursor(), 0_u32);
    for _ in 0..STEPS_MAX {
        if u.is_empty() {
            break;
        }
        let kind: u8 = u.arbitrary()?;
        let step = if kind & 1 == 0 { u32::from(u.arbitrary::<u16>()?) } else { u.arbitrary::<u32>()? >> (kind >> 3) };
        at = at.saturating_add(step);
        if kind & 2 == 0 {
            assert_eq!(cursor.seek(at).unwrap(), ranks.range(at..).next().copied());
        } else {
            let end = at.saturating_add(u32::from(u.arbitrary::<u16>()? >> (kind >> 4)));
            assert!(marked(&mut cursor, at..end).unwrap().iter().eq(ranks.range(at..end)));
            at = end;
        }
        assert!(cursor.touched() <= list.count());
    }
    Ok(())
}

/// Words that a walk visited, with the distances that it told.
type Found = Vec<(String, Option<u8>)>;

/// What a walk over words visits, each list compared with the model's.
fn check(found: &mut Found, lists: &Lists, word: &[u8], distance: Option<u8>, list: Postings<'_>) -> ControlFlow<()> {
    let word = String::from_utf8(word.to_vec()).unwrap();
    let ranks = &lists[&word];
    assert_eq!((list.count(), list.cursor().seek(0).unwrap()), (ranks.len() as u64, ranks.first().copied()));
    found.push((word, distance));
    ControlFlow::Continue(())
}

fn check_words(index: &WordIndex, lists: &Lists, asked: &str) {
    let found_by = |walk: &dyn Fn(&mut Found)| {
        let mut found = Vec::new();
        walk(&mut found);
        found
    };
    let plain = |word: &String| (word.clone(), None);
    assert_eq!(
        index.word(asked.as_bytes()).unwrap().map(|list| list.count()),
        lists.get(asked).map(|ranks| ranks.len() as u64)
    );
    let found = found_by(&|found| {
        index.prefixed(asked.as_bytes(), |word, list| check(found, lists, word, None, list)).unwrap();
    });
    assert!(found.into_iter().eq(lists.keys().filter(|word| word.starts_with(asked)).map(plain)));
    for is_prefix in [false, true] {
        let found = found_by(&|found| {
            index.spelled(asked.as_bytes(), is_prefix, |word, list| check(found, lists, word, None, list)).unwrap();
        });
        let classes: BTreeSet<_> = lists.keys().map(|word| (spelling_key(word), word)).collect();
        let fits = |class: &str| if is_prefix { class.starts_with(asked) } else { class == asked };
        assert!(found.into_iter().eq(classes.iter().filter(|(class, _)| fits(class)).map(|(_, word)| plain(word))));
        for edits_max in 0..=2 {
            let near = Near::new(asked, edits_max, is_prefix);
            let found = found_by(&|found| {
                index.near(&near, |word, distance, list| check(found, lists, word, Some(distance), list)).unwrap();
            });
            let expected =
                lists.keys().map(|word| (word.clone(), Some(distance(asked, word, is_prefix).min(255) as u8)));
            assert!(found.into_iter().eq(expected.filter(|(_, distance)| *distance <= Some(edits_max))));
        }
    }
}

/// Words with any ranks: found and walked as a map's.
pub fn word_index(data: &[u8]) {
    let (steps, rest) = data.split_at(data.len() / 3);
    let mut u = Unstructured::new(rest);
    let Ok(lists) = any_lists(&mut u) else { return };
    let folder = scratch::folder();
    let entry = write(folder.path(), &lists);
    let generation = open(folder.path(), Some(entry), Forged::searched().clone()).unwrap();
    let index = generation.word_index().unwrap();
    assert_eq!(index.words(), lists.len() as u64);
    let mut u = Unstructured::new(steps);
    for (word, ranks) in &lists {
        let list = index.word(word.as_bytes()).unwrap().unwrap();
        let mut cursor = list.cursor();
        let mut all = ranks.iter().copied();
        let mut next = 0;
        while let Some(rank) = cursor.seek(next).unwrap() {
            assert_eq!(Some(rank), all.next());
            next = rank + 1;
        }
        assert_eq!((all.next(), cursor.touched()), (None, list.count()));
        if walk(&mut u, list, ranks).is_err() {
            break;
        }
    }
    for word in lists.keys().take(3) {
        let letters: Vec<char> = word.chars().collect();
        let swapped: String = letters.iter().rev().collect();
        for asked in [word.clone(), spelling_key(word), swapped, letters[..letters.len() / 2].iter().collect()] {
            if asked.chars().count() <= 64 {
                check_words(index, &lists, &asked);
            }
        }
    }
}

/// Any bytes as the lists of two words. What is read may be wrong; but both ways of walking tell the same, there is an end, and nothing beyond the bounds.
pub fn word_lists(data: &[u8]) {
    let [kind, place, bytes @ ..] = data else { return };
    let mut forged = Forged::searched().clone();
    let mut words = Builder::memory();
    words.insert("A", 64).unwrap();
    words.insert("B", 64 + u64::from(*place)).unwrap();
    let fst = words.into_inner().unwrap();
    let frame = forged.named("words.index");
    let end = 64 + bytes.len() as u64;
    frame.body = [bytes, &fst, &fst].concat();
    let ranks_end = if kind & 1 == 0 { NAMES } else { 100_000 };
    let length = fst.len() as u64;
    frame.parameters[..8].copy_from_slice(&[2, end, end, length, end + length, length, ranks_end, 2]);
    let folder = scratch::folder();
    let generation = open(folder.path(), None, forged).unwrap();
    let index = generation.word_index().unwrap();
    for word in ["A", "B"] {
        let Ok(Some(list)) = index.word(word.as_bytes()) else { continue };
        // A list of neighbours takes few bytes and may have millions of ranks.
        let window = 0..300_000;
        let (mut cursor, mut sought, mut next) = (list.cursor(), Vec::new(), 0);
        let outcome = loop {
            match cursor.seek(next) {
                Ok(Some(rank)) if rank < window.end => {
                    assert!(rank >= next && u64::from(rank) < ranks_end);
                    sought.push(rank);
                    next = rank + 1;
                }
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(cursor.touched() <= list.count());
        let mut bits = vec![0; window.len().div_ceil(64)];
        let marked_outcome = list.cursor().mark(window, &mut bits);
        let marked = (0..bits.len() as u32 * 64).filter(|at| bits[(at / 64) as usize] >> (at % 64) & 1 == 1);
        match (outcome, marked_outcome) {
            (Ok(()), Ok(())) => assert!(marked.eq(sought)),
            (Err(error), _) | (_, Err(error)) => assert!(matches!(error, IndexError::Damaged { .. })),
        }
        let _ = list.cursor().seek(u32::MAX).map(|found| assert_eq!(found, None));
    }
    let _ = balcao_index::verify(&generation);
}

/// What a forged word index and forged filter columns are asked: that there is an end to it counts.
pub(crate) fn ask(generation: &Generation) {
    let mut bits = vec![0; 64];
    let mut mark = |list: Postings<'_>| {
        let mut cursor = list.cursor();
        let _ = cursor.seek(3).and_then(|_| cursor.mark(100..4000, &mut bits)).and_then(|()| cursor.seek(u32::MAX));
        ControlFlow::Continue(())
    };
    if let Some(index) = generation.word_index() {
        let _ = index.prefixed(b"", |_, list| mark(list));
        let _ = index.spelled(b"", true, |_, list| mark(list));
        for is_prefix in [false, true] {
            let _ = index.near(&Near::new("DAVIAN", 2, is_prefix), |_, _, list| mark(list));
        }
    }
    if let Some(filters) = generation.filters() {
        let _ = filters.for_each(0..generation.name_rows().min(5000), |_, _| ControlFlow::Continue(()));
        for rank in [0, 700, generation.name_rows(), u64::MAX] {
            let _ = filters.get(rank);
        }
    }
}
