//! What is served follows what is published: new generations, refused ones, and a database that is another one now.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::deadlines::peer_that_takes_little;
use crate::peer::{Peer, code};
use crate::process::{PATIENCE, Server};
use crate::registry::{PADDING, Registry, SMALL};

const MARIA: &str = r#"{"cpf":"12345678909"}"#;

/// Asks `question` until the reply is what is `wanted`; no reply before that may be anything but what `meanwhile` allows.
#[track_caller]
fn ask_until(peer: &mut Peer, question: &str, wanted: impl Fn(&Value) -> bool, meanwhile: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    loop {
        let reply = peer.ask(question);
        if wanted(&reply) {
            return;
        }
        assert!(meanwhile(&reply), "{reply}");
        assert!(began.elapsed() < PATIENCE, "still {reply}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn stats(peer: &mut Peer) -> Value {
    peer.ask(r#"{"op":"stats"}"#)
}

/// Waits until so many generations were taken up and refused.
#[track_caller]
fn wait_for_reloads(peer: &mut Peer, taken: u64, refused: u64) {
    let wanted = json!({"taken": taken, "refused": refused});
    ask_until(peer, r#"{"op":"stats"}"#, |stats| stats["reloads"] == wanted, |_| true);
}

fn born(reply: &Value) -> &str {
    reply["rows"][0]["nasc"].as_str().unwrap_or_default()
}

fn registry() -> Registry {
    Registry::of(&format!("{SMALL}{PADDING}"))
}

/// The files of the index that the server has mapped.
fn mapped(server: &Server) -> String {
    fs::read_to_string(format!("/proc/{}/maps", server.process.pid().as_raw_nonzero())).unwrap()
}

/// Writes a copy of the database in which Maria was born on another day, and returns its place.
fn copy_with(registry: &Registry, nasc: &str) -> PathBuf {
    let copy = registry.folder().join(format!("copy-{nasc}.db"));
    fs::copy(registry.db(), &copy).unwrap();
    let sql = format!("UPDATE cpf SET nasc = '{nasc}' WHERE cpf = '12345678909'");
    Connection::open(&copy).unwrap().execute_batch(&sql).unwrap();
    copy
}

#[test]
fn a_new_generation_is_taken_up_without_a_connection_lost() {
    let registry = registry();
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    assert_eq!(peer.ask(r#"{"op":"hello"}"#)["generation"], "g000001");
    let page = peer.ask(r#"{"nome":"MARIA","limit":1}"#);
    // By signal, and found by the watch.
    registry.build();
    server.process.signal(Signal::HUP);
    wait_for_reloads(&mut peer, 1, 0);
    assert_eq!(peer.ask(r#"{"op":"hello"}"#)["generation"], "g000002");
    registry.build();
    wait_for_reloads(&mut peer, 2, 0);
    assert_eq!(peer.ask(r#"{"op":"hello"}"#)["generation"], "g000003");
    assert_eq!(born(&peer.ask(MARIA)), "19800101");
    // A cursor of a former one says so.
    let next = page["next"].as_str().unwrap();
    assert_eq!(code(&peer.ask(&format!(r#"{{"nome":"MARIA","cursor":"{next}"}}"#))), "stale_cursor");
    // Its files are let go with its last request.
    let maps = mapped(&server);
    assert!(maps.contains("g000003") && !maps.contains("g000001") && !maps.contains("g000002"), "{maps}");
    // A signal without anything new opens everything anew.
    server.process.signal(Signal::HUP);
    wait_for_reloads(&mut peer, 3, 0);
    assert_eq!(stats(&mut peer)["generation"], "g000003");
}

#[test]
fn what_does_not_hold_is_refused_and_the_former_one_stays() {
    let registry = registry();
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    let index = PathBuf::from(registry.index());
    let good = fs::read(index.join("CURRENT")).unwrap();
    // A byte in a page that no question touched: only a look at every page finds it.
    registry.build();
    let file = index.join("g000002/name-0000.keys");
    let mut bytes = fs::read(&file).unwrap();
    bytes[80] ^= 1;
    fs::write(&file, bytes).unwrap();
    wait_for_reloads(&mut peer, 0, 1);
    server.process.wait_for_log("name-0000.keys is damaged");
    // A word that is none, a way out of the folder, and no file at all: each is looked at.
    for (number, current) in ["what\n", "g9999999\n", "../elsewhere\n"].into_iter().enumerate() {
        fs::write(index.join("CURRENT"), current).unwrap();
        server.process.signal(Signal::HUP);
        wait_for_reloads(&mut peer, 0, number as u64 + 2);
        assert_eq!(born(&peer.ask(MARIA)), "19800101");
        assert_eq!(peer.ask(r#"{"nome":"MARIA"}"#)["total"], 2);
    }
    fs::remove_file(index.join("CURRENT")).unwrap();
    server.process.signal(Signal::HUP);
    wait_for_reloads(&mut peer, 0, 5);
    assert_eq!(stats(&mut peer)["fits"], true);
    fs::write(index.join("CURRENT"), good).unwrap();
    registry.build();
    // The damaged one was nobody's former one: it is gone, and its name is free.
    ask_until(&mut peer, r#"{"op":"hello"}"#, |hello| hello["generation"] == "g000002", |_| true);
    let taken = stats(&mut peer)["reloads"]["taken"].as_u64().unwrap();
    // Published again under the name of the one that is served: another one all the same.
    fs::write(index.join("CURRENT.new"), "g000002\n").unwrap();
    fs::rename(index.join("CURRENT.new"), index.join("CURRENT")).unwrap();
    ask_until(&mut peer, r#"{"op":"stats"}"#, |stats| stats["reloads"]["taken"].as_u64() > Some(taken), |_| true);
}

#[test]
fn another_database_is_unavailable_until_the_index_fits_again() {
    let registry = registry();
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    let is_maria = |reply: &Value| born(reply) == "19800101";
    let is_unavailable = |reply: &Value| code(reply) == "unavailable";
    let kept = registry.folder().join("kept.db");
    fs::copy(registry.db(), &kept).unwrap();
    fs::rename(copy_with(&registry, "19990909"), registry.db()).unwrap();
    // Within a second; never the other file's row under this index.
    ask_until(&mut peer, MARIA, is_unavailable, is_maria);
    let reply = peer.ask(r#"{"nome":"NINGUEM"}"#);
    assert!(is_unavailable(&reply) && reply["message"].as_str().unwrap().contains("indexer build"), "{reply}");
    let reply = peer.ask(&format!(r#"{{"op":"batch","items":[{MARIA}]}}"#));
    assert!(is_unavailable(&reply["results"][0]), "{reply}");
    assert_eq!(peer.ask(r#"{"op":"ping"}"#), json!({"status": "ok"}));
    assert_eq!(stats(&mut peer)["fits"], false);
    // The former file comes back, as a copy with another inode and other times: it fits.
    fs::rename(&kept, registry.db()).unwrap();
    ask_until(&mut peer, MARIA, is_maria, is_unavailable);
    // Written to in place; then indexed.
    registry.write("UPDATE cpf SET nasc = '19701231' WHERE cpf = '12345678909'");
    ask_until(&mut peer, r#"{"nome":"NINGUEM"}"#, is_unavailable, |reply| reply["total"] == 0);
    registry.build();
    ask_until(&mut peer, MARIA, |reply| born(reply) == "19701231", is_unavailable);
    // Gone, and back.
    let aside = registry.folder().join("aside.db");
    fs::rename(registry.db(), &aside).unwrap();
    ask_until(&mut peer, MARIA, is_unavailable, |reply| born(reply) == "19701231");
    fs::rename(&aside, registry.db()).unwrap();
    ask_until(&mut peer, MARIA, |reply| born(reply) == "19701231", is_unavailable);
}

#[test]
fn a_new_database_that_is_indexed_first_takes_over_without_a_gap() {
    let registry = registry();
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    let mut before = "19800101".to_owned();
    for year in 1991..=1993 {
        let after = format!("{year}0101");
        let next = copy_with(&registry, &after);
        registry.build_from(&next);
        // It does not fit what lies there yet.
        let refused = stats(&mut peer)["reloads"]["refused"].as_u64().unwrap();
        server.process.signal(Signal::HUP);
        ask_until(
            &mut peer,
            r#"{"op":"stats"}"#,
            |stats| stats["reloads"]["refused"].as_u64() > Some(refused),
            |_| true,
        );
        assert_eq!(born(&peer.ask(MARIA)), before);
        fs::rename(&next, registry.db()).unwrap();
        ask_until(&mut peer, MARIA, |reply| born(reply) == after, |reply| born(reply) == before);
        before = after;
    }
    assert_eq!(stats(&mut peer)["answers"]["unavailable"], 0);
}

#[test]
fn a_database_cut_short_in_place_stops_nobody() {
    let rows = "WITH RECURSIVE k(n) AS (SELECT 10000000001 UNION ALL SELECT n + 7919 FROM k LIMIT 3000)
        INSERT INTO cpf SELECT n, 'PESSOA ' || n, hex(zeroblob(200)), NULL FROM k;";
    let registry = Registry::of(&format!("{SMALL}{rows}{PADDING}"));
    let server = Server::start(&registry, &["--workers", "1"]);
    let mut peer = server.peer();
    let whole = fs::read(registry.db()).unwrap();
    let file = fs::File::options().write(true).open(registry.db()).unwrap();
    for round in 0..3 {
        file.set_len(8192).unwrap();
        // The very next read may lie beyond the end: an answer all the same, on every thread.
        let last = format!(r#"{{"cpf":{}}}"#, 10_000_000_001_i64 + 7919 * 2990);
        assert_eq!(code(&peer.ask(&last)), "unavailable", "round {round}");
        let page = peer.ask(r#"{"nome":"PESSOA","limit":1000}"#);
        assert_eq!(code(&page), "unavailable");
        fs::write(registry.db(), &whole).unwrap();
        ask_until(&mut peer, &last, |reply| reply["total"] == 1, |reply| code(reply) == "unavailable");
        assert_eq!(peer.ask(r#"{"nome":"PESSOA","limit":1000}"#)["rows"].as_array().map(Vec::len), Some(1000));
    }
    assert_eq!(stats(&mut peer)["panics"], 0);
}

#[test]
fn a_copy_of_the_rows_that_is_written_to_is_noticed() {
    let registry = registry();
    registry.build_clustered();
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    let maria = r#"{"nome":"MARIA"}"#;
    assert_eq!(peer.ask(maria)["total"], 2);
    // Clocks of file systems go in steps of some milliseconds.
    thread::sleep(Duration::from_millis(20));
    let copy = PathBuf::from(registry.index()).join("g000002/cluster.db");
    let good = fs::read(&copy).unwrap();
    let mut bytes = good.clone();
    let at = bytes.windows(8).position(|bytes| bytes == b"19800101").unwrap();
    bytes[at] = b'2';
    let write = |bytes: &[u8]| {
        std::os::unix::fs::FileExt::write_all_at(&fs::File::options().write(true).open(&copy).unwrap(), bytes, 0)
            .unwrap();
    };
    // In place, a cell that is no key: nothing else would show it.
    write(&bytes);
    ask_until(&mut peer, maria, |reply| code(reply) == "unavailable", |reply| reply["total"] == 2);
    write(&good);
    server.process.signal(Signal::HUP);
    ask_until(&mut peer, maria, |reply| reply["total"] == 2, |reply| code(reply) == "unavailable");
}

#[test]
fn what_began_before_a_reload_does_not_outlive_its_database() {
    let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);
        WITH RECURSIVE k(n) AS (SELECT 10000000001 UNION ALL SELECT n + 7919 FROM k LIMIT 3000)
        INSERT INTO cpf SELECT n, 'PESSOA ' || n, hex(zeroblob(1000)), 'old' FROM k;";
    let registry = Registry::of(&format!("{sql}{PADDING}"));
    let server = Server::start(&registry, &[]);
    let (mut slow, mut other) = (peer_that_takes_little(&server.address), server.peer());
    // More than all buffers on the way hold: the last of them are not begun as long as the client does not read.
    let pages = 24;
    slow.send("{\"nome\":\"PESSOA\",\"limit\":1000}\n".repeat(pages));
    ask_until(&mut other, r#"{"op":"stats"}"#, |stats| stats["queue"]["parked"].as_u64() > Some(0), |_| true);
    // They belong to a snapshot that nobody serves any more.
    server.process.signal(Signal::HUP);
    wait_for_reloads(&mut other, 1, 0);
    registry.write("UPDATE cpf SET nasc = 'new'");
    ask_until(
        &mut other,
        r#"{"cpf":"10000000001"}"#,
        |reply| code(reply) == "unavailable",
        |reply| reply["total"] == 1,
    );
    ask_until(&mut other, r#"{"op":"stats"}"#, |stats| stats["fits"] == false, |_| true);
    let replies: Vec<Value> = (0..pages).map(|_| slow.line()).collect();
    let unavailable = replies.iter().filter(|reply| code(reply) == "unavailable").count();
    assert!(unavailable > 0, "every page was made before the change");
    for reply in replies.iter().filter(|reply| code(reply) != "unavailable") {
        let rows = reply["rows"].as_array().unwrap();
        assert!(rows.len() == 1000 && rows.iter().all(|row| row["nasc"] == "old"), "a row of another time was given");
    }
}

#[test]
fn a_fault_of_a_file_does_not_lose_what_is_good() {
    let registry = registry();
    let server = Server::start(&registry, &["--workers", "1"]);
    let mut peer = server.peer();
    let index = PathBuf::from(registry.index());
    // What is published is damaged, so that the generation before stays; then that one's file fails, for a moment.
    registry.build();
    let keys = index.join("g000002/name-0000.keys");
    let mut bytes = fs::read(&keys).unwrap();
    bytes[80] ^= 1;
    fs::write(&keys, bytes).unwrap();
    wait_for_reloads(&mut peer, 0, 1);
    let rows = index.join("g000001/name-0000.rows");
    let whole = fs::read(&rows).unwrap();
    fs::File::options().write(true).open(&rows).unwrap().set_len(0).unwrap();
    assert_eq!(code(&peer.ask(r#"{"nome":"MARIA"}"#)), "unavailable");
    fs::write(&rows, whole).unwrap();
    let is_whole = |reply: &Value| reply["total"] == 2;
    ask_until(&mut peer, r#"{"nome":"MARIA"}"#, is_whole, |reply| code(reply) == "unavailable");
    server.process.wait_for_log("the generation before is opened again");
    assert_eq!(stats(&mut peer)["generation"], "g000001");
    // And it goes on as ever.
    registry.build();
    ask_until(&mut peer, r#"{"op":"stats"}"#, |stats| stats["reloads"]["taken"] == 2, |_| true);
    assert_eq!(born(&peer.ask(MARIA)), "19800101");
}

#[test]
fn a_twin_that_differs_between_the_sampled_pages_is_not_taken_up() {
    // So many pages that a row's change shows in none of those that are sampled.
    let rows = "WITH RECURSIVE k(n) AS (SELECT 10000000001 UNION ALL SELECT n + 7919 FROM k LIMIT 20000)
        INSERT INTO cpf SELECT n, 'PESSOA ' || n, hex(zeroblob(50)), NULL FROM k;";
    let registry = Registry::of(&format!("{SMALL}{rows}{PADDING}"));
    // Two copies, each with another row changed: length and counters agree.
    let twin = |name: &str, rowid: u32| {
        let path = registry.folder().join(name);
        fs::copy(registry.db(), &path).unwrap();
        let sql = format!("UPDATE cpf SET cpf = '99988877766' WHERE rowid = {rowid}");
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        path
    };
    let seen = |path: &PathBuf| balcao_index::SourceFile::read(path).unwrap();
    let twins = (1..).map(|i| ([5003, 15_003].map(|row| row + 60 * i), i));
    let mut made =
        twins.map(|(row, i)| (row, [twin(&format!("{i}.db"), row[0]), twin(&format!("{i}-other.db"), row[1])]));
    let (rows, [served, other]) = made.find(|(_, [one, other])| seen(one) == seen(other)).unwrap();
    let name = |row: u32| format!("PESSOA {}", 10_000_000_001_u64 + 7919 * (u64::from(row) - 4));
    fs::rename(&served, registry.db()).unwrap();
    registry.build();
    let server = Server::start(&registry, &[]);
    let mut peer = server.peer();
    let moved = r#"{"cpf":"99988877766"}"#;
    assert_eq!(peer.ask(moved)["rows"][0]["nome"], name(rows[0]));
    let refused = stats(&mut peer)["reloads"]["refused"].clone();
    fs::rename(&other, registry.db()).unwrap();
    ask_until(&mut peer, moved, |reply| code(reply) == "unavailable", |reply| reply["total"] == 1);
    assert_eq!(refused, 0);
    server.process.wait_for_log("content differs");
    registry.build();
    ask_until(&mut peer, moved, |reply| reply["total"] == 1, |reply| code(reply) == "unavailable");
    assert_eq!(peer.ask(moved)["rows"][0]["nome"], name(rows[1]));
}
