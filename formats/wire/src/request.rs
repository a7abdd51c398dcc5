//! Requests: from a line to a question that is known to be well formed.
//!
//! Whether anything is found, or whether a cursor fits, is not decided here.

use balcao_record::{Cpf, normalize};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::code::{Code, Fault};
use crate::cursor::Cursor;
use crate::json::{self, Members, Value};
use crate::limits::{
    BATCH_ITEMS_MAX, CURSOR_BYTES_MAX, ID_INTEGER_MAX, ID_TEXT_BYTES_MAX, LIMIT_DEFAULT, LIMIT_MAX, LINE_BYTES_MAX,
};

/// The `id` of a request, echoed in its reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Id {
    /// None: answered without one, in order among those without one.
    #[default]
    Absent,
    /// An integer within ±2⁵³.
    Integer(i64),
    /// A text of at most 64 bytes.
    Text(Box<str>),
}

/// A line that was understood: its `id`, and what it asks for, or why that cannot be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Echoed in the reply.
    pub id: Id,
    /// What is asked, or the error to answer with.
    pub operation: Result<Operation, Fault>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Who are you?
    Hello,
    /// Are you there?
    Ping,
    /// How are you?
    Stats,
    /// Rows by a CPF or a name.
    Lookup(Lookup),
    /// Several lookups at once.
    Batch(Vec<Item>),
}

/// One item of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Echoed in the item's reply.
    pub id: Id,
    /// The item's question, or the error to answer it with.
    pub lookup: Result<Lookup, Fault>,
}

/// A question for rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// What the rows must carry.
    pub key: Key,
    /// Rows of a page, 1 to 1000.
    pub limit: usize,
    /// Where the page begins; at the beginning without one.
    pub cursor: Option<Cursor>,
}

/// What the rows of an answer carry.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// This CPF.
    Cpf(Cpf),
    /// A name that matches.
    Name {
        /// How.
        r#match: Match,
        /// Normalised, not empty.
        name: Box<str>,
    },
}

impl Key {
    /// A hash that tells this question from another one, for cursors.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let (kind, key) = match self {
            Self::Cpf(cpf) => (0, &cpf.number().to_le_bytes()[..]),
            Self::Name { r#match: Match::Exact, name } => (1, name.as_bytes()),
            Self::Name { r#match: Match::Prefix, name } => (2, name.as_bytes()),
        };
        xxh3_64_with_seed(key, kind)
    }
}

/// A key is a person's data: it never shows in a log by accident.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpf(_) => f.write_str("Cpf(***)"),
            Self::Name { r#match, .. } => write!(f, "Name({match:?}, ***)"),
        }
    }
}

/// How a name is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// The whole normalised name.
    Exact,
    /// Its beginning.
    Prefix,
}

/// Reads a line, without its `\n`. A line that is no request at all comes back as one without `id` whose operation is the error.
#[must_use]
pub fn decode(line: &[u8]) -> Request {
    if line.len() > LINE_BYTES_MAX {
        let message = "a request line has at most 65536 bytes; split the batch";
        return Request { id: Id::Absent, operation: Err(Fault::new(Code::LineTooLong, message)) };
    }
    match json::parse(line) {
        Ok(Value::Object(members)) => request(members),
        Ok(_) => Request { id: Id::Absent, operation: Err(bad_request("a request is a JSON object")) },
        Err(error) => Request { id: Id::Absent, operation: Err(Fault::new(Code::BadJson, error.to_string())) },
    }
}

/// The members that this version knows, each once, `null` as absent.
#[derive(Default)]
struct Known<'a> {
    id: Option<Value<'a>>,
    op: Option<Value<'a>>,
    cpf: Option<Value<'a>>,
    nome: Option<Value<'a>>,
    r#match: Option<Value<'a>>,
    limit: Option<Value<'a>>,
    cursor: Option<Value<'a>>,
    items: Option<Value<'a>>,
}

impl<'a> Known<'a> {
    fn of(members: Members<'a>) -> Self {
        let mut known = Self::default();
        for (name, value) in members {
            let place = match name.as_ref() {
                "id" => &mut known.id,
                "op" => &mut known.op,
                "cpf" => &mut known.cpf,
                "nome" => &mut known.nome,
                "match" => &mut known.r#match,
                "limit" => &mut known.limit,
                "cursor" => &mut known.cursor,
                "items" => &mut known.items,
                _ => continue,
            };
            *place = Some(value).filter(|value| *value != Value::Null);
        }
        known
    }
}

fn request(members: Members<'_>) -> Request {
    let mut known = Known::of(members);
    match id(known.id.take()) {
        Ok(id) => Request { id, operation: operation(known) },
        Err(fault) => Request { id: Id::Absent, operation: Err(fault) },
    }
}

fn operation(mut known: Known<'_>) -> Result<Operation, Fault> {
    match text(known.op.take(), "op")?.as_deref() {
        None => lookup(known).map(Operation::Lookup),
        Some("ping") => Ok(Operation::Ping),
        Some("hello") => Ok(Operation::Hello),
        Some("stats") => Ok(Operation::Stats),
        Some("batch") => batch(known.items).map(Operation::Batch),
        Some(_) => Err(bad_request("`op` is none of `hello`, `ping`, `stats` and `batch`")),
    }
}

