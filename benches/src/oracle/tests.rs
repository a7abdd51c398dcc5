//! The oracle against a small peer that answers rightly, and against the same peer with one flaw.
//!
//! The peer answers from the oracle's own scan: what is tested here is that everything is asked, paged and compared.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Map, Value, json};

use super::scan::{Cell, Table};
use super::search::Searchable;
use super::*;

mod searches;

/// Spoils a reply; given with its request.
type Flaw = fn(&Value, &mut Value);

/// Codes of the lines that the peer does not understand, by their text: [`manners`] is not what is tested here.
fn code_of_broken(line: &str) -> &'static str {
    match serde_json::from_str::<Value>(line) {
        // Legal JSON, but too large for a reader that makes doubles of numbers.
        Err(_) if line.contains("1e400") => "invalid_cpf",
        Err(_) => "bad_json",
        Ok(_) if line.matches("\"id\":1,").count() > 1 => "bad_json",
        Ok(_) => "bad_request",
    }
}

fn error(code: &str) -> Value {
    json!({"status": "error", "code": code, "message": "no"})
}

fn answer(searchable: &Searchable<'_>, line: &str) -> Value {
    let table = searchable.table;
    let Ok(Value::Object(request)) = serde_json::from_str::<Value>(line) else { return error(code_of_broken(line)) };
    let request = Value::from(request);
    // A wrong search says in its `id` what it must be told: what is tested here is not the peer.
    if let Some(code) = request["id"].as_str().filter(|id| id.contains("_")) {
        return error(code);
    }
    if let Some(op) = request["op"].as_str() {
        let limits = json!({"line_bytes": 1, "limit_max": 1, "batch_items": 1, "batch_rows": 1, "in_flight": 1,
            "question_words": 16, "deadline_ms": 2000});
        return match op {
            "batch" if request["items"].is_array() => {
                let items = request["items"].as_array().into_iter().flatten();
                let is_none = |item: &Value| item["op"].is_string() || item["match"] == "none";
                let results: Vec<Value> = items
                    .map(
                        |item| if is_none(item) { error("bad_request") } else { answer(searchable, &item.to_string()) },
                    )
                    .collect();
                json!({"status": "ok", "results": results})
            }
            "verify" => searches::verify(searchable, &request),
            "ping" => json!({"status": "ok"}),
            "hello" => json!({"status": "ok", "protocol": 1, "server": "peer/0", "generation": "g",
                "rows": table.rows.len(), "limits": limits,
                "matches": ["exact", "prefix", "words", "fuzzy"], "filters": {"sex": "sexo", "birth": "nasc"}}),
            _ => error("bad_request"),
        };
    }
    let limit = if request["limit"].is_null() { 50 } else { request["limit"].as_u64().unwrap_or(0) as usize };
    let broken = line.matches("\"id\":1,").count() > 1
        || !(1..=1000).contains(&limit)
        || request["id"].is_f64()
        || request["id"].as_u64().is_some_and(|id| id > 1 << 53)
        || request["match"] == "none";
    let is_search = request["match"] == "words" || request["match"] == "fuzzy";
    if !broken && is_search {
        return searches::answer(searchable, &request, limit);
    }
    let (rows, warning): (&[u32], bool) = match (&request["cpf"], &request["nome"]) {
        _ if broken => return error(code_of_broken(line)),
        (Value::Null, Value::String(name)) => match (reading::normalise(name).as_str(), &request["match"]) {
            ("", _) => return error("invalid_name"),
            (name, exact) if exact == "exact" => (table.names.exact(name), false),
            (name, _) => (table.names.starting_with(name), false),
        },
        (cpf @ (Value::String(_) | Value::Number(_)), Value::Null) => {
            let read = match cpf {
                Value::String(text) => reading::read_cpf(text),
                // The text of the number: a general reader would turn a long one into a double.
                _ => reading::read_cpf_number(line.split("\"cpf\":").nth(1).unwrap().split([',', '}']).next().unwrap()),
            };
            let Some(key) = read else { return error("invalid_cpf") };
            (table.cpfs.exact(&key), !reading::check_digits_hold(&key))
        }
        _ => return error("bad_request"),
    };
    let rows = searchable.filtered(rows, &searches::filter(&request["where"])).rows;
    let mut reply = page(table, &request, &rows, limit).0;
    if warning && reply["status"] == "ok" {
        reply["warning"] = "check_digits".into();
    }
    reply
}

