//! `Ranking`: the order of all tokens of some tables, so that names are compared by numbers and not by their bytes.
//!
//! The token at place p of the order has rank 2p + 2. A token that no table numbers has the odd rank between its neighbours, which others may
//! have too: only there the text decides. Absence is rank 0.

use balcao_index::{TokenTable, first_bytes, token_ends};

/// The order of the tokens of all tables.
pub(crate) struct Ranking<'t> {
    tables: &'t [TokenTable],
    /// Table and number of each distinct token, ascending by the tokens' bytes.
    order: Vec<(u32, u32)>,
    /// The first bytes of each: a search need not look at the tokens but at the end.
    firsts: Vec<u64>,
    /// By table and number.
    ranks: Vec<Vec<u32>>,
    /// Bits of a rank.
    bits: u32,
}

impl<'t> Ranking<'t> {
    /// The order of the tokens that were in the tables when each was last sorted.
    pub(crate) fn of(tables: &'t [TokenTable]) -> Self {
        let token = |(table, number): (u32, u32)| tables[table as usize].token(number);
        let all = tables.iter().zip(0..);
        let all = all.flat_map(|(table, at)| table.order().iter().map(move |&(first, number)| (first, (at, number))));
        let mut all: Vec<_> = all.collect();
        // A stable sort finds the tables in order already, and merges them.
        all.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| token(a.1).cmp(token(b.1))));
        let mut order: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        let mut firsts = Vec::with_capacity(all.len());
        let mut ranks: Vec<Vec<u32>> = tables.iter().map(|table| vec![0; table.len()]).collect();
        for (first, place) in all {
            if firsts.last() != Some(&first) || order.last().is_none_or(|&last| token(last) != token(place)) {
                order.push(place);
                firsts.push(first);
            }
            ranks[place.0 as usize][place.1 as usize] = 2 * order.len() as u32;
        }
        let bits = u32::BITS - (2 * order.len() as u32 + 1).leading_zeros();
        Self { tables, order, firsts, ranks, bits }
    }

    /// The ranks of a table's tokens, by their numbers.
    pub(crate) fn ranks(&self, table: usize) -> &[u32] {
        &self.ranks[table]
    }

    /// The rank of any text.
    pub(crate) fn rank_of(&self, token: &[u8]) -> u32 {
        let first = first_bytes(token);
        let start = self.firsts.partition_point(|&other| other < first);
        let same = self.firsts[start..].partition_point(|&other| other == first);
        let found = self.order[start..start + same]
            .binary_search_by(|&(table, number)| self.tables[table as usize].token(number).cmp(token));
        match found {
            Ok(place) => 2 * (start + place) as u32 + 2,
            Err(place) => 2 * (start + place) as u32 + 1,
        }
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The token at a place of the order.
    pub(crate) fn token(&self, place: usize) -> &'t [u8] {
        let (table, number) = self.order[place];
        self.tables[table as usize].token(number)
    }

    /// The distinct tokens in their order, and how often they were counted.
    pub(crate) fn counted(&self) -> Vec<(&'t [u8], u32)> {
        let mut counted: Vec<_> =
            self.order.iter().map(|&(table, number)| (self.tables[table as usize].token(number), 0_u32)).collect();
        for (table, ranks) in self.tables.iter().zip(&self.ranks) {
            for (&rank, number) in ranks.iter().zip(0..) {
                if let Some(place) = place(rank) {
                    counted[place].1 = counted[place].1.saturating_add(table.counted(number));
                }
            }
        }
        counted
    }

    /// The head of a name: heads compare as the names do, but for names that have one head.
    pub(crate) fn head(&self, ranks: impl Iterator<Item = u32>) -> u64 {
        let (mut head, mut left) = (0_u64, u64::BITS);
        for rank in ranks {
            if self.bits > left {
                head |= u64::from(rank >> (self.bits - left));
                break;
            }
            left -= self.bits;
            head |= u64::from(rank) << left;
            // What is behind a text that is not known cannot be compared by ranks.
            if rank & 1 == 1 || left == 0 {
                break;
            }
        }
        head
    }

    /// The head of a name given as its bytes.
    pub(crate) fn head_of(&self, name: &[u8]) -> u64 {
        let mut ends = Vec::new();
        token_ends(name, &mut ends);
        let mut start = 0;
        self.head(ends.iter().map(|&end| {
            let token = &name[start..end as usize];
            start = end as usize + 1;
            self.rank_of(token)
        }))
    }
}

/// The place in the order of the token with an even rank.
pub(crate) fn place(rank: u32) -> Option<usize> {
    if rank & 1 == 0 { (rank as usize / 2).checked_sub(1) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Names of tokens that are known to the first, the second or no table.
        #[test]
        fn heads_compare_as_names_do(names in prop::collection::vec("(DA |)[A-H]{1,2}( [A-H]){0,6}", 2..20), known in any::<u64>()) {
            let mut tables = vec![TokenTable::new(1 << 16), TokenTable::new(1 << 16)];
            let mut ends = Vec::new();
            for (i, name) in names.iter().enumerate() {
                token_ends(name.as_bytes(), &mut ends);
                let mut start = 0;
                for (j, &end) in ends.iter().enumerate() {
                    if known >> ((i * 7 + j) % 64) & 1 == 1 {
                        tables[j % 2].cut(&name.as_bytes()[start..end as usize]);
                    }
                    start = end as usize + 1;
                }
            }
            tables.iter_mut().for_each(|table| {
                table.number_waiting(|_, _| ());
                table.sort();
            });
            let ranking = Ranking::of(&tables);
            // Beginnings of names, cut anywhere, too: shards begin with such.
            let cut: Vec<&str> = names.iter().flat_map(|name| (1..=name.len()).map(|end| &name[..end])).collect();
            for a in &names {
                for b in &cut {
                    let (head_a, head_b) = (ranking.head_of(a.as_bytes()), ranking.head_of(b.as_bytes()));
                    prop_assert!(head_a == head_b || (head_a < head_b) == (&**a < *b), "{} {}", a, b);
                }
            }
        }
    }

    #[test]
    fn ranks_leave_room_for_texts_that_are_not_known() {
        let mut tables = vec![TokenTable::new(1 << 16), TokenTable::new(1 << 16)];
        for (table, name) in tables.iter_mut().zip(["C A", "A E"]) {
            table.cut(name.as_bytes());
            table.number_waiting(|_, _| ());
            (0..2).for_each(|number| table.count(number));
            table.sort();
        }
        let ranking = Ranking::of(&tables);
        assert_eq!((ranking.ranks(0), ranking.ranks(1)), (&[4, 2][..], &[2, 6][..]));
        assert_eq!(
            ["", "A", "B", "C", "D", "E", "F"].map(|text| ranking.rank_of(text.as_bytes())),
            [1, 2, 3, 4, 5, 6, 7]
        );
        assert_eq!([4, 5, 0].map(|rank| place(rank).map(|place| ranking.token(place))), [Some(&b"C"[..]), None, None]);
        assert_eq!(ranking.counted(), [(&b"A"[..], 2), (b"C", 1), (b"E", 1)]);
    }
}