fn batch(items: Option<Value<'_>>) -> Result<Vec<Item>, Fault> {
    let Some(Value::Array(items)) = items else {
        return Err(bad_request("a batch has `items`, an array of questions"));
    };
    if items.len() > BATCH_ITEMS_MAX {
        return Err(bad_request("a batch has at most 1000 items; split it"));
    }
    Ok(items.into_iter().map(item).collect())
}

fn item(item: Value<'_>) -> Item {
    let Value::Object(members) = item else {
        return Item { id: Id::Absent, lookup: Err(bad_request("an item of a batch is an object")) };
    };
    let mut known = Known::of(members);
    match id(known.id.take()) {
        Err(fault) => Item { id: Id::Absent, lookup: Err(fault) },
        Ok(id) if known.op.is_some() => {
            Item { id, lookup: Err(bad_request("an item of a batch has no `op`: it asks by `cpf` or by `nome`")) }
        }
        Ok(id) => Item { id, lookup: lookup(known) },
    }
}

fn lookup(known: Known<'_>) -> Result<Lookup, Fault> {
    let r#match = r#match(known.r#match)?;
    let limit = limit(known.limit.as_ref())?;
    let cursor = cursor(known.cursor)?;
    let key = match (known.cpf, known.nome) {
        (Some(cpf), None) => Key::Cpf(self::cpf(&cpf)?),
        (None, Some(nome)) => Key::Name { r#match, name: name(nome)? },
        (Some(_), Some(_)) => return Err(bad_request("send `cpf` or `nome`, not both")),
        (None, None) => return Err(bad_request("send `cpf`, `nome` or `op`")),
    };
    Ok(Lookup { key, limit, cursor })
}

fn id(value: Option<Value<'_>>) -> Result<Id, Fault> {
    let wrong = || bad_request("`id` is an integer within 2^53 or a text of at most 64 bytes");
    match value {
        None => Ok(Id::Absent),
        Some(Value::Number(number)) => match number.parse::<i64>() {
            Ok(id) if (-ID_INTEGER_MAX..=ID_INTEGER_MAX).contains(&id) => Ok(Id::Integer(id)),
            _ => Err(wrong()),
        },
        Some(Value::Text(text)) if text.len() <= ID_TEXT_BYTES_MAX => Ok(Id::Text(text.into())),
        Some(_) => Err(wrong()),
    }
}

fn cpf(value: &Value<'_>) -> Result<Cpf, Fault> {
    let parsed = match value {
        Value::Text(text) => Cpf::parse(text),
        Value::Number(number) => Cpf::parse_number(number),
        _ => return Err(bad_request("`cpf` is a text or a number")),
    };
    parsed.map_err(|error| Fault::new(Code::InvalidCpf, error.to_string()))
}

fn name(value: Value<'_>) -> Result<Box<str>, Fault> {
    let Some(nome) = text(Some(value), "nome")? else {
        return Err(bad_request("`nome` is a text"));
    };
    let name = normalize(&nome);
    if name.is_empty() {
        return Err(Fault::new(Code::InvalidName, balcao_record::NameError.to_string()));
    }
    Ok(name.into())
}

fn r#match(value: Option<Value<'_>>) -> Result<Match, Fault> {
    match text(value, "match")?.as_deref() {
        None | Some("prefix") => Ok(Match::Prefix),
        Some("exact") => Ok(Match::Exact),
        Some(_) => Err(bad_request("`match` is none of `exact` and `prefix`")),
    }
}

