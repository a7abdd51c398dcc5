//! Which keys a damaged place may hold: the table's keys in the order of the index's ranks.
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

/// Keys that are asked about a place, and as many again at random.
const KEYS_NEAR: usize = 120;
const KEYS_AT_RANDOM: usize = 60;

/// Which of the table's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Cpf,
    Name,
}

/// For each rank the number of its key.
pub(crate) struct Aim {
    cpfs: Vec<u32>,
    names: Vec<u32>,
}

impl Aim {
    pub(crate) fn new(table: &Table) -> Self {
        // CPFs whose check digits hold stand before all others.
        let (right, wrong): (Vec<u32>, Vec<u32>) =
            (0..table.cpfs.keys.len() as u32).partition(|&at| check_digits_hold(&table.cpfs.keys[at as usize]));
        let names: Vec<u32> = (0..table.names.keys.len() as u32).collect();
        Self { cpfs: ranks(&table.cpfs, &[right, wrong].concat()), names: ranks(&table.names, &names) }
    }

    /// The keys to ask about a damage, each with its column.
    pub(crate) fn keys(&self, trial: &Trial<'_>) -> Vec<(Column, usize)> {
        let mut rng = Rng::new(trial.number, 103);
        let mut keys = Vec::new();
        let columns = match trial.file.kind {
            Kind::CpfKeys | Kind::CpfRows => &[Column::Cpf][..],
            Kind::NameKeys | Kind::NameRows => &[Column::Name],
            _ => &[Column::Cpf, Column::Name],
        };
        for &column in columns {
            let ranks = self.ranks(column);
            for rank in near(trial, ranks.len()) {
                keys.push((column, ranks[rank] as usize));
            }
        }
        for column in [Column::Cpf, Column::Name] {
            let ranks = self.ranks(column);
            keys.extend((0..KEYS_AT_RANDOM / 2).map(|_| (column, ranks[rng.below(ranks.len())] as usize)));
        }
        keys
    }

    fn ranks(&self, column: Column) -> &[u32] {
        match column {
            Column::Cpf => &self.cpfs,
            Column::Name => &self.names,
        }
    }
}

fn ranks(postings: &Postings, order: &[u32]) -> Vec<u32> {
    order.iter().flat_map(|&key| postings.of(key as usize).iter().map(move |_| key)).collect()
}

/// Ranks spread evenly over the damaged page and half a page on either side; over everything where the file holds no ranks.
fn near(trial: &Trial<'_>, count: usize) -> impl Iterator<Item = usize> {
    let range: Range<usize> = match trial.file.shard {
        None => 0..count,
        Some(shard) => {
            let page = trial.change.at() - trial.change.at() % PAGE_BYTES;
            let start = shard.rank(page.saturating_sub(PAGE_BYTES / 2)) as usize;
            let end = shard.rank(page + PAGE_BYTES + PAGE_BYTES / 2) as usize;
            start.min(count)..end.min(count)
        }
    };
    let length = range.len();
    (0..KEYS_NEAR.min(length)).map(move |number| range.start + number * length / KEYS_NEAR.min(length))
}
