//! The client against a scripted peer: every way in which a server may answer, be late, break off or lie.
//!
//! A script is what the peer does with one connection; it asserts what it reads, and the test asserts what the client makes of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use balcao_client::{Answers, Client, Error, Items, Name, Options, Question, by_cpf, by_name};
use serde_json::{Value, json};

/// The peer's end of a connection.
struct Peer {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

impl Peer {
    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the client closed, or left half a line: {line:?}");
        serde_json::from_str(&line).unwrap()
    }

    fn at_end(&mut self) -> bool {
        self.reader.read_line(&mut String::new()).is_ok_and(|bytes| bytes == 0)
    }

    fn write(&mut self, reply: &Value) {
        self.raw(format!("{reply}\n").as_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Answers the greeting that comes before the first question.
    fn greet(&mut self, in_flight: usize) {
        let hello = self.read();
        assert_eq!(hello["op"], "hello");
        self.write(&greeting(&hello["id"], in_flight));
    }
}

fn greeting(id: &Value, in_flight: usize) -> Value {
    json!({
        "id": id, "status": "ok", "protocol": 1, "server": "peer/1", "generation": "g1", "rows": 3, "columns": ["cpf", "nome"],
        "limits": {"line_bytes": 300, "limit_max": 1000, "batch_items": 3, "batch_rows": 10000, "in_flight": in_flight},
    })
}

fn rows(id: &Value, names: &[&str], next: Option<&str>) -> Value {
    let rows: Vec<Value> = names.iter().map(|name| json!({"cpf": 1.5, "nome": name})).collect();
    json!({"id": id, "status": "ok", "rows": rows, "total": 9, "next": next})
}

fn refusal(id: &Value, code: &str) -> Value {
    json!({"id": id, "status": "error", "code": code, "message": "because", "retry_after_ms": 1})
}

/// A peer that plays one script for each connection in turn, and a client on the first.
fn play<F: FnOnce(&mut Peer) + Send + 'static>(options: Options, scripts: Vec<F>) -> (Client, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = thread::spawn(move || {
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            script(&mut Peer { reader: BufReader::new(stream.try_clone().unwrap()), stream });
        }
    });
    (Client::connect(&address, options).unwrap(), peer)
}

fn client(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Client, JoinHandle<()>) {
    play(Options::default(), vec![script])
}

fn retrying(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Client, JoinHandle<()>) {
    play(Options { overloaded_retries: 2, ..Options::default() }, vec![script])
}

fn names(rows: &[balcao_client::Row]) -> Vec<&str> {
    rows.iter().map(|row| row["nome"].as_str().unwrap()).collect()
}

#[test]
fn a_greeting_a_ping_and_a_page() {
    let (mut client, peer) = client(|peer| {
        peer.greet(8);
        let ping = peer.read();
        assert_eq!(ping["op"], "ping");
        peer.write(&json!({"id": ping["id"], "status": "ok"}));
        let ask = peer.read();
        assert_eq!(ask, json!({"id": ask["id"], "nome": "ANA", "match": "exact", "limit": 7}));
        peer.write(&rows(&ask["id"], &["ANA"], None));
        assert!(peer.at_end());
    });
    let hello = client.hello().unwrap();
    assert_eq!((hello.server.as_str(), hello.limits.in_flight), ("peer/1", 8));
    client.ping().unwrap();
    let page = client.name("ANA", Some(Name::Exact), Some(7)).unwrap();
    assert_eq!((names(&page.rows), page.total, page.next), (vec!["ANA"], Some(9), None));
    assert_eq!(page.rows[0]["cpf"], 1.5);
    assert!(page.line.starts_with('{') && page.line.contains("\"ANA\""));
    drop(client);
    peer.join().unwrap();
}

#[test]
fn replies_out_of_order_and_in_halves() {
    let (mut client, peer) = client(|peer| {
        peer.greet(8);
        let asked: Vec<Value> = (0..4).map(|_| peer.read()).collect();
        let lines: String = asked
            .iter()
            .rev()
            .map(|ask| format!("{}\r\n", rows(&ask["id"], &[ask["cpf"].as_str().unwrap()], None)))
            .collect();
        for piece in lines.as_bytes().chunks(7) {
            peer.raw(piece);
        }
    });
    let ids: Vec<u64> = ["a", "b", "c", "d"].iter().map(|cpf| client.send(&by_cpf(cpf, None)).unwrap()).collect();
    let first = client.receive_id(ids[0]).unwrap();
    assert_eq!(names(&client.page(first).unwrap().rows), ["a"]);
    assert!(matches!(client.receive_id(ids[0]), Err(Error::NothingAsked)));
    let rest: BTreeSet<u64> = (0..3).map(|_| client.receive().unwrap().id).collect();
    assert_eq!(rest, ids[1..].iter().copied().collect());
    assert!(matches!(client.receive(), Err(Error::NothingAsked)));
    peer.join().unwrap();
}