fn limit(value: Option<&Value<'_>>) -> Result<usize, Fault> {
    let wrong = || bad_request("`limit` is an integer from 1 to 1000");
    match value {
        None => Ok(LIMIT_DEFAULT),
        Some(Value::Number(number)) => {
            number.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

fn cursor(value: Option<Value<'_>>) -> Result<Option<Cursor>, Fault> {
    let Some(text) = text(value, "cursor")? else { return Ok(None) };
    if text.len() > CURSOR_BYTES_MAX {
        return Err(bad_request("a cursor has at most 512 bytes"));
    }
    Cursor::decode(&text).map(Some).map_err(|error| bad_request(error.to_string()))
}

fn text<'a>(value: Option<Value<'a>>, member: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    match value {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(bad_request(format!("`{member}` is a text"))),
    }
}

fn bad_request(message: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(Code::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The code of the error, or `ok` with what was understood.
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let request = decode(line.as_bytes());
        let got = match &request.operation {
            Err(fault) => fault.code.as_str().to_owned(),
            Ok(Operation::Lookup(Lookup { key: Key::Cpf(cpf), limit, .. })) => format!("cpf {cpf} {limit}"),
            Ok(Operation::Lookup(Lookup { key: Key::Name { r#match, name }, limit, .. })) => {
                format!("{match:?} {name} {limit}")
            }
            Ok(other) => format!("{other:?}"),
        };
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn questions() {
        check(r#"{"id":1,"cpf":"123.456.789-09"}"#, "cpf 123.456.789-09 50");
        check(r#"{"cpf":12345678909,"limit":7}"#, "cpf 123.456.789-09 7");
        check(r#"{"cpf":191,"nome":null,"op":null}"#, "cpf 000.000.001-91 50");
        check(r#"{"nome":"maria da silva"}"#, "Prefix MARIA DA SILVA 50");
        check(r#"{"nome":"D\u2019\u00c1vila","match":"exact","limit":1000}"#, "Exact DAVILA 1000");
        check(r#"{"nome":"ana","unknown":{"a":[1e400]}}"#, "Prefix ANA 50");
        check(r#"{"op":"ping"}"#, "Ping");
        check(r#"{"op":"stats"}"#, "Stats");
        check(r#"{"op":"hello","cpf":true}"#, "Hello");
        check("{\"op\":\"ping\"}\r", "Ping");
    }

    #[test]
    fn refusals() {
        for line in ["", "nonsense", r#"{"cpf":"1","cpf":"1"}"#, r#"{"nome":"\ud800"}"#, r#"{"x":"\ud800"}"#] {
            check(line, "bad_json");
        }
        for line in [
            "[]",
            "1",
            "{}",
            r#"{"cpf":"191","nome":"ANA"}"#,
            r#"{"cpf":true}"#,
            r#"{"cpf":["191"]}"#,
            r#"{"nome":1}"#,
            r#"{"nome":"ANA","match":"words"}"#,
            r#"{"nome":"ANA","match":"fuzzy"}"#,
            r#"{"nome":"ANA","match":1}"#,
            r#"{"nome":"ANA","limit":0}"#,
            r#"{"nome":"ANA","limit":1001}"#,
            r#"{"nome":"ANA","limit":-1}"#,
            r#"{"nome":"ANA","limit":1.0}"#,
            r#"{"nome":"ANA","limit":"5"}"#,
            r#"{"nome":"ANA","limit":99999999999999999999}"#,
            r#"{"nome":"ANA","cursor":"x"}"#,
            r#"{"nome":"ANA","cursor":1}"#,
            r#"{"op":"drop"}"#,
            r#"{"op":1}"#,
            r#"{"op":"batch"}"#,
            r#"{"op":"batch","items":{}}"#,
            r#"{"id":1.5,"op":"ping"}"#,
            r#"{"id":9007199254740993,"op":"ping"}"#,
            r#"{"id":true,"op":"ping"}"#,
        ] {
            check(line, "bad_request");
        }
        for cpf in [r#""""#, r#""12a""#, "-191", "1e3", "191.0", "123456789012", r#""192""#, "1e400"] {
            check(&format!(r#"{{"cpf":{cpf}}}"#), "invalid_cpf");
        }
        for nome in ["", " ", "...", "'", "\\u0301"] {
            check(&format!(r#"{{"nome":"{nome}"}}"#), "invalid_name");
        }
        check(&format!(r#"{{"nome":"{}"}}"#, "A".repeat(LINE_BYTES_MAX)), "line_too_long");
        let items = format!(r#"{{"op":"batch","items":[{}0]}}"#, "0,".repeat(BATCH_ITEMS_MAX));
        check(&items, "bad_request");
    }

    #[test]
    fn ids_are_kept_beside_an_error() {
        let id = |line: &str| decode(line.as_bytes()).id;
        assert_eq!(id(r#"{"id":-7,"cpf":"x"}"#), Id::Integer(-7));
        assert_eq!(id(r#"{"id":"a\"b","op":"no"}"#), Id::Text("a\"b".into()));
        assert_eq!(id(r#"{"id":9007199254740992,"op":"ping"}"#), Id::Integer(ID_INTEGER_MAX));
        assert_eq!(id(&format!(r#"{{"id":"{}","op":"ping"}}"#, "é".repeat(33))), Id::Absent);
        assert_eq!(id(r#"{"id":null,"op":"ping"}"#), Id::Absent);
    }

    #[test]
    fn items_of_a_batch_fail_alone() {
        let line =
            r#"{"op":"batch","items":[{"cpf":"191"},{"id":2,"op":"ping"},3,{"id":"x","nome":"-"},{"nome":"ANA"}]}"#;
        let Ok(Operation::Batch(items)) = decode(line.as_bytes()).operation else { panic!("a batch") };
        let codes: Vec<_> = items.iter().map(|item| item.lookup.as_ref().map_err(|fault| fault.code).err()).collect();
        assert_eq!(codes, [None, Some(Code::BadRequest), Some(Code::BadRequest), Some(Code::InvalidName), None]);
        assert_eq!((&items[1].id, &items[3].id), (&Id::Integer(2), &Id::Text("x".into())));
    }

    #[test]
    fn debug_hides_the_key() {
        let shown = format!("{:?}", decode(br#"{"nome":"ANA LIMA"}"#));
        assert!(!shown.contains("ANA"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&line);
        }
    }
}
