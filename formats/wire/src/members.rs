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
    pub(crate) r#match: Option<Value<'a>>,
    pub(crate) limit: Option<Value<'a>>,
    pub(crate) cursor: Option<Value<'a>>,
    /// Those that most requests have none of: a place for each would cost every request a fifth more.
    rare: Members<'a>,
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
                "match" => &mut known.r#match,
                "limit" => &mut known.limit,
                "cursor" => &mut known.cursor,
                "nasc" | "last" | "spelling" | "where" | "items" | "deadline_ms" if value != Value::Null => {
                    known.rare.push((name, value));
                    continue;
                }
                _ => continue,
            };
            *place = Some(value).filter(|value| *value != Value::Null);
        }
        known
    }

    /// Whether nothing says how to compare, and nothing rare is there: so are most requests.
    pub(crate) fn is_plain(&self) -> bool {
        self.r#match.is_none() && self.rare.is_empty()
    }

    /// Takes a rare member out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.rare.iter().position(|(known, _)| known == name)?;
        Some(self.rare.swap_remove(at).1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{SearchPlace, Total};
    use crate::lookup::{Key, Lookup};
    use crate::request::{Operation, Request, decode};
    use proptest::prelude::*;

    fn read(members: &str) -> Request {
        decode(format!("{{\"id\":1,{members}}}").as_bytes())
    }

    #[track_caller]
    fn lookup(members: &str) -> Lookup {
        match read(members).operation {
            Ok(Operation::Lookup(lookup)) => lookup,
            other => panic!("{members}: {other:?}"),
        }
    }

    /// The code of the refusal; its message names what to do, and repeats nothing.
    #[track_caller]
    fn refuses(members: &str, code: Code) {
        let request = read(members);
        let Err(fault) = &request.operation else { panic!("{members}: {:?}", request.operation) };
        assert_eq!((fault.code, &request.id), (code, &Id::Integer(1)), "{members}: {fault:?}");
        assert!(fault.message.is_ascii() && fault.message.len() > 15, "{fault:?}");
        assert!(!fault.message.contains("SECRET"), "{fault:?}");
    }

    /// So many different words.
    fn words_of(count: usize) -> String {
        (0..count).map(|word| format!("W{word}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn matches() {
        for (members, expected) in [
            ("", Match::Prefix),
            (r#","match":null,"last":"whole""#, Match::Prefix),
            (r#","match":"exact","spelling":"pt""#, Match::Exact),
            (r#","match":"words""#, Match::Words { last: Last::Prefix }),
            (r#","match":"words","last":"prefix","spelling":"pt""#, Match::Words { last: Last::Prefix }),
            (r#","match":"words","last":"whole""#, Match::Words { last: Last::Whole }),
            (r#","match":"fuzzy","spelling":null"#, Match::Fuzzy { last: Last::Prefix, spelling: Spelling::Plain }),
            (
                r#","match":"fuzzy","last":"whole","spelling":"pt""#,
                Match::Fuzzy { last: Last::Whole, spelling: Spelling::Portuguese },
            ),
        ] {
            let Key::Name { r#match, name } = lookup(&format!(r#""nome":" sílva  maria "{members}"#)).key else {
                panic!("a name")
            };
            assert_eq!((r#match, &*name), (expected, "SILVA MARIA"), "{members}");
        }
    }

    /// What is wrong with the form of a question is refused with a CPF too, where it means nothing.
    #[test]
    fn forms_that_are_refused() {
        for key in [r#""nome":"SECRET""#, r#""cpf":"191""#] {
            for form in [
                r#""match":"Words""#,
                r#""match":["words"]"#,
                r#""last":"SECRET""#,
                r#""last":true"#,
                r#""last":{}"#,
                r#""spelling":"PT""#,
                r#""spelling":"""#,
                r#""spelling":1"#,
                r#""where":[]"#,
                r#""where":"SECRET""#,
                r#""where":0"#,
                r#""where":false"#,
                r#""where":{"a":1}"#,
                r#""where":{"a":true}"#,
                r#""where":{"a":["F"]}"#,
                r#""where":{"a":19800101}"#,
                r#""where":{"a":"1","b":"1","c":"1","d":"1","e":"1"}"#,
                r#""where":{"a":{}}"#,
                r#""where":{"a":{"from":null,"to":null}}"#,
                r#""where":{"a":{"since":"1980-01-01"}}"#,
                r#""where":{"a":{"from":"1980-01-01","SECRET":null}}"#,
                r#""where":{"a":{"from":"SECRET"}}"#,
                r#""where":{"a":{"from":"1980-02-30"}}"#,
                r#""where":{"a":{"to":"1799-12-31"}}"#,
                r#""where":{"a":{"to":"2158-01-01"}}"#,
                r#""where":{"a":{"from":19800101}}"#,
                r#""where":{"a":{"from":{"from":"1980-01-01"}}}"#,
                r#""where":{"a":{"from":["1980-01-01"]}}"#,
                r#""where":{"a":{"from":"1980-01-02","to":"1980-01-01"}}"#,
                r#""deadline_ms":0"#,
                r#""deadline_ms":60001"#,
                r#""deadline_ms":-1"#,
                r#""deadline_ms":1.5"#,
                r#""deadline_ms":1.0"#,
                r#""deadline_ms":1e3"#,
                r#""deadline_ms":"2000""#,
                r#""deadline_ms":true"#,
                r#""deadline_ms":[1]"#,
                r#""deadline_ms":4294967297"#,
                r#""deadline_ms":18446744073709551617"#,
            ] {
                refuses(&format!("{key},{form}"), Code::BadRequest);
            }
        }
        // Before its key, as well.
        refuses(r#""cpf":"x","where":1"#, Code::BadRequest);
        refuses(r#""nome":"-","match":"words","last":1"#, Code::BadRequest);
        refuses(r#""nome":"-","match":"words""#, Code::InvalidName);
        // And whatever the operation is.
        for op in ["ping", "hello", "stats", "batch", "verify"] {
            refuses(&format!(r#""op":"{op}","items":[],"cpf":"191","deadline_ms":0"#), Code::BadRequest);
        }
    }

    #[test]
    fn deadlines() {
        for (member, expected) in [("", None), (r#","deadline_ms":null"#, None), (r#","deadline_ms":1"#, Some(1))] {
            assert_eq!(read(&format!(r#""op":"ping"{member}"#)).deadline_ms, expected);
        }
        let request = read(r#""cpf":"x","deadline_ms":60000"#);
        assert_eq!(request.deadline_ms, Some(DEADLINE_MS_MAX));
        assert_eq!(request.operation.map_err(|fault| fault.code), Err(Code::InvalidCpf));
    }

    #[test]
    fn words_within_their_limits() {
        let most = words_of(QUESTION_WORDS_MAX);
        let long = "É".repeat(FUZZY_LETTERS_MAX);
        for (name, how) in [(&most, "words"), (&most, "fuzzy"), (&long, "fuzzy")] {
            lookup(&format!(r#""nome":"{name} {name} {name}","match":"{how}""#));
        }
        let (more, longer) = (words_of(QUESTION_WORDS_MAX + 1), format!("{long}A"));
        for how in ["exact", "prefix"] {
            lookup(&format!(r#""nome":"{more} {longer}","match":"{how}""#));
        }
        lookup(&format!(r#""nome":"{longer}","match":"words""#));
        for (name, how) in [(&more, "words"), (&more, "fuzzy"), (&longer, "fuzzy")] {
            refuses(&format!(r#""nome":"{name}","match":"{how}""#), Code::BadRequest);
        }
        // Letters are counted after normalisation: a mark is none, and a ligature is several.
        lookup(&format!(r#""nome":"{}","match":"fuzzy""#, "e\u{301}".repeat(FUZZY_LETTERS_MAX)));
        refuses(&format!(r#""nome":"{}","match":"fuzzy""#, "ﬁ".repeat(FUZZY_LETTERS_MAX / 2 + 1)), Code::BadRequest);
        for name in [&more, &longer] {
            refuses(&format!(r#""op":"verify","cpf":"191","nome":"{name}""#), Code::BadRequest);
        }
    }

    #[test]
    fn what_filters_say() {
        let filters = |r#where: &str| lookup(&format!(r#""cpf":"191","where":{where}"#)).filters;
        for none in ["null", "{}", r#"{"a":null,"b":null}"#] {
            assert!(filters(none).is_empty(), "{none}");
        }
        let day = |text: &str| BirthDay::parse(text);
        let days = |from: Option<&str>, to: Option<&str>| Test::Days { from: from.and_then(day), to: to.and_then(day) };
        let filter = |column: &str, test| Filter { column: column.into(), test };
        assert_eq!(
            *filters(
                r#"{"nasc":{"to":"31/12/1989","from":" 19800101"},"a\u0301":"any text","":"","n":null,"Z":{"to":"1980-01-01"}}"#
            ),
            [
                filter("", Test::Text("".into())),
                filter("Z", days(None, Some("1980-01-01"))),
                filter("a\u{301}", Test::Text("any text".into())),
                filter("nasc", days(Some("1980-01-01"), Some("1989-12-31"))),
            ]
        );
        let one = filters(r#"{"nasc":{"from":"1980-01-01","to":"1980-01-01"}}"#);
        assert_eq!(*one, [filter("nasc", days(Some("1980-01-01"), Some("1980-01-01")))]);
        // What is null is not there, so that it does not count.
        assert_eq!(filters(r#"{"a":"1","b":null,"c":"1","d":"1","e":"1"}"#).len(), FILTERS_MAX);
    }

    #[test]
    fn cursors_of_both_versions() {
        let place = Cursor { generation: 1, question: 2, position: 3, search: None };
        let search = Some(SearchPlace { level: 33, total: Total::Exact(u64::MAX), given: 5 });
        for cursor in [place, Cursor { search, ..place }] {
            let members = format!(r#""nome":"A","match":"words","cursor":"{}""#, cursor.encode());
            assert_eq!(lookup(&members).cursor, Some(cursor));
        }
        refuses(&format!(r#""nome":"A","cursor":"{}""#, "A".repeat(CURSOR_BYTES_MAX + 1)), Code::BadRequest);
    }

    /// A line of words that are nearly all the same costs as little as its bytes.
    #[test]
    fn a_line_of_words_is_counted_to_its_end() {
        let name = "A ".repeat(30_000);
        lookup(&format!(r#""nome":"{name}","match":"words""#));
        refuses(&format!(r#""nome":"{name} {}","match":"words""#, words_of(QUESTION_WORDS_MAX)), Code::BadRequest);
    }

    proptest! {
        /// Whatever a member is, it is read or refused, and nothing of it shows.
        #[test]
        fn any_value_of_any_member(
            member in prop::sample::select(vec!["match", "last", "spelling", "where", "deadline_ms", "nasc", "cursor", "limit"]),
            value in prop_oneof![
                Just(r#""SECRET""#.to_owned()),
                Just(r#"{"SECRET":"SECRET"}"#.to_owned()),
                "[1-9][0-9]{0,11}",
                any::<f64>().prop_map(|number| serde_json::Value::from(number).to_string()),
                any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
                "[a-c]{0,2}".prop_map(|column| format!(r#"{{"{column}":{{"from":"{column}","to":null}}}}"#)),
            ],
            op in prop::sample::select(vec!["", r#""op":"verify","#, r#""op":"ping","#]),
        ) {
            let request = read(&format!(r#"{op}"cpf":"191","{member}":{value}"#));
            let shown = format!("{request:?}");
            prop_assert!(!shown.contains("SECRET"), "{}", shown);
            if let Err(fault) = request.operation {
                prop_assert_eq!(fault.code, Code::BadRequest);
            }
        }
    }
}
