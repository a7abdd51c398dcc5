//! Requests: from a line to a question that is known to be well formed.
//!
//! Whether anything is found, or whether a cursor fits, is not decided here.

use std::fmt;

use balcao_record::{BirthDay, Cpf};

use crate::code::{Code, Fault};
use crate::json::{self, Value};
use crate::limits::{BATCH_ITEMS_MAX, LINE_BYTES_MAX};
use crate::lookup::{Key, Lookup, Match, Spelling};
use crate::members::{self, Known, bad_request, text, within_words};

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
    /// Milliseconds from the reading of its line after which nobody waits for the answer any more, 1 to 60,000; by default the server's.
    pub deadline_ms: Option<u32>,
}

impl Request {
    fn refused(id: Id, fault: Fault) -> Self {
        Self { id, operation: Err(fault), deadline_ms: None }
    }
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
    /// Does what I hold of a person agree with the registry?
    Verify(Claim),
}

/// What somebody holds of a person.
#[derive(Clone, PartialEq)]
pub struct Claim {
    /// The person's CPF.
    pub cpf: Cpf,
    /// Normalised, not empty, within the limits of words of `fuzzy`.
    pub name: Option<Box<str>>,
    /// The birth day.
    pub birth: Option<BirthDay>,
    /// What counts as the same word of a name.
    pub spelling: Spelling,
}

/// All of it is a person's data.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim(***)")
    }
}

/// One item of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Echoed in the item's reply.
    pub id: Id,
    /// The item's question, or the error to answer it with.
    pub lookup: Result<Lookup, Fault>,
}

/// Reads a line, without its `\n`. A line that is no request at all comes back as one without `id` whose operation is the error.
#[must_use]
pub fn decode(line: &[u8]) -> Request {
    if line.len() > LINE_BYTES_MAX {
        let message = "a request line has at most 65536 bytes; split the batch";
        return Request::refused(Id::Absent, Fault::new(Code::LineTooLong, message));
    }
    match json::parse(line) {
        Ok(Value::Object(members)) => request(Known::of(members)),
        Ok(_) => Request::refused(Id::Absent, bad_request("a request is a JSON object")),
        Err(error) => Request::refused(Id::Absent, Fault::new(Code::BadJson, error.to_string())),
    }
}

fn request(mut known: Known<'_>) -> Request {
    let id = match members::id(known.id.take()) {
        Ok(id) => id,
        Err(fault) => return Request::refused(Id::Absent, fault),
    };
    match members::deadline_ms(known.take("deadline_ms").as_ref()) {
        Ok(deadline_ms) => Request { id, operation: operation(&mut known), deadline_ms },
        Err(fault) => Request::refused(id, fault),
    }
}

