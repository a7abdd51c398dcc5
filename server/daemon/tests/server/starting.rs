//! The start: what the command line answers, and everything that the server refuses to serve, with what to do about it.

use std::fs;

use crate::process::{Ended, Process, Server};
use crate::registry::{Registry, SMALL};

fn run(args: &[&str]) -> Ended {
    Process::spawn(args, &[]).ended()
}

#[test]
fn help_version_and_wrong_usage() {
    for (args, code) in [
        (&[][..], 2),
        (&["--help"], 0),
        (&["serve", "--help"], 0),
        (&["--version"], 0),
        (&["--no-such-flag"], 2),
        (&["dance"], 2),
        (&["serve", "--no-such-flag"], 2),
        (&["serve", "--workers", "0"], 2),
        (&["serve", "--workers", "-1"], 2),
        (&["serve", "--connections", "many"], 2),
        (&["serve", "--log-level", "loud"], 2),
    ] {
        let ended = run(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        // Help that was asked for is output, all else is an error.
        assert_eq!((ended.out.is_empty(), ended.log.is_empty()), (code == 2, code == 0), "{args:?}: {ended:?}");
    }
    assert!(run(&[]).log.contains("Usage: server <COMMAND>"));
    assert!(run(&["--help"]).out.contains("serve"));
    assert_eq!(run(&["--version"]).out, format!("server {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run(&["dance"]).log.starts_with("error: "));
}

/// Starts with a registry, further arguments behind: it must fail with exit code 1, or with 2 where the address is wrong usage, and say
/// each of `told`.
#[track_caller]
fn refused(db: &str, index: &str, args: &[&str], told: &[&str]) {
    let code = if told.contains(&"--insecure") || args.contains(&"nonsense") { 2 } else { 1 };
    let serve = ["serve", "--db", db, "--index", index, "--listen", "127.0.0.1:0"];
    let ended =
        run(&if args.contains(&"--listen") { [&serve[..5], args].concat() } else { [&serve[..], args].concat() });
    assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{}", ended.log);
    let error = ended.log.lines().last().unwrap_or_default();
    assert!(error.starts_with("error: "), "{}", ended.log);
    for told in told {
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[test]
fn an_address_that_cannot_be_had() {
    let registry = Registry::of(SMALL);
    let (db, index) = (registry.db(), registry.index());
    let mut first = Server::start(&registry, &[]);
    refused(&db, &index, &["--listen", &first.address], &[&first.address, "port 0", "in use"]);
    // The first one does not notice.
    assert!(first.process.is_running());
    assert_eq!(first.peer().ask(r#"{"op":"ping"}"#)["status"], "ok");

    refused(&db, &index, &["--listen", "0.0.0.0:0"], &["--insecure", "127.0.0.1"]);
    refused(&db, &index, &["--listen", "[::]:0"], &["--insecure"]);
    refused(&db, &index, &["--listen", "0.0.0.0:0", "--insecure", "false"], &["--insecure"]);
    refused(&db, &index, &["--listen", "nonsense"], &["nonsense", "127.0.0.1:7700"]);
    let serve = ["serve", "--db", &db, "--index", &index, "--listen", "0.0.0.0:0", "--insecure"];
    assert!(Process::spawn(&serve, &[]).ready().starts_with("0.0.0.0:"));
}

#[test]
fn something_is_missing() {
    let registry = Registry::of(SMALL);
    let (db, index) = (registry.db(), registry.index());
    let nowhere = registry.folder().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    refused(nowhere, &index, &[], &["nowhere", "cannot read the database"]);
    refused(&db, nowhere, &[], &["nowhere", "indexer build"]);
    let text = registry.folder().join("text.db");
    fs::write(&text, "cpf;nome\n".repeat(1000)).unwrap();
    refused(text.to_str().unwrap(), &index, &[], &["no SQLite database"]);
    let ended = run(&["serve", "--index", &index]);
    assert!(ended.code == Some(2) && ended.log.contains("give --db"), "{ended:?}");
    let ended = run(&["serve", "--db", &db]);
    assert!(ended.code == Some(2) && ended.log.contains("give --index"), "{ended:?}");
}

#[test]
fn an_index_that_does_not_fit() {
    let registry = Registry::of(SMALL);
    let (db, index) = (registry.db(), registry.index());
    let told = ["not the one that was indexed", "indexer build"];
    // A change and its counter; then another file in its place.
    let former = fs::read(&db).unwrap();
    registry.write("UPDATE cpf SET nome = 'MARIA DA SELVA' WHERE rowid = 1");
    refused(&db, &index, &[], &told);
    let other = Registry::of(&SMALL.replace("SILVA", "SELVA"));
    fs::copy(other.db(), &db).unwrap();
    refused(&db, &index, &[], &told);
    fs::write(&db, &former).unwrap();
    drop(Server::start(&registry, &[]));

    // Changes that wait beside it.
    fs::write(format!("{db}-wal"), "something").unwrap();
    refused(&db, &index, &[], &["-wal", "wal_checkpoint"]);
    fs::remove_file(format!("{db}-wal")).unwrap();

    // A damaged index.
    let current = fs::read_to_string(format!("{index}/CURRENT")).unwrap();
    let manifest = format!("{index}/{}/MANIFEST", current.trim());
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[40] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    refused(&db, &index, &[], &["MANIFEST", "indexer build"]);
    fs::write(format!("{index}/CURRENT"), "../elsewhere\n").unwrap();
    refused(&db, &index, &[], &["CURRENT", "indexer build"]);
}
