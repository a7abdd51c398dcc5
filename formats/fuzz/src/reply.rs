//! Targets `reply` and `client_reply`: what the writers write is JSON and gives the values back, and the client reads it; and the client
//! reads any line, or refuses it.

use arbitrary::{Arbitrary, Unstructured};
use balcao_wire::client::{Hello, Reply};
use balcao_wire::{
    Agreement, Code, Ending, Fault, Greeting, Id, Match, NameAgreement, RowWriter, RowsWriter, Total, write_agreement,
    write_batch, write_fault, write_greeting, write_pong,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json::{self, Json};

/// A value as SQLite holds it.
#[derive(Arbitrary, Debug)]
enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum AnyId {
    Absent,
    Integer(i64),
    Text(String),
}

/// A reply that is no batch.
#[derive(Arbitrary, Debug)]
enum Plain {
    Pong,
    Fault { code: u8, message: String, retry_after_ms: Option<u32> },
    Rows { names: Vec<String>, rows: Vec<Vec<Value>>, total: u64, next: Option<String>, warning: bool },
    Found { is_exact: bool, total: u64, next: Option<String>, warning: bool, distances: Option<Vec<u8>>, bounded: bool },
    Agreement { cpf: bool, name: Option<u8>, birth: Option<bool>, warning: bool },
}

/// The grades of a name, from the least.
const GRADES: [NameAgreement; 4] =
    [NameAgreement::No, NameAgreement::Fuzzy, NameAgreement::Words, NameAgreement::Exact];

/// Their texts, in the same order.
const GRADE_TEXTS: [&str; 4] = ["no", "fuzzy", "words", "exact"];

#[derive(Arbitrary, Debug)]
enum Written {
    Plain(AnyId, Plain),
    Batch(AnyId, Vec<(AnyId, Plain)>),
    Greeting {
        id: AnyId,
        server: String,
        generation: String,
        rows: u64,
        columns: Vec<String>,
        matches: u8,
        filters: [Option<String>; 2],
    },
}

/// Writes any reply and reads it back.
pub fn reply(data: &[u8]) {
    let Ok(written) = Written::arbitrary(&mut Unstructured::new(data)) else { return };
    let mut out = Vec::new();
    match &written {
        Written::Plain(id, plain) => write(&mut out, id, plain),
        Written::Batch(id, items) => {
            let mut results = Vec::new();
            for (i, (id, plain)) in items.iter().enumerate() {
                if i > 0 {
                    results.push(b',');
                }
                write(&mut results, id, plain);
            }
            write_batch(&mut out, &id.as_id(), &results);
        }
        Written::Greeting { id, server, generation, rows, columns, matches, filters } => {
            let (server, generation) = (server.clone(), generation.clone());
            write_greeting(
                &mut out,
                &id.as_id(),
                &Greeting {
                    server,
                    generation,
                    rows: *rows,
                    columns: columns.clone(),
                    matches: told_matches(*matches).to_vec(),
                    filters: told_filters(filters).collect(),
                },
            );
        }
    }
    assert!(!out.contains(&b'\n'), "a reply is one line");
    let read = json::read(&out).unwrap_or_else(|| panic!("a reply that is not JSON"));
    match &written {
        Written::Plain(id, plain) => check(&read, id, plain),
        Written::Batch(id, items) => {
            check_id(&read, id);
            let Some(Json::Array(results)) = read.member("results") else { panic!("a batch has results") };
            assert_eq!(results.len(), items.len());
            results.iter().zip(items).for_each(|(read, (id, plain))| check(read, id, plain));
        }
        Written::Greeting { id, server, generation, rows, columns, matches, filters } => {
            check_id(&read, id);
            let hello: Hello = serde_json::from_slice(&out).unwrap();
            assert_eq!(
                (&hello.server, &hello.generation, hello.rows, &hello.columns),
                (server, generation, *rows, columns)
            );
            assert_eq!(hello.matches, told_matches(*matches));
            let filters = told_filters(filters).map(|(what, column)| (what.to_owned(), column));
            assert_eq!(hello.filters, filters.collect());
            return;
        }
    }
    let received: Reply = serde_json::from_slice(&out).unwrap();
    assert_eq!(received.is_ok(), read.member("status").and_then(Json::text) == Some("ok"));
    assert_eq!(received.id.is_some(), read.member("id").is_some());
    check_received(&received, &serde_json::from_slice(&out).unwrap());
}

fn told_matches(count: u8) -> &'static [&'static str] {
    &Match::NAMES[..usize::from(count) % (Match::NAMES.len() + 1)]
}

fn told_filters(columns: &[Option<String>; 2]) -> impl Iterator<Item = (&'static str, String)> {
    ["sex", "birth"].into_iter().zip(columns).filter_map(|(what, column)| Some((what, column.clone()?)))
}

