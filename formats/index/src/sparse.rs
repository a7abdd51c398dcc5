//! The sparse index over blocks: an `fst` map from a key at or above a block's last one to the block's place, and the search for the
//! first such key at or above the one asked for.
//!
//! `fst` believes its bytes: they are handed in only after their checksums held.

use std::fmt;
use std::ops::Range;

use fst::raw::{Builder, CompiledAddr, Fst, Node, Output};

use crate::error;
use crate::sealed::{SealedFile, SealedPart};

/// Of a node with more transitions, `fst` has a table by their bytes: asking it for one byte after the other beats halving, which decodes whole
/// transitions.
const PROBED_TRANSITIONS_MAX: usize = 32;

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

    /// [`SparseIndex::block_of`] for `prefix`, and the place of the first block whose end is above all that begins with it. One way down serves both.
    pub(crate) fn blocks_of_prefix(&self, prefix: &[u8]) -> (Option<u64>, Option<u64>) {
        let path = Path::along(&self.0, prefix);
        let above = path.right(&self.0);
        (path.here(&self.0).or(above), above)
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
    let path = Path::along(fst, key);
    path.here(fst).or_else(|| path.right(fst))
}

/// The way of a key through an `fst`.
struct Path<'f> {
    /// Where the key ends, if its way does not end before.
    end: Option<(Node<'f>, Output)>,
    /// The nearest branch to the right of the way: everything below it is above the key, and nothing between is.
    right: Option<Branch>,
}

/// A transition that may have to be followed, and the sum of outputs up to its node. Most never are, so that no more of them is read.
#[derive(Clone, Copy)]
struct Branch {
    node: CompiledAddr,
    transition: usize,
    output: Output,
}

impl<'f> Path<'f> {
    fn along<D: AsRef<[u8]>>(fst: &'f Fst<D>, key: &[u8]) -> Self {
        let (mut node, mut output) = (fst.root(), Output::zero());
        let mut right = None;
        for &byte in key {
            let equal = node.find_input(byte);
            let above = equal.map_or_else(|| first_above(&node, byte), |equal| equal + 1);
            if above < node.len() {
                right = Some(Branch { node: node.addr(), transition: above, output });
            }
            let Some(equal) = equal else { return Self { end: None, right } };
            let transition = node.transition(equal);
            output = output.cat(transition.out);
            node = fst.node(transition.addr);
        }
        Self { end: Some((node, output)), right }
    }

    /// The value of the first key that begins with this one.
    fn here<D: AsRef<[u8]>>(&self, fst: &'f Fst<D>) -> Option<u64> {
        // Only the root of an empty `fst` leads nowhere.
        let (node, output) = self.end.filter(|(node, _)| node.is_final() || !node.is_empty())?;
        Some(leftmost(fst, node, output))
    }

    /// The value of the first key that is above all that begin with this one.
    fn right<D: AsRef<[u8]>>(&self, fst: &'f Fst<D>) -> Option<u64> {
        let branch = self.right?;
        let transition = fst.node(branch.node).transition(branch.transition);
        Some(leftmost(fst, fst.node(transition.addr), branch.output.cat(transition.out)))
    }
}

/// The first transition above `byte`, which has none of its own; as many as there are where none is.
fn first_above(node: &Node<'_>, byte: u8) -> usize {
    if node.len() > PROBED_TRANSITIONS_MAX {
        return (byte..=u8::MAX).skip(1).find_map(|above| node.find_input(above)).unwrap_or(node.len());
    }
    let (mut low, mut high) = (0, node.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if node.transition(middle).inp < byte {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
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
                if key.is_empty() {
                    continue;
                }
                let above = model.iter().find(|(end, _)| *end > key && !end.starts_with(key)).map(|(_, &place)| place);
                prop_assert_eq!(Path::along(&fst, key.as_bytes()).right(&fst), above, "{}", key);
            }
        }

        /// Nodes with a table by their bytes.
        #[test]
        fn finds_in_wide_nodes(
            keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..3), 1..900),
            asked in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 50),
        ) {
            let mut writer = SparseWriter::new();
            for (place, key) in keys.iter().enumerate() {
                writer.push(key, place as u64).unwrap();
            }
            let bytes = writer.finish().unwrap();
            let fst = Fst::new(bytes.as_slice()).unwrap();
            for key in asked.iter().chain(&keys) {
                let expected = keys.iter().position(|end| end >= key).map(|place| place as u64);
                prop_assert_eq!(first_at_or_above(&fst, key), expected, "{:?}", key);
            }
        }
    }
}
