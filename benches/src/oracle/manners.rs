//! What is asked one line after the other: who the server is, lines that are no request, cursors that do not fit.
//!
//! A sample of the protocol's rules, not a fuzzer: enough to see that the server under the oracle is one.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::asking::Line;
use super::questions::Kind;
use super::report::{Difference, Report};
use super::scan::Table;
use super::search::{BIRTH_COLUMN, FUZZY_LETTERS_MAX, QUESTION_WORDS_MAX, SEX_COLUMN};

/// Lines and the code that each must be answered with, whatever the table holds.
const BROKEN: [(&[u8], &str); 27] = [
    (b"", "bad_json"),
    (b"{", "bad_json"),
    (b"{\"id\":1,\"cpf\":\"191\"} x", "bad_json"),
    (b"{\"id\":1,\"id\":1,\"cpf\":\"191\"}", "bad_json"),
    (b"{\"id\":1,\"cpf\":\"\xff\"}", "bad_json"),
    (b"{\"id\":1,\"nome\":\"\\ud800\"}", "bad_json"),
    (b"{\"id\":1,\"cpf\":0191}", "bad_json"),
    (b"[1]", "bad_request"),
    (b"\"191\"", "bad_request"),
    (b"{}", "bad_request"),
    (b"{\"id\":1}", "bad_request"),
    (b"{\"id\":1.5,\"cpf\":\"191\"}", "bad_request"),
    (b"{\"id\":9007199254740993,\"cpf\":\"191\"}", "bad_request"),
    (b"{\"id\":1,\"cpf\":\"191\",\"nome\":\"ANA\"}", "bad_request"),
    (b"{\"id\":1,\"cpf\":true}", "bad_request"),
    (b"{\"id\":1,\"cpf\":[\"191\"]}", "bad_request"),
    (b"{\"id\":1,\"nome\":5}", "bad_request"),
    (b"{\"id\":1,\"nome\":\"ANA\",\"limit\":0}", "bad_request"),
    (b"{\"id\":1,\"nome\":\"ANA\",\"limit\":1001}", "bad_request"),
    (b"{\"id\":1,\"nome\":\"ANA\",\"limit\":\"5\"}", "bad_request"),
    (b"{\"id\":1,\"nome\":\"ANA\",\"match\":\"none\"}", "bad_request"),
    (b"{\"id\":1,\"nome\":\"ANA\",\"cursor\":\"x\"}", "bad_request"),
    (b"{\"id\":1,\"op\":\"none\"}", "bad_request"),
    (b"{\"id\":1,\"op\":\"batch\"}", "bad_request"),
    (b"{\"id\":1,\"nome\":\" .- \"}", "invalid_name"),
    (b"{\"id\":1,\"cpf\":\"\"}", "invalid_cpf"),
    (b"{\"id\":1,\"cpf\":1e400}", "invalid_cpf"),
];

