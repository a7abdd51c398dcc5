//! Target `request`: any line, against a second decoder that is written by `docs/protocol.md`.

use balcao_record::BirthDay;
use balcao_wire::limits::{BATCH_ITEMS_MAX, ID_TEXT_BYTES_MAX, LIMIT_DEFAULT, LIMIT_MAX, LINE_BYTES_MAX};
use balcao_wire::{Code, Cursor, Id, Key, Last, Lookup, Match, Operation, Request, Spelling, Test, decode};

use crate::json::{self, Json};
use crate::record::{cpf_number, name_key};
use crate::vocabulary::{day, different_words};

/// A question as both decoders can tell it: key, filters, limit, cursor.
#[derive(Debug, PartialEq)]
struct Question {
    key: Asked,
    /// In the order of their columns.
    filters: Vec<(String, Filter)>,
    limit: usize,
    cursor: Option<Cursor>,
}

#[derive(Debug, PartialEq)]
enum Asked {
    /// All eleven digits.
    Cpf(u64),
    /// A key, and how it is compared.
    Name(String, Match),
}

/// A text, or the days since 1800.
#[derive(Debug, PartialEq)]
enum Filter {
    Text(String),
    Days(Option<u32>, Option<u32>),
}

/// What a line asks for, as both decoders can tell it.
#[derive(Debug, PartialEq)]
enum Meaning {
    Hello,
    Ping,
    Stats,
    Lookup(Question),
    Batch(Vec<(Id, Result<Question, Code>)>),
    Verify { cpf: u64, name: Option<String>, birth: Option<u32>, spelling: Spelling },
}

