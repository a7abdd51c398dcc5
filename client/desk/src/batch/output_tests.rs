//! OUT under all ends of a run: whole, broken off, gone on with.

use super::*;

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

fn begin(out: &Path) -> Output {
    Output::create(out, b';', b"a;status;x\n").unwrap()
}

fn line(output: &mut Output, cell: &str) {
    output.row(format!("{cell};").as_bytes(), "ok", ["1"].into_iter()).unwrap();
}

#[test]
fn the_header_is_quoted_and_marked() {
    let columns = ["cpf".to_owned(), "n\"".to_owned()];
    let cells = || [b"a;b".as_slice(), b"nome"].into_iter();
    assert_eq!(header(false, b';', cells(), &columns), b"\"a;b\";nome;status;cpf;\"n\"\"\"\n");
    assert!(header(true, b',', cells(), &columns).starts_with(b"\xef\xbb\xbfa;b,nome"));
}

#[test]
fn what_was_there_stays_until_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.csv");
    fs::write(&out, "before").unwrap();
    let mut output = begin(&out);
    line(&mut output, "1");
    drop(output);
    assert_eq!((fs::read(&out).unwrap().as_slice(), files(directory.path())), (b"before".as_slice(), 1));
    // Nothing was settled.
    let mut output = begin(&out);
    line(&mut output, "1");
    assert_eq!(output.break_off().unwrap(), 0);
    assert_eq!((fs::read(&out).unwrap().as_slice(), files(directory.path())), (b"before".as_slice(), 1));
    let mut output = begin(&out);
    output.status(b"\"1;\";", "none", 1).unwrap();
    output.settle();
    output.publish().unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), "a;status;x\n\"1;\";none;\n");
    assert_eq!(files(directory.path()), 1);
}

#[test]
fn a_run_that_breaks_off_keeps_whole_lines_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.csv");
    let mut output = begin(&out);
    for settled in ["1", "2"] {
        line(&mut output, settled);
        line(&mut output, settled);
        output.settle();
    }
    line(&mut output, "3");
    assert_eq!(output.break_off().unwrap(), 2);
    let two = "a;status;x\n1;ok;1\n1;ok;1\n2;ok;1\n2;ok;1\n";
    assert_eq!(fs::read_to_string(&out).unwrap(), two);
    let mut output = Output::append(&out, b';', b"a;status;x\n").unwrap();
    line(&mut output, "3");
    assert_eq!(output.break_off().unwrap(), 0);
    assert_eq!(fs::read_to_string(&out).unwrap(), two);
    let mut output = Output::append(&out, b';', b"a;status;x\n").unwrap();
    line(&mut output, "3");
    output.settle();
    output.publish().unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("{two}3;ok;1\n"));
    assert_eq!(files(directory.path()), 1);
}

#[test]
fn a_line_of_many_blocks_is_cut_away_too() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.csv");
    let mut output = begin(&out);
    line(&mut output, "1");
    output.settle();
    let wide = "x".repeat(BLOCK_BYTES / 2);
    for _ in 0..5 {
        line(&mut output, &wide);
    }
    assert!(output.written > 2 * BLOCK_BYTES as u64);
    assert_eq!(output.break_off().unwrap(), 1);
    assert_eq!(fs::read_to_string(&out).unwrap(), "a;status;x\n1;ok;1\n");
    // Whole lines in every block.
    let mut output = begin(&out);
    for _ in 0..5 {
        line(&mut output, &wide);
        output.settle();
    }
    line(&mut output, "y");
    assert_eq!(output.break_off().unwrap(), 5);
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 6);
}

#[test]
fn what_cannot_be_gone_on_with_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.csv");
    for (there, advice) in [
        (None, "name the OUT"),
        (Some(""), "another header"),
        (Some("a;status\n"), "another header"),
        (Some("a;status;x\n1;ok"), "half a line"),
    ] {
        if let Some(there) = there {
            fs::write(&out, there).unwrap();
        }
        let error = format!("{:#}", Output::append(&out, b';', b"a;status;x\n").err().unwrap());
        assert!(error.contains(advice), "{error}");
    }
}

#[test]
fn places_that_do_not_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("in.csv");
    fs::write(&file, "cpf\n").unwrap();
    assert!(check(&file, directory.path()).is_err());
    assert!(check(&file, &directory.path().join("../").join(directory.path()).join("in.csv")).is_err());
    assert!(check(&file, &directory.path().join("out.csv")).is_ok());
    assert!(Output::create(&directory.path().join("no/out.csv"), b',', b"").is_err());
}

#[test]
fn a_place_that_is_taken_meanwhile_costs_no_answers() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out.csv");
    let mut output = begin(&out);
    line(&mut output, "1");
    output.settle();
    fs::create_dir(&out).unwrap();
    output.publish().unwrap_err();
    let error = format!("{:#}", output.break_off().unwrap_err());
    assert!(error.contains("the answers stay in"), "{error}");
    let kept = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(kept.collect::<Vec<_>>(), ["a;status;x\n1;ok;1\n"]);
}