impl AnyId {
    fn as_id(&self) -> Id {
        match self {
            AnyId::Absent => Id::Absent,
            AnyId::Integer(id) => Id::Integer(*id),
            AnyId::Text(id) => Id::Text(id.as_str().into()),
        }
    }
}

/// A fault that a server may send.
fn fault(code: u8, message: &str, retry_after_ms: Option<u32>) -> Fault {
    let code = Code::ALL[usize::from(code) % Code::ALL.len()];
    Fault { retry_after_ms, ..Fault::new(code, message.to_owned()) }
}

/// A table has no two columns of one name.
fn column(at: usize, names: &[String]) -> String {
    format!("{at} {}", names.get(at).map_or("", String::as_str))
}

fn write(out: &mut Vec<u8>, id: &AnyId, plain: &Plain) {
    let id = id.as_id();
    match plain {
        Plain::Pong => write_pong(out, &id),
        Plain::Fault { code, message, retry_after_ms } => {
            write_fault(out, &id, &fault(*code, message, *retry_after_ms));
        }
        Plain::Rows { names, rows, total, next, warning } => {
            let mut writer = RowsWriter::begin(out, &id);
            for values in rows {
                let mut row = writer.row();
                for (at, value) in values.iter().enumerate() {
                    let row = row.name(&RowWriter::encode_name(&column(at, names)));
                    match value {
                        Value::Null => row.null(),
                        Value::Integer(value) => row.integer(*value),
                        Value::Real(value) => row.real(*value),
                        Value::Text(value) => row.text(value),
                        Value::Blob(value) => row.blob(value),
                    }
                }
                row.finish();
            }
            writer.finish(*total, next.as_deref(), *warning);
        }
        Plain::Found { is_exact, total, next, warning, distances, bounded } => {
            let ending = Ending {
                total: if *is_exact { Total::Exact(*total) } else { Total::AtLeast(*total) },
                next: next.as_deref(),
                check_digits_warning: *warning,
                distances: distances.as_deref(),
                bounded: *bounded,
            };
            RowsWriter::begin(out, &id).finish_search(&ending);
        }
        Plain::Agreement { cpf, name, birth, warning } => {
            let name = name.map(|grade| GRADES[usize::from(grade) % GRADES.len()]);
            let (cpf, birth, check_digits_warning) = (*cpf, *birth, *warning);
            write_agreement(out, &id, &Agreement { cpf, name, birth, check_digits_warning });
        }
    }
}

fn check(read: &Json, id: &AnyId, plain: &Plain) {
    check_id(read, id);
    let status = read.member("status").and_then(Json::text);
    assert_eq!(status, Some(if matches!(plain, Plain::Fault { .. }) { "error" } else { "ok" }));
    let number = |name: &str| match read.member(name) {
        Some(Json::Number(number)) => Some(number.clone()),
        _ => None,
    };
    match plain {
        Plain::Pong => {}
        Plain::Fault { code, message, retry_after_ms } => {
            let fault = fault(*code, message, *retry_after_ms);
            assert_eq!(read.member("code").and_then(Json::text), Some(fault.code.as_str()));
            assert_eq!(read.member("message").and_then(Json::text), Some(message.as_str()));
            assert_eq!(number("retry_after_ms"), retry_after_ms.map(|ms| ms.to_string()));
        }
        Plain::Rows { names, rows, total, next, warning } => {
            let Some(Json::Array(read_rows)) = read.member("rows") else { panic!("no rows") };
            assert_eq!(read_rows.len(), rows.len());
            for (read, values) in read_rows.iter().zip(rows) {
                let Json::Object(members) = read else { panic!("a row is an object") };
                assert_eq!(members.len(), values.len());
                for (at, ((name, read), value)) in members.iter().zip(values).enumerate() {
                    assert_eq!(*name, column(at, names));
                    check_value(read, value);
                }
            }
            assert_eq!(number("total"), Some(total.to_string()));
            let expected = next.as_ref().map_or(Json::Null, |next| Json::Text(next.clone()));
            assert_eq!(read.member("next"), Some(&expected));
            assert_eq!(read.member("warning").and_then(Json::text), warning.then_some("check_digits"));
        }
        Plain::Found { is_exact, total, next, warning, distances, bounded } => {
            let (told, other) = if *is_exact { ("total", "total_at_least") } else { ("total_at_least", "total") };
            assert_eq!((number(told), read.member(other)), (Some(total.to_string()), None));
            let expected = next.as_ref().map_or(Json::Null, |next| Json::Text(next.clone()));
            assert_eq!(read.member("next"), Some(&expected));
            assert_eq!(read.member("warning").and_then(Json::text), warning.then_some("check_digits"));
            let numbers = |all: &Vec<u8>| Json::Array(all.iter().map(|one| Json::Number(one.to_string())).collect());
            assert_eq!(read.member("distances"), distances.as_ref().map(numbers).as_ref());
            assert_eq!(read.member("bounded"), bounded.then_some(&Json::Bool(true)));
        }
        Plain::Agreement { cpf, name, birth, warning } => {
            assert_eq!(read.member("cpf"), Some(&Json::Bool(*cpf)));
            let grade = name.map(|grade| GRADE_TEXTS[usize::from(grade) % GRADE_TEXTS.len()]);
            assert_eq!(read.member("nome").and_then(Json::text), grade);
            assert_eq!(read.member("nasc"), birth.map(Json::Bool).as_ref());
            assert_eq!(read.member("warning").and_then(Json::text), warning.then_some("check_digits"));
        }
    }
}

