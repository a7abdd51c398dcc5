//! Sides that are measured in turns, round by round, so that a slow minute of the machine meets all of them.
//!
//! A ratio is taken within each round, between neighbours, and only then is the middle of all rounds.

use crate::measure::spread::Spread;

/// Measures each of `sides` once a round, in the order of the sides in odd rounds and the other way round in even ones; what
/// came out, by side and then by round.
pub(crate) fn in_turns<T>(
    rounds: usize,
    sides: usize,
    mut measure: impl FnMut(usize, usize) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Vec<T>>> {
    let mut outcomes: Vec<Vec<T>> = (0..sides).map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        for turn in 0..sides {
            let side = if round % 2 == 0 { turn } else { sides - 1 - turn };
            outcomes[side].push(measure(round, side)?);
        }
    }
    Ok(outcomes)
}

/// One number of each round of a side.
pub(crate) fn over<T>(rounds: &[T], value: impl Fn(&T) -> f64) -> Spread {
    Spread::new(rounds.iter().map(value)).expect("at least one round, the command line sees to it")
}

/// The same number of two sides as a ratio of neighbours: `of` to `to`.
pub(crate) fn ratio<T>(of: &[T], to: &[T], value: impl Fn(&T) -> f64) -> Spread {
    Spread::new(of.iter().zip(to).map(|(of, to)| value(of) / value(to)))
        .expect("at least one round, the command line sees to it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_goes_first_in_turn() {
        let mut order = Vec::new();
        let outcomes = in_turns(3, 2, |round, side| {
            order.push((round, side));
            Ok(round * 10 + side)
        });
        assert_eq!(order, [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1)]);
        assert_eq!(outcomes.unwrap(), [[0, 10, 20], [1, 11, 21]]);
    }

    #[test]
    fn a_ratio_is_of_neighbours() {
        let spread = ratio(&[2.0, 9.0, 3.0], &[1.0, 3.0, 3.0], |&value| value);
        assert_eq!(spread, Spread::new([2.0, 3.0, 1.0]).unwrap());
        assert_eq!(over(&[1.0, 4.0, 2.0], |&value| value).median(), 2.0);
    }

    #[test]
    fn a_failure_ends_the_rounds() {
        assert!(in_turns(2, 2, |round, _| if round == 1 { anyhow::bail!("no") } else { Ok(()) }).is_err());
    }
}
