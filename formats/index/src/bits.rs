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

/// Reads number `index` of width `width` (0 to 64) out of `bytes`, which begin at bit 0 of number 0 and reach at least
/// [`PADDING`] bytes beyond it; `None` where they do not.
pub(crate) fn get(bytes: &[u8], width: u32, index: u64) -> Option<u64> {
    let bit = index.checked_mul(u64::from(width))?;
    let start = usize::try_from(bit / 8).ok()?;
    get_at(bytes.get(start..)?, width, (bit % 8) as u32)
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
                prop_assert_eq!(get(&out, width, i as u64), Some(value));
            }
        }
    }

    #[test]
    fn beyond_the_end_is_none() {
        assert_eq!(get(&[0; 16], 8, 100), None);
        assert_eq!(get(&[0; 16], 64, u64::MAX), None);
        assert_eq!(width_of(0), 0);
        assert_eq!(width_of(u64::MAX), 64);
    }
}
