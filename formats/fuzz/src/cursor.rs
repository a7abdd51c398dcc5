//! Target `cursor`: any text, and cursors that were altered.

use arbitrary::{Arbitrary, Unstructured};
use balcao_wire::limits::CURSOR_BYTES_MAX;
use balcao_wire::{Cursor, SearchPlace, Total};

/// The numbers of a cursor, and an alteration of the text that they come to.
#[derive(Arbitrary, Debug)]
struct Altered {
    generation: u64,
    question: u64,
    position: u64,
    at: u8,
    to: u8,
    cut: u8,
    search: Option<(u8, bool, u64, u64)>,
    more: String,
}

/// Decodes any text; encodes any numbers, and decodes what an altered text comes to.
pub fn cursor(data: &[u8]) {
    check(&String::from_utf8_lossy(data));
    let Ok(altered) = Altered::arbitrary(&mut Unstructured::new(data)) else { return };
    let search = altered.search.map(|(level, is_exact, total, given)| {
        let total = if is_exact { Total::Exact(total) } else { Total::AtLeast(total) };
        SearchPlace { level, total, given }
    });
    let cursor =
        Cursor { generation: altered.generation, question: altered.question, position: altered.position, search };
    let text = cursor.encode();
    assert!(text.len() <= CURSOR_BYTES_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    assert_eq!(Cursor::decode(&text), Ok(cursor));
    let mut bytes = text.clone().into_bytes();
    let at = usize::from(altered.at) % bytes.len();
    bytes[at] = altered.to & 0x7f;
    check(&String::from_utf8_lossy(&bytes));
    check(&text[..usize::from(altered.cut) % text.len()]);
    check(&(text + &altered.more));
}

/// A text that is read is the only one of its cursor: so an altered cursor is refused, or it is another one.
fn check(text: &str) {
    if let Ok(cursor) = Cursor::decode(text) {
        assert_eq!(cursor.encode(), text);
    }
}
