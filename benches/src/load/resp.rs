//! RESP as Redis 7 speaks it: a key is asked for with `GET`, and a bulk string is its answer.
//!
//! Only the replies that `GET` may have are known; any other kind is damage.

use std::io::Write as _;

use super::framing::{Damaged, Framing, Judged, REPLY_BYTES_MAX, number, printable};

/// A first line of more bytes is damage: a length, or an error's text.
const LINE_BYTES_MAX: usize = 4096;

/// The protocol.
#[derive(Debug)]
pub(crate) struct Resp;

impl Framing for Resp {
    fn prepare(&self, line: &str) -> Result<Vec<u8>, &'static str> {
        let mut body = Vec::new();
        command(&mut body, &[b"GET", line.as_bytes()]);
        Ok(body)
    }

    fn request(out: &mut Vec<u8>, _id: u64, body: &[u8]) {
        out.extend_from_slice(body);
    }

    /// A bulk string tells its length: its bytes are not looked at. `scanned` is how far the first line was searched for its end.
    fn split(input: &[u8], scanned: &mut usize) -> Result<Option<usize>, Damaged> {
        let Some(&kind) = input.first() else { return Ok(None) };
        if !b"$+-:_".contains(&kind) {
            return Err(Damaged("not_a_reply"));
        }
        let searched = &input[..input.len().min(LINE_BYTES_MAX)];
        let Some(end) = memchr::memchr(b'\n', &searched[*scanned..]).map(|at| *scanned + at + 1) else {
            *scanned = searched.len();
            return if searched.len() == LINE_BYTES_MAX { Err(Damaged("reply_line_too_long")) } else { Ok(None) };
        };
        let line = input[1..end].strip_suffix(b"\r\n").ok_or(Damaged("not_a_reply"))?;
        if kind != b'$' || line == b"-1" {
            return Ok(Some(end));
        }
        // The line's end is found again when more has come, at once.
        *scanned = end - 1;
        let length = number(line).ok_or(Damaged("not_a_reply"))?;
        let length = usize::try_from(length).ok().filter(|&length| length <= REPLY_BYTES_MAX);
        let whole = end + length.ok_or(Damaged("reply_too_long"))? + 2;
        match input.get(whole - 2..whole) {
            None => Ok(None),
            Some(b"\r\n") => Ok(Some(whole)),
            Some(_) => Err(Damaged("not_a_reply")),
        }
    }

    /// Absent keys and empty values are errors with or without `rows_expected`: what is asked for was put in.
    fn judge(reply: &[u8], _rows_expected: bool, _total: Option<u32>) -> Judged {
        match reply {
            [b'$', b'-', ..] | [b'_', ..] => Judged::wrong(None, "nil"),
            [b'$', b'0', b'\r', ..] => Judged::wrong(None, "empty"),
            [b'$', ..] => Judged::well(None),
            [b'-', text @ ..] => Judged::wrong(None, error_code(text)),
            _ => Judged::wrong(None, "not_a_bulk_string"),
        }
    }
}

/// The first word of an error, which is its code.
fn error_code(text: &[u8]) -> std::borrow::Cow<'static, str> {
    printable(text.split(u8::is_ascii_whitespace).next().unwrap_or_default())
}

/// Appends a command.
pub(crate) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    // Writing to memory cannot fail.
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing::check_every_split;
    use super::*;

    #[test]
    fn a_key_becomes_a_get() {
        let mut out = Vec::new();
        Resp::request(&mut out, 7, &Resp.prepare("João 1").unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "*2\r\n$3\r\nGET\r\n$7\r\nJoão 1\r\n");
    }

    #[test]
    fn a_value_is_sent_as_it_is() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"191", b"{\"a\":\"\r\n\"}"]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\n191\r\n$10\r\n{\"a\":\"\r\n\"}\r\n");
    }

    #[test]
    fn replies_are_found_wherever_a_read_ends() {
        let replies = ["$5\r\na\r\nbc\r\n", "$0\r\n\r\n", "$-1\r\n", "-ERR no\r\n", "+OK\r\n", ":12\r\n", "_\r\n"];
        let lengths: Vec<usize> = replies.iter().map(|reply| reply.len()).collect();
        check_every_split::<Resp>(replies.concat().as_bytes(), &lengths);
    }

    #[test]
    fn replies_are_judged() {
        #[track_caller]
        fn check(reply: &str, error: Option<&'static str>) {
            assert_eq!(Resp::split(reply.as_bytes(), &mut 0), Ok(Some(reply.len())), "{reply}");
            let judged = Resp::judge(reply.as_bytes(), false, None);
            assert_eq!(judged, Judged { id: None, error: error.map(Into::into) }, "{reply}");
        }
        check("$1\r\nx\r\n", None);
        check("$01\r\nx\r\n", None);
        check("$-1\r\n", Some("nil"));
        check("_\r\n", Some("nil"));
        check("$0\r\n\r\n", Some("empty"));
        check("-WRONGTYPE Operation against\r\n", Some("WRONGTYPE"));
        check("-\r\n", Some("error_without_code"));
        check("+OK\r\n", Some("not_a_bulk_string"));
        check(":0\r\n", Some("not_a_bulk_string"));
    }

    #[test]
    fn damage_is_an_error_and_nothing_worse() {
        #[track_caller]
        fn check(input: &[u8], why: &'static str) {
            assert_eq!(Resp::split(input, &mut 0), Err(Damaged(why)), "{}", input.escape_ascii());
        }
        check(b"*1\r\n$1\r\nx\r\n", "not_a_reply");
        check(b"{\"id\":1}\n", "not_a_reply");
        check(b"\r\n", "not_a_reply");
        check(b"$1\nx\r\n", "not_a_reply");
        check(b"$x\r\n", "not_a_reply");
        check(b"$-2\r\n", "not_a_reply");
        check(b"$\r\n\r\n", "not_a_reply");
        check(b"$1\r\nxyz", "not_a_reply");
        check(b"$99999999999999999999999\r\n", "not_a_reply");
        check(b"$999999999999999999\r\n", "reply_too_long");
        check(&[b'$'; LINE_BYTES_MAX], "reply_line_too_long");
        check(&[b'-'; 2 * LINE_BYTES_MAX], "reply_line_too_long");
    }
}
