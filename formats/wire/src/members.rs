//! The members of a request, one by one: from a JSON value to what it says, or the refusal.
//!
//! How members depend on each other is `request`'s business.

use std::borrow::Cow;

use balcao_record::{BirthDay, Cpf, normalize, words};

use crate::code::{Code, Fault};
use crate::cursor::Cursor;
use crate::json::{Members, Value};
use crate::limits::{
    CURSOR_BYTES_MAX, DEADLINE_MS_MAX, FILTERS_MAX, FUZZY_LETTERS_MAX, ID_INTEGER_MAX, ID_TEXT_BYTES_MAX,
    LIMIT_DEFAULT, LIMIT_MAX, QUESTION_WORDS_MAX,
};
use crate::lookup::{Filter, Last, Match, Spelling, Test};
use crate::request::Id;

/// The members that this version knows, each once, `null` as absent.
#[derive(Default)]
pub(crate) struct Known<'a> {
    pub(crate) id: Option<Value<'a>>,
    pub(crate) op: Option<Value<'a>>,
    pub(crate) cpf: Option<Value<'a>>,
    pub(crate) nome: Option<Value<'a>>,
    pub(crate) nasc: Option<Value<'a>>,
    pub(crate) r#match: Option<Value<'a>>,
    pub(crate) last: Option<Value<'a>>,
    pub(crate) spelling: Option<Value<'a>>,
    pub(crate) r#where: Option<Value<'a>>,
    pub(crate) limit: Option<Value<'a>>,
    pub(crate) cursor: Option<Value<'a>>,
    pub(crate) items: Option<Value<'a>>,
    pub(crate) deadline_ms: Option<Value<'a>>,
}

impl<'a> Known<'a> {
    pub(crate) fn of(members: Members<'a>) -> Self {
        let mut known = Self::default();
        for (name, value) in members {
            let place = match name.as_ref() {
                "id" => &mut known.id,
                "op" => &mut known.op,
                "cpf" => &mut known.cpf,
                "nome" => &mut known.nome,
                "nasc" => &mut known.nasc,
                "match" => &mut known.r#match,
                "last" => &mut known.last,
                "spelling" => &mut known.spelling,
                "where" => &mut known.r#where,
                "limit" => &mut known.limit,
                "cursor" => &mut known.cursor,
                "items" => &mut known.items,
                "deadline_ms" => &mut known.deadline_ms,
                _ => continue,
            };
            *place = Some(value).filter(|value| *value != Value::Null);
        }
        known
    }
}

pub(crate) fn id(value: Option<Value<'_>>) -> Result<Id, Fault> {
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

pub(crate) fn cpf(value: &Value<'_>) -> Result<Cpf, Fault> {
    let parsed = match value {
        Value::Text(text) => Cpf::parse(text),
        Value::Number(number) => Cpf::parse_number(number),
        _ => return Err(bad_request("`cpf` is a text or a number")),
    };
    parsed.map_err(|error| Fault::new(Code::InvalidCpf, error.to_string()))
}

pub(crate) fn name(value: Value<'_>) -> Result<Box<str>, Fault> {
    let Some(nome) = text(Some(value), "nome")? else {
        return Err(bad_request("`nome` is a text"));
    };
    let name = normalize(&nome);
    if name.is_empty() {
        return Err(Fault::new(Code::InvalidName, balcao_record::NameError.to_string()));
    }
    Ok(name.into())
}

/// Whether `name` keeps to the limits of a comparison by words, or near ones.
pub(crate) fn within_words(name: &str, is_fuzzy: bool) -> Result<(), Fault> {
    let mut seen = [""; QUESTION_WORDS_MAX];
    let mut distinct = 0;
    for word in words(name) {
        if is_fuzzy && word.chars().nth(FUZZY_LETTERS_MAX).is_some() {
            return Err(bad_request("a word of `nome` has at most 64 letters here; shorten it, or ask by `words`"));
        }
        if seen[..distinct].contains(&word) {
            continue;
        }
        let Some(place) = seen.get_mut(distinct) else {
            return Err(bad_request("`nome` has at most 16 different words here; leave some out, or ask by `prefix`"));
        };
        *place = word;
        distinct += 1;
    }
    Ok(())
}

/// How names are compared. `last` and `spelling` are checked also where they mean nothing.
pub(crate) fn r#match(
    value: Option<Value<'_>>,
    last: Option<Value<'_>>,
    spelling: Option<Value<'_>>,
) -> Result<Match, Fault> {
    let last = match text(last, "last")?.as_deref() {
        None | Some("prefix") => Last::Prefix,
        Some("whole") => Last::Whole,
        Some(_) => return Err(bad_request("`last` is none of `prefix` and `whole`")),
    };
    let spelling = self::spelling(spelling)?;
    match text(value, "match")?.as_deref() {
        None | Some("prefix") => Ok(Match::Prefix),
        Some("exact") => Ok(Match::Exact),
        Some("words") => Ok(Match::Words { last }),
        Some("fuzzy") => Ok(Match::Fuzzy { last, spelling }),
        Some(_) => Err(bad_request("`match` is none of `exact`, `prefix`, `words` and `fuzzy`")),
    }
}

