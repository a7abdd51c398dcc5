//! The sparse index over blocks: an `fst` map from a key at or above a block's last one to the block's place, and the search for the
//! first such key at or above the one asked for.
//!
//! `fst` believes its bytes: they are handed in only after their checksums held.

use std::fmt;
use std::ops::Range;

use fst::raw::{Builder, CompiledAddr, Fst, Node, Output};

use crate::error;
use crate::sealed::{SealedFile, SealedPart};

/// Collects the blocks' ends, ascending and distinct, in memory: a few bytes for each block.
pub(crate) struct SparseWriter(Builder<Vec<u8>>);

impl SparseWriter {
    pub(crate) fn new() -> Self {
        Self(Builder::memory())
    }

    /// Adds a block's end and place.
    pub(crate) fn push(&mut self, end: &[u8], place: u64) -> Result<(), fst::Error> {
        self.0.insert(end, place)
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, fst::Error> {
        self.0.into_inner()
    }
}

/// The sparse index of a shard. It is opened once: its head and its end lie on pages that no search needs.
pub(crate) struct SparseIndex(Fst<SealedPart>);

impl SparseIndex {
    /// Opens the one in these bytes of a file.
    pub(crate) fn open(file: &SealedFile, range: Range<u64>) -> error::Result<Self> {
        let start = range.start;
        Fst::new(file.part(range)?).map(Self).map_err(|error| file.damaged(start, error.to_string()))
    }

    /// The place of the first block whose end is at or above `key`; `None` beyond the last block.
    pub(crate) fn block_of(&self, key: &[u8]) -> Option<u64> {
        first_at_or_above(&self.0, key)
    }

    /// The greatest end, byte by byte.
    pub(crate) fn greatest(&self) -> Vec<u8> {
        let (mut node, mut end) = (self.0.root(), Vec::new());
        while let Some(last) = node.len().checked_sub(1) {
            let transition = node.transition(last);
            end.push(transition.inp);
            node = self.0.node(transition.addr);
        }
        end
    }
}

impl fmt::Debug for SparseIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SparseIndex").field("keys", &self.0.len()).finish_non_exhaustive()
    }
}

/// The place of the first block whose end is at or above `key`; `None` beyond the last block.
pub(crate) fn first_at_or_above<D: AsRef<[u8]>>(fst: &Fst<D>, key: &[u8]) -> Option<u64> {
    let mut node = fst.root();
    let mut output = Output::zero();
    // The nearest branch to the right of the path: everything below it is above the key, and nothing between is.
    let mut right: Option<(CompiledAddr, Output)> = None;
    for &byte in key {
        let (equal, above) = split(&node, byte);
        if above < node.len() {
            let transition = node.transition(above);
            right = Some((transition.addr, output.cat(transition.out)));
        }
        let Some(equal) = equal else {
            return right.map(|(address, output)| leftmost(fst, fst.node(address), output));
        };
        let transition = node.transition(equal);
        output = output.cat(transition.out);
        node = fst.node(transition.addr);
    }
    if node.is_final() || !node.is_empty() {
        return Some(leftmost(fst, node, output));
    }
    right.map(|(address, output)| leftmost(fst, fst.node(address), output))
}

/// The transition on `byte`, if there is one, and the first one above it.
fn split(node: &Node<'_>, byte: u8) -> (Option<usize>, usize) {
    let (mut low, mut high) = (0, node.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if node.transition(middle).inp < byte {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let equal = low < node.len() && node.transition(low).inp == byte;
    if equal { (Some(low), low + 1) } else { (None, low) }
}

/// The value of the smallest key below `node`.
fn leftmost<'f, D: AsRef<[u8]>>(fst: &'f Fst<D>, mut node: Node<'f>, mut output: Output) -> u64 {
    while !node.is_final() && !node.is_empty() {
        let transition = node.transition(0);
        output = output.cat(transition.out);
        node = fst.node(transition.addr);
    }
    output.cat(node.final_output()).value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn finds_what_a_sorted_map_finds(
            keys in prop::collection::btree_set("[A-D]{0,5}", 0..60),
            asked in prop::collection::vec("[A-E]{0,6}", 20),
        ) {
            let model: BTreeMap<_, _> = keys.into_iter().enumerate().map(|(i, key)| (key, 10 * i as u64)).collect();
            let mut writer = SparseWriter::new();
            for (key, &place) in &model {
                writer.push(key.as_bytes(), place).unwrap();
            }
            let bytes = writer.finish().unwrap();
            let fst = Fst::new(bytes.as_slice()).unwrap();
            for key in asked.iter().chain(model.keys()) {
                let expected = model.range(key.clone()..).next().map(|(_, &place)| place);
                let found = if model.is_empty() { None } else { first_at_or_above(&fst, key.as_bytes()) };
                prop_assert_eq!(found, expected, "{}", key);
            }
        }
    }
}
