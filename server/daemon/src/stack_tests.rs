//! The proof that a session fits its stack: real sessions, over real sockets, on coroutines of half the size, with everything that makes
//! a stack deep. An overflow hits the guard page and ends the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use balcao_engine::Snapshot;
use balcao_indexer::{BuildPlan, MEMORY_MIN, SearchPlan, Silent, build};
use balcao_registry::TableName;
use balcao_wire::decode;
use balcao_wire::limits::{DEPTH_MAX, LINE_BYTES_MAX};
use may::coroutine;
use rusqlite::Connection;

use crate::config::tracing_level::Level;
use crate::desk::guarded;
use crate::limits::{SHORT_ROWS_MAX, STACK_WORDS};
use crate::log::{self, Format};
use crate::serve::start_house;
use crate::session;
use crate::test_house::rules;

/// Columns of the table: SQLite's greatest number without a setting of its own is 2000.
const COLUMNS: usize = 1900;

/// Runs `work` on a coroutine with half the stack of a session, and passes its panic on.
fn on_half_a_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let builder = coroutine::Builder::new().stack_size(STACK_WORDS / 2);
    #[expect(unsafe_code, reason = "starting a coroutine is unsafe by nature")]
    // SAFETY: whether the stack suffices is what is tested; an overflow hits the guard page. No thread-local reference is held over a wait.
    let handle = unsafe { builder.spawn(work) }.unwrap();
    // `join` parks this plain thread.
    handle.join().unwrap_or_else(|_| panic!("the coroutine failed"))
}

/// A wide table with values of every kind, a view over it and an index beside it, so that its schema is none of the simplest.
fn write_registry(db: &Path) {
    let columns: Vec<String> =
        (0..COLUMNS).map(|number| format!("\"column number {number}\" DEFAULT (abs({number}))")).collect();
    let values =
        "CAST(x'41ff42' AS TEXT), 9e999, zeroblob(20000), 1.7976931348623157e308, NULL, hex(zeroblob(50000)), char(0)";
    let names: Vec<String> = (0..7).map(|number| format!("\"column number {number}\"")).collect();
    let sql = format!(
        "CREATE TABLE cpf(cpf, nome, {}); CREATE INDEX beside ON cpf(nome); CREATE VIEW v AS SELECT * FROM cpf;
         WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {SHORT_ROWS_MAX})
            INSERT INTO cpf(cpf, nome, {}) SELECT 191, 'LARGA ' || n, {values} FROM k;
         INSERT INTO cpf(cpf, nome) VALUES ('52998224725', 'MUDA'); CREATE TABLE padding(x); INSERT INTO padding VALUES (zeroblob(20000));",
        columns.join(", "),
        names.join(", ")
    );
    Connection::open(db).unwrap().execute_batch(&sql).unwrap();
}

