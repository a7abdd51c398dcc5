//! Where a setting comes from: flags over environment over file over defaults. Each source names another loopback address here.

use std::fs;
use std::time::Instant;

use crate::peer::Peer;
use crate::process::{PATIENCE, Process};
use crate::registry::{Registry, SMALL};

fn host(process: &Process) -> String {
    let address = process.ready();
    // It does serve there.
    assert_eq!(Peer::connect(&address).ask(r#"{"op":"ping"}"#)["status"], "ok");
    address.rsplit_once(':').unwrap().0.to_owned()
}

#[test]
fn flags_over_environment_over_file() {
    let registry = Registry::of(SMALL);
    let file = registry.folder().join("server.toml");
    let (db, index) = (registry.db(), registry.index());
    fs::write(&file, format!("db = '{db}'\nindex = '{index}'\nlisten = '127.0.0.2:0'\nworkers = 1\nconnections = 1\n"))
        .unwrap();
    let file = file.to_str().unwrap();

    let by_file = Process::spawn(&["serve", "--config", file], &[]);
    assert_eq!(host(&by_file), "127.0.0.2");
    let by_env = Process::spawn(&["serve"], &[("BALCAO_CONFIG", file), ("BALCAO_LISTEN", "127.0.0.3:0")]);
    assert_eq!(host(&by_env), "127.0.0.3");
    let flag = ["serve", "--config", file, "--listen", "127.0.0.4:0"];
    let by_flag = Process::spawn(&flag, &[("BALCAO_LISTEN", "127.0.0.3:0")]);
    assert_eq!(host(&by_flag), "127.0.0.4");

    // The file's other settings hold: one connection, and the next is one too many.
    let address = by_file.ready();
    let deadline = Instant::now() + PATIENCE;
    let first = loop {
        let mut peer = Peer::connect(&address);
        // The one before may not have left yet.
        if peer.ask(r#"{"op":"ping"}"#)["status"] == "ok" {
            break peer;
        }
        assert!(Instant::now() < deadline, "the place never became free");
    };
    assert_eq!(Peer::connect(&address).line()["code"], "overloaded");
    drop(first);

    let only_env = [("BALCAO_DB", &*db), ("BALCAO_INDEX", &*index), ("BALCAO_LISTEN", "127.0.0.5:0")];
    assert_eq!(host(&Process::spawn(&["serve"], &only_env)), "127.0.0.5");
}

#[test]
fn a_file_that_is_not_right() {
    let registry = Registry::of(SMALL);
    let (db, index) = (registry.db(), registry.index());
    for (text, told) in [
        ("workerz = 1", "workerz"),
        ("workers = 0", "workers"),
        ("workers = 'many'", "workers"),
        ("log-level = 'loud'", "loud"),
        ("listen = '7700'", "127.0.0.1:7700"),
        ("listen = ", "line 1"),
    ] {
        let file = registry.folder().join("wrong.toml");
        fs::write(&file, text).unwrap();
        let args = ["serve", "--db", &db, "--index", &index, "--config", file.to_str().unwrap()];
        let ended = Process::spawn(&args, &[]).ended();
        // The file cannot be read as settings, or what it says cannot be served: the one is a failure, the other wrong usage.
        let code = if text.starts_with("listen = '") { 2 } else { 1 };
        assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{text}");
        assert!(ended.log.contains("error: ") && ended.log.contains(told), "{text}: {}", ended.log);
    }
    let ended = Process::spawn(&["serve", "--config", "/no/such/file.toml"], &[]).ended();
    assert_eq!(ended.code, Some(1));
    assert!(ended.log.starts_with("error: cannot read the configuration /no/such/file.toml"), "{}", ended.log);
}
