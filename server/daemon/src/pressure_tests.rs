//! A house that holds more than it may: who takes room and does nothing is let go, the others are not.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::budget::Charge;
use crate::limits::{HALF_LINE_BYTES_TIGHT, HELD_BYTES_MAX};
use crate::listen::{self, Listener};
use crate::test_house;

fn line(peer: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    peer.read_line(&mut line).unwrap();
    line
}

#[test]
fn half_lines_make_room_for_the_others() {
    let (_folder, house) = test_house::open();
    let listener = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Listener::start(listener, &house).unwrap();
    let [mut small, mut large, mut kept] = [(); 3].map(|()| {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        BufReader::new(stream)
    });
    let others = Charge::new(&house.means.budget, HELD_BYTES_MAX + 1);
    // The small one begins first, so that by the usual deadline it would be the first to go.
    small.get_mut().write_all(b"{\"op\":").unwrap();
    large.get_mut().write_all(&b" ".repeat(65_000)).unwrap();
    let told = line(&mut large);
    assert!(told.contains("deadline_exceeded"), "{told}");
    assert!(house.means.budget.held() < HELD_BYTES_MAX + 8 * HALF_LINE_BYTES_TIGHT);
    small.get_mut().write_all(b"\"ping\"}\n").unwrap();
    assert_eq!(line(&mut small), "{\"status\":\"ok\"}\n");
    // One that was not read on with is when there is room again, though nothing new comes from it.
    kept.get_mut().write_all(format!("{{\"op\":\"ping\",\"x\":\"{}\"}}\n", "x".repeat(60_000)).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(others);
    assert_eq!(line(&mut kept), "{\"status\":\"ok\"}\n");
    house.sessions.begin_stop();
    listener.stop();
}
