//! The shipped binary against a small peer with tight limits: order, exit codes, paging, and what a batch asks again.
//!
//! The peer answers by what a name says: `N 7` has seven rows. The real server has its own end-to-end tests.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

/// Rows of a batch in this peer.
const BATCH_ROWS: usize = 6;

fn greeting() -> Value {
    json!({
        "status": "ok", "protocol": 1, "server": "peer/1", "generation": "g1", "rows": 3, "columns": ["cpf", "nome"],
        "limits": {"line_bytes": 300, "limit_max": 4, "batch_items": 5, "batch_rows": BATCH_ROWS, "in_flight": 2},
    })
}

fn error(code: &str) -> Value {
    json!({"status": "error", "code": code, "message": "because\u{9b}", "retry_after_ms": 1})
}

fn lookup(ask: &Value) -> Value {
    let text = ask["cpf"].as_str().or(ask["nome"].as_str()).unwrap();
    if let Some(code) = text.strip_prefix("code ") {
        return error(code);
    }
    let total: usize = text.rsplit(' ').next().unwrap().parse().unwrap();
    let limit = ask["limit"].as_u64().map_or(2, |limit| usize::try_from(limit).unwrap());
    let from: usize = ask["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
    if text.starts_with("stale") && from > 0 {
        return error("stale_cursor");
    }
    let end = total.min(from + limit);
    let rows: Vec<Value> = (from..end).map(|n| json!({"cpf": n, "nome": text})).collect();
    let next = (end < total).then(|| end.to_string());
    json!({"status": "ok", "rows": rows, "total": total, "next": next})
}

/// A batch with `slow` in it is too slow for more than two items; one with `busy` is refused the first time.
fn batch(items: &[Value], was_busy: &mut bool) -> Value {
    let has = |word: &str| items.iter().any(|item| item["nome"].as_str().is_some_and(|nome| nome.starts_with(word)));
    if has("slow") && items.len() > 2 {
        return error("deadline_exceeded");
    }
    let mut left = BATCH_ROWS;
    let results: Vec<Value> = items
        .iter()
        .map(|item| {
            if item["nome"] == "busy 1" && !*was_busy {
                *was_busy = true;
                return error("overloaded");
            }
            let reply = lookup(item);
            let rows = reply["rows"].as_array().map_or(0, Vec::len);
            if rows > left {
                left = 0;
                return error("too_many_rows");
            }
            left -= rows;
            reply
        })
        .collect();
    json!({"status": "ok", "results": results})
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut was_busy = false;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        assert!(line.len() <= 300);
        let ask: Value = serde_json::from_str(&line).unwrap();
        let mut reply = match ask["op"].as_str() {
            Some("hello") => greeting(),
            Some("batch") => batch(ask["items"].as_array().unwrap(), &mut was_busy),
            _ => lookup(&ask),
        };
        reply["id"] = ask["id"].clone();
        writeln!(out, "{reply}")?;
    }
    Ok(())
}

/// A peer for as many connections as come; its address.
fn peer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client may leave whenever it likes.
            let _ = serve(stream.unwrap());
        }
    });
    address
}

fn client(server: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(args).env("BALCAO_SERVER", server).stdin(Stdio::null());
    for option in ["TIMEOUT", "JSON", "LIMIT", "ALL", "MATCH", "BATCH_MATCH", "OUT"] {
        command.env_remove(format!("BALCAO_{option}"));
    }
    command
}

#[track_caller]
fn check(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let Output { status, stdout: out, stderr: err } = client(&peer(), args).output().unwrap();
    let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
    assert_eq!((status.code(), out.as_str(), err.as_str()), (Some(code), stdout, stderr));
}

