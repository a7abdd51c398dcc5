//! Runs that end before their time: by Ctrl-C, by a server that is gone, by a full disk. What is there has whole lines, and can be gone on with.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::peer::{Event, Peer, client, plain};

/// Names of a batch whose third group hangs, or ends it all.
fn names(word: &str) -> String {
    let lines: String = (0..10).map(|n| format!("N {}\n", n % 3)).collect();
    format!("nome\n{lines}{word} 1\nN 1\nN 2\n")
}

/// What a run over [`names`] without an end writes.
fn answers(word: &str) -> String {
    let mut out = "nome,status,cpf,nome\n".to_owned();
    for name in names(word).lines().skip(1) {
        let rows: usize = name.rsplit(' ').next().unwrap().parse().unwrap();
        for n in 0..rows {
            out.push_str(&format!("{name},ok,{n},{name}\n"));
        }
        if rows == 0 {
            out.push_str(&format!("{name},none,,\n"));
        }
    }
    out
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The number behind `--skip` in a message.
fn skip(message: &str) -> &str {
    let (_, rest) = message.split_once("--skip ").unwrap_or_else(|| panic!("{message}"));
    rest.split(' ').next().unwrap()
}

fn batch<'a>(from: &'a Path, to: &'a Path, options: &[&'a str]) -> Vec<&'a str> {
    [&["batch", from.to_str().unwrap(), "--out", to.to_str().unwrap()], options].concat()
}

#[test]
fn ctrl_c_stops_all_pages_on_both_sides() {
    for form in ["--csv", "--json"] {
        let (peer, events) = Peer::start();
        let args = ["nome", "hang 2000", "--all", form];
        let mut child = client(&peer.address, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The first page is here, the second one never comes.
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        assert_eq!(events.recv(), Ok(Event::Hangs));
        interrupt(&child);
        assert_eq!(events.recv(), Ok(Event::Closed));
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(130), b"".as_slice()));
        let rows = if form == "--csv" { "0,hang 2000\n1,hang 2000\n2,hang 2000\n3,hang 2000\n" } else { "" };
        assert_eq!(rest, rows);
    }
}

#[test]
fn a_batch_goes_on_after_ctrl_c() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    fs::write(&from, names("hang")).unwrap();
    fs::write(&to, "before").unwrap();
    let (peer, events) = Peer::start();
    let child = client(&peer.address, &batch(&from, &to, &[])).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(events.recv(), Ok(Event::Hangs));
    assert_eq!(fs::read_to_string(&to).unwrap(), "before");
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let (whole, there) = (answers("hang"), fs::read_to_string(&to).unwrap());
    assert!(there.ends_with('\n') && whole.starts_with(&there) && there.len() < whole.len(), "{there}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    let skip = skip(&stderr);
    // The header is compared before anything is added.
    let named = batch(&from, &to, &["--skip", skip, "--append", "--column", "nome=nome"]);
    let output = client(&peer.address, &named).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(fs::read_to_string(&to).unwrap(), whole);
    fs::write(&to, "nome;status\n").unwrap();
    let output = client(&peer.address, &batch(&from, &to, &["--skip", skip, "--append"])).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("another header"));
    let output = client(&peer.address, &batch(&from, &to, &["--skip", "99", "--append"])).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&to).unwrap(), "nome;status\n");
}

#[test]
fn a_batch_goes_on_after_a_server_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    fs::write(&from, names("gone")).unwrap();
    let (peer, _events) = Peer::start();
    let output = client(&peer.address, &batch(&from, &to, &[])).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("closed the connection"), "{stderr}");
    let skip = skip(&stderr);
    let there = fs::read_to_string(&to).unwrap();
    assert!(answers("gone").starts_with(&there) && there.ends_with('\n'));
    // Again nothing of the rest is answered: OUT stays, and the place to go on from.
    let output = client(&peer.address, &batch(&from, &to, &["--skip", skip, "--append"])).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains(&format!("--skip {skip} --append")));
    assert_eq!(fs::read_to_string(&to).unwrap(), there);
    // From the first line on nothing was answered: no OUT.
    let other = directory.path().join("other.csv");
    fs::write(&from, "nome\ngone 1\n").unwrap();
    let output = client(&peer.address, &batch(&from, &other, &[])).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("no line was answered"));
    assert!(!other.exists());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

/// The client under a system that lets files grow to so many halves of a KiB and no further, as a full disk would.
#[cfg(unix)]
fn limited(peer: &Peer, blocks: u32, args: &[&str]) -> String {
    let mut command = Command::new("sh");
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_client")]).args(args);
    plain(command.env("BALCAO_SERVER", &peer.address));
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    stderr
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_at_the_last_block_leaves_whole_lines_too() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    // All of it is one block.
    let wide = "x".repeat(5000);
    let lines: String = (0..40).map(|n| format!("N {},{wide}\n", n % 3)).collect();
    fs::write(&from, format!("nome,x\n{lines}")).unwrap();
    let (peer, _events) = Peer::start();
    let mut skipped = "0".to_owned();
    let mut bytes = 0;
    for (blocks, options) in [(100, [].as_slice()), (200, &["--append", "--skip"])] {
        let mut args = batch(&from, &to, options);
        if !options.is_empty() {
            args.push(&skipped);
        }
        let stderr = limited(&peer, blocks, &args);
        let there = fs::read_to_string(&to).unwrap();
        assert!(there.ends_with('\n') && there.len() > bytes && there.len() <= 512 * blocks as usize, "{stderr}");
        bytes = there.len();
        skipped = skip(&stderr).to_owned();
    }
    let output = client(&peer.address, &batch(&from, &to, &["--skip", &skipped, "--append"])).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let again = directory.path().join("again.csv");
    client(&peer.address, &batch(&from, &again, &[])).output().unwrap();
    assert!(fs::read(&to).unwrap() == fs::read(&again).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    let wide = "x".repeat(60_000);
    let lines: String = (0..40).map(|n| format!("N {},{wide}\n", n % 3)).collect();
    fs::write(&from, format!("nome,x\n{lines}")).unwrap();
    let (peer, _events) = Peer::start();
    let stderr = limited(&peer, 2048, &batch(&from, &to, &[]));
    let there = fs::read_to_string(&to).unwrap();
    assert!(there.ends_with('\n') && there.len() <= 1 << 20, "{}", there.len());
    assert!(there.len() > (1 << 20) - 3 * 60_100, "{}", there.len());
    let skip = skip(&stderr);
    let output = client(&peer.address, &batch(&from, &to, &["--skip", skip, "--append"])).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let again = directory.path().join("again.csv");
    client(&peer.address, &batch(&from, &again, &[])).output().unwrap();
    assert!(fs::read(&to).unwrap() == fs::read(&again).unwrap());
}
