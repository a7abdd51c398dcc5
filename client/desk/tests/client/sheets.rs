//! `batch` over files as spreadsheets write them: byte for byte what goes in and what comes out.

use std::fs;

use crate::peer::{Peer, client};

#[track_caller]
fn check(input: &[u8], options: &[&str], expected: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
    fs::write(&from, input).unwrap();
    let args = [&["batch", from.to_str().unwrap(), "--out", to.to_str().unwrap()], options].concat();
    let output = client(&Peer::start().0.address, &args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let out = fs::read(&to).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected), "{stderr}");
    assert_eq!(out, expected);
}

fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(to_bytes).collect()
}

#[test]
fn every_separator_stays() {
    for separator in [",", ";", "\t", "|"] {
        let with = |text: &str| text.replace('~', separator).into_bytes();
        check(&with("x~CPF\na~1\nb~0\n"), &[], &with("x~CPF~status~cpf~nome\na~1~ok~0~1\nb~0~none~~\n"));
    }
}

#[test]
fn every_encoding_comes_out_as_utf_8() {
    let text = "nome;cidade\r\nJOSÉ 1;São Paulo\r\n";
    let expected = "nome;cidade;status;cpf;nome\nJOSÉ 1;São Paulo;ok;0;JOSÉ 1\n";
    let marked = format!("\u{feff}{expected}");
    check(text.as_bytes(), &[], expected.as_bytes());
    check(format!("\u{feff}{text}").as_bytes(), &[], marked.as_bytes());
    check(b"nome;cidade\r\nJOS\xc9 1;S\xe3o Paulo\r\n", &[], expected.as_bytes());
    check(&utf16(text, u16::to_le_bytes), &[], marked.as_bytes());
    check(&utf16(text, u16::to_be_bytes), &[], marked.as_bytes());
}

#[test]
fn every_line_end_is_one() {
    for end in ["\n", "\r\n", "\r"] {
        let input = ["x,cpf", "\"a\"\"b, c\",1", "d,2"].map(|line| format!("{line}{end}")).concat();
        let expected = "x,cpf,status,cpf,nome\n\"a\"\"b, c\",1,ok,0,1\nd,2,ok,0,2\nd,2,ok,1,2\n";
        check(input.as_bytes(), &[], expected.as_bytes());
        // Without the last one.
        check(input.trim_end().as_bytes(), &[], expected.as_bytes());
    }
}

#[test]
fn numbers_of_spreadsheets_are_read() {
    let input = "cpf;x\n=\"001\";a\n\"=\"\"001\"\"\";b\n 1 ;c\n1,23457E+10;d\n";
    let expected = "cpf;x;status;cpf;nome\n\"=\"\"001\"\"\";a;ok;0;001\n\"=\"\"001\"\"\";b;ok;0;001\n 1 ;c;ok;0;1\n1,23457E+10;d;invalid_cpf;;\n";
    check(input.as_bytes(), &[], expected.as_bytes());
}

#[test]
fn a_late_byte_that_is_no_text_is_a_bad_line() {
    let input = ["nome\nJOSÉ 1\nJOÃO 1\n".as_bytes(), b"JOS\xc9 1\nANA 1\n"].concat();
    let expected =
        "nome,status,cpf,nome\nJOSÉ 1,ok,0,JOSÉ 1\nJOÃO 1,ok,0,JOÃO 1\nJOS\u{fffd} 1,bad_line,,\nANA 1,ok,0,ANA 1\n";
    check(&input, &[], expected.as_bytes());
}

#[test]
fn columns_are_named_and_doubled_names_stay() {
    let input = "Documento;Cliente;x;x\n1;ANA 1;a;b\n;BIA 1;a;b\n";
    let header = "Documento;Cliente;x;x;status;cpf;nome\n";
    let both = format!("{header}1;ANA 1;a;b;ok;0;1\n;BIA 1;a;b;ok;0;BIA 1\n");
    check(input.as_bytes(), &["--column", "cpf=documento", "--column", "nome=cliente"], both.as_bytes());
    check(input.as_bytes(), &["--column", "Cliente", "--column", "Documento"], both.as_bytes());
    let names = format!("{header}1;ANA 1;a;b;ok;0;ANA 1\n;BIA 1;a;b;ok;0;BIA 1\n");
    check(input.as_bytes(), &["--column", "Cliente"], names.as_bytes());
}

#[test]
fn formulas_stay_what_they_are() {
    let input = "nome,x\n+1+1 1,=HYPERLINK(1)\n";
    check(input.as_bytes(), &[], b"nome,x,status,cpf,nome\n+1+1 1,=HYPERLINK(1),ok,0,+1+1 1\n");
}
