//! Defects on purpose: a house with real sockets, in which requests of certain ids panic in the session, on a query thread, and outside of what
//! guards a request.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use balcao_wire::{Id, Request};
use serde_json::{Value, json};

use crate::listen::{self, Listener};
use crate::{log, test_house};

const IN_THE_SESSION: &str = "strike the session";
const ON_A_THREAD: &str = "strike the query";
const THE_THREAD_ITSELF: &str = "strike the thread";

fn strike_at(request: &Request, at: &str) {
    assert!(!matches!(&request.id, Id::Text(id) if **id == *at), "a defect on purpose");
}

/// Panics where a session answers, if this request wants it.
pub(crate) fn strike(request: &Request) {
    strike_at(request, IN_THE_SESSION);
}

/// Panics where a query thread answers, if this request wants it.
pub(crate) fn strike_query(request: &Request) {
    strike_at(request, ON_A_THREAD);
}

/// Panics where a query thread is between two requests, if this request wants it.
pub(crate) fn strike_thread(request: &Request) {
    strike_at(request, THE_THREAD_ITSELF);
}

/// A connection.
struct Peer(BufReader<TcpStream>);

impl Peer {
    fn ask(&mut self, line: &str) -> Value {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        self.0.read_line(&mut reply).unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{line} was answered {reply:?}: {error}"))
    }
}

#[test]
fn a_panic_is_its_requests_alone() {
    log::start(None, None);
    let (_folder, house) = test_house::open();
    let listener = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Listener::start(listener, &house).unwrap();
    let [mut one, mut other] = [(); 2].map(|()| {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        Peer(BufReader::new(stream))
    });

    let rows = json!([{"cpf": "12345678909", "nome": "MARIA DA SILVA"}]);
    let before = one.ask(r#"{"op":"stats"}"#);
    // More deaths than there are query threads: one alone would be dead after the first.
    for _ in 0..3 {
        for (id, question) in [
            (IN_THE_SESSION, r#""cpf":"12345678909""#),
            (ON_A_THREAD, r#""op":"batch","items":[{"cpf":"12345678909"}]"#),
            (THE_THREAD_ITSELF, r#""op":"batch","items":[{"cpf":"12345678909"}]"#),
        ] {
            let reply = one.ask(&format!(r#"{{"id":"{id}",{question}}}"#));
            assert_eq!((&reply["id"], &reply["code"]), (&json!(id), &json!("internal")), "{reply}");
            // The connection, the others, and all lanes go on.
            for peer in [&mut one, &mut other] {
                assert_eq!(peer.ask(r#"{"cpf":"12345678909"}"#)["rows"], rows);
                let batch = peer.ask(r#"{"op":"batch","items":[{"nome":"maria"}]}"#);
                assert_eq!(batch["results"][0]["rows"], rows);
            }
        }
    }
    let after = other.ask(r#"{"op":"stats"}"#);
    let grown = |pointer: &str| {
        after.pointer(pointer).unwrap().as_u64().unwrap() - before.pointer(pointer).unwrap().as_u64().unwrap()
    };
    // Other tests of this process may fail on purpose meanwhile.
    assert!(grown("/panics") >= 9, "{after}");
    assert_eq!((grown("/answers/internal"), grown("/threads_replaced")), (9, 3), "{after}");
    assert_eq!(grown("/answers/ok"), 9 * 4 + 1, "{after}");
    house.sessions.begin_stop();
    listener.stop();
}