/// One page of `rows`, and which of them are on it.
fn page(table: &Table, request: &Value, rows: &[u32], limit: usize) -> (Value, std::ops::Range<usize>) {
    // A cursor has 512 bytes at most, less than a question may have.
    let question =
        ["cpf", "nome", "match", "last", "spelling", "where"].map(|member| request[member].to_string()).concat();
    let question = question.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
    let start = match request["cursor"].as_str().map(|cursor| cursor.split_once('@')) {
        None => 0,
        Some(Some((at, of))) if of == question.to_string() => at.parse().unwrap(),
        Some(_) => return (error("bad_request"), 0..0),
    };
    let end = rows.len().min(start + limit);
    let next = if end < rows.len() { Value::from(format!("{end}@{question}")) } else { Value::Null };
    let page: Vec<Value> = rows[start..end].iter().map(|&at| row(table, at)).collect();
    (json!({"status": "ok", "rows": page, "total": rows.len(), "next": next}), start..end)
}

fn row(table: &Table, at: u32) -> Value {
    let value = |cell: &Cell| match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => json!(number),
        Cell::Real(number) => json!(number),
        Cell::Text(text) => json!(text),
        Cell::Blob(_) => json!({"base64": "AP8="}),
    };
    Map::from_iter(table.columns.iter().cloned().zip(table.rows[at as usize].cells.iter().map(value))).into()
}

/// Answers what has arrived, the last request first.
fn serve(searchable: &Searchable<'_>, stream: TcpStream, flaw: Flaw) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut replies = Vec::new();
        loop {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let line = String::from_utf8(line).unwrap_or_default();
            let mut reply = answer(searchable, line.trim_end());
            let request = serde_json::from_str::<Value>(&line).unwrap_or_default();
            flaw(&request, &mut reply);
            if let id @ (Value::String(_) | Value::Number(_)) = &request["id"] {
                reply["id"] = id.clone();
            }
            replies.push(reply);
            if !reader.buffer().contains(&b'\n') {
                break;
            }
        }
        for reply in replies.iter().rev() {
            writer.write_all(format!("{reply}\n").as_bytes())?;
        }
    }
}

/// A registry with a bit of everything; 70 rows carry one CPF and 120 one name.
fn registry(folder: &Path) -> std::path::PathBuf {
    let db = folder.join("basecpf.db");
    let database = rusqlite::Connection::open(&db).unwrap();
    database.execute_batch("CREATE TABLE cpf(cpf, nome, sexo TEXT, nasc); BEGIN").unwrap();
    let mut insert = database.prepare("INSERT INTO cpf VALUES (?, ?, ?, ?)").unwrap();
    for at in 0..400_i64 {
        let cpf = match at % 10 {
            0 | 1 => "000.000.001-91".to_owned(),
            2 => format!("123456789{:02}", at % 100),
            3 => "sem cpf".to_owned(),
            _ => format!("{:011}", at * 7_654_321),
        };
        let name = match at % 7 {
            0 | 1 => "JOSÉ DA SILVA".to_owned(),
            2 => format!("Maria  D'Ávila {at}"),
            3 => "…".to_owned(),
            _ => format!("ANA {}", ["LIMA", "LIMEIRA", "ŉ", "ﬁlho"][at as usize % 4]),
        };
        insert.execute((cpf, name, (at % 5 == 0).then_some("F"), at as f64 / 3.0)).unwrap();
    }
    database
        .execute_batch(
            "INSERT INTO cpf VALUES (191, 5, x'00ff', 1), (NULL, NULL, NULL, NULL), (1.5, x'41', '', -0.0),
                 ('11111111111', CAST(x'41ff42' AS TEXT), CAST(x'c3' AS TEXT), 9007199254740993); COMMIT",
        )
        .unwrap();
    db
}

fn run_against(flaw: Flaw) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let db = registry(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = Plan::new(&db, listener.local_addr().unwrap());
    (plan.prefixes, plan.absent, plan.strange, plan.connections) = (300, 20, 100, 2);
    (plan.words, plan.fuzzy, plan.filtered, plan.claims) = (200, 200, 200, 200);
    // The peer's threads end with the test program.
    let table: &Table = Box::leak(Box::new(Table::scan(&plan.registry).unwrap()));
    let searchable: &Searchable<'_> = Box::leak(Box::new(Searchable::new(table)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(searchable, stream.unwrap(), flaw));
        }
    });
    run(&plan).unwrap()
}