fn operation(known: &mut Known<'_>) -> Result<Operation, Fault> {
    match text(known.op.take(), "op")?.as_deref() {
        None => lookup(known).map(Operation::Lookup),
        Some("ping") => Ok(Operation::Ping),
        Some("hello") => Ok(Operation::Hello),
        Some("stats") => Ok(Operation::Stats),
        Some("batch") => batch(known.take("items")).map(Operation::Batch),
        Some("verify") => claim(known).map(Operation::Verify),
        Some(_) => Err(bad_request("`op` is none of `hello`, `ping`, `stats`, `batch` and `verify`")),
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
    match members::id(known.id.take()) {
        Err(fault) => Item { id: Id::Absent, lookup: Err(fault) },
        Ok(id) if known.op.is_some() => {
            Item { id, lookup: Err(bad_request("an item of a batch has no `op`: it asks by `cpf` or by `nome`")) }
        }
        Ok(id) => Item { id, lookup: lookup(&mut known) },
    }
}

fn lookup(known: &mut Known<'_>) -> Result<Lookup, Fault> {
    let (r#match, filters) = if known.is_plain() {
        (Match::Prefix, Box::default())
    } else {
        let r#match = members::r#match(known.r#match.take(), known.take("last"), known.take("spelling"))?;
        (r#match, members::filters(known.take("where"))?)
    };
    let limit = members::limit(known.limit.as_ref())?;
    let cursor = members::cursor(known.cursor.take())?;
    let key = match (known.cpf.take(), known.nome.take()) {
        (Some(cpf), None) => Key::Cpf(members::cpf(&cpf)?),
        (None, Some(nome)) => {
            let name = members::name(nome)?;
            match r#match {
                Match::Exact | Match::Prefix => {}
                Match::Words { .. } => within_words(&name, false)?,
                Match::Fuzzy { .. } => within_words(&name, true)?,
            }
            Key::Name { r#match, name }
        }
        (Some(_), Some(_)) => return Err(bad_request("send `cpf` or `nome`, not both")),
        (None, None) => return Err(bad_request("send `cpf`, `nome` or `op`")),
    };
    Ok(Lookup { key, filters, limit, cursor })
}

fn claim(known: &mut Known<'_>) -> Result<Claim, Fault> {
    let spelling = members::spelling(known.take("spelling"))?;
    let birth = members::day(known.take("nasc"), "nasc")?;
    let Some(cpf) = known.cpf.take() else {
        return Err(bad_request("to `verify`, send the `cpf` and what else you hold"));
    };
    let cpf = members::cpf(&cpf)?;
    let name = known.nome.take().map(members::name).transpose()?;
    if let Some(name) = &name {
        within_words(name, true)?;
    }
    Ok(Claim { cpf, name, birth, spelling })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ID_INTEGER_MAX;
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
            r#"{"nome":"ANA","match":"word"}"#,
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
    fn items_may_search() {
        let line = r#"{"op":"batch","deadline_ms":7,"items":[{"nome":"ANA","match":"words","where":{"sexo":"F"}},
            {"nome":"ANA","match":"fuzzy","spelling":"pt","deadline_ms":0},{"nome":"ANA","where":1},{"op":"verify","cpf":"191"}]}"#;
        let request = decode(line.as_bytes());
        assert_eq!(request.deadline_ms, Some(7));
        let Ok(Operation::Batch(items)) = request.operation else { panic!("a batch") };
        let searches: Vec<_> =
            items.iter().map(|item| item.lookup.as_ref().map(Lookup::is_search).map_err(|fault| fault.code)).collect();
        assert_eq!(searches, [Ok(true), Ok(true), Err(Code::BadRequest), Err(Code::BadRequest)]);
    }

    #[test]
    fn claims() {
        let claim = |members: &str| match decode(format!(r#"{{"op":"verify",{members}}}"#).as_bytes()).operation {
            Ok(Operation::Verify(claim)) => Ok(claim),
            Ok(other) => panic!("{members}: {other:?}"),
            Err(fault) => Err(fault.code),
        };
        let cpf = Cpf::parse("191").unwrap();
        let bare = Claim { cpf, name: None, birth: None, spelling: Spelling::Plain };
        assert_eq!(
            claim(r#""cpf":191,"nome":null,"match":7,"limit":0,"where":1,"cursor":2,"last":3"#),
            Ok(bare.clone())
        );
        let whole = Claim {
            name: Some("ANA LIMA".into()),
            birth: BirthDay::parse("1980-01-31"),
            spelling: Spelling::Portuguese,
            ..bare
        };
        assert_eq!(
            claim(r#""cpf":"000.000.001-91","nome":"Ana  Lima","nasc":"31/01/1980","spelling":"pt""#),
            Ok(whole)
        );
        for (members, code) in [
            (r#""nome":"ANA","nasc":"1980-01-31""#, Code::BadRequest),
            (r#""cpf":null"#, Code::BadRequest),
            (r#""cpf":{}"#, Code::BadRequest),
            (r#""cpf":"x""#, Code::InvalidCpf),
            (r#""cpf":"191","nome":1"#, Code::BadRequest),
            (r#""cpf":"191","nome":"…""#, Code::InvalidName),
            (r#""cpf":"191","nasc":19800131"#, Code::BadRequest),
            (r#""cpf":"191","nasc":"""#, Code::BadRequest),
            (r#""cpf":"191","nasc":"1980-02-31""#, Code::BadRequest),
            (r#""cpf":"191","nasc":{"from":"1980-01-31"}"#, Code::BadRequest),
            (r#""cpf":"191","spelling":"br""#, Code::BadRequest),
        ] {
            assert_eq!(claim(members).map(drop), Err(code), "{members}");
        }
    }

    /// No part of a question shows: no name, no CPF, no day, no filter.
    #[test]
    fn debug_hides_what_is_asked() {
        for line in [
            r#"{"nome":"SECRET"}"#,
            r#"{"nome":"SECRET","match":"fuzzy","where":{"SECRET":"SECRET","b":{"from":"1980-01-31"}}}"#,
            r#"{"cpf":"52998224725","where":{"SECRET":"x"}}"#,
            r#"{"op":"verify","cpf":"52998224725","nome":"SECRET","nasc":"1980-01-31"}"#,
            r#"{"op":"batch","items":[{"nome":"SECRET","match":"words","where":{"b":"SECRET"}}]}"#,
            r#"{"nome":"SECRET","where":{"SECRET":{"SECRET":1}}}"#,
            r#"{"op":"verify","cpf":"529982247255","nome":"SECRET"}"#,
        ] {
            let shown = format!("{:?}", decode(line.as_bytes()));
            // 65773 is what the day is kept as.
            for hidden in ["SECRET", "529", "725", "1980", "65773"] {
                assert!(!shown.contains(hidden), "{line}: {shown}");
            }
        }
        assert_eq!(BirthDay::parse("1980-01-31").map(BirthDay::days), Some(65_773));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&line);
        }
    }
}
