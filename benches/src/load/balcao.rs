//! Protocol version 1: one JSON object a line, replies in any order, each with the `id` of its request.
//!
//! It checks that a reply is one and says yes, not what is in its rows.

use serde_json::{Map, Value};

use super::framing::{Damaged, Framing, Judged, REPLY_BYTES_MAX, number, printable};

/// The question of every idle connection.
pub(crate) const PING: &[u8] = b"{\"op\":\"ping\"}\n";

/// The protocol.
#[derive(Debug)]
pub(crate) struct Balcao;

impl Framing for Balcao {
    const TELLS_TOTALS: bool = true;

    fn prepare(&self, line: &str) -> Result<Vec<u8>, &'static str> {
        prepare(line.trim())
    }

    fn request(out: &mut Vec<u8>, id: u64, body: &[u8]) {
        request(out, id, body);
    }

    /// `scanned` is how far the line was searched for its end.
    fn split(input: &[u8], scanned: &mut usize) -> Result<Option<usize>, Damaged> {
        if let Some(at) = memchr::memchr(b'\n', &input[*scanned..]) {
            return Ok(Some(*scanned + at + 1));
        }
        *scanned = input.len();
        if input.len() > REPLY_BYTES_MAX { Err(Damaged("reply_too_long")) } else { Ok(None) }
    }

    fn judge(reply: &[u8], rows_expected: bool, total: Option<u32>) -> Judged {
        judge(reply, rows_expected, total)
    }

    fn rows(reply: &[u8]) -> u64 {
        let members: Value = serde_json::from_slice(reply).unwrap_or_default();
        members["rows"].as_array().map_or(0, |rows| rows.len() as u64)
    }
}

/// A line is a CPF, or a request whose `id` is replaced. What comes out is the request behind its `id`.
fn prepare(line: &str) -> Result<Vec<u8>, &'static str> {
    let mut members = if line.starts_with('{') {
        serde_json::from_str::<Map<String, Value>>(line).map_err(|_| "not a JSON object")?
    } else {
        Map::from_iter([("cpf".to_owned(), Value::from(line))])
    };
    members.shift_remove("id");
    let mut body = Value::from(members).to_string().into_bytes();
    if body == b"{}" {
        return Err("a request without any member");
    }
    body[0] = b',';
    body.push(b'\n');
    Ok(body)
}

/// Digits of the largest `id`.
const ID_DIGITS: usize = 20;

/// Appends the request with this `id`; `body` is from [`prepare`]. Without the machinery of `format!`, which would be most of its cost.
fn request(out: &mut Vec<u8>, mut id: u64, body: &[u8]) {
    let mut digits = [0; ID_DIGITS];
    let mut first = ID_DIGITS;
    loop {
        first -= 1;
        digits[first] = b'0' + (id % 10) as u8;
        id /= 10;
        if id == 0 {
            break;
        }
    }
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(&digits[first..]);
    out.extend_from_slice(body);
}

/// Reads a reply, its end included.
fn judge(reply: &[u8], rows_expected: bool, total: Option<u32>) -> Judged {
    let judged = match glance(reply, rows_expected) {
        Some(id) => Judged::well(Some(id)),
        None => read(reply, rows_expected),
    };
    match total {
        Some(total) if judged.error.is_none() && total_of(reply) != Some(total) => {
            Judged::wrong(judged.id, "wrong_total")
        }
        _ => judged,
    }
}

/// What a reply tells as its `total`. It stands behind the rows, before `next` alone; in a text of a row its quotes would be escaped.
fn total_of(reply: &[u8]) -> Option<u32> {
    const MEMBER: &[u8] = b",\"total\":";
    let at = reply.windows(MEMBER.len()).rposition(|window| window == MEMBER)? + MEMBER.len();
    let digits = reply[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&reply[at..at + digits]).ok()?.parse().ok()
}

