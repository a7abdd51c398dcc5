//! The merge: sorted runs into one sorted stream, a key range for each shard.

use std::io;

use crate::run::{Keys, Run, RunReader, Whole};

/// The keys at which `shards` shards of about equal size begin, but for the first one. Fewer where the keys do not allow so many.
pub(crate) fn bounds<K: Whole>(runs: &[Run<K>], shards: usize) -> Vec<K> {
    // Each stretch of one growth stands for about as many rows, or for as many bytes.
    let samples = runs.iter().flat_map(|run| run.stretches.iter().map(|(key, _)| (key, run.growth as u64)));
    let mut samples: Vec<(&K, u64)> = samples.collect();
    samples.sort_unstable();
    let all: u64 = samples.iter().map(|(_, growth)| growth).sum();
    let mut places = (1..shards as u64).map(|shard| shard * all / shards as u64).peekable();
    let (mut bounds, mut below) = (Vec::new(), 0);
    for &(key, growth) in &samples {
        if places.next_if(|&place| place <= below).is_some() {
            while places.next_if(|&place| place <= below).is_some() {}
            bounds.push(key.clone());
        }
        below += growth;
    }
    bounds.dedup();
    // A shard that begins with the least key would leave the one before it empty.
    bounds.retain(|bound| samples.first().is_some_and(|&(least, _)| bound != least));
    bounds
}

/// Merges the part of all runs that belongs to one shard.
pub(crate) struct Merge<'a, D: Keys> {
    readers: Vec<RunReader<'a, D>>,
    /// A tournament: place 0 holds the reader with the least row, every other place the loser of its match.
    places: Vec<Player>,
}

/// A reader in the tournament, with the head of its key: most matches need no look at the reader.
#[derive(Clone, Copy, Debug)]
struct Player {
    head: u64,
    reader: usize,
}

/// A place that nobody has come to yet.
const NOBODY: Player = Player { head: 0, reader: usize::MAX };

impl<'a, D: Keys> Merge<'a, D> {
    /// Merges the rows from the key `from`, or the beginning, to below the key `to`, or the end; `keys` makes what reads the keys of a run.
    /// Spilled runs are read about `read_bytes` at a time.
    pub(crate) fn new(
        runs: &'a [Run<D::Whole>],
        keys: impl Fn(&Run<D::Whole>) -> D,
        (from, to): (Option<&D::Whole>, Option<&D::Whole>),
        read_bytes: usize,
    ) -> io::Result<Self> {
        let readers =
            runs.iter().map(|run| run.read(keys(run), from, to, read_bytes)).collect::<io::Result<Vec<_>>>()?;
        let mut merge = Self { places: vec![NOBODY; readers.len().max(1)], readers };
        for reader in 0..merge.readers.len() {
            merge.enter(reader);
        }
        Ok(merge)
    }

    /// The least row with its key, `None` at the end.
    pub(crate) fn current(&self) -> Option<(&D, u64)> {
        self.readers.get(self.places[0].reader)?.current()
    }

    /// Goes to the next row.
    pub(crate) fn advance(&mut self) -> io::Result<()> {
        let reader = self.places[0].reader;
        self.readers[reader].advance()?;
        self.play(reader);
        Ok(())
    }

    /// Plays the matches of `reader` from its leaf up to the root.
    fn play(&mut self, reader: usize) {
        let mut winner = Player { head: self.readers[reader].head(), reader };
        let mut place = usize::midpoint(reader, self.readers.len());
        while place > 0 {
            let other = self.places[place];
            if other.head < winner.head || other.head == winner.head && self.precedes(other, winner) {
                self.places[place] = winner;
                winner = other;
            }
            place /= 2;
        }
        self.places[0] = winner;
    }

    /// Brings `reader` in: it waits at the first match whose other side is not there yet.
    fn enter(&mut self, reader: usize) {
        let mut winner = Player { head: self.readers[reader].head(), reader };
        let mut place = usize::midpoint(reader, self.readers.len());
        while place > 0 {
            let other = self.places[place];
            if other.reader == NOBODY.reader {
                self.places[place] = winner;
                return;
            }
            if other.head < winner.head || other.head == winner.head && self.precedes(other, winner) {
                self.places[place] = winner;
                winner = other;
            }
            place /= 2;
        }
        self.places[0] = winner;
    }

    fn precedes(&self, a: Player, b: Player) -> bool {
        self.readers[a.reader].precedes(&self.readers[b.reader])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::NumberBatch;
    use crate::keys::Numbers;
    use proptest::prelude::*;

    fn runs(parts: &[Vec<(u64, u64)>]) -> Vec<Run<u64>> {
        let run = |part: &Vec<(u64, u64)>| {
            let mut batch = NumberBatch::new(1 << 20);
            part.iter().for_each(|&(key, row)| batch.push(key, row));
            batch.sort(1)
        };
        parts.iter().map(run).collect()
    }

    fn merge(runs: &[Run<u64>], from: Option<&u64>, to: Option<&u64>) -> Vec<(u64, u64)> {
        let mut merge = Merge::new(runs, |_| Numbers::default(), (from, to), 64).unwrap();
        let mut found = Vec::new();
        while let Some((key, row)) = merge.current() {
            found.push((key.0, row));
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
            let rows = merge(&runs, from, to).len();
            assert!((30_000..45_000).contains(&rows), "{rows}");
            from = to;
        }
    }

    #[test]
    fn long_stretches_weigh_more() {
        let sorted = |keys: std::ops::Range<u64>, growth| {
            let mut batch = NumberBatch::new(1 << 20);
            keys.for_each(|key| batch.push(key, key));
            batch.sort(growth)
        };
        let runs = [sorted(0..50_000, 1), sorted(50_000..100_000, 4)];
        assert!(matches!(bounds(&runs, 2)[..], [45_000..=55_000]));
    }

    #[test]
    fn one_key_makes_one_shard() {
        let runs = runs(&[(0..10_000).map(|row| (5, row)).collect()]);
        assert!(bounds(&runs, 8).is_empty());
        assert!(bounds::<u64>(&[], 8).is_empty());
        assert_eq!(merge(&[], None, None), []);
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
            let low = merge(&runs, None, Some(&cut));
            let high = merge(&runs, Some(&cut), None);
            prop_assert!(low.iter().all(|row| row.0 < cut) && high.iter().all(|row| row.0 >= cut));
            prop_assert_eq!([low, high].concat(), expected);
        }
    }
}
