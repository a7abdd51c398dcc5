//! Damage of an index while it is served: a page that nobody has asked for yet is checked when somebody does.
//!
//! Not of a page whose checksum was compared before: its bytes are believed from then on, and no test can ask for more.

use balcao_index::{FOOTER_BYTES, PAGE_BYTES};
use balcao_wire::decode;
use serde_json::Value;

use super::small::{Small, keys, registry};
use super::{Change, Outcome, Subject, Victim, judge, on_every_core, subjects, whole};
use crate::Snapshot;

/// The second parameter of a `.keys` file: where its blocks end. Behind them is what is read at open.
const BLOCKS_END_AT: usize = 24;

/// A shorter last page may hold nothing that is asked for.
const PAGE_BYTES_MIN: usize = 1024;

/// Rows of a registry whose files have several pages.
const ROWS: u64 = 20_000;

/// Where the pages that are first read by a question end; other files are read whole at open, or never.
fn unread_end(file: &Subject) -> usize {
    let footer = &file.bytes[file.bytes.len().saturating_sub(FOOTER_BYTES)..];
    if file.name.ends_with(".rows") {
        file.body()
    } else if file.name.ends_with(".keys") {
        let end = u64::from_le_bytes(footer[BLOCKS_END_AT..BLOCKS_END_AT + 8].try_into().unwrap()) as usize;
        end - end % PAGE_BYTES
    } else {
        0
    }
}

#[test]
fn every_byte_of_the_rowids() {
    let small = Small::new();
    let files = subjects(&small.desk.index());
    let places: Vec<_> = files.iter().flat_map(|file| (0..unread_end(file)).map(move |at| (file, at))).collect();
    let counts = on_every_core(
        places.len(),
        || Victim::copy_of(&small.desk.index()),
        |victim, number, counts| {
            let (file, at) = places[number];
            let snapshot = Snapshot::open(&small.desk.db(), victim.index()).unwrap();
            let change = Change::Flip(at, 1 << (at % 8));
            let outcome =
                whole(format_args!("{}, {change}", file.name), || victim.with(file, change, || small.check(&snapshot)));
            counts.add(&file.name, outcome);
        },
    );
    assert_eq!(counts.sum(Outcome::Unavailable, |_| true), places.len(), "{counts:?}");
    assert!(places.len() > 600, "{}", places.len());
    counts.print("every byte of a small generation's pages before their first use, while served");
}

#[test]
fn every_page_of_a_larger_one() {
    let desk = registry(ROWS, 8);
    let files = subjects(&desk.index());
    // In each page its first, some middle, and its last byte.
    let mut places = Vec::new();
    for file in &files {
        for start in (0..unread_end(file)).step_by(PAGE_BYTES) {
            let end = unread_end(file).min(start + PAGE_BYTES);
            if end - start < PAGE_BYTES_MIN {
                continue;
            }
            places.extend([start, start + (end - start) / 3, end - 1].map(|at| (file, at)));
        }
    }
    assert!(places.iter().filter(|(file, _)| file.name.ends_with(".keys")).count() > 8, "{}", places.len());
    let mut asked = Vec::new();
    // Every third row: there are hundreds on each page.
    for (_, cpf, name) in keys(&desk.db()).into_iter().step_by(3) {
        let lines = [
            cpf.map(|cpf| format!(r#"{{"id":1,"cpf":{}}}"#, Value::from(cpf))),
            name.map(|name| format!(r#"{{"id":1,"nome":{},"match":"exact","limit":3}}"#, Value::from(name))),
        ];
        for line in lines.into_iter().flatten() {
            let request = decode(line.as_bytes());
            let mut right = Vec::new();
            let _ = desk.snapshot.answer(&request, &mut right);
            asked.push((request, right));
        }
    }
    let counts = on_every_core(
        places.len(),
        || Victim::copy_of(&desk.index()),
        |victim, number, counts| {
            let (file, at) = places[number];
            let snapshot = Snapshot::open(&desk.db(), victim.index()).unwrap();
            let change = Change::Flip(at, 1 << (at % 8));
            let (mut reply, mut lost) = (Vec::new(), 0);
            whole(format_args!("{}, {change}", file.name), || {
                victim.with(file, change, || {
                    for (request, right) in &asked {
                        reply.clear();
                        let _ = snapshot.answer(request, &mut reply);
                        let outcome = judge(&reply, right).expect("right or `unavailable`");
                        lost += usize::from(outcome == Outcome::Unavailable);
                    }
                });
            });
            // Only what the page holds is lost.
            assert!((1..asked.len() * 2 / 3).contains(&lost), "{}, {change}: {lost} of {}", file.name, asked.len());
            counts.add(&file.name, Outcome::Unavailable);
        },
    );
    counts.print("three bytes of each page of 20,000 rows before its first use, while served");
}
