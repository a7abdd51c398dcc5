//! Weighted choice in constant time (Walker's alias method, Vose's construction) and the weights of a long tail.
//!
//! Integers only: a table is the same on every machine.

/// Draws an index with a probability in proportion to its weight.
pub(crate) struct Weighted {
    slots: Vec<Slot>,
}

/// Below the threshold (out of 2³²) the slot's own index, else the other one.
struct Slot {
    threshold: u32,
    other: u32,
}

impl Weighted {
    /// `weights` must not be empty nor all zero; their sum times their number must fit 64 bits.
    pub(crate) fn new(weights: &[u64]) -> Self {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().sum();
        assert!(total > 0, "some weight is needed");
        // Scaled so that the mean is `total`: each slot then holds exactly that much, of one or two indexes.
        let mut left: Vec<u64> = weights.iter().map(|weight| weight * count).collect();
        let mut slots: Vec<Slot> = (0..count as u32).map(|own| Slot { threshold: u32::MAX, other: own }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..left.len()).partition(|&index| left[index] < total);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            let threshold = (u128::from(left[poor]) << 32) / u128::from(total);
            slots[poor] = Slot { threshold: threshold as u32, other: rich as u32 };
            left[rich] -= total - left[poor];
            if left[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
        Self { slots }
    }

    /// The index that 64 random bits fall on.
    pub(crate) fn pick(&self, bits: u64) -> usize {
        let index = (((bits >> 32) * self.slots.len() as u64) >> 32) as usize;
        let slot = &self.slots[index];
        if (bits as u32) < slot.threshold { index } else { slot.other as usize }
    }
}

/// Zipf-like weights of `count` entries that continue below `last` and carry `missing` together (or a little more):
/// `last · r / (r + k)` for k = 1, 2, …, where the rank r is chosen for the sum.
pub(crate) fn tail_weights(last: u64, missing: u64, count: u64) -> Vec<u64> {
    let tail = |rank: u64| (1..=count).map(move |k| last * rank / (rank + k));
    let (mut low, mut high) = (1, 1 << 24);
    while low < high {
        let middle = (low + high) / 2;
        if tail(middle).sum::<u64>() < missing {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    tail(low).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, StreamKey};

    #[test]
    fn picks_follow_the_weights() {
        let weights = [0, 1, 2, 3, 94, 900];
        let weighted = Weighted::new(&weights);
        let mut random = StreamKey::new(3, Purpose::Person).stream(0);
        let mut counts = [0_u64; 6];
        for _ in 0..1_000_000 {
            counts[weighted.pick(random.bits())] += 1;
        }
        for (count, weight) in counts.into_iter().zip(weights) {
            // Five standard deviations, plus one for the zero.
            assert!(count.abs_diff(weight * 1_000) <= 5 * (weight * 1_000).isqrt() + 1, "{counts:?}");
        }
    }

    #[test]
    fn a_tail_falls_and_carries_the_rest() {
        let tail = tail_weights(380_000, 73_500_000, 4_000);
        assert!(tail.is_sorted_by(|a, b| a >= b) && tail[0] <= 380_000);
        let sum: u64 = tail.iter().sum();
        assert!((73_500_000..76_000_000).contains(&sum), "{sum}");
    }
}