#[test]
fn never_more_in_flight_than_the_server_allows() {
    let (mut client, peer) = client(|peer| {
        peer.greet(2);
        let (one, two) = (peer.read(), peer.read());
        peer.write(&rows(&one["id"], &[], None));
        peer.write(&rows(&two["id"], &[], None));
        let three = peer.read();
        peer.write(&rows(&three["id"], &[], None));
    });
    assert_eq!(client.room().unwrap(), 2);
    client.send(&by_cpf("1", None)).unwrap();
    let two = client.send(&by_cpf("2", None)).unwrap();
    assert!(matches!(client.send(&by_cpf("3", None)), Err(Error::Full { limit: 2 })));
    // The reply to the first waits here, so that it still counts.
    client.receive_id(two).unwrap();
    assert_eq!(client.room().unwrap(), 1);
    client.receive().unwrap();
    client.cpf("3", None).unwrap();
    peer.join().unwrap();
}

#[test]
fn paging_follows_next_to_the_end() {
    let (mut client, peer) = client(|peer| {
        peer.greet(1);
        for (cursor, next) in [(None, Some("c1")), (Some("c1"), Some("c2")), (Some("c2"), None)] {
            let ask = peer.read();
            assert_eq!((ask["cursor"].as_str(), ask["limit"].as_u64()), (cursor, Some(2)));
            peer.write(&rows(&ask["id"], &[cursor.unwrap_or("c0")], next));
        }
        assert!(peer.at_end());
    });
    let pages: Vec<_> = client.pages(&by_name("A", None, Some(2))).map(Result::unwrap).collect();
    assert_eq!(pages.iter().flat_map(|page| names(&page.rows)).collect::<Vec<_>>(), ["c0", "c1", "c2"]);
    drop(client);
    peer.join().unwrap();
}

#[test]
fn paging_ends_with_its_error() {
    for (second, expected) in
        [(refusal as fn(&Value, &str) -> Value, "stale_cursor"), (|id, _| rows(id, &[], Some("c")), "")]
    {
        let (mut client, peer) = client(move |peer| {
            peer.greet(1);
            let ask = peer.read();
            peer.write(&rows(&ask["id"], &["A"], Some("c")));
            let ask = peer.read();
            peer.write(&second(&ask["id"], "stale_cursor"));
        });
        let question = by_name("A", None, None);
        let mut pages = client.pages(&question);
        assert!(pages.next().unwrap().is_ok());
        let error = pages.next().unwrap().unwrap_err();
        assert_eq!(error.code().unwrap_or(""), expected);
        if !expected.is_empty() {
            assert!(error.to_string().contains("ask again from the first page"), "{error}");
        }
        assert!(pages.next().is_none());
        peer.join().unwrap();
    }
}

#[test]
fn batches_keep_to_the_limits_and_to_the_order() {
    let (mut client, peer) = client(|peer| {
        peer.greet(4);
        let ask = peer.read();
        assert_eq!(ask["items"], json!([{"cpf": "1"}, {"nome": "A"}]));
        let results =
            json!([{"status": "error", "code": "invalid_cpf", "message": "m"}, rows(&Value::Null, &["A"], None)]);
        peer.write(&json!({"id": ask["id"], "status": "ok", "results": results}));
        let ask = peer.read();
        peer.write(&json!({"id": ask["id"], "status": "ok", "results": []}));
    });
    let replies = client.batch(&[by_cpf("1", None), by_name("A", None, None)]).unwrap();
    assert_eq!(replies[0].code.as_deref(), Some("invalid_cpf"));
    assert_eq!(client.item(replies[1].clone()).unwrap().rows.len(), 1);
    assert!(matches!(client.batch(&[by_cpf("1", None)]), Err(Error::NotBalcao { .. })));
    assert!(matches!(client.batch(&vec![by_cpf("1", None); 4]), Err(Error::BatchTooLong { items: 4, limit: 3 })));
    let long = "x".repeat(300);
    assert!(matches!(client.cpf(&long, None), Err(Error::QuestionTooLong { limit: 300, .. })));
    peer.join().unwrap();
}

