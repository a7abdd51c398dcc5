//! The merge: sorted runs into one sorted stream, a key range for each shard.

use std::io;

use crate::run::{Run, RunKey, RunReader};

/// The keys at which `shards` shards of about equal size begin, but for the first one. Fewer where the keys do not allow so many.
pub(crate) fn bounds<K: RunKey>(runs: &[Run<K>], shards: usize) -> Vec<K> {
    // Each restart stands for the same number of rows.
    let mut samples: Vec<&K> = runs.iter().flat_map(|run| run.restarts.iter().map(|(key, _)| key)).collect();
    samples.sort_unstable();
    let mut bounds: Vec<K> =
        (1..shards).filter_map(|i| samples.get(i * samples.len() / shards)).map(|&key| key.clone()).collect();
    bounds.dedup();
    // A shard that begins with the least key would leave the one before it empty.
    bounds.retain(|bound| Some(&bound) != samples.first());
    bounds
}

/// Merges the part of all runs that belongs to one shard.
pub(crate) struct Merge<'a, K> {
    readers: Vec<RunReader<'a, K>>,
    /// A tournament: place 0 holds the reader with the least row, every other place the loser of its match.
    places: Vec<usize>,
}

impl<'a, K: RunKey> Merge<'a, K> {
    /// Merges the rows from the key `from`, or the beginning, to below the key `to`, or the end.
    /// Spilled runs are read `read_bytes` at a time.
    pub(crate) fn new(runs: &'a [Run<K>], from: Option<&K>, to: Option<&K>, read_bytes: usize) -> io::Result<Self> {
        let readers = runs.iter().map(|run| run.read(from, to.cloned(), read_bytes)).collect::<io::Result<Vec<_>>>()?;
        let mut merge = Self { places: vec![usize::MAX; readers.len().max(1)], readers };
        for reader in 0..merge.readers.len() {
            merge.enter(reader);
        }
        Ok(merge)
    }

    /// The least row, `None` at the end.
    pub(crate) fn current(&self) -> Option<(&K, u64)> {
        self.readers.get(self.places[0])?.current()
    }

    /// Goes to the next row.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        let winner = self.places[0];
        self.readers[winner].advance()?;
        self.play(winner);
        Ok(())
    }

    /// Plays the matches of `reader` from its leaf up to the root.
    fn play(&mut self, reader: usize) {
        let (mut winner, mut place) = (reader, usize::midpoint(reader, self.readers.len()));
        while place > 0 {
            if self.precedes(self.places[place], winner) {
                std::mem::swap(&mut self.places[place], &mut winner);
            }
            place /= 2;
        }
        self.places[0] = winner;
    }

    /// Brings `reader` in: it waits at the first match whose other side is not there yet.
    fn enter(&mut self, reader: usize) {
        let (mut winner, mut place) = (reader, usize::midpoint(reader, self.readers.len()));
        while place > 0 {
            if self.places[place] == usize::MAX {
                self.places[place] = winner;
                return;
            }
            if self.precedes(self.places[place], winner) {
                std::mem::swap(&mut self.places[place], &mut winner);
            }
            place /= 2;
        }
        self.places[0] = winner;
    }

    fn precedes(&self, a: usize, b: usize) -> bool {
        match (self.readers[a].current(), self.readers[b].current()) {
            (Some(a), Some(b)) => a < b,
            (a, _) => a.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunWriter;
    use proptest::prelude::*;

    fn runs(parts: &[Vec<(u64, u64)>]) -> Vec<Run<u64>> {
        parts
            .iter()
            .map(|part| {
                let mut writer = RunWriter::new();
                part.iter().for_each(|(key, row)| writer.push(key, *row));
                writer.finish()
            })
            .collect()
    }

    fn read(merge: &mut Merge<'_, u64>) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        while let Some((&key, row)) = merge.current() {
            found.push((key, row));
            merge.advance().unwrap();
        }
        found
    }

    #[test]
    fn shards_are_balanced_whatever_the_keys() {
        let run = |offset: u64| (0..50_000).map(|i| (i * i + offset, i)).collect::<Vec<_>>();
        let runs = runs(&[run(0), run(1), run(7)]);
        let bounds = bounds(&runs, 4);
        assert_eq!(bounds.len(), 3);
        let mut from = None;
        for to in bounds.iter().map(Some).chain([None]) {
            let rows = read(&mut Merge::new(&runs, from, to, 64).unwrap()).len();
            assert!((30_000..45_000).contains(&rows), "{rows}");
            from = to;
        }
    }

    #[test]
    fn one_key_makes_one_shard() {
        let runs = runs(&[(0..10_000).map(|row| (5, row)).collect()]);
        assert!(bounds(&runs, 8).is_empty());
        assert!(bounds::<u64>(&[], 8).is_empty());
        assert_eq!(Merge::<u64>::new(&[], None, None, 64).unwrap().current(), None);
    }

    proptest! {
        #[test]
        fn merges_as_a_sort_does(
            mut parts in prop::collection::vec(prop::collection::vec((0..50_u64, any::<u64>()), 0..60), 0..12),
            cut in 0..50_u64,
        ) {
            parts.iter_mut().for_each(|part| part.sort_unstable());
            let runs = runs(&parts);
            let mut expected = parts.concat();
            expected.sort_unstable();
            let low = read(&mut Merge::new(&runs, None, Some(&cut), 64).unwrap());
            let high = read(&mut Merge::new(&runs, Some(&cut), None, 64).unwrap());
            prop_assert!(low.iter().all(|row| row.0 < cut) && high.iter().all(|row| row.0 >= cut));
            prop_assert_eq!([low, high].concat(), expected);
        }
    }
}