fn check_id(read: &Json, id: &AnyId) {
    let expected = match id {
        AnyId::Absent => None,
        AnyId::Integer(id) => Some(Json::Number(id.to_string())),
        AnyId::Text(id) => Some(Json::Text(id.clone())),
    };
    assert_eq!(read.member("id"), expected.as_ref());
}

fn check_value(read: &Json, value: &Value) {
    match (read, value) {
        (Json::Null, Value::Null) => {}
        (Json::Number(number), Value::Integer(value)) => assert_eq!(*number, value.to_string()),
        // `serde_json` itself may read a double one bit beside; its text must name the very same.
        (Json::Number(number), Value::Real(value)) => {
            assert_eq!(number.parse().map(f64::to_bits), Ok(value.to_bits()));
            assert!(number.contains(['.', 'e']), "a double looks like one");
        }
        (Json::Text(text), Value::Real(value)) => {
            let expected = if value.is_nan() {
                "NaN"
            } else if *value > 0.0 {
                "Inf"
            } else {
                "-Inf"
            };
            assert!(!value.is_finite() && text == expected);
        }
        (Json::Text(text), Value::Text(bytes)) => assert_eq!(*text, String::from_utf8_lossy(bytes)),
        (Json::Object(members), Value::Blob(bytes)) => {
            assert_eq!(members.len(), 1);
            let text = read.member("base64").and_then(Json::text).unwrap();
            assert_eq!(STANDARD.decode(text).as_ref(), Ok(bytes));
        }
        (read, value) => panic!("{value:?} came back as {read:?}"),
    }
}

/// The client reads any line, or refuses it; what it reads is what stands there.
pub fn client_reply(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let (reply, hello) = (serde_json::from_str::<Reply>(line), serde_json::from_str::<Hello>(line));
    // What the client does not know it skips, unread: a number that no double holds, say. And `serde` takes an array for a struct.
    let Ok(read @ serde_json::Value::Object(_)) = serde_json::from_str(line) else { return };
    if let Ok(reply) = reply {
        check_received(&reply, &read);
    }
    if let Ok(hello) = hello {
        assert_eq!(read["rows"], hello.rows);
        assert_eq!(read["server"], hello.server);
        assert_eq!(read["limits"]["in_flight"], hello.limits.in_flight);
        assert_eq!(read["matches"].as_array().map_or(0, Vec::len), hello.matches.len());
        assert_eq!(read["limits"]["question_words"].as_u64().unwrap_or(16), hello.limits.question_words as u64);
    }
}

fn check_received(reply: &Reply, read: &serde_json::Value) {
    assert_eq!(read["status"], reply.status);
    assert_eq!(read["code"].as_str(), reply.code.as_deref());
    assert_eq!(read["message"].as_str(), reply.message.as_deref());
    assert_eq!(read["next"].as_str(), reply.next.as_deref());
    assert_eq!(read["warning"].as_str(), reply.warning.as_deref());
    assert_eq!(read["total"].as_u64(), reply.total);
    assert_eq!(read["total_at_least"].as_u64(), reply.total_at_least);
    assert_eq!(read["bounded"].as_bool().unwrap_or_default(), reply.bounded);
    assert_eq!((read["cpf"].as_bool(), read["nasc"].as_bool()), (reply.cpf, reply.nasc));
    assert_eq!(read["nome"].as_str(), reply.nome.as_deref());
    let distances = read["distances"].as_array().map(|all| all.iter().map(|one| one.as_u64().unwrap()).collect());
    assert_eq!(distances, reply.distances.as_ref().map(|all| all.iter().copied().map(u64::from).collect::<Vec<_>>()));
    assert_eq!(read["retry_after_ms"].as_u64(), reply.retry_after_ms);
    let rows = reply.rows.as_ref().map(|rows| rows.iter().cloned().map(serde_json::Value::Object).collect::<Vec<_>>());
    assert_eq!(read["rows"].as_array(), rows.as_ref());
    match (&reply.results, read["results"].as_array()) {
        (Some(results), Some(read)) => {
            assert_eq!(results.len(), read.len());
            let both = results.iter().zip(read).filter(|(_, read)| read.is_object());
            both.for_each(|(reply, read)| check_received(reply, read));
        }
        (results, read) => assert!(results.is_none() && read.is_none()),
    }
}