#[test]
fn overloaded_then_ok() {
    let (mut client, peer) = retrying(|peer| {
        peer.greet(4);
        let (one, two) = (peer.read(), peer.read());
        peer.write(&refusal(&one["id"], "overloaded"));
        peer.write(&rows(&two["id"], &["two"], None));
        assert_eq!(peer.read(), one);
        peer.write(&refusal(&one["id"], "overloaded"));
        assert_eq!(peer.read(), one);
        peer.write(&rows(&one["id"], &["one"], None));
        // The third time is handed on.
        let three = peer.read();
        for _ in 0..2 {
            peer.write(&refusal(&three["id"], "overloaded"));
            peer.read();
        }
        peer.write(&refusal(&three["id"], "overloaded"));
    });
    let one = client.send(&by_cpf("1", None)).unwrap();
    let two = client.send(&by_cpf("2", None)).unwrap();
    for (id, name) in [(one, "one"), (two, "two")] {
        let received = client.receive_id(id).unwrap();
        assert_eq!(names(&client.page(received).unwrap().rows), [name]);
    }
    assert_eq!(client.cpf("3", None).unwrap_err().code(), Some("overloaded"));
    peer.join().unwrap();
}

#[test]
fn a_full_house_is_knocked_at_again() {
    let options = Options { overloaded_retries: 1, ..Options::default() };
    let scripts: Vec<fn(&mut Peer)> = vec![
        |peer| {
            peer.read();
            peer.raw(b"{\"status\":\"error\",\"code\":\"overloaded\",\"message\":\"full\",\"retry_after_ms\":1}\n");
        },
        |peer| {
            peer.greet(4);
            let ask = peer.read();
            peer.write(&rows(&ask["id"], &["A"], None));
        },
    ];
    let (mut client, peer) = play(options, scripts);
    assert_eq!(client.cpf("1", None).unwrap().rows.len(), 1);
    peer.join().unwrap();
}

/// What the client says to a greeting that is `bytes`, and to the next question.
#[track_caller]
fn check_greeting(bytes: &'static [u8], options: Options, expected: fn(&Error) -> bool) {
    let script = move |peer: &mut Peer| {
        peer.read();
        // The client may have left before it took everything in.
        let _ = peer.stream.write_all(bytes);
        peer.at_end();
    };
    let (mut client, peer) = play(options, vec![script]);
    let error = client.ping().unwrap_err();
    assert!(expected(&error), "{error:?}");
    assert!(!error.to_string().is_empty());
    drop(client);
    peer.join().unwrap();
}

#[test]
fn what_is_no_balcao_is_told_at_once() {
    let other = |error: &Error| matches!(error, Error::NotBalcao { .. });
    for bytes in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
        b"220 mail ready, and no line end",
        b"\n",
        b"{}\n",
        b"{\"id\":1,\"status\":\"fine\"}\n",
        b"{\"id\":\"1\",\"status\":\"ok\"}\n",
        b"{\"id\":77,\"status\":\"ok\"}\n",
        b"{\"status\":\"ok\"}\n",
        b"{\"id\":1,\"status\":\"ok\"}\n",
        b"{\"id\":1,\"status\":\"ok\",\"protocol\":1,\"limits\":{\"in_flight\":-1}}\n",
        b"{\"id\":1,\"status\":\"ok\",\"x\":\"\xff\"}\n",
        b"{\"id\":1,\"status\":\"ok\",\"protocol\":1}}\n",
        b"{\"id\":1,\"status\":\"ok\",\"rows\":[[[[\n",
    ] {
        check_greeting(bytes, Options::default(), other);
    }
    check_greeting(b"{\"id\":1,\"status\":\"ok\",\"protocol\":2}\n", Options::default(), |error| {
        matches!(error, Error::Version { expected: 1, got: 2 })
    });
    let refused = b"{\"id\":1,\"status\":\"error\",\"code\":\"unauthorized\",\"message\":\"m\"}\n";
    check_greeting(refused, Options::default(), |error| error.code() == Some("unauthorized"));
    let impatient = Options { read_timeout: Duration::from_millis(100), ..Options::default() };
    for bytes in [b"{\"id\":1,\"sta".as_slice(), b""] {
        check_greeting(bytes, impatient, |error| matches!(error, Error::Timeout { .. }));
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let (mut client, peer) = client(|peer| {
        peer.greet(1);
        let ask = peer.read();
        let deep = format!(
            "{{\"id\":{},\"status\":\"ok\",\"rows\":{}{}}}\n",
            ask["id"],
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        peer.raw(deep.as_bytes());
    });
    assert!(matches!(client.cpf("1", None), Err(Error::NotBalcao { .. })));
    peer.join().unwrap();
}

#[test]
fn closed_in_the_middle_and_never_used_again() {
    for half in ["", "{\"id\":2,\"status\":\"ok\",\"ro"] {
        let (mut client, peer) = client(move |peer| {
            peer.greet(4);
            peer.read();
            peer.raw(half.as_bytes());
        });
        let error = client.cpf("1", None).unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error:?}");
        assert_eq!(error.to_string().contains("middle"), !half.is_empty());
        assert!(matches!(client.cpf("2", None), Err(Error::Closed { .. })));
        peer.join().unwrap();
    }
}

