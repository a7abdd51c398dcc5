//! `Cursor`: the place where the next page of an answer begins, as an opaque text.
//!
//! A cursor is bound to one generation and one question; it grants nothing, so it is checked against mistakes, not signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::CURSOR_BYTES_MAX;

/// Layout of a cursor, before base64: version (1 byte), generation, question, position (8 bytes each, little endian); in version 2 then the level
/// (1 byte), whether the total is a lower bound (1 byte, 0 or 1), the total and the rows given before (8 bytes each, little endian); and the low four
/// bytes of the xxh3 of all these.
const PLACE_BYTES: usize = 1 + 3 * 8;
const SEARCH_BYTES: usize = PLACE_BYTES + 2 + 2 * 8;
const CHECKSUM_BYTES: usize = 4;
const VERSION_PLACE: u8 = 1;
const VERSION_SEARCH: u8 = 2;

const _: () = assert!((SEARCH_BYTES + CHECKSUM_BYTES).div_ceil(3) * 4 <= CURSOR_BYTES_MAX);

/// A place in the answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The generation's tag: another one has other places.
    pub generation: u64,
    /// A hash of the question.
    pub question: u64,
    /// How many rows of the answer come before; in the answer of a search, the next rank of its level.
    pub position: u64,
    /// What goes on in the answer of a search; none for the others, whose answers are runs of ranks.
    pub search: Option<SearchPlace>,
}

/// What the next page of a search has to know of those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchPlace {
    /// The level that the page begins in: 0 for exact words, else 1 more than the sum of the distances.
    pub level: u8,
    /// The total that the first page told.
    pub total: Total,
    /// Rows of all pages before.
    pub given: u64,
}

/// How many rows an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// So many.
    Exact(u64),
    /// So many are known of; to count them all would be too dear.
    AtLeast(u64),
}

/// A text that no server gave out as a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is malformed; send it exactly as `next` gave it")]
pub struct CursorError;

impl Cursor {
    /// The text for `next`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(SEARCH_BYTES + CHECKSUM_BYTES);
        bytes.push(if self.search.is_some() { VERSION_SEARCH } else { VERSION_PLACE });
        for word in [self.generation, self.question, self.position] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        if let Some(SearchPlace { level, total, given }) = self.search {
            let (is_bound, total) = match total {
                Total::Exact(total) => (0, total),
                Total::AtLeast(total) => (1, total),
            };
            bytes.extend_from_slice(&[level, is_bound]);
            bytes.extend_from_slice(&total.to_le_bytes());
            bytes.extend_from_slice(&given.to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Cursor::encode`] wrote.
    ///
    /// # Errors
    /// [`CursorError`] for every other text.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let (place, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(CursorError)?;
        if *sum != checksum(place) {
            return Err(CursorError);
        }
        let word = |at: usize| place[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| CursorError);
        let search = match (place.first(), place.len()) {
            (Some(&VERSION_PLACE), PLACE_BYTES) => None,
            (Some(&VERSION_SEARCH), SEARCH_BYTES) => {
                let total = match place[PLACE_BYTES + 1] {
                    0 => Total::Exact(word(PLACE_BYTES + 2)?),
                    1 => Total::AtLeast(word(PLACE_BYTES + 2)?),
                    _ => return Err(CursorError),
                };
                Some(SearchPlace { level: place[PLACE_BYTES], total, given: word(PLACE_BYTES + 10)? })
            }
            _ => return Err(CursorError),
        };
        Ok(Self { generation: word(1)?, question: word(9)?, position: word(17)?, search })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    (xxh3_64(bytes) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Operation, decode};
    use proptest::prelude::*;

    fn any_search() -> impl Strategy<Value = Option<SearchPlace>> {
        let total = prop_oneof![any::<u64>().prop_map(Total::Exact), any::<u64>().prop_map(Total::AtLeast)];
        prop::option::of((any::<u8>(), total, any::<u64>()).prop_map(|(level, total, given)| SearchPlace {
            level,
            total,
            given,
        }))
    }

    /// Cursors that servers gave out are read by those of later.
    #[test]
    fn golden_texts() {
        let cursor = Cursor { generation: 1, question: 2, position: 3, search: None };
        assert_eq!(cursor.encode(), "AQEAAAAAAAAAAgAAAAAAAAADAAAAAAAAABjmgQs");
        let search = Some(SearchPlace { level: 4, total: Total::AtLeast(5), given: 6 });
        assert_eq!(
            Cursor { search, ..cursor }.encode(),
            "AgEAAAAAAAAAAgAAAAAAAAADAAAAAAAAAAQBBQAAAAAAAAAGAAAAAAAAAM9d7l0"
        );
    }

    /// A `next` of a server of before searches, from the page's transcript of then.
    #[test]
    fn a_cursor_of_before() {
        let text = "AVpjmCiz8m8bGe8xtcUGQPYCAAAAAAAAAH9dr9w";
        let cursor = Cursor::decode(text).unwrap();
        assert_eq!((cursor.position, cursor.search, cursor.encode()), (2, None, text.to_owned()));
        let line = format!(r#"{{"nome":"maria da sil","limit":2,"cursor":"{text}"}}"#);
        let Ok(Operation::Lookup(lookup)) = decode(line.as_bytes()).operation else { panic!("a lookup") };
        assert_eq!((lookup.cursor, lookup.fingerprint()), (Some(cursor), cursor.question));
    }

    #[test]
    fn a_checksum_alone_makes_no_cursor() {
        let sealed = |bytes: &[u8]| URL_SAFE_NO_PAD.encode([bytes, &checksum(bytes)].concat());
        let mut search = [0; SEARCH_BYTES];
        search[0] = VERSION_SEARCH;
        assert!(Cursor::decode(&sealed(&search)).is_ok());
        for (at, byte) in [(0, 0), (0, VERSION_PLACE), (0, 3), (PLACE_BYTES + 1, 2), (PLACE_BYTES + 1, 255)] {
            let mut changed = search;
            changed[at] = byte;
            assert_eq!(Cursor::decode(&sealed(&changed)), Err(CursorError));
        }
        for length in 0..SEARCH_BYTES {
            assert_eq!(Cursor::decode(&sealed(&search[..length])), Err(CursorError));
        }
        assert_eq!(Cursor::decode(&sealed(&[])), Err(CursorError));
        assert_eq!(Cursor::decode(""), Err(CursorError));
    }

    proptest! {
        #[test]
        fn reads_back(generation: u64, question: u64, position: u64, search in any_search()) {
            let cursor = Cursor { generation, question, position, search };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn one_changed_character_is_refused(position: u64, search in any_search(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let text = Cursor { generation: 1, question: 2, position, search }.encode();
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != text);
            prop_assert_eq!(Cursor::decode(&changed), Err(CursorError));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Cursor::decode(&text);
        }
    }
}
