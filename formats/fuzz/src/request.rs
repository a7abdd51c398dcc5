//! Target `request`: any line, against a second decoder that is written by `docs/protocol.md`.

use balcao_wire::limits::{BATCH_ITEMS_MAX, ID_TEXT_BYTES_MAX, LIMIT_DEFAULT, LIMIT_MAX, LINE_BYTES_MAX};
use balcao_wire::{Code, Cursor, Id, Key, Lookup, Match, Operation, Request, decode};

use crate::json::{self, Json};
use crate::record::{cpf_number, name_key};

/// A question as both decoders can tell it: key, limit, cursor.
#[derive(Debug, PartialEq)]
struct Question {
    key: Asked,
    limit: usize,
    cursor: Option<Cursor>,
}

#[derive(Debug, PartialEq)]
enum Asked {
    /// All eleven digits.
    Cpf(u64),
    Exact(String),
    Prefix(String),
    Words(String),
}

/// What a line asks for, as both decoders can tell it.
#[derive(Debug, PartialEq)]
enum Meaning {
    Hello,
    Ping,
    Stats,
    Verify,
    Lookup(Question),
    Batch(Vec<(Id, Result<Question, Code>)>),
}

type Read = (Id, Result<Meaning, Code>);

/// Decodes any line.
pub fn request(data: &[u8]) {
    let found = decode(data);
    for fault in faults(&found) {
        assert!(!fault.is_empty() && fault.len() < 200 && fault.is_ascii());
    }
    assert_eq!(told(found), expected(data));
}

fn faults(request: &Request) -> Vec<&str> {
    match &request.operation {
        Err(fault) => vec![&fault.message],
        Ok(Operation::Batch(items)) => {
            items.iter().filter_map(|item| Some(&*item.lookup.as_ref().err()?.message)).collect()
        }
        Ok(_) => Vec::new(),
    }
}

fn told(request: Request) -> Read {
    let question = |lookup: Lookup| Question {
        key: match lookup.key {
            Key::Cpf(cpf) => Asked::Cpf(cpf.number()),
            Key::Name { r#match: Match::Exact, name } => Asked::Exact(name.into()),
            Key::Name { r#match: Match::Prefix, name } => Asked::Prefix(name.into()),
            Key::Name { name, .. } => Asked::Words(name.into()),
        },
        limit: lookup.limit,
        cursor: lookup.cursor,
    };
    let meaning = request.operation.map_err(|fault| fault.code).map(|operation| match operation {
        Operation::Hello => Meaning::Hello,
        Operation::Ping => Meaning::Ping,
        Operation::Stats => Meaning::Stats,
        Operation::Verify(_) => Meaning::Verify,
        Operation::Lookup(lookup) => Meaning::Lookup(question(lookup)),
        Operation::Batch(items) => {
            let item = |item: balcao_wire::Item| (item.id, item.lookup.map(question).map_err(|fault| fault.code));
            Meaning::Batch(items.into_iter().map(item).collect())
        }
    });
    (request.id, meaning)
}

fn expected(line: &[u8]) -> Read {
    if line.len() > LINE_BYTES_MAX {
        return (Id::Absent, Err(Code::LineTooLong));
    }
    match json::read(line) {
        None => (Id::Absent, Err(Code::BadJson)),
        Some(object @ Json::Object(_)) => with_id(&object, meaning),
        Some(_) => (Id::Absent, Err(Code::BadRequest)),
    }
}

/// The `id` of a request or an item, and what the rest of it comes to; an `id` that is none spoils the whole.
fn with_id<T>(object: &Json, read: impl FnOnce(&Json) -> Result<T, Code>) -> (Id, Result<T, Code>) {
    let id = match member(object, "id") {
        None => Id::Absent,
        Some(Json::Text(text)) if text.len() <= ID_TEXT_BYTES_MAX => Id::Text(text.as_str().into()),
        // Within 2^53 there is no number that does not fit: the text of a larger one is longer, or is read and compared.
        Some(Json::Number(number)) if is_integer(number) && number.len() <= 17 => match number.parse::<i64>() {
            Ok(id) if id.unsigned_abs() <= 1 << 53 => Id::Integer(id),
            _ => return (Id::Absent, Err(Code::BadRequest)),
        },
        Some(_) => return (Id::Absent, Err(Code::BadRequest)),
    };
    (id, read(object))
}

fn is_integer(number: &str) -> bool {
    number.strip_prefix('-').unwrap_or(number).bytes().all(|b| b.is_ascii_digit())
}

/// A member that is there: `null` is not.
fn member<'a>(object: &'a Json, name: &str) -> Option<&'a Json> {
    object.member(name).filter(|value| **value != Json::Null)
}

fn meaning(object: &Json) -> Result<Meaning, Code> {
    match member(object, "op") {
        None => question(object).map(Meaning::Lookup),
        Some(Json::Text(op)) if op == "hello" => Ok(Meaning::Hello),
        Some(Json::Text(op)) if op == "ping" => Ok(Meaning::Ping),
        Some(Json::Text(op)) if op == "stats" => Ok(Meaning::Stats),
        Some(Json::Text(op)) if op == "batch" => match member(object, "items") {
            Some(Json::Array(items)) if items.len() <= BATCH_ITEMS_MAX => {
                Ok(Meaning::Batch(items.iter().map(item).collect()))
            }
            _ => Err(Code::BadRequest),
        },
        Some(_) => Err(Code::BadRequest),
    }
}

fn item(item: &Json) -> (Id, Result<Question, Code>) {
    match item {
        Json::Object(_) => with_id(item, |item| match member(item, "op") {
            None => question(item),
            Some(_) => Err(Code::BadRequest),
        }),
        _ => (Id::Absent, Err(Code::BadRequest)),
    }
}

/// What is wrong with the form of a question comes before what is wrong with its key.
fn question(object: &Json) -> Result<Question, Code> {
    let exact = match member(object, "match") {
        None => false,
        Some(Json::Text(text)) if text == "prefix" => false,
        Some(Json::Text(text)) if text == "exact" => true,
        Some(_) => return Err(Code::BadRequest),
    };
    let limit = match member(object, "limit") {
        None => LIMIT_DEFAULT,
        Some(Json::Number(number)) if (1..=4).contains(&number.len()) && is_integer(number) => {
            number.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or(Code::BadRequest)?
        }
        Some(_) => return Err(Code::BadRequest),
    };
    let cursor = match member(object, "cursor") {
        None => None,
        Some(Json::Text(text)) => Some(Cursor::decode(text).map_err(|_| Code::BadRequest)?),
        Some(_) => return Err(Code::BadRequest),
    };
    let key = match (member(object, "cpf"), member(object, "nome")) {
        (Some(Json::Text(text)), None) => cpf_number(text).map(Asked::Cpf).ok_or(Code::InvalidCpf)?,
        (Some(Json::Number(number)), None) => {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            cpf_number(number).filter(|_| digits).map(Asked::Cpf).ok_or(Code::InvalidCpf)?
        }
        (None, Some(Json::Text(text))) => match name_key(text) {
            name if name.is_empty() => return Err(Code::InvalidName),
            name if exact => Asked::Exact(name),
            name => Asked::Prefix(name),
        },
        _ => return Err(Code::BadRequest),
    };
    Ok(Question { key, limit, cursor })
}
