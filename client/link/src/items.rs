//! `Items`: the questions of batches, written as JSON once, however often and in whatever pieces they are sent. It sends nothing.

use std::ops::Range;

use balcao_wire::client::Question;

/// Questions in the order in which they were added.
#[derive(Debug, Default)]
pub struct Items {
    /// Each question with a comma behind it.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Items {
    /// Adds a question, which should have no `id`; how many bytes it takes in a request line.
    pub fn push(&mut self, question: &Question<'_>) -> usize {
        let start = self.bytes.len();
        // A question is texts and numbers, and goes to memory: this cannot fail.
        let _ = serde_json::to_writer(&mut self.bytes, question);
        self.bytes.push(b',');
        self.ends.push(self.bytes.len());
        self.bytes.len() - start
    }

    /// Takes back the question that was added last.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.ends.last().copied().unwrap_or_default());
    }

    /// How many questions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all of them, and keeps their room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Some of the questions, with commas between them; what is beyond the last is left out.
    pub(crate) fn json(&self, range: Range<usize>) -> &[u8] {
        let end_of = |n: usize| n.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or_default();
        let range = end_of(range.start.min(self.len()))..end_of(range.end.min(self.len()));
        let json = self.bytes.get(range).unwrap_or_default();
        json.strip_suffix(b",").unwrap_or(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{by_cpf, by_name};

    #[test]
    fn pieces_are_json_between_brackets() {
        let mut items = Items::default();
        assert_eq!(items.push(&by_cpf("1", None)), r#"{"cpf":"1"},"#.len());
        items.push(&by_name("A\"", None, Some(1)));
        items.push(&by_cpf("3", None));
        for (range, expected) in [
            (0..3, r#"{"cpf":"1"},{"nome":"A\"","limit":1},{"cpf":"3"}"#),
            (1..2, r#"{"nome":"A\"","limit":1}"#),
            (2..9, r#"{"cpf":"3"}"#),
            (3..3, ""),
            (7..9, ""),
        ] {
            assert_eq!(items.json(range), expected.as_bytes());
        }
        items.pop();
        assert_eq!((items.len(), items.json(0..9)), (2, r#"{"cpf":"1"},{"nome":"A\"","limit":1}"#.as_bytes()));
        items.clear();
        assert!(items.is_empty() && items.json(0..1).is_empty());
    }
}