#[test]
fn values_are_answered_in_order_and_apart() {
    check(
        &["cpf", "1", "code invalid_cpf", "0", "3", "1"],
        1,
        "cpf  nome\n0    1\nvalue 3: no row\n0    3\n1    3\n0    1\n",
        "error: value 2: invalid_cpf: because\\u{9b}\nvalue 4: 2 of 3 rows; --all shows every one\n",
    );
    check(&["cpf", "0"], 0, "no row\n", "");
    check(&["cpf", "5", "1", "--all"], 0, "cpf  nome\n0    5\n1    5\n2    5\n3    5\n4    5\n0    1\n", "");
    let long = "1".repeat(300);
    let line =
        "error: value 2: the question has 317 bytes, the server reads at most 300; shorten it, or split the batch\n";
    check(&["cpf", "0", &long, "0"], 1, "value 1: no row\nvalue 3: no row\n", line);
}

#[test]
fn names_come_by_the_page() {
    check(&["nome", "N 3"], 0, "cpf  nome\n0    N 3\n1    N 3\n", "2 of 3 rows; --all shows every one\n");
    check(&["nome", "N 3", "--all", "--limit", "1"], 0, "cpf  nome\n0    N 3\n1    N 3\n2    N 3\n", "3 rows\n");
    let first = "{\"status\":\"ok\",\"rows\":[{\"cpf\":0,\"nome\":\"stale 3\"},{\"cpf\":1,\"nome\":\"stale 3\"}],\"total\":3,\"next\":\"2\",\"id\":2}\n";
    let second = "{\"status\":\"error\",\"code\":\"stale_cursor\",\"message\":\"because\u{9b}\",\"retry_after_ms\":1,\"id\":3}\n";
    check(
        &["nome", "stale 3", "--all", "--limit", "2", "--json"],
        1,
        &format!("{first}{second}"),
        "error: stale_cursor: because\\u{9b}; the server has begun to serve another generation since the first page, so ask again \
         from the first page\n",
    );
}

#[test]
fn wrong_usage_and_no_server() {
    let help = client("localhost:1", &[]).output().unwrap();
    assert_eq!(help.status.code(), Some(2));
    assert!(String::from_utf8(help.stderr).unwrap().contains("Usage: client"));
    assert_eq!(client("nowhere", &["cpf", "1"]).output().unwrap().status.code(), Some(2));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let refused = client(&free, &["cpf", "1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("is the server running at"));
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let mut child =
        client(&peer(), &["nome", "N 2000000", "--all"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("cpf"));
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[track_caller]
fn check_batch(input: &str, code: i32, expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    fs::write(&from, input).unwrap();
    let output = client(&peer(), &["batch", from.to_str().unwrap(), "--out", to.to_str().unwrap()]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(fs::read_to_string(&to).unwrap(), expected, "{stderr}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_batch_keeps_the_order_and_asks_again_what_had_no_room() {
    let names = [
        "N 2",
        "busy 1",
        "N 2",
        "N 1",
        "N 0",
        "N 2",
        "code invalid_name",
        "slow 1",
        "N 1",
        "N 5",
        "stale 5",
        "N 1",
        "",
    ];
    let mut expected = "nome,status,cpf,nome\n".to_owned();
    for name in names {
        let (rows, status) = match name {
            "" | "code invalid_name" => (0, "invalid_name"),
            "N 0" => (0, "none"),
            // Its first page of four is there, then the generation changes.
            "stale 5" => (4, "stale_cursor"),
            name => (name[name.len() - 1..].parse().unwrap(), ""),
        };
        for n in 0..rows {
            expected.push_str(&format!("{name},ok,{n},{name}\n"));
        }
        if !status.is_empty() {
            expected.push_str(&format!("{name},{status},,\n"));
        }
    }
    // A blank cell needs its quotes: a blank line is no line.
    check_batch(&format!("nome\n{}\n", names.map(|name| format!("\"{name}\"")).join("\n")), 1, &expected);
}

#[test]
fn a_batch_without_errors_is_a_success() {
    check_batch("CPF;x\n1;a;b\n0\n", 0, "CPF;x;status;cpf;nome\n1;a;ok;0;1\n0;;none;;\n");
    check_batch("cpf\n", 0, "cpf,status,cpf,nome\n");
}

#[test]
fn a_batch_that_fails_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    fs::write(&from, "nome\nN 1\n").unwrap();
    fs::write(&to, "before").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = client(&free, &["batch", from.to_str().unwrap(), "--out", to.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&to).unwrap(), "before");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}
