//! `Cursor`: the place where the next page of an answer begins, as an opaque text.
//!
//! A cursor is bound to one generation and one question; it grants nothing, so it is checked against mistakes, not signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::CURSOR_BYTES_MAX;

/// Layout of a cursor, before base64: version (1 byte), generation, question, position (8 bytes each, little endian), and the low four
/// bytes of the xxh3 of all these.
const BYTES: usize = 1 + 3 * 8 + 4;
const VERSION: u8 = 1;

const _: () = assert!(BYTES.div_ceil(3) * 4 <= CURSOR_BYTES_MAX);

/// A place in the answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The generation's tag: another one has other places.
    pub generation: u64,
    /// A hash of the question.
    pub question: u64,
    /// How many rows of the answer come before.
    pub position: u64,
}

/// A text that no server gave out as a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is malformed; send it exactly as `next` gave it")]
pub struct CursorError;

impl Cursor {
    /// The text for `next`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.generation.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.question.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.position.to_le_bytes());
        let sum = checksum(&bytes[..25]);
        bytes[25..].copy_from_slice(&sum);
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
        if bytes.len() != BYTES || bytes[0] != VERSION || bytes[25..] != checksum(&bytes[..25]) {
            return Err(CursorError);
        }
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| CursorError);
        Ok(Self { generation: word(1)?, question: word(9)?, position: word(17)? })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    (xxh3_64(bytes) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(generation: u64, question: u64, position: u64) {
            let cursor = Cursor { generation, question, position };
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }

        #[test]
        fn one_changed_character_is_refused(position: u64, at in 0..39_usize, to in "[A-Za-z0-9_-]") {
            let text = Cursor { generation: 1, question: 2, position }.encode();
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
