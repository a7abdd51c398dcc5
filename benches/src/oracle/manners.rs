//! What is asked one line after the other: who the server is, lines that are no request, cursors that do not fit.
//!
//! A sample of the protocol's rules, not a fuzzer: enough to see that the server under the oracle is one.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::asking::Line;
use super::questions::Kind;
use super::report::{Difference, Report};
use super::scan::Table;

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

/// Asks and judges; returns what was found.
pub(crate) fn ask(table: &Table, server: SocketAddr) -> anyhow::Result<Report> {
    let mut manners = Manners { line: Line::open(server)?, report: Report::default() };
    if let Err(error) = manners.run(table) {
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
