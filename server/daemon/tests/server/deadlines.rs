//! Clients that do not do their part: lines left half sent, replies left unread. One test, since each deadline takes its time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::peer::{Peer, code};
use crate::process::{PATIENCE, Server};
use crate::registry::{Registry, dear};

/// A peer whose socket takes little before it is read.
pub(crate) fn peer_that_takes_little(address: &str) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&address.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    Peer::over(socket.into())
}

/// Sends a blank every half second until a reply comes: its bytes. Does `meanwhile` each time.
fn trickle(stream: &mut TcpStream, mut meanwhile: impl FnMut()) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let began = Instant::now();
    let mut bytes = vec![0; 1000];
    loop {
        assert!(began.elapsed() < PATIENCE, "a trickle of bytes was never cut off");
        match stream.read(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                return bytes;
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
        // It may have been closed just now.
        let _ = stream.write_all(b" ");
        meanwhile();
    }
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--workers", "1"]);
    let dear = dear(&registry);
    let [mut idle, mut half, mut behind, mut trickling, mut ragged] = std::array::from_fn(|_| server.peer());
    assert_eq!(idle.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));

    let began = Instant::now();
    let mut unread = peer_that_takes_little(&server.address);
    let batch = format!(r#"{{"op":"batch","items":[{}]}}"#, vec![format!("{{{dear}}}"); 10].join(","));
    unread.send(format!("{batch}\n").repeat(30));
    half.send(r#"{"op":"pi"#);
    behind.send(format!("{{{dear}}}\n{{\"cpf\":"));
    trickling.send("{");
    // Its packets end in the middle of lines, each of which is soon whole: that is no slow client.
    ragged.send(r#"{"op":"#);
    let trickled = trickle(&mut trickling.stream, || {
        ragged.send("\"ping\"}\n{\"op\":");
        assert_eq!(ragged.line(), json!({"status": "ok"}));
    });
    assert!(began.elapsed() > Duration::from_secs(9), "a line was cut off before its deadline");
    assert!(String::from_utf8(trickled).unwrap().contains("deadline_exceeded"));

    assert_eq!(code(&half.line()), "deadline_exceeded");
    half.assert_ended();
    assert_eq!(behind.line()["rows"].as_array().map(Vec::len), Some(1000));
    assert_eq!(code(&behind.line()), "deadline_exceeded");
    behind.assert_ended();

    // Whoever takes no byte of its replies is dropped; what was on its way may still be read.
    server.process.wait_for_log("took no byte");
    assert!(began.elapsed() > Duration::from_secs(14), "a client was dropped before its deadline");
    let mut read = Vec::new();
    let _ = unread.stream.read_to_end(&mut read);
    let whole = read.iter().filter(|&&byte| byte == b'\n').count();
    assert!(whole < 30, "all replies fitted the sockets' buffers");

    // No deadline is on a connection that owes nothing.
    assert_eq!(idle.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
    assert_eq!(server.client().hello().unwrap().protocol, 1);
}

#[test]
fn who_asks_nothing_for_long_is_closed() {
    let registry = Registry::shared();
    let server = Server::start(&registry, &["--idle-seconds", "2"]);
    let [mut quiet, mut never, mut asking, mut half] = std::array::from_fn(|_| server.peer());
    assert_eq!(quiet.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
    half.send(r#"{"op":"#);
    let began = Instant::now();
    // A question now and then keeps a connection; half of one has a deadline of its own.
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(asking.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
        std::thread::sleep(Duration::from_millis(200));
    }
    half.send("\"ping\"}\n");
    assert_eq!(half.line(), json!({"status": "ok"}));
    // Gently: the end, and no reset.
    quiet.assert_ended();
    never.assert_ended();
    let stats = asking.ask(r#"{"op":"stats"}"#);
    assert_eq!((&stats["deadlines"]["idle"], &stats["connections"]["open"]), (&json!(2), &json!(2)));
}