#[test]
fn a_server_that_closes_may_say_why() {
    let (mut client, peer) = client(|peer| {
        peer.greet(4);
        peer.read();
        peer.raw(b"{\"status\":\"error\",\"code\":\"deadline_exceeded\",\"message\":\"half a line\"}\n");
    });
    assert_eq!(client.cpf("1", None).unwrap_err().code(), Some("deadline_exceeded"));
    assert!(matches!(client.ping(), Err(Error::Closed { .. })));
    peer.join().unwrap();
}

#[test]
fn a_reply_without_end_is_refused() {
    let (mut client, peer) = client(|peer| {
        peer.greet(4);
        peer.read();
        let chunk = vec![b'{'; 1 << 20];
        while peer.stream.write_all(&chunk).is_ok() {}
    });
    let error = client.cpf("1", None).unwrap_err();
    assert!(matches!(error, Error::ReplyTooLarge { unit: "bytes", .. }), "{error:?}");
    drop(client);
    peer.join().unwrap();
}

#[test]
fn a_reply_of_countless_values_is_refused() {
    let (mut client, peer) = client(|peer| {
        peer.greet(4);
        let ask = peer.read();
        let values = "{},".repeat(balcao_client::REPLY_VALUES_MAX + 1);
        peer.raw(format!("{{\"id\":{},\"status\":\"ok\",\"rows\":[{values}{{}}]}}\n", ask["id"]).as_bytes());
    });
    let error = client.cpf("1", None).unwrap_err();
    assert!(matches!(error, Error::ReplyTooLarge { unit: "values", .. }), "{error:?}");
    peer.join().unwrap();
}

#[test]
fn rows_with_different_columns_are_refused() {
    let (mut client, peer) = client(|peer| {
        peer.greet(4);
        let ask = peer.read();
        peer.write(&json!({"id": ask["id"], "status": "ok", "rows": [{"a": 1}, {"b": 1}], "total": 2, "next": null}));
    });
    assert!(matches!(client.cpf("1", None), Err(Error::NotBalcao { .. })));
    peer.join().unwrap();
}

/// The peer reads nothing more before its large replies are out, the client sends more than the system's buffers hold.
#[test]
fn both_sides_writing_does_not_lock_up() {
    const QUESTIONS: usize = 512;
    let (mut client, peer) = client(|peer| {
        let hello = peer.read();
        let mut greeting = greeting(&hello["id"], QUESTIONS);
        greeting["limits"]["line_bytes"] = json!(65_536);
        peer.write(&greeting);
        let large = "y".repeat(60_000);
        for _ in 0..QUESTIONS {
            let ask = peer.read();
            peer.write(&rows(&ask["id"], &[&large], None));
        }
    });
    let large = "x".repeat(60_000);
    for _ in 0..QUESTIONS {
        client.send(&Question { nome: Some(&large), ..Question::default() }).unwrap();
    }
    for _ in 0..QUESTIONS {
        let received = client.receive().unwrap();
        assert_eq!(client.page(received).unwrap().rows.len(), 1);
    }
    peer.join().unwrap();
}

#[test]
fn addresses_that_lead_nowhere_say_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = Client::connect(&free, Options::default()).unwrap_err();
    assert!(error.to_string().contains(&format!("is the server running at {free}?")), "{error}");
    for address in ["127.0.0.1", "no port:", ""] {
        let error = Client::connect(address, Options::default()).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{error:?}");
    }
}

