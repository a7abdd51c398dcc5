//! What the server counts, over the wire and by the command.

use std::process::Command;

use serde_json::{Value, json};

use crate::process::Server;
use crate::registry::{Registry, SMALL};

fn command(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_server")).arg("stats").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_line_is_counted_once() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &["--connections", "7"]);
    let mut peer = server.peer();
    for line in [
        r#"{"cpf":"12345678909"}"#,
        r#"{"nome":"MARIA"}"#,
        r#"{"op":"batch","items":[{"cpf":"x"},{"nome":"MARIA"}]}"#,
        r#"{"cpf":"x"}"#,
        r#"{"nome":"-"}"#,
        "nonsense",
        "{}",
    ] {
        peer.ask(line);
    }
    let stats = peer.ask(r#"{"id":9,"op":"stats"}"#);
    assert_eq!((&stats["id"], &stats["status"]), (&json!(9), &json!("ok")));
    assert_eq!((&stats["generation"], &stats["rows"], &stats["fits"]), (&json!("g000001"), &json!(3), &json!(true)));
    let answers = stats["answers"].as_object().unwrap();
    let counted: Vec<_> = answers.iter().filter(|(_, count)| **count != 0).collect();
    let expected = [("bad_json", 1), ("bad_request", 1), ("invalid_cpf", 1), ("invalid_name", 1), ("ok", 3)];
    assert_eq!(format!("{counted:?}"), format!("{:?}", expected.map(|(code, count)| (code, json!(count)))));
    // Those of every code of the protocol, and `ok`.
    assert_eq!(answers.len(), 15);
    assert_eq!(stats["connections"], json!({"open": 1, "open_max": 7, "accepted": 1, "turned_away": 0}));
    assert_eq!(stats["queue"]["depth"], 0);
    let latency = |name: &str| stats["latency_us"][name].as_u64().unwrap();
    assert_eq!(latency("count"), 7);
    assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max") && latency("max") > 0, "{stats}");
    assert!(stats["memory"]["private_bytes"].as_u64().unwrap() > 0);
    assert_eq!(stats["memory"]["held_bytes"], 0);
    let none = json!({"idle": 0, "line": 0, "write_stall": 0, "request": 0});
    assert_eq!((&stats["deadlines"], &stats["panics"]), (&none, &json!(0)));
    for secret in ["12345678909", "MARIA", "127.0.0.1", registry.folder().to_str().unwrap()] {
        assert!(!stats.to_string().contains(secret), "{stats}");
    }
}

#[test]
fn the_command_tells_people_and_programs() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &[]);
    let (code, out, error) = command(&["--server", &server.address]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(out.contains("g000001 (3 rows)") && out.contains("connections"), "{out}");
    let (code, out, _) = command(&["--server", &server.address, "--json"]);
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &line["status"], out.lines().count()), (Some(0), &json!("ok"), 1));
    let address = server.address.clone();
    drop(server);
    let (code, _, error) = command(&["--server", &address]);
    assert!(code == Some(1) && error.starts_with("error: ") && error.contains("is a server running"), "{error}");
    // What has not the shape of an address is wrong usage.
    for wrong in ["nowhere", ":7700", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:65536", ""] {
        let (code, out, error) = command(&["--server", wrong]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{wrong}: {error}");
        assert!(
            error.starts_with("error: ") && error.contains("HOST:PORT") && error.contains("127.0.0.1:7700"),
            "{error}"
        );
    }
}