pub(crate) fn spelling(value: Option<Value<'_>>) -> Result<Spelling, Fault> {
    match text(value, "spelling")?.as_deref() {
        None => Ok(Spelling::Plain),
        Some("pt") => Ok(Spelling::Portuguese),
        Some(_) => Err(bad_request("`spelling` is `pt` or left out")),
    }
}

/// Reads `where`, in the order of the columns' names, so that the order in which they were sent means nothing.
pub(crate) fn filters(value: Option<Value<'_>>) -> Result<Box<[Filter]>, Fault> {
    let members = match value {
        None => return Ok(Box::default()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(bad_request("`where` is an object of columns and what they must hold")),
    };
    let present = members.into_iter().filter(|(_, value)| *value != Value::Null);
    let mut filters = Vec::new();
    for (column, value) in present {
        if filters.len() == FILTERS_MAX {
            return Err(bad_request("`where` has at most 4 members"));
        }
        let test = match value {
            Value::Text(text) => Test::Text(text.into()),
            Value::Object(members) => days(members)?,
            _ => return Err(bad_request("a member of `where` is a text, or an object with `from` and `to`")),
        };
        filters.push(Filter { column: column.into(), test });
    }
    filters.sort_unstable_by(|a, b| a.column.cmp(&b.column));
    Ok(filters.into())
}

/// Reads a range of days. A member that is not known is refused here: an end that is misspelt would silently let everybody in.
fn days(members: Members<'_>) -> Result<Test, Fault> {
    let (mut from, mut to) = (None, None);
    for (name, value) in members {
        let place = match name.as_ref() {
            "from" => &mut from,
            "to" => &mut to,
            _ => return Err(bad_request("a range in `where` has `from` and `to`, and nothing else")),
        };
        *place = Some(value).filter(|value| *value != Value::Null);
    }
    let (from, to) = (day(from, "from")?, day(to, "to")?);
    match (from, to) {
        (None, None) => Err(bad_request("a range in `where` has `from`, `to` or both")),
        (Some(from), Some(to)) if from > to => Err(bad_request("`from` lies behind `to`; swap them")),
        _ => Ok(Test::Days { from, to }),
    }
}

pub(crate) fn day(value: Option<Value<'_>>, member: &str) -> Result<Option<BirthDay>, Fault> {
    let Some(text) = text(value, member)? else { return Ok(None) };
    let wrong = || {
        bad_request(format!("`{member}` is no day of the years 1800 to 2157; write YYYY-MM-DD, YYYYMMDD or DD/MM/YYYY"))
    };
    BirthDay::parse(&text).map(Some).ok_or_else(wrong)
}

pub(crate) fn limit(value: Option<&Value<'_>>) -> Result<usize, Fault> {
    let limit = integer(value, LIMIT_MAX, "`limit` is an integer from 1 to 1000")?;
    Ok(limit.unwrap_or(LIMIT_DEFAULT))
}

pub(crate) fn deadline_ms(value: Option<&Value<'_>>) -> Result<Option<u32>, Fault> {
    integer(value, DEADLINE_MS_MAX, "`deadline_ms` is an integer from 1 to 60000")
}

/// An integer from 1 to `most`.
fn integer<N: std::str::FromStr + PartialOrd + From<u8>>(
    value: Option<&Value<'_>>,
    most: N,
    wrong: &'static str,
) -> Result<Option<N>, Fault> {
    match value {
        None => Ok(None),
        Some(Value::Number(number)) => match number.parse() {
            Ok(number) if (N::from(1)..=most).contains(&number) => Ok(Some(number)),
            _ => Err(bad_request(wrong)),
        },
        Some(_) => Err(bad_request(wrong)),
    }
}

pub(crate) fn cursor(value: Option<Value<'_>>) -> Result<Option<Cursor>, Fault> {
    let Some(text) = text(value, "cursor")? else { return Ok(None) };
    if text.len() > CURSOR_BYTES_MAX {
        return Err(bad_request("a cursor has at most 512 bytes"));
    }
    Cursor::decode(&text).map(Some).map_err(|error| bad_request(error.to_string()))
}

pub(crate) fn text<'a>(value: Option<Value<'a>>, member: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    match value {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(bad_request(format!("`{member}` is a text"))),
    }
}

pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(Code::BadRequest, message)
}
