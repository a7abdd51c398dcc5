//! Seeded randomness: one stream of numbers per row, and a permutation of the CPF bases.
//!
//! Not for secrets. Written here rather than taken from a crate, because rows must stay the same when dependencies change.

/// The step of SplitMix64, 2⁶⁴ divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a stream is for. Streams of one row are independent, so that the dirt of a row does not change its clean cells.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Permutation = 1,
    Person = 2,
    Dirt = 3,
    MadeUpNames = 4,
}

/// A key from which the streams of all rows derive.
#[derive(Clone, Copy)]
pub(crate) struct StreamKey(u64);

impl StreamKey {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        Self(mix(mix(seed).wrapping_add(purpose as u64)))
    }

    /// The stream of one row.
    pub(crate) fn stream(self, row: u64) -> Random {
        Random { state: mix(self.0 ^ row.wrapping_mul(0xd134_2543_de82_ef95)) }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): 64 random bits for two multiplications.
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// 0 to `n` - 1. The bias is below `n` / 2³².
    pub(crate) fn below(&mut self, n: usize) -> usize {
        debug_assert!(u32::try_from(n).is_ok_and(|n| n > 0));
        (((self.bits() >> 32) * n as u64) >> 32) as usize
    }

    /// 0 to `n` - 1 for large `n`, with a bias below `n` / 2⁶⁴.
    pub(crate) fn below_u64(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// One of `choices`, which must not be empty.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A Feistel network has two halves of this many bits: 2³⁰ is the first even power of two that holds all bases.
const HALF_BITS: u32 = 15;
const HALF_MASK: u32 = (1 << HALF_BITS) - 1;
const ROUNDS: usize = 8;

/// A seeded permutation of 0 to `size` - 1 in constant memory: a Feistel network over 30 bits, walked until it falls inside.
pub(crate) struct Permutation {
    size: u32,
    keys: [u32; ROUNDS],
}

impl Permutation {
    /// `size` is 2²⁹ to 2³⁰, so that a walk has two steps at most on average.
    pub(crate) fn new(size: u32, seed: u64) -> Self {
        assert!((1 << (2 * HALF_BITS - 1)..=1 << (2 * HALF_BITS)).contains(&size), "the network has 30 bits");
        let mut random = StreamKey::new(seed, Purpose::Permutation).stream(0);
        Self { size, keys: std::array::from_fn(|_| random.bits() as u32) }
    }

    /// The image of `index`, which must be below the size.
    pub(crate) fn at(&self, index: u32) -> u32 {
        debug_assert!(index < self.size);
        let mut image = self.network(index);
        // The walk stays on the cycle of `index`, which starts inside: it comes back inside, and no other index gets there.
        while image >= self.size {
            image = self.network(image);
        }
        image
    }

    fn network(&self, value: u32) -> u32 {
        let (mut left, mut right) = (value >> HALF_BITS, value & HALF_MASK);
        for key in self.keys {
            let mut x = (right ^ key).wrapping_mul(0x9e37_79b1);
            x = (x ^ (x >> 15)).wrapping_mul(0x85eb_ca77);
            (left, right) = (right, left ^ (x >> (32 - HALF_BITS)));
        }
        left << HALF_BITS | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way back: rounds in reverse, walked until it falls inside.
    fn index_of(permutation: &Permutation, image: u32) -> u32 {
        let mut index = image;
        loop {
            let (mut left, mut right) = (index >> HALF_BITS, index & HALF_MASK);
            for key in permutation.keys.into_iter().rev() {
                let mut x = (left ^ key).wrapping_mul(0x9e37_79b1);
                x = (x ^ (x >> 15)).wrapping_mul(0x85eb_ca77);
                (left, right) = (right ^ (x >> (32 - HALF_BITS)), left);
            }
            index = left << HALF_BITS | right;
            if index < permutation.size {
                return index;
            }
        }
    }

    #[test]
    fn a_permutation_can_be_undone_and_so_repeats_nothing() {
        for (size, seed) in [(1_000_000_000, 0), (1_000_000_000, 7), (1 << 29, 7), (1 << 30, 7)] {
            let permutation = Permutation::new(size, seed);
            for index in (0..50_000).chain(size - 50_000..size).chain((0..size).step_by(10_007)) {
                let image = permutation.at(index);
                assert!(image < size);
                assert_eq!(index_of(&permutation, image), index, "{size} {seed}");
            }
        }
    }

    #[test]
    fn a_permutation_scatters() {
        let permutation = Permutation::new(1_000_000_000, 1);
        let mut tenths = [0; 10];
        for index in 0..100_000 {
            tenths[permutation.at(index) as usize / 100_000_000] += 1;
        }
        assert!(tenths.iter().all(|count| (9_500..10_500).contains(count)), "{tenths:?}");
    }

    #[test]
    fn below_reaches_both_ends() {
        let mut random = StreamKey::new(0, Purpose::Person).stream(0);
        let mut counts = [0; 5];
        for _ in 0..10_000 {
            counts[random.below(5)] += 1;
        }
        assert!(counts.iter().all(|count| (1_850..2_150).contains(count)), "{counts:?}");
    }
}