#[test]
fn the_next_page_is_under_way_before_the_present_one_is_handed_over() {
    let (mut client, peer) = client(|peer| {
        peer.greet(2);
        let one = peer.read();
        assert_eq!((&one["cursor"], one["limit"].as_u64()), (&Value::Null, Some(8)));
        peer.write(&rows(&one["id"], &["A"], Some("c1")));
        // No time for the second: it is asked for again, for half of it.
        let two = peer.read();
        peer.write(&refusal(&two["id"], "deadline_exceeded"));
        let two = peer.read();
        assert_eq!((two["cursor"].as_str(), two["limit"].as_u64()), (Some("c1"), Some(4)));
        peer.write(&rows(&two["id"], &["B", "C"], Some("c2")));
        // The third is asked for while nobody has read the second; it is given up then, and its reply is dropped.
        let three = peer.read();
        let ping = peer.read();
        peer.write(&rows(&three["id"], &["D"], None));
        peer.write(&json!({"id": ping["id"], "status": "ok"}));
    });
    let columns = client.hello().unwrap().columns;
    let mut answers = Answers::new(columns);
    let question = by_name("A", None, Some(8));
    let mut ahead = client.ahead(&question).unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let page = ahead.next().unwrap().unwrap();
        ahead.client().answers(&page.received, &mut answers).unwrap();
        assert_eq!(page.outline.rows as usize, answers.items()[0].len());
        seen.extend(answers.rows(&answers.items()[0]).map(|row| row.collect::<Vec<_>>().join(" ")));
    }
    assert_eq!(seen, ["1.5 A", "1.5 B", "1.5 C"]);
    drop(ahead);
    client.ping().unwrap();
    peer.join().unwrap();
}

#[test]
fn pages_grow_again_after_a_busy_moment() {
    let (mut client, peer) = client(|peer| {
        peer.greet(4);
        for _ in 0..2 {
            let ask = peer.read();
            peer.write(&refusal(&ask["id"], "deadline_exceeded"));
        }
        let limits: Vec<_> = (0..12)
            .map(|n| {
                let ask = peer.read();
                let next = (n < 11).then(|| format!("c{n}"));
                peer.write(&rows(&ask["id"], &["A"], next.as_deref()));
                ask["limit"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(limits, [2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8]);
    });
    let question = by_name("A", None, Some(8));
    let mut ahead = client.ahead(&question).unwrap();
    while let Some(page) = ahead.next() {
        page.unwrap();
    }
    drop(ahead);
    peer.join().unwrap();
}

#[test]
fn batches_go_out_in_pieces_of_what_is_written_once() {
    let (mut client, peer) = client(|peer| {
        peer.greet(4);
        let ask = peer.read();
        let items = json!([{"cpf": "2"}, {"nome": "A", "match": "exact"}]);
        assert_eq!(ask, json!({"id": ask["id"], "op": "batch", "deadline_ms": 70, "items": items}));
        let results = json!([rows(&Value::Null, &["B"], None), refusal(&Value::Null, "invalid_name")]);
        peer.write(&json!({"id": ask["id"], "status": "ok", "results": results}));
        let ask = peer.read();
        peer.write(&refusal(&ask["id"], "deadline_exceeded"));
    });
    let mut answers = Answers::new(client.hello().unwrap().columns);
    let mut items = Items::default();
    for question in [by_cpf("1", None), by_cpf("2", None), by_name("A", Some(Name::Exact), None)] {
        items.push(&question);
    }
    let id = client.send_items(&items, 1..3, Some(70)).unwrap();
    let received = client.receive_id(id).unwrap();
    client.answers(&received, &mut answers).unwrap();
    assert_eq!(answers.items().iter().map(balcao_client::Answer::len).collect::<Vec<_>>(), [1, 0]);
    let id = client.send_items(&items, 0..1, None).unwrap();
    let received = client.receive_id(id).unwrap();
    assert_eq!(client.answers(&received, &mut answers).unwrap_err().code(), Some("deadline_exceeded"));
    assert!(matches!(client.send_items(&items, 0..4, None), Err(Error::BatchTooLong { items: 4, limit: 3 })));
    peer.join().unwrap();
}

#[test]
fn a_connection_is_shut_from_another_thread() {
    let (mut client, peer) = client(|peer| {
        peer.greet(1);
        peer.read();
        assert!(peer.at_end());
    });
    client.hello().unwrap();
    let stopper = client.stopper().unwrap();
    let id = client.send(&by_cpf("1", None)).unwrap();
    let stopping = thread::spawn(move || stopper.stop());
    assert!(matches!(client.receive_id(id), Err(Error::Closed { .. })));
    stopping.join().unwrap();
    peer.join().unwrap();
}