/// Recognises the usual shape, `{"id":N,"status":"ok",` and a first row where one is expected, without reading the rest: on a
/// machine that both share, what the load generator spends is not the server's.
fn glance(reply: &[u8], rows_expected: bool) -> Option<u64> {
    let rest = reply.strip_prefix(b"{\"id\":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let id = number(&rest[..digits])?;
    let rest = rest[digits..].strip_prefix(b",\"status\":\"ok\"")?;
    if rows_expected {
        rest.strip_prefix(b",\"rows\":[{")?;
    }
    rest.ends_with(b"}\n").then_some(id)
}

/// Reads any reply.
fn read(reply: &[u8], rows_expected: bool) -> Judged {
    let Ok(Value::Object(members)) = serde_json::from_slice(reply) else {
        return Judged::wrong(None, "unreadable_reply");
    };
    let Some(id) = members.get("id").and_then(Value::as_u64) else {
        return Judged::wrong(None, "reply_without_id");
    };
    match members.get("status").and_then(Value::as_str) {
        Some("ok") => {
            let rows = members.get("rows").and_then(Value::as_array);
            if rows_expected && rows.is_none_or(Vec::is_empty) {
                Judged::wrong(Some(id), "no_rows")
            } else {
                Judged::well(Some(id))
            }
        }
        Some("error") => match members.get("code").and_then(Value::as_str) {
            Some(code) => Judged::wrong(Some(id), printable(code.as_bytes())),
            None => Judged::wrong(Some(id), "error_without_code"),
        },
        _ => Judged::wrong(Some(id), "reply_without_status"),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::framing::check_every_split;
    use super::*;

    #[test]
    fn replies_are_found_wherever_a_read_ends() {
        check_every_split::<Balcao>(b"{\"id\":1}\n\n{\"a\":\"\\n\"}\n{\"half", &[9, 1, 11]);
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let (mut input, mut scanned) = (vec![b' '; REPLY_BYTES_MAX], 0);
        assert_eq!(Balcao::split(&input, &mut scanned), Ok(None));
        assert_eq!(scanned, input.len());
        input.push(b' ');
        assert_eq!(Balcao::split(&input, &mut scanned), Err(Damaged("reply_too_long")));
    }

    #[test]
    fn an_id_is_written_in_digits() {
        for id in [0, 9, 10, 1_234_567_890, u64::MAX] {
            let mut out = Vec::new();
            request(&mut out, id, b"}\n");
            assert_eq!(String::from_utf8(out).unwrap(), format!("{{\"id\":{id}}}\n"));
        }
    }

    #[test]
    fn requests_carry_the_id_given() {
        #[track_caller]
        fn check(line: &str, expected: Result<&str, &str>) {
            let asked = prepare(line).map(|body| {
                let mut out = Vec::new();
                request(&mut out, 7, &body);
                String::from_utf8(out).unwrap()
            });
            assert_eq!(asked.as_deref().map_err(|e| *e), expected);
        }
        check("123.456.789-09", Ok("{\"id\":7,\"cpf\":\"123.456.789-09\"}\n"));
        check("a\"b", Ok("{\"id\":7,\"cpf\":\"a\\\"b\"}\n"));
        check(r#"{"nome":"ANA","id":3,"limit":1}"#, Ok("{\"id\":7,\"nome\":\"ANA\",\"limit\":1}\n"));
        check(r#"{"id":3}"#, Err("a request without any member"));
        check("{nome", Err("not a JSON object"));
    }

    #[test]
    fn replies_are_judged() {
        #[track_caller]
        fn check(reply: &str, rows_expected: bool, id: Option<u64>, error: Option<&'static str>) {
            let judged = judge(format!("{reply}\n").as_bytes(), rows_expected, None);
            assert_eq!(judged, Judged { id, error: error.map(Cow::Borrowed) }, "{reply}");
        }
        check(r#"{"id":1,"status":"ok","rows":[{"cpf":"1"}],"total":1,"next":null}"#, true, Some(1), None);
        check(r#"{"status":"ok", "rows":[{"cpf":"1"}],"id":1}"#, true, Some(1), None);
        check(r#"{"id":1,"status":"ok","rows":[],"total":0,"next":null}"#, true, Some(1), Some("no_rows"));
        check(r#"{"id":1,"status":"ok","rows":[],"total":0,"next":null}"#, false, Some(1), None);
        check(r#"{"id":2,"status":"error","code":"overloaded"}"#, false, Some(2), Some("overloaded"));
        check(r#"{"id":2,"status":"error"}"#, false, Some(2), Some("error_without_code"));
        check(r#"{"status":"ok","rows":[]}"#, false, None, Some("reply_without_id"));
        check(r#"{"id":1,"status":"ok","rows":[{"cpf""#, true, None, Some("unreadable_reply"));
    }

    #[test]
    fn totals_are_compared() {
        let reply = br#"{"id":1,"status":"ok","rows":[{"x":",\"total\":3"}],"total":12,"next":"abc"}"#;
        assert_eq!(judge(reply, true, Some(12)).error, None);
        assert_eq!(judge(reply, true, Some(3)).error.as_deref(), Some("wrong_total"));
        let error = br#"{"id":1,"status":"error","code":"overloaded"}"#;
        assert_eq!(judge(error, true, Some(3)).error.as_deref(), Some("overloaded"));
    }
}
