//! `verify`: what agrees is told, nothing of the row, and not without end.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::peer::{Peer, code};
use crate::process::Server;
use crate::registry::{Registry, SMALL};

/// A claim's members and its reply.
fn claims() -> [(&'static str, Value); 9] {
    let agrees = |nome: &str, nasc: bool| json!({"status": "ok", "cpf": true, "nome": nome, "nasc": nasc});
    [
        (r#""cpf":"123.456.789-09","nome":"María da Silva","nasc":"1980-01-01""#, agrees("exact", true)),
        (r#""cpf":"12345678909","nome":"silva maria","nasc":"01/01/1980""#, agrees("words", true)),
        (r#""cpf":"12345678909","nome":"MARIA DA SLIVA","nasc":"19800102""#, agrees("fuzzy", false)),
        (r#""cpf":"12345678909","nome":"JOSE DE SOUZA","nasc":"19751231""#, agrees("no", false)),
        (r#""cpf":"12345678909","nome":"MARIA DA SILVA""#, json!({"status": "ok", "cpf": true, "nome": "exact"})),
        (r#""cpf":"12345678909","nasc":"19800101""#, json!({"status": "ok", "cpf": true, "nasc": true})),
        (r#""cpf":191"#, json!({"status": "ok", "cpf": true})),
        (
            r#""cpf":"39053344705","nome":"MARIA DA SILVA","nasc":"19800101""#,
            json!({"status": "ok", "cpf": false, "nome": "no", "nasc": false}),
        ),
        (r#""cpf":"12345678900""#, json!({"status": "ok", "cpf": false, "warning": "check_digits"})),
    ]
}

fn verify(peer: &mut Peer, claim: &str) -> Value {
    peer.ask(&format!(r#"{{"op":"verify",{claim}}}"#))
}

#[test]
fn it_tells_what_agrees_and_the_log_nothing() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &["--log-level", "debug"]);
    let mut peer = server.peer();
    for (claim, expected) in claims() {
        assert_eq!(verify(&mut peer, claim), expected, "{claim}");
    }
    assert_eq!(code(&verify(&mut peer, r#""nome":"MARIA DA SILVA""#)), "bad_request");
    drop(peer);
    let (ended, _) = server.stop(Signal::TERM);
    for secret in ["12345678909", "123.456", "39053344705", "MARIA", "SILVA", "silva", "1980"] {
        assert!(!ended.log.contains(secret), "{}", ended.log);
    }
}

#[test]
fn so_often_and_each_connection_for_itself() {
    let registry = Registry::of(SMALL);
    // One comes back every twenty seconds: no test takes so long for its three.
    let server = Server::start(&registry, &["--verifies-per-minute", "3"]);
    let [mut one, mut other] = [(); 2].map(|()| server.peer());
    let (claim, expected) = claims().into_iter().next().unwrap();
    for _ in 0..3 {
        assert_eq!(verify(&mut one, claim), expected);
    }
    let refused = verify(&mut one, claim);
    assert_eq!(code(&refused), "budget_exceeded", "{refused}");
    let wait = Duration::from_millis(refused["retry_after_ms"].as_u64().unwrap());
    assert!(!wait.is_zero() && wait <= Duration::from_secs(20), "{wait:?}");
    // Everything else goes on; and the others have their own.
    assert_eq!(one.ask(r#"{"cpf":"12345678909"}"#)["total"], 1);
    assert_eq!(verify(&mut other, claim), expected);
    // In one write too, and one that cannot be read is none.
    let lines = format!("{{\"op\":\"verify\"}}\n{}", format!("{{\"op\":\"verify\",{claim}}}\n").repeat(4));
    other.send(lines);
    let replies: Vec<Value> = (0..5).map(|_| other.line()).collect();
    let codes: Vec<&str> = replies.iter().map(code).collect();
    assert_eq!(codes, ["bad_request", "", "", "budget_exceeded", "budget_exceeded"]);
    let stats = one.ask(r#"{"op":"stats"}"#);
    assert_eq!(stats["answers"]["budget_exceeded"], 3, "{stats}");
}

#[test]
fn it_can_be_switched_off() {
    let registry = Registry::of(SMALL);
    let server = Server::start(&registry, &["--verifies-per-minute", "0"]);
    let mut peer = server.peer();
    let (claim, _) = claims().into_iter().next().unwrap();
    for _ in 0..2 {
        let reply = verify(&mut peer, claim);
        assert_eq!(code(&reply), "forbidden", "{reply}");
        assert!(reply["message"].as_str().unwrap().contains("--verifies-per-minute"), "{reply}");
    }
    assert_eq!(peer.ask(r#"{"cpf":"12345678909"}"#)["total"], 1);
}