/// Members of searches and claims that are wrong, each with the code that it must be answered with.
const BROKEN_SEARCHES: [(&str, &str); 44] = [
    ("bad_request", r#""nome":"ANA","match":"words","last":"none""#),
    ("bad_request", r#""nome":"ANA","match":"fuzzy","last":true"#),
    ("bad_request", r#""nome":"ANA","last":"none""#),
    ("bad_request", r#""nome":"ANA","match":"fuzzy","spelling":"en""#),
    ("bad_request", r#""nome":"ANA","match":"words","spelling":"en""#),
    ("bad_request", r#""nome":"ANA","spelling":1"#),
    ("bad_request", r#""cpf":"191","match":"none""#),
    ("bad_request", r#""cpf":"191","last":"none""#),
    ("bad_request", r#""nome":5,"match":"words""#),
    ("invalid_name", r#""nome":"…","match":"words""#),
    ("invalid_name", r#""nome":"","match":"fuzzy","spelling":"pt""#),
    ("invalid_cpf", r#""cpf":"192","where":{"sexo":"F"}"#),
    ("bad_request", r#""nome":"A B C D E F G H I J K L M N O P Q","match":"words""#),
    ("bad_request", r#""nome":"A B C D E F G H I J K L M N O P Q","match":"fuzzy""#),
    ("bad_request", r#""nome":"ANA","where":"sexo""#),
    ("bad_request", r#""nome":"ANA","where":["sexo"]"#),
    ("bad_request", r#""nome":"ANA","where":{"sex":"F"}"#),
    ("bad_request", r#""nome":"ANA","where":{"nome":"ANA"}"#),
    ("bad_request", r#""nome":"ANA","where":{"sexo":1}"#),
    ("bad_request", r#""nome":"ANA","where":{"sexo":""}"#),
    ("bad_request", r#""nome":"ANA","where":{"sexo":"?"}"#),
    ("bad_request", r#""nome":"ANA","where":{"sexo":"Ø"}"#),
    ("bad_request", r#""nome":"ANA","where":{"sexo":{"from":"A"}}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":19800101}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":"1980"}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":"1980-02-30"}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":{}}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":{"from":"31/1/1980"}}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":{"to":"2158-01-01"}}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":{"from":"1980-01-02","to":"1980-01-01"}}"#),
    ("bad_request", r#""nome":"ANA","where":{"nasc":{"from":"1980-01-01","on":"1980-01-01"}}"#),
    ("bad_request", r#""nome":"ANA","match":"exact","where":{"nasc":["1980-01-01"]}"#),
    ("bad_request", r#""nome":"ANA","where":{"a":"A","b":"B","c":"C","d":"D","e":"E"}"#),
    ("bad_request", r#""cpf":"191","where":{"nasc":"32/01/1980"}"#),
    ("bad_request", r#""nome":"ANA","deadline_ms":0"#),
    ("bad_request", r#""nome":"ANA","deadline_ms":60001"#),
    ("bad_request", r#""cpf":"191","deadline_ms":"5""#),
    ("bad_request", r#""op":"ping","deadline_ms":1.5"#),
    ("bad_request", r#""op":"verify","nome":"ANA""#),
    ("invalid_cpf", r#""op":"verify","cpf":"192","nome":"ANA""#),
    ("invalid_name", r#""op":"verify","cpf":"191","nome":"…""#),
    ("bad_request", r#""op":"verify","cpf":"191","nasc":"1980-02-30""#),
    ("bad_request", r#""op":"verify","cpf":"191","nasc":{"from":"1980-01-01"}"#),
    ("bad_request", r#""op":"verify","cpf":"191","nome":"ANA","spelling":"en""#),
];

/// Asks and judges; returns what was found. With `searches` also what words, filters and claims are refused for.
pub(crate) fn ask(table: &Table, server: SocketAddr, searches: bool) -> anyhow::Result<Report> {
    let mut manners = Manners { line: Line::open(server)?, report: Report::default() };
    let asked = manners.run(table).and_then(|()| if searches { manners.searches(table) } else { Ok(()) });
    if let Err(error) = asked {
        manners.differs(format!("the connection ended: {error}"));
    }
    Ok(manners.report)
}

struct Manners {
    line: Line,
    report: Report,
}

impl Manners {
    fn run(&mut self, table: &Table) -> std::io::Result<()> {
        let hello = self.reply(b"{\"id\":4,\"op\":\"hello\"}")?;
        self.check("hello: status", &hello["status"], &json!("ok"));
        self.check("hello: id", &hello["id"], &json!(4));
        self.check("hello: protocol", &hello["protocol"], &json!(1));
        self.check("hello: rows", &hello["rows"], &json!(table.rows.len()));
        self.check("hello: server is a text", &hello["server"].is_string().into(), &json!(true));
        self.check("hello: generation is a text", &hello["generation"].is_string().into(), &json!(true));
        for limit in ["line_bytes", "limit_max", "batch_items", "batch_rows", "in_flight"] {
            self.check(&format!("hello: limit {limit}"), &hello["limits"][limit].is_u64().into(), &json!(true));
        }
        for (line, id) in
            [("{\"id\":\"é\",\"op\":\"ping\"}\r", json!("é")), ("{\"op\":\"ping\",\"id\":null}", json!(null))]
        {
            let pong = self.reply(line.as_bytes())?;
            self.check("ping: status", &pong["status"], &json!("ok"));
            self.check("ping: id", &pong["id"], &id);
        }
        for (line, code) in BROKEN {
            let reply = self.reply(line)?;
            self.check(&format!("{}: status", line.escape_ascii()), &reply["status"], &json!("error"));
            self.check(&format!("{}: code", line.escape_ascii()), &reply["code"], &json!(code));
        }
        self.foreign_cursor(table)
    }

    /// A cursor of one question in another one.
    fn foreign_cursor(&mut self, table: &Table) -> std::io::Result<()> {
        let first_letter = |name: &String| name.chars().next().map(String::from);
        let (Some(first), Some(last)) =
            (table.names.keys.first().and_then(first_letter), table.names.keys.last().and_then(first_letter))
        else {
            return Ok(());
        };
        let page = self.reply(json!({"id": 1, "nome": first, "limit": 1}).to_string().as_bytes())?;
        if first != last && page["next"].is_string() {
            let other = json!({"id": 2, "nome": last, "cursor": page["next"]});
            let reply = self.reply(other.to_string().as_bytes())?;
            self.check("a cursor of another question: code", &reply["code"], &json!("bad_request"));
        }
        Ok(())
    }

    /// What `hello` tells of searches, those that are none, and cursors of one in another.
    fn searches(&mut self, table: &Table) -> std::io::Result<()> {
        let hello = self.reply(b"{\"id\":5,\"op\":\"hello\"}")?;
        self.check("hello: matches", &hello["matches"], &json!(["exact", "prefix", "words", "fuzzy"]));
        self.check("hello: filters", &hello["filters"], &json!({"sex": SEX_COLUMN, "birth": BIRTH_COLUMN}));
        self.check("hello: question_words", &hello["limits"]["question_words"], &json!(QUESTION_WORDS_MAX));
        self.check("hello: deadline_ms", &hello["limits"]["deadline_ms"], &json!(2000));
        for (code, members) in BROKEN_SEARCHES {
            let reply = self.reply(format!("{{\"id\":\"{code}\",{members}}}").as_bytes())?;
            self.check(&format!("{members}: code"), &reply["code"], &json!(code));
            self.check(&format!("{members}: id"), &reply["id"], &json!(code));
        }
        let long = "A".repeat(FUZZY_LETTERS_MAX + 1);
        for (matching, letters, status) in [("fuzzy", 0, "ok"), ("fuzzy", 1, "error"), ("words", 1, "ok")] {
            let line = json!({"nome": &long[1 - letters..], "match": matching});
            let reply = self.reply(line.to_string().as_bytes())?;
            self.check(&format!("{matching}: a long word"), &reply["status"], &json!(status));
        }
        let batch = json!({"op": "batch", "items": [{"op": "verify", "cpf": "191"}, {"nome": "A", "match": "none"}]});
        let reply = self.reply(batch.to_string().as_bytes())?;
        for item in 0..2 {
            self.check("an item that is none: code", &reply["results"][item]["code"], &json!("bad_request"));
        }
        self.foreign_searches(table)
    }

    /// The cursor of a search in others that differ from it in one member.
    fn foreign_searches(&mut self, table: &Table) -> std::io::Result<()> {
        let Some(first) = table.names.keys.first().and_then(|name| name.chars().next()) else { return Ok(()) };
        let search = json!({"nome": String::from(first), "match": "words", "limit": 1});
        let page = self.reply(search.to_string().as_bytes())?;
        let others = [
            ("last", json!("whole")),
            ("match", json!("fuzzy")),
            ("match", json!("prefix")),
            ("where", json!({"sexo": "F"})),
            ("where", json!({"nasc": {"from": "1900-01-01"}})),
        ];
        for (member, value) in others.into_iter().filter(|_| page["next"].is_string()) {
            let mut other = search.clone();
            other[member] = value;
            other["cursor"] = page["next"].clone();
            let reply = self.reply(other.to_string().as_bytes())?;
            self.check(&format!("a cursor with another {member}: code"), &reply["code"], &json!("bad_request"));
        }
        Ok(())
    }

    fn reply(&mut self, line: &[u8]) -> std::io::Result<Value> {
        let counts = self.report.count(Kind::Manners);
        counts.questions += 1;
        counts.requests += 1;
        self.line.write(line)?;
        let mut reply = Vec::new();
        self.line.read(&mut reply)?;
        Ok(serde_json::from_slice(&reply).unwrap_or_default())
    }

    fn check(&mut self, what: &str, got: &Value, expected: &Value) {
        if got != expected {
            self.differs(format!("{what}: expected {expected}, got {got}"));
        }
    }

    fn differs(&mut self, what: String) {
        self.report.add(Difference { kind: Kind::Manners, rowid: None, what });
    }
}
