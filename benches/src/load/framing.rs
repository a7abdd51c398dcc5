//! What the event loop must know of a protocol, and nothing more: how a question is written, where a reply ends, whether it is a good one.
//!
//! Each protocol is a module of its own; the loop is compiled once for each, so that no call is looked up while it runs.

use std::borrow::Cow;
use std::net::TcpStream;

/// A reply of more bytes is taken for damaged: whatever declares it would fill the memory. Far above
/// any page or batch of ours.
pub(crate) const REPLY_BYTES_MAX: usize = 64 << 20;

/// A code of more bytes is cut: a reply names it, and it is kept and printed.
pub(crate) const CODE_BYTES_MAX: usize = 48;

/// What a reply came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The request that it answers, where it says so; without it, replies come in the order of their requests.
    pub(crate) id: Option<u64>,
    /// An error code of the server, or of this program for what is no reply.
    pub(crate) error: Option<Cow<'static, str>>,
}

impl Judged {
    pub(crate) fn well(id: Option<u64>) -> Self {
        Self { id, error: None }
    }

    pub(crate) fn wrong(id: Option<u64>, error: impl Into<Cow<'static, str>>) -> Self {
        Self { id, error: Some(error.into()) }
    }
}

/// Bytes that no whole reply can begin with. The connection is of no use behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged(pub(crate) &'static str);

/// A protocol.
pub(crate) trait Framing: Sync {
    /// Whether a line of the keys may end with a tabulator and the total that must come.
    const TELLS_TOTALS: bool = false;

    /// What a new connection needs before its first question. It blocks; the stream has deadlines.
    fn greet(&self, _stream: &mut TcpStream) -> anyhow::Result<()> {
        Ok(())
    }

    /// Prepares a line of a key file: the question, but for its `id`.
    fn prepare(&self, line: &str) -> Result<Vec<u8>, &'static str>;

    /// Appends the question with this `id`; `body` is from [`Framing::prepare`].
    fn request(out: &mut Vec<u8>, id: u64, body: &[u8]);

    /// The length of the first whole reply in `input`; `None` where its end has not come. `scanned` is 0 at the beginning of a reply and
    /// kept until its end, so that no byte is looked at with every read.
    fn split(input: &[u8], scanned: &mut usize) -> Result<Option<usize>, Damaged>;

    /// Judges a reply that [`Framing::split`] found whole.
    fn judge(reply: &[u8], rows_expected: bool, total: Option<u32>) -> Judged;

    /// Rows in a reply that [`Framing::split`] found whole; 0 where it has none.
    fn rows(_reply: &[u8]) -> u64 {
        0
    }

    /// Why the server hung up, where what it sent last says so.
    fn last_words(_input: &[u8]) -> Option<Cow<'static, str>> {
        None
    }
}

/// `code` as the server wrote it, made fit to be kept and printed.
pub(crate) fn printable(code: &[u8]) -> Cow<'static, str> {
    let kept = &code[..code.len().min(CODE_BYTES_MAX)];
    let text: String = kept.iter().map(|&byte| if byte.is_ascii_graphic() { byte as char } else { '?' }).collect();
    if text.is_empty() { "error_without_code".into() } else { text.into() }
}

/// The whole number that `digits` writes in at most eighteen of them.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let whole = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    whole.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Splits `whole` in every way at one place, and byte by byte, and checks that each finds the same replies.
#[cfg(test)]
#[track_caller]
pub(crate) fn check_every_split<F: Framing>(whole: &[u8], expected: &[usize]) {
    let lengths = |cuts: &[usize]| {
        let (mut lengths, mut start, mut scanned) = (Vec::new(), 0, 0);
        for &cut in cuts {
            while let Some(length) = F::split(&whole[start..cut], &mut scanned).unwrap() {
                lengths.push(length);
                start += length;
                scanned = 0;
            }
        }
        lengths
    };
    for cut in 0..=whole.len() {
        assert_eq!(lengths(&[cut, whole.len()]), expected, "cut at {cut}");
    }
    assert_eq!(lengths(&(0..=whole.len()).collect::<Vec<_>>()), expected, "byte by byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_of_a_server_are_bounded() {
        assert_eq!(number(b"0042"), Some(42));
        assert_eq!(number(b"999999999999999999"), Some(999_999_999_999_999_999));
        for none in [&b""[..], b"-1", b"1a", b"9999999999999999999"] {
            assert_eq!(number(none), None);
        }
        assert_eq!(printable(b"57P01"), "57P01");
        assert_eq!(printable(b"a\xff\n"), "a??");
        assert_eq!(printable(b""), "error_without_code");
        assert_eq!(printable(&[b'x'; 1000]).len(), CODE_BYTES_MAX);
    }
}
