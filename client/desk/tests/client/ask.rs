//! `cpf`, `nome` and `verify`: order, pages, forms, exit codes.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::json;

use crate::peer::{Peer, check, client};

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
        "error: the answer broke off after 2 rows, which are no whole answer: stale_cursor: because\\u{9b}; the server has begun to serve another generation since the first page, so ask again \
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
    let mut child = client(&Peer::start().0.address, &["nome", "N 2000000", "--all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("cpf"));
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn rows_come_as_csv() {
    check(&["nome", "N 3", "--all", "--limit", "1", "--csv"], 0, "cpf,nome\n0,N 3\n1,N 3\n2,N 3\n", "3 rows\n");
    check(&["nome", "N 0", "--csv"], 0, "cpf,nome\n", "no row\n");
    check(&["cpf", "1", "0", "2", "--csv"], 0, "cpf,nome\n0,1\n0,2\n1,2\n", "value 2: no row\n");
    check(&["nome", "a,\"b 1", "--csv"], 0, "cpf,nome\n0,\"a,\"\"b 1\"\n", "1 row\n");
}

#[test]
fn near_names_say_how_near() {
    check(
        &["nome", "near 2", "--match", "fuzzy"],
        0,
        "cpf  nome    distance\n0    near 2  0\n1    near 2  1\n",
        "2 rows\n",
    );
    check(
        &["nome", "near 3", "--match", "fuzzy", "--csv", "--all", "--limit", "2"],
        0,
        "cpf,nome,distance\n0,near 3,0\n1,near 3,1\n2,near 3,2\n",
        "3 rows\n",
    );
}

#[test]
fn bounded_pages_are_told_and_followed() {
    let stopped =
        "0 of at least 3 rows; --all shows every one; the server stopped looking for this page before it was full\n";
    check(&["nome", "bounded 3"], 0, "", stopped);
    check(&["nome", "bounded 3", "--all", "--csv"], 0, "cpf,nome\n0,bounded 3\n1,bounded 3\n2,bounded 3\n", "3 rows\n");
}

#[test]
fn pages_that_come_too_late_are_asked_again_for_less() {
    check(&["nome", "late 2", "--all", "--csv", "--limit", "4"], 0, "cpf,nome\n0,late 2\n1,late 2\n", "2 rows\n");
    let late = "error: deadline_exceeded: because\\u{9b}; ask for less at once, or again later\n";
    check(&["nome", "late 2", "--csv"], 1, "cpf,nome\n", late);
    let (peer, _events) = Peer::start();
    let args = ["nome", "late 3", "--all", "--csv"];
    assert_eq!(client(&peer.address, &args).output().unwrap().status.code(), Some(0));
    let limits: Vec<_> = peer.asked.lock().unwrap().iter().map(|ask| ask["limit"].as_u64()).collect();
    assert_eq!(limits, [Some(4), Some(2), Some(1), Some(1), Some(1)]);
}

#[test]
fn options_reach_the_server() {
    let (peer, _events) = Peer::start();
    let args = [
        "nome",
        "N 1",
        "--match",
        "fuzzy",
        "--last",
        "whole",
        "--spelling",
        "pt",
        "--sex",
        "F",
        "--born-from",
        "1980-01-01",
        "--limit",
        "3",
        "--deadline-ms",
        "70",
    ];
    assert_eq!(client(&peer.address, &args).output().unwrap().status.code(), Some(0));
    let expected = json!({
        "id": 2, "nome": "N 1", "match": "fuzzy", "last": "whole", "spelling": "pt", "limit": 3, "deadline_ms": 70,
        "where": {"sexo": "F", "nasc": {"from": "1980-01-01"}},
    });
    assert_eq!(*peer.asked.lock().unwrap(), [expected]);
}

#[test]
fn what_agrees_is_told() {
    let warning =
        "warning: the check digits of this CPF do not hold; it was looked up as it is, so look for a typing error\n";
    check(
        &["verify", "--cpf", "1", "--nome", "words", "--nasc", "19800101"],
        0,
        "cpf   is in the registry\nnome  agrees by its words\nnasc  agrees\n",
        warning,
    );
    check(&["verify", "--cpf", "2"], 0, "cpf   is not in the registry\n", warning);
    check(
        &["verify", "--cpf", "1", "--nasc", "1", "--json"],
        0,
        "{\"status\":\"ok\",\"cpf\":true,\"warning\":\"check_digits\",\"nasc\":false,\"id\":2}\n",
        "",
    );
    check(&["verify", "--cpf", "9"], 1, "", "error: budget_exceeded: because\\u{9b}; ask again in 1 s\n");
    let (peer, _events) = Peer::start();
    client(&peer.address, &["verify", "--cpf", "1", "--nome", "no", "--spelling", "pt"]).output().unwrap();
    assert_eq!(
        *peer.asked.lock().unwrap(),
        [json!({"id": 2, "op": "verify", "cpf": "1", "nome": "no", "spelling": "pt"})]
    );
}
