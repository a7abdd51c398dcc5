//! Tests of what name blocks are made of: tokens, their codes, and the separators between blocks.

use super::*;
use crate::name_writer::{separator, write_token};
use crate::tokens::{shared_tokens, token_ends};
use crate::words::WordCounter;
use proptest::prelude::*;

/// A dictionary of `count` tokens, so that codes of every length are there; all are equally frequent and so in the order of their bytes.
fn dictionary(count: usize) -> Words {
    let mut counter = WordCounter::new(1 << 30);
    for _ in 0..2 {
        (0..count).for_each(|i| counter.count(b"", format!("T{i:06}").as_bytes()));
    }
    counter.into_words()
}

#[test]
fn codes_at_every_border_read_back() {
    let words = dictionary(80_000);
    assert_eq!(words.len(), 80_000);
    for (code, length) in [
        (0, 1),
        (191, 1),
        (192, 2),
        (193, 2),
        (12_479, 2),
        (12_480, 3),
        (12_736, 3),
        (78_015, 3),
        (78_016, 3),
        (79_999, 3),
    ] {
        let token = format!("T{code:06}");
        let mut out = Vec::new();
        write_token(&mut out, words.code(token.as_bytes()), token.as_bytes());
        assert_eq!(out.len(), length, "{token}");
        assert_eq!(read_token(&mut out.as_slice(), &words), Some(token.as_bytes()));
        // Cut short it is refused, and a code beyond the dictionary too.
        assert_eq!(read_token(&mut &out[..length - 1], &words), None);
        assert_eq!(read_token(&mut out.as_slice(), &Words::default()), None);
    }
}

/// The tokens by whole words: a particle that begins a token takes the next word along.
fn plain_tokens(name: &str) -> Vec<String> {
    let mut words = name.split(' ').peekable();
    let mut tokens = Vec::new();
    while let Some(word) = words.next() {
        match words.peek() {
            Some(next) if ["DA", "DE", "DO", "DOS", "DAS", "E"].contains(&word) => {
                tokens.push(format!("{word} {next}"));
                words.next();
            }
            _ => tokens.push(word.to_owned()),
        }
    }
    tokens
}

fn ends(name: &str) -> Vec<u32> {
    let mut ends = Vec::new();
    token_ends(name.as_bytes(), &mut ends);
    ends
}

proptest! {
    #[test]
    fn tokens_are_those_of_whole_words(name in "(DA|DE|E|DOS|A|AB|Ø)( (DA|DE|E|DOS|A|AB|Ø)){0,8}") {
        let mut start = 0;
        let found: Vec<_> = ends(&name).into_iter().map(|end| &name[std::mem::replace(&mut start, end as usize + 1)..end as usize]).collect();
        prop_assert_eq!(found, plain_tokens(&name));
    }

    #[test]
    fn shared_tokens_are_all_that_are_equal(
        a in "(DA|E|A|AB)( (DA|E|A|AB)){0,6}",
        b in "(DA|E|A|AB)( (DA|E|A|AB)){0,6}",
    ) {
        let expected = plain_tokens(&a).iter().zip(&plain_tokens(&b)).take_while(|(a, b)| a == b).count();
        prop_assert_eq!(shared_tokens(a.as_bytes(), &ends(&a), b.as_bytes(), &ends(&b)), expected);
    }

    #[test]
    fn any_token_reads_back(token in prop::collection::vec(any::<u8>(), 0..200), rest in prop::collection::vec(any::<u8>(), 0..4)) {
        let (mut out, words) = (Vec::new(), Words::default());
        write_token(&mut out, words.code(&token), &token);
        out.extend_from_slice(&rest);
        let mut left = out.as_slice();
        prop_assert_eq!(read_token(&mut left, &words), Some(token.as_slice()));
        prop_assert_eq!(left, rest);
    }

    /// Between the two, and never longer than the first.
    #[test]
    fn separators_are_between(a in prop::collection::vec(0xfd..=0xff_u8, 1..6), b in prop::collection::vec(0xfd..=0xff_u8, 1..6)) {
        prop_assume!(a != b);
        let (last, next) = if a < b { (a, b) } else { (b, a) };
        let end = separator(&last, &next);
        prop_assert!(last <= end && end < next && end.len() <= last.len());
    }
}
