//! Bit-packed arrays: numbers of one width, side by side, low bits first.

/// Zero bytes behind an array on disk, so that the last numbers can be read eight or sixteen bytes at a time.
pub(crate) const PADDING: usize = 16;

/// Bits that hold every number up to `max`.
pub(crate) fn width_of(max: u64) -> u32 {
    u64::BITS - max.leading_zeros()
}

/// Bytes that `count` numbers of `width` bits take, without padding; `None` where that does not fit.
pub(crate) fn bytes_of(count: u64, width: u32) -> Option<u64> {
    count.checked_mul(u64::from(width)).map(|bits| bits.div_ceil(8))
}

/// Packs numbers into a byte buffer that the caller drains.
#[derive(Debug)]
pub(crate) struct Packer {
    width: u32,
    held: u128,
    held_bits: u32,
}

impl Packer {
    pub(crate) fn new(width: u32) -> Self {
        Self { width, held: 0, held_bits: 0 }
    }

    /// Appends the whole bytes that `value` completes. `value` must fit the width.
    pub(crate) fn push(&mut self, value: u64, out: &mut Vec<u8>) {
        debug_assert!(width_of(value) <= self.width);
        self.held |= u128::from(value) << self.held_bits;
        self.held_bits += self.width;
        if self.held_bits >= 64 {
            out.extend_from_slice(&(self.held as u64).to_le_bytes());
            self.held >>= 64;
            self.held_bits -= 64;
        }
    }

    /// Appends the last bytes, the unused bits zero.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        let bytes = self.held_bits.div_ceil(8) as usize;
        out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
    }
}

/// Bits of a number in [`Gaps`] at most: eight bytes hold one, from whatever bit of the first it begins.
pub(crate) const GAP_BITS_MAX: u32 = 56;

/// Numbers of one width that are added up one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gaps<'a> {
    bytes: &'a [u8],
    width: u32,
    count: usize,
}

impl<'a> Gaps<'a> {
    /// The first `count` numbers of `width` bits in `bytes`, which reach at least eight bytes beyond them; `None` where they do not, or where the
    /// numbers are wider than [`GAP_BITS_MAX`].
    pub(crate) fn new(bytes: &'a [u8], width: u32, count: usize) -> Option<Self> {
        let end = bytes_of(count as u64, width)?.checked_add(8)?;
        let fits = width <= GAP_BITS_MAX && end <= bytes.len() as u64;
        fits.then_some(Self { bytes, width, count })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Number `index`; `None` where there are not so many.
    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        if index < self.count { Some(self.word(index)? & self.mask()) } else { None }
    }

    /// Adds number after number to `sum` until it is at or above `target`: how many it took, and the sum. `None` where all together are less.
    pub(crate) fn climb(&self, mut sum: u64, target: u64) -> Option<(usize, u64)> {
        let mut taken = 0;
        if self.width <= GAP_BITS_MAX / 4 {
            let (one, two) = (self.width, 2 * self.width);
            let (of_one, of_two) = (self.mask(), (1 << two) - 1);
            let of_each_second = of_one | of_one << two;
            while taken + 4 <= self.count {
                let word = self.word(taken)?;
                // Two sums, each with the room of two numbers; then the sum of both.
                let pairs = (word & of_each_second) + (word >> one & of_each_second);
                let next = sum + (pairs & of_two) + (pairs >> two);
                if next >= target {
                    break;
                }
                sum = next;
                taken += 4;
            }
        }
        while sum < target {
            sum += self.get(taken)?;
            taken += 1;
        }
        Some((taken, sum))
    }

    fn mask(&self) -> u64 {
        (1 << self.width) - 1
    }

    /// The eight bytes in which number `index` begins, from that bit on: this number, and what follows up to [`GAP_BITS_MAX`] bits.
    fn word(&self, index: usize) -> Option<u64> {
        let bit = index * self.width as usize;
        let (word, _) = self.bytes.get(bit / 8..)?.split_first_chunk()?;
        Some(u64::from_le_bytes(*word) >> (bit % 8))
    }
}

/// Reads the `width` bits (0 to 64) that begin `shift` bits (0 to 7) into `window`; `None` where it is too short.
pub(crate) fn get_at(window: &[u8], width: u32, shift: u32) -> Option<u64> {
    if width <= 56 {
        let word = u64::from_le_bytes(window.get(..8)?.try_into().ok()?);
        Some((word >> shift) & ((1 << width) - 1))
    } else {
        let word = u128::from_le_bytes(window.get(..16)?.try_into().ok()?);
        Some((word >> shift) as u64 & (u64::MAX >> (64 - width)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(width in 0..=64_u32, seeds in prop::collection::vec(any::<u64>(), 0..300)) {
            let values: Vec<u64> =
                seeds.iter().map(|seed| if width == 0 { 0 } else { seed >> (64 - width) }).collect();
            let mut packer = Packer::new(width);
            let mut out = Vec::new();
            values.iter().for_each(|&value| packer.push(value, &mut out));
            packer.finish(&mut out);
            prop_assert_eq!(out.len() as u64, bytes_of(values.len() as u64, width).unwrap());
            out.resize(out.len() + PADDING, 0);
            for (i, &value) in values.iter().enumerate() {
                let bit = i * width as usize;
                prop_assert_eq!(get_at(&out[bit / 8..], width, bit as u32 % 8), Some(value));
            }
            let (count, end) = (values.len(), out.len() - PADDING + 8);
            let gaps = Gaps::new(&out[..end], width, count);
            prop_assert_eq!(gaps.is_some(), width <= GAP_BITS_MAX);
            prop_assert!(Gaps::new(&out[..end - 1], width, count).is_none());
            if let Some(gaps) = gaps {
                let all: Vec<_> = (0..gaps.len()).map_while(|i| gaps.get(i)).collect();
                prop_assert_eq!(&all, &values);
                prop_assert_eq!(gaps.get(count), None);
            }
        }

        #[test]
        fn climbs_as_a_sum_does(
            width in 0..=GAP_BITS_MAX,
            seeds in prop::collection::vec(any::<u64>(), 0..130),
            first in 0..1000_u64,
            share in 0.0..1.2_f64,
        ) {
            let values: Vec<u64> = seeds.iter().map(|seed| seed.checked_shr(64 - width).unwrap_or(0)).collect();
            let mut packer = Packer::new(width);
            let mut out = Vec::new();
            values.iter().for_each(|&value| packer.push(value, &mut out));
            packer.finish(&mut out);
            out.extend_from_slice(&[255; 8]);
            let gaps = Gaps::new(&out, width, values.len()).unwrap();
            let mut sums = vec![first];
            values.iter().for_each(|value| sums.push(sums[sums.len() - 1] + value));
            let end = sums[sums.len() - 1];
            let between = (end as f64 * share) as u64;
            for target in sums.iter().flat_map(|&sum| [sum, sum + 1]).chain([0, between]) {
                let taken = sums.partition_point(|&sum| sum < target);
                let expected = sums.get(taken).map(|&sum| (taken, sum));
                prop_assert_eq!(gaps.climb(first, target), expected, "{}", target);
            }
        }
    }

    #[test]
    fn beyond_the_end_is_none() {
        assert_eq!(get_at(&[0; 7], 8, 0), None);
        assert_eq!(get_at(&[0; 15], 64, 0), None);
        assert!(Gaps::new(&[0; 16], 8, 100).is_none());
        assert!(Gaps::new(&[0; 16], 56, usize::MAX).is_none());
        assert_eq!(width_of(0), 0);
        assert_eq!(width_of(u64::MAX), 64);
    }
}
