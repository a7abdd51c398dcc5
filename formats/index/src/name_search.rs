//! `Search`: passes the names of a block below, or up to the end of, those that are asked for, without putting any of them together.
//!
//! Names share leading tokens with the one before, and they ascend. So where a name shares more tokens with the one before than that one does with what
//! is asked, it compares like the one before, and its own tokens are only counted. The others are compared from where the shared tokens end.

use std::cmp::Ordering;

use crate::names::{Head, TWO_BYTES, read_token};
use crate::words::Words;

/// Where a name stands to the text that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Below,
    Equal,
    /// It begins with the text and is longer.
    Within,
    Above,
}

/// Ends of tokens that are kept without taking memory: most names have fewer.
const ENDS: usize = 12;

/// Walks through the names of a block.
pub(crate) struct Search<'a> {
    words: &'a Words,
    asked: &'a [u8],
    rest: &'a [u8],
    /// Names that were not read yet.
    names: usize,
    /// The rank of the name at hand, or behind the block's last one.
    pub(crate) rank: u64,
    /// How many rows the name at hand has.
    pub(crate) rows: u64,
    side: Side,
    /// Tokens of the name at hand, and how many of the first ones stand in `asked` as they are.
    tokens: usize,
    same: usize,
    /// Where these tokens end in `asked`.
    ends: [u32; ENDS],
    far_ends: Vec<u32>,
}

impl<'a> Search<'a> {
    /// For `asked` in a block of so many names, the first of which has rank `rank`.
    pub(crate) fn new(words: &'a Words, asked: &'a [u8], names_bytes: &'a [u8], names: usize, rank: u64) -> Self {
        Self {
            words,
            asked,
            rest: names_bytes,
            names,
            rank,
            rows: 0,
            side: Side::Below,
            tokens: 0,
            same: 0,
            ends: [0; ENDS],
            far_ends: Vec::new(),
        }
    }

    /// Goes on to the first name beyond `side`, from the one at hand, and says where that stands; inner `None` where the block has none. `None` where its
    /// bytes make no sense.
    #[expect(clippy::option_option, reason = "a block that cannot be read is not one that ends")]
    pub(crate) fn pass(&mut self, side: Side) -> Option<Option<Side>> {
        // Before the first name there is one without rows, below all.
        while self.side <= side {
            self.rank = self.rank.saturating_add(self.rows);
            self.rows = 0;
            if self.names == 0 {
                return Some(None);
            }
            self.names -= 1;
            self.next()?;
        }
        Some(Some(self.side))
    }

    /// Reads the next name. `None` where its bytes make no sense.
    fn next(&mut self) -> Option<()> {
        let head = Head::read(&mut self.rest)?;
        if head.shared > self.tokens {
            return None;
        }
        let mut unread = head.further;
        // Where it shares the token that decided, the same decides again.
        if head.shared <= self.same {
            self.same = head.shared;
            self.side = self.compare(&mut unread)?;
        }
        for _ in 0..unread {
            skip_token(&mut self.rest, self.words)?;
        }
        self.tokens = head.shared.checked_add(usize::try_from(head.further).ok()?)?;
        self.rows = head.rows(&mut self.rest)?;
        Some(())
    }

    /// Compares the further tokens of a name, up to the one that decides, with what follows in `asked` behind those that are the same.
    fn compare(&mut self, unread: &mut u64) -> Option<Side> {
        let mut end = self.end();
        while *unread > 0 {
            *unread -= 1;
            let token = read_token(&mut self.rest, self.words)?;
            let mut asked = self.asked.get(end..)?;
            if self.same > 0 {
                match asked.split_first() {
                    None => return Some(Side::Within),
                    Some((b' ', behind)) => asked = behind,
                    Some((other, _)) => return Some(if b' ' < *other { Side::Below } else { Side::Above }),
                }
            }
            if let (Some(a), Some(b)) = (token.first(), asked.first())
                && a != b
            {
                return Some(if a < b { Side::Below } else { Side::Above });
            }
            if !asked.starts_with(token) {
                return Some(match token.cmp(asked) {
                    Ordering::Less => Side::Below,
                    _ if token.starts_with(asked) => Side::Within,
                    _ => Side::Above,
                });
            }
            end = self.asked.len() - asked.len() + token.len();
            self.push(end)?;
        }
        Some(if end == self.asked.len() { Side::Equal } else { Side::Below })
    }

    /// Where the tokens that are the same end in `asked`.
    fn end(&self) -> usize {
        let Some(last) = self.same.checked_sub(1) else { return 0 };
        let end = if last < ENDS { self.ends.get(last) } else { self.far_ends.get(last - ENDS) };
        end.map_or(0, |&end| end as usize)
    }

    /// One more token is the same, and ends here in `asked`.
    fn push(&mut self, end: usize) -> Option<()> {
        let end = u32::try_from(end).ok()?;
        if let Some(place) = self.ends.get_mut(self.same) {
            *place = end;
        } else {
            self.far_ends.truncate(self.same - ENDS);
            self.far_ends.push(end);
        }
        self.same += 1;
        Some(())
    }
}

/// Passes a token that nobody needs; `None` where there is none, or none of its code.
fn skip_token<'a>(rest: &mut &'a [u8], words: &'a Words) -> Option<()> {
    let (&first, tail) = rest.split_first()?;
    if u32::from(first) < TWO_BYTES && usize::from(first) < words.len() {
        *rest = tail;
        return Some(());
    }
    read_token(rest, words).map(drop)
}
