//! How many records a CSV has, as it comes in pieces: lines, but for those that end within quotes.
//!
//! It reads no cell, and takes a quote within a bare cell for a beginning as well.

/// The count so far.
#[derive(Debug, Default)]
pub(crate) struct Records {
    count: u64,
    is_quoted: bool,
}

impl Records {
    /// Takes the next piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        for at in memchr::memchr2_iter(b'"', b'\n', piece) {
            match piece[at] {
                // A doubled one within quotes ends and begins again.
                b'"' => self.is_quoted = !self.is_quoted,
                _ => self.count += u64::from(!self.is_quoted),
            }
        }
    }

    /// Records that have ended, the header among them.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_within_quotes_ends_no_record() {
        let text = b"cpf;nome\r\n1;A\n2;\"B\n\"\"C\"\"\n\"\n3;\"D;\"\"\n\"\n";
        for piece in 1..text.len() {
            let mut records = Records::default();
            text.chunks(piece).for_each(|piece| records.feed(piece));
            assert_eq!(records.count(), 4, "in pieces of {piece}");
        }
    }
}