#[test]
fn right_answers_are_no_difference_and_everything_is_asked() {
    let report = run_against(|_, _| {});
    assert_eq!(report.differences, 0, "{report}");
    let [rows, cpfs, names] = report.table;
    assert_eq!(rows, 404);
    let count = |kind| report.counts[&kind];
    assert_eq!(count(Kind::Cpf).questions, cpfs as u64, "{report}");
    assert_eq!(count(Kind::CpfSpelled).questions, cpfs as u64, "{report}");
    assert_eq!(count(Kind::NameExact).questions, names as u64, "{report}");
    assert_eq!(count(Kind::Prefix).questions, 300, "{report}");
    // A row that has no key of a kind is found by none of that kind, each of the others by one.
    assert_eq!((count(Kind::Cpf).rows, count(Kind::CpfSpelled).rows), (362, 362), "{report}");
    assert_eq!(count(Kind::NameExact).rows, 345, "{report}");
    assert!(count(Kind::Prefix).requests > count(Kind::Prefix).questions + 100, "{report}");
}

/// Runs against a peer with `flaw`, which must be found, and told as `kind` and with `what` in it.
#[track_caller]
fn check(flaw: Flaw, kind: Kind, what: &str) {
    let report = run_against(flaw);
    let found = report.shown.iter().any(|difference| difference.kind == kind && difference.what.contains(what));
    assert!(report.differences > 0 && found, "expected {kind:?} {what:?}: {report}");
}

fn rows_of(reply: &mut Value) -> Option<&mut Vec<Value>> {
    reply["rows"].as_array_mut().filter(|rows| rows.len() > 1)
}

fn is_exact(request: &Value) -> bool {
    request["match"] == "exact"
}

#[test]
fn wrong_rows_are_differences() {
    check(|_, reply| rows_of(reply).map_or((), |rows| rows.swap(0, 1)), Kind::Prefix, "another row");
    check(|_, reply| rows_of(reply).map_or((), |rows| drop(rows.pop())), Kind::Prefix, "at limit");
    check(|_, reply| rows_of(reply).map_or((), |rows| rows.push(rows[0].clone())), Kind::Prefix, "at limit");
    let another_value: Flaw = |request, reply| {
        if is_exact(request) && rows_of(reply).is_some() {
            reply["rows"][1]["nasc"] = json!("1");
        }
    };
    check(another_value, Kind::NameExact, "\"nasc\"");
    let no_column: Flaw = |request, reply| {
        if is_exact(request)
            && let Some(rows) = rows_of(reply)
        {
            rows[0].as_object_mut().unwrap().remove("sexo");
        }
    };
    check(no_column, Kind::NameExact, "no column \"sexo\"");
}

#[test]
fn wrong_ends_are_differences() {
    let total: Flaw = |request, reply| {
        if is_exact(request) && reply["total"].is_u64() {
            reply["total"] = json!(reply["total"].as_u64().unwrap() + 1);
        }
    };
    check(total, Kind::NameExact, "total");
    check(|_, reply| reply["next"] = json!(null), Kind::Prefix, "no cursor");
    let warning: Flaw = |request, reply| {
        if request["cpf"].is_string() {
            reply.as_object_mut().unwrap().remove("warning");
        }
    };
    check(warning, Kind::Cpf, "warning");
    let code: Flaw = |_, reply| {
        if reply["code"] == "invalid_name" {
            reply["code"] = json!("bad_request");
        }
    };
    check(code, Kind::NameStrange, "invalid_name");
    check(|_, reply| drop(reply.as_object_mut().unwrap().remove("status")), Kind::Manners, "status");
}

#[test]
fn an_overloaded_server_is_asked_again() {
    use std::sync::atomic::AtomicU32;
    static REFUSALS: AtomicU32 = AtomicU32::new(5);
    let report = run_against(|request, reply| {
        let left = REFUSALS.load(Ordering::Relaxed);
        if is_exact(request) && request["where"].is_null() && left > 0 {
            REFUSALS.store(left - 1, Ordering::Relaxed);
            *reply = json!({"status": "error", "code": "overloaded", "message": "full", "retry_after_ms": 1});
        }
    });
    assert_eq!(report.differences, 0, "{report}");
    assert!(report.overloaded > 0, "{report}");
}