/// Lines and what their replies must contain.
fn questions() -> Vec<(String, &'static str)> {
    let nested = |depth: usize, open: &str, close: &str| open.repeat(depth) + "1" + &close.repeat(depth);
    let (arrays, objects) = (nested(DEPTH_MAX - 1, "[", "]"), nested(DEPTH_MAX - 1, "{\"m\":", "}"));
    let too_deep = nested(LINE_BYTES_MAX / 2 - 10, "[", "]");
    // As many words as a question may have, of as many letters as they may.
    let words: Vec<String> = (0..16).map(|number| char::from(b'A' + number).to_string().repeat(63) + "Ç").collect();
    let words = words.join(" ");
    let members: Vec<String> = (0..5000).map(|number| format!("\"m{number}\":{number}")).collect();
    vec![
        (format!(r#"{{"op":"ping","x":{arrays}}}"#), r#"{"status":"ok"}"#),
        (format!(r#"{{"op":"ping","x":{objects}}}"#), r#"{"status":"ok"}"#),
        (format!(r#"{{"op":"ping","x":{}}}"#, nested(DEPTH_MAX, "[", "]")), "bad_json"),
        (too_deep, "bad_json"),
        (format!("{{{}}}", members.join(",")), "bad_request"),
        ("x".repeat(60_000), "bad_json"),
        (format!(r#"{{"nome":"{}"}}"#, "\\ufdfa".repeat(10_000)), r#""total":0"#),
        (format!(r#"{{"nome":"{}"}}"#, "\\u0301".repeat(10_000)), "invalid_name"),
        (format!(r#"{{"cpf":"{}"}}"#, ".".repeat(60_000)), "invalid_cpf"),
        (r#"{"nome":"LARGA"}"#.to_owned(), r#""total":50"#),
        (r#"{"nome":"LARGA 3","match":"exact"}"#.to_owned(), r#""Inf""#),
        (r#"{"cpf":191}"#.to_owned(), r#""base64""#),
        (r#"{"op":"hello"}"#.to_owned(), "column number 1899"),
        (r#"{"op":"stats"}"#.to_owned(), r#""latency_us""#),
        (format!(r#"{{"nome":"{words}","match":"fuzzy","spelling":"pt"}}"#), r#""total":0"#),
        (format!(r#"{{"op":"verify","cpf":191,"nome":"{words}","spelling":"pt"}}"#), r#""nome":"no""#),
        (r#"{"op":"verify","cpf":191,"nome":"3 LARGO","spelling":"pt"}"#.to_owned(), r#""nome":"fuzzy""#),
        // The row that changed: the engine logs it, on the coroutine.
        (r#"{"cpf":"52998224725"}"#.to_owned(), "unavailable"),
        (r#"{"op":"verify","cpf":"52998224725","nome":"MUDA"}"#.to_owned(), "unavailable"),
    ]
}

fn ask(stream: TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    for round in 0..2 {
        for (question, expected) in questions() {
            stream.write_all(format!("{question}\n").as_bytes()).unwrap();
            let mut reply = String::new();
            reader.read_line(&mut reply).unwrap();
            let begin = |text: &str| text.chars().take(200).collect::<String>();
            assert!(reply.contains(expected), "round {round}: {} was answered {}", begin(&question), begin(&reply));
        }
    }
    // The end of a connection is on the coroutine too: a line that is too long, and the lingering behind it.
    stream.write_all(&vec![b'x'; LINE_BYTES_MAX + 1]).unwrap();
    let mut reply = String::new();
    reader.read_line(&mut reply).unwrap();
    assert!(reply.contains("line_too_long"), "{reply}");
}

#[test]
fn a_session_fits_half_its_stack() {
    // The deepest log there is.
    log::start(Some(Level::Debug), Some(Format::Json));
    let folder = tempfile::tempdir().unwrap();
    let (db, index) = (folder.path().join("basecpf.db"), folder.path().join("index"));
    write_registry(&db);
    let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
    build(
        &BuildPlan {
            db: db.clone(),
            index: index.clone(),
            table,
            shards: None,
            memory: MEMORY_MIN,
            cluster: false,
            search: SearchPlan::default(),
        },
        &Silent,
    )
    .unwrap();
    let house = start_house(Snapshot::open(&db, &index).unwrap(), &rules(2)).unwrap();

    // A worker that finds no idle connection opens one: opening everything is more than that.
    let snapshot = on_half_a_stack({
        let db = db.clone();
        move || Snapshot::open(&db, &index)
    });
    assert_eq!(snapshot.unwrap().greeting().rows, SHORT_ROWS_MAX as u64 + 1);

    Connection::open(&db).unwrap().execute_batch("UPDATE cpf SET cpf = NULL WHERE nome = 'MUDA'").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asking: Vec<_> = (0..4).map(|_| thread::spawn(move || ask(TcpStream::connect(address).unwrap()))).collect();
    let sessions: Vec<_> = (0..4)
        .map(|_| {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let (house, entry) = (Arc::clone(&house), house.sessions.enter(10, 0).unwrap());
            thread::spawn(move || on_half_a_stack(move || session::run(stream, &entry, &house)))
        })
        .collect();
    asking.into_iter().chain(sessions).for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_panic_is_caught_on_half_a_stack() {
    log::start(Some(Level::Debug), Some(Format::Json));
    let reply = on_half_a_stack(|| {
        let request = decode(br#"{"id":7,"op":"ping"}"#);
        let mut out = Vec::new();
        let nothing: Option<u32> = std::hint::black_box(None);
        let _ = guarded(&request, &mut out, |_| Ok::<_, ()>(nothing.map(|_| Ok(())).expect("a defect")));
        out
    });
    assert!(reply.starts_with(br#"{"id":7,"status":"error","code":"internal""#));
}
