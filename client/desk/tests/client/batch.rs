//! `batch`: order, what is asked again, statuses and the exit code.

use std::fs;
use std::net::TcpListener;

use crate::peer::{Peer, REFUSED_FIRST, client};

/// How many items each of its requests had.
#[track_caller]
fn check_batch(input: &str, options: &[&str], code: i32, expected: &str) -> Vec<usize> {
    let peer = Peer::start().0;
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    fs::write(&from, input).unwrap();
    let args = [&["batch", from.to_str().unwrap(), "--out", to.to_str().unwrap()], options].concat();
    let output = client(&peer.address, &args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(fs::read_to_string(&to).unwrap(), expected, "{stderr}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    peer.batches.lock().unwrap().clone()
}

/// So many lines that ask for `name`, all of which have a row, or none where it ends with 0.
#[track_caller]
fn check_same(name: &str, lines: usize) -> Vec<usize> {
    let answer = if name.ends_with('0') { format!("{name},none,,\n") } else { format!("{name},ok,0,{name}\n") };
    let expected = format!("nome,status,cpf,nome\n{}", answer.repeat(lines));
    check_batch(&format!("nome\n{}", format!("{name}\n").repeat(lines)), &[], 0, &expected)
}

#[test]
fn a_moment_without_time_does_not_make_requests_small_for_ever() {
    assert_eq!(check_same("faint 0", 15), [5, 2, 3, 5, 5]);
}

#[test]
fn a_request_that_is_refused_whole_is_asked_again() {
    let batches = check_same("full 1", 5);
    assert_eq!(batches, [5; REFUSED_FIRST + 1]);
    assert_eq!(check_same("crowd 1", 5), [5, 2, 3, 1, 2]);
}

#[test]
fn a_batch_keeps_the_order_and_asks_again_what_had_no_room() {
    let names = [
        "N 2",
        "busy 1",
        "N 2",
        "N 1",
        "N 0",
        "N 2",
        "code invalid_name",
        "slow 1",
        "tired 1",
        "tired 2",
        "tired 1",
        "N 1",
        "N 5",
        "stale 5",
        "N 1",
        "",
    ];
    let mut expected = "nome,status,cpf,nome\n".to_owned();
    for name in names {
        let (rows, status) = match name {
            "" | "code invalid_name" => (0, "invalid_name"),
            "N 0" => (0, "none"),
            // Its first page is there, then the generation changes.
            "stale 5" => (2, "stale_cursor"),
            name => (name[name.len() - 1..].parse().unwrap(), ""),
        };
        for n in 0..rows {
            expected.push_str(&format!("{name},ok,{n},{name}\n"));
        }
        if !status.is_empty() {
            expected.push_str(&format!("{name},{status},,\n"));
        }
    }
    // A blank cell needs its quotes: a blank line is no line.
    check_batch(&format!("nome\n{}\n", names.map(|name| format!("\"{name}\"")).join("\n")), &[], 1, &expected);
}

#[test]
fn a_batch_without_errors_is_a_success() {
    check_batch("CPF;x\n1;a\n0;b;\n", &[], 0, "CPF;x;status;cpf;nome\n1;a;ok;0;1\n0;b;none;;\n");
    check_batch("cpf\n", &[], 0, "cpf,status,cpf,nome\n");
}

#[test]
fn bad_lines_do_not_stop_it() {
    let input = "nome,x\nN 1\n\"N 1,2\nN 1,3\nN 1,4,5\n";
    let expected = "nome,x,status,cpf,nome\nN 1,,ok,0,N 1\n\"N 1,2\",,bad_line,,\nN 1,3,ok,0,N 1\nN 1,4,bad_line,,\n";
    check_batch(input, &[], 1, expected);
}

#[test]
fn the_first_of_several_rows_is_told_to_be_one_of_several() {
    let input = "nome\nN 1\nN 7\nN 0\nbounded 2\nbounded 1\nbounded 0\nN 2\nleast 2\nleast 1\nleast 0\n";
    let expected = "nome,status,cpf,nome\nN 1,ok,0,N 1\nN 7,several,0,N 7\nN 0,none,,\nbounded 2,several,0,bounded 2\n\
                    bounded 1,ok,0,bounded 1\nbounded 0,none,,\nN 2,several,0,N 2\nleast 2,several,0,least 2\n\
                    least 1,ok,0,least 1\nleast 0,none,,\n";
    check_batch(input, &["--first"], 0, expected);
    let all = "nome,status,cpf,nome\nbounded 3,ok,0,bounded 3\nbounded 3,ok,1,bounded 3\nbounded 3,ok,2,bounded 3\n";
    check_batch("nome\nbounded 3\n", &["--match", "words"], 0, all);
}

#[test]
fn a_batch_that_fails_leaves_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    fs::write(&from, "nome\nN 1\n").unwrap();
    fs::write(&to, "before").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = ["batch", from.to_str().unwrap(), "--out", to.to_str().unwrap()];
    let output = client(&free, &args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&to).unwrap(), "before");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}
