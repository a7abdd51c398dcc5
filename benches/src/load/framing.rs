//! How a request and a reply look on the wire: protocol version 1, one JSON object a line. The only place of the load generator
//! that knows; another protocol is another module with these functions.
//!
//! It checks that a reply is one and says yes, not what is in its rows.

use std::borrow::Cow;
use std::io::Write as _;

use serde_json::{Map, Value};

/// The question of every idle connection.
pub(crate) const PING: &[u8] = b"{\"op\":\"ping\"}\n";

/// What a reply came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The request that it answers, where it says so.
    pub(crate) id: Option<u64>,
    /// An error code of the server, or of this program for what is no reply.
    pub(crate) error: Option<Cow<'static, str>>,
}

impl Judged {
    fn well(id: u64) -> Self {
        Self { id: Some(id), error: None }
    }

    fn wrong(id: Option<u64>, error: impl Into<Cow<'static, str>>) -> Self {
        Self { id, error: Some(error.into()) }
    }
}

/// Prepares a line of a key file: a CPF, or a request whose `id` is replaced. What comes out is the request behind its `id`.
pub(crate) fn prepare(line: &str) -> Result<Vec<u8>, &'static str> {
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

/// Appends the request with this `id`; `body` is from [`prepare`].
pub(crate) fn request(out: &mut Vec<u8>, id: u64, body: &[u8]) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{{\"id\":{id}");
    out.extend_from_slice(body);
}

/// The length of the first whole reply in `input`, its end included.
pub(crate) fn reply_bytes(input: &[u8]) -> Option<usize> {
    input.iter().position(|&byte| byte == b'\n').map(|at| at + 1)
}

/// Reads a reply, its end included.
pub(crate) fn judge(reply: &[u8], rows_expected: bool, total: Option<u32>) -> Judged {
    let judged = match glance(reply, rows_expected) {
        Some(id) => Judged::well(id),
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
    let id = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
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
                Judged::well(id)
            }
        }
        Some("error") => match members.get("code").and_then(Value::as_str) {
            Some(code) => Judged::wrong(Some(id), code.to_owned()),
            None => Judged::wrong(Some(id), "error_without_code"),
        },
        _ => Judged::wrong(Some(id), "reply_without_status"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
