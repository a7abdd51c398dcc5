//! Which keys a damaged place may hold: the table's keys in the order of the index.
//!
//! The order is that of `docs/formats.md`, from the oracle's own reading of the table.

use std::ops::Range;

use super::subject::Kind;
use super::trial::Trial;
use crate::oracle::reading::check_digits_hold;
use crate::oracle::scan::{Postings, Table};
use crate::rng::Rng;

/// Bytes that share a checksum, and so are lost together.
const PAGE_BYTES: u64 = 16 * 1024;

/// Keys that are asked about a place, and further ones at random.
const KEYS_NEAR: usize = 150;
const KEYS_AT_RANDOM: usize = 60;

/// Which of the table's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Cpf,
    Name,
}

/// The numbers of the table's keys, as the entries of the index's files follow each other.
pub(crate) struct Aim {
    cpf_rows: Vec<u32>,
    name_rows: Vec<u32>,
    names: Vec<u32>,
}

impl Aim {
    pub(crate) fn new(table: &Table) -> Self {
        // CPFs whose check digits hold stand before all others.
        let (right, wrong): (Vec<u32>, Vec<u32>) =
            (0..table.cpfs.keys.len() as u32).partition(|&at| check_digits_hold(&table.cpfs.keys[at as usize]));
        let names: Vec<u32> = (0..table.names.keys.len() as u32).collect();
        let cpf_rows = rows(&table.cpfs, &[right, wrong].concat());
        Self { cpf_rows, name_rows: rows(&table.names, &names), names }
    }

    /// The keys to ask about a damage, each with its column.
    pub(crate) fn keys(&self, trial: &Trial<'_>) -> Vec<(Column, usize)> {
        let mut rng = Rng::new(trial.number, 103);
        let mut keys = Vec::new();
        let lists = match trial.file.kind {
            Kind::CpfKeys | Kind::CpfRows => &[(Column::Cpf, &self.cpf_rows)][..],
            Kind::NameRows => &[(Column::Name, &self.name_rows)],
            Kind::NameKeys => &[(Column::Name, &self.names)],
            _ => &[(Column::Cpf, &self.cpf_rows), (Column::Name, &self.names)],
        };
        for &(column, list) in lists {
            keys.extend(near(trial, list.len()).map(|entry| (column, list[entry] as usize)));
        }
        for (column, list) in [(Column::Cpf, &self.cpf_rows), (Column::Name, &self.names)] {
            keys.extend((0..KEYS_AT_RANDOM / 2).map(|_| (column, list[rng.below(list.len())] as usize)));
        }
        keys
    }
}

/// The keys of each row, in this order of the keys.
fn rows(postings: &Postings, order: &[u32]) -> Vec<u32> {
    order.iter().flat_map(|&key| postings.of(key as usize).iter().map(move |_| key)).collect()
}

/// Entries spread evenly over the damaged page and one on either side; over everything where the file has no entries of keys.
fn near(trial: &Trial<'_>, count: usize) -> impl Iterator<Item = usize> {
    let range: Range<usize> = match trial.file.shard {
        None => 0..count,
        Some(shard) => {
            let page = trial.change.at() - trial.change.at() % PAGE_BYTES;
            let start = shard.entry(page.saturating_sub(PAGE_BYTES)) as usize;
            let end = shard.entry(page + 2 * PAGE_BYTES) as usize;
            start.min(count)..end.min(count)
        }
    };
    let length = range.len();
    (0..KEYS_NEAR.min(length)).map(move |number| range.start + number * length / KEYS_NEAR.min(length))
}