type Read = (Id, Option<u32>, Result<Meaning, Code>);

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
    let question = |lookup: Lookup| {
        let filter = |filter: &balcao_wire::Filter| {
            let test = match &filter.test {
                Test::Text(text) => Filter::Text(text.to_string()),
                Test::Days { from, to } => Filter::Days(from.map(BirthDay::days), to.map(BirthDay::days)),
            };
            (filter.column.to_string(), test)
        };
        let filters: Vec<_> = lookup.filters.iter().map(filter).collect();
        let by_words = matches!(lookup.key, Key::Name { r#match: Match::Words { .. } | Match::Fuzzy { .. }, .. });
        assert_eq!(lookup.is_search(), by_words || !filters.is_empty());
        Question {
            key: match lookup.key {
                Key::Cpf(cpf) => Asked::Cpf(cpf.number()),
                Key::Name { r#match, name } => Asked::Name(name.into(), r#match),
            },
            filters,
            limit: lookup.limit,
            cursor: lookup.cursor,
        }
    };
    let meaning = request.operation.map_err(|fault| fault.code).map(|operation| match operation {
        Operation::Hello => Meaning::Hello,
        Operation::Ping => Meaning::Ping,
        Operation::Stats => Meaning::Stats,
        Operation::Verify(claim) => Meaning::Verify {
            cpf: claim.cpf.number(),
            name: claim.name.map(Into::into),
            birth: claim.birth.map(BirthDay::days),
            spelling: claim.spelling,
        },
        Operation::Lookup(lookup) => Meaning::Lookup(question(lookup)),
        Operation::Batch(items) => {
            let item = |item: balcao_wire::Item| (item.id, item.lookup.map(question).map_err(|fault| fault.code));
            Meaning::Batch(items.into_iter().map(item).collect())
        }
    });
    (request.id, request.deadline_ms, meaning)
}

fn expected(line: &[u8]) -> Read {
    if line.len() > LINE_BYTES_MAX {
        return (Id::Absent, None, Err(Code::LineTooLong));
    }
    let object = match json::read(line) {
        None => return (Id::Absent, None, Err(Code::BadJson)),
        Some(object @ Json::Object(_)) => object,
        Some(_) => return (Id::Absent, None, Err(Code::BadRequest)),
    };
    let Ok(id) = id(&object) else { return (Id::Absent, None, Err(Code::BadRequest)) };
    match integer(&object, "deadline_ms", 60_000) {
        Ok(deadline_ms) => (id, deadline_ms.map(|ms| ms as u32), meaning(&object)),
        Err(code) => (id, None, Err(code)),
    }
}

/// The `id` of a request or an item; one that is none spoils the whole.
fn id(object: &Json) -> Result<Id, Code> {
    match member(object, "id") {
        None => Ok(Id::Absent),
        Some(Json::Text(text)) if text.len() <= ID_TEXT_BYTES_MAX => Ok(Id::Text(text.as_str().into())),
        // Within 2^53 there is no number that does not fit: the text of a larger one is longer, or is read and compared.
        Some(Json::Number(number)) if is_integer(number) && number.len() <= 17 => match number.parse::<i64>() {
            Ok(id) if id.unsigned_abs() <= 1 << 53 => Ok(Id::Integer(id)),
            _ => Err(Code::BadRequest),
        },
        Some(_) => Err(Code::BadRequest),
    }
}

/// A member that is an integer from 1 to `most`.
fn integer(object: &Json, name: &str, most: usize) -> Result<Option<usize>, Code> {
    match member(object, name) {
        None => Ok(None),
        Some(Json::Number(number)) if (1..=5).contains(&number.len()) && is_integer(number) => {
            let number = number.parse().ok().filter(|number| (1..=most).contains(number));
            number.map(Some).ok_or(Code::BadRequest)
        }
        Some(_) => Err(Code::BadRequest),
    }
}

/// A member that is one of a few texts; its place among them.
fn one_of(object: &Json, name: &str, texts: &[&str]) -> Result<Option<usize>, Code> {
    match member(object, name) {
        None => Ok(None),
        Some(value) => {
            let text = value.text().ok_or(Code::BadRequest)?;
            texts.iter().position(|known| *known == text).map(Some).ok_or(Code::BadRequest)
        }
    }
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
        Some(Json::Text(op)) if op == "verify" => claim(object),
        Some(_) => Err(Code::BadRequest),
    }
}

fn item(item: &Json) -> (Id, Result<Question, Code>) {
    match item {
        Json::Object(_) => match (id(item), member(item, "op")) {
            (Ok(id), None) => (id, question(item)),
            (Ok(id), Some(_)) => (id, Err(Code::BadRequest)),
            (Err(code), _) => (Id::Absent, Err(code)),
        },
        _ => (Id::Absent, Err(Code::BadRequest)),
    }
}

/// What is wrong with the form of a question comes before what is wrong with its key.
fn question(object: &Json) -> Result<Question, Code> {
    let last = if one_of(object, "last", &["prefix", "whole"])? == Some(1) { Last::Whole } else { Last::Prefix };
    let spelling = spelling(object)?;
    let how = match one_of(object, "match", &["prefix", "exact", "words", "fuzzy"])? {
        None | Some(0) => Match::Prefix,
        Some(1) => Match::Exact,
        Some(2) => Match::Words { last },
        Some(_) => Match::Fuzzy { last, spelling },
    };
    let filters = filters(object)?;
    let limit = integer(object, "limit", LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let cursor = match member(object, "cursor") {
        None => None,
        Some(Json::Text(text)) => Some(Cursor::decode(text).map_err(|_| Code::BadRequest)?),
        Some(_) => return Err(Code::BadRequest),
    };
    let key = match (member(object, "cpf"), member(object, "nome")) {
        (Some(value), None) => Asked::Cpf(cpf(value)?),
        (None, Some(value)) => {
            let name = name(value)?;
            let (words, fuzzy) = (matches!(how, Match::Words { .. }), matches!(how, Match::Fuzzy { .. }));
            if (words || fuzzy) && !is_within_words(&name, fuzzy) {
                return Err(Code::BadRequest);
            }
            Asked::Name(name, how)
        }
        _ => return Err(Code::BadRequest),
    };
    Ok(Question { key, filters, limit, cursor })
}

fn claim(object: &Json) -> Result<Meaning, Code> {
    let spelling = spelling(object)?;
    let birth = member(object, "nasc").map(a_day).transpose()?;
    let cpf = cpf(member(object, "cpf").ok_or(Code::BadRequest)?)?;
    let name = member(object, "nome").map(name).transpose()?;
    if name.as_ref().is_some_and(|name| !is_within_words(name, true)) {
        return Err(Code::BadRequest);
    }
    Ok(Meaning::Verify { cpf, name, birth, spelling })
}

fn spelling(object: &Json) -> Result<Spelling, Code> {
    let spelling = one_of(object, "spelling", &["pt"])?;
    Ok(spelling.map_or(Spelling::Plain, |_| Spelling::Portuguese))
}

fn cpf(value: &Json) -> Result<u64, Code> {
    match value {
        Json::Text(text) => cpf_number(text).ok_or(Code::InvalidCpf),
        Json::Number(number) => {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            cpf_number(number).filter(|_| digits).ok_or(Code::InvalidCpf)
        }
        _ => Err(Code::BadRequest),
    }
}

fn name(value: &Json) -> Result<String, Code> {
    let name = name_key(value.text().ok_or(Code::BadRequest)?);
    if name.is_empty() { Err(Code::InvalidName) } else { Ok(name) }
}

/// At most 16 different words, for `fuzzy` of at most 64 letters each.
fn is_within_words(name: &str, fuzzy: bool) -> bool {
    let words = different_words(name);
    words.len() <= 16 && !(fuzzy && words.iter().any(|word| word.chars().count() > 64))
}

fn filters(object: &Json) -> Result<Vec<(String, Filter)>, Code> {
    let members = match member(object, "where") {
        None => return Ok(Vec::new()),
        Some(Json::Object(members)) => members,
        Some(_) => return Err(Code::BadRequest),
    };
    let mut filters = Vec::new();
    for (column, value) in members.iter().filter(|(_, value)| *value != Json::Null) {
        let filter = match value {
            Json::Text(text) => Filter::Text(text.clone()),
            Json::Object(ends) => {
                let (from, to) = (member(value, "from"), member(value, "to"));
                let (from, to) = (from.map(a_day).transpose()?, to.map(a_day).transpose()?);
                let known = ends.iter().all(|(name, _)| name == "from" || name == "to");
                let in_order = from.is_none() || to.is_none() || from <= to;
                if !known || !in_order || (from, to) == (None, None) {
                    return Err(Code::BadRequest);
                }
                Filter::Days(from, to)
            }
            _ => return Err(Code::BadRequest),
        };
        filters.push((column.clone(), filter));
    }
    filters.sort_by(|(a, _), (b, _)| a.cmp(b));
    if filters.len() > 4 { Err(Code::BadRequest) } else { Ok(filters) }
}

fn a_day(value: &Json) -> Result<u32, Code> {
    value.text().and_then(day).ok_or(Code::BadRequest)
}
