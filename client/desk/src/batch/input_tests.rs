//! Lines as spreadsheets write them, and what they ask.

use std::io::Write;

use balcao_client::Name;

use super::*;

const LIMITS: Limits = Limits {
    line_bytes: 240,
    limit_max: 1000,
    batch_items: 3,
    batch_rows: 10,
    in_flight: 4,
    question_words: 16,
    deadline_ms: 2000,
};

fn open(text: &[u8], named: &[&str]) -> Result<Input> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    let named: Vec<Column> = named.iter().map(|column| column.parse().unwrap()).collect();
    Input::open(file, &named)
}

fn pattern() -> Question<'static> {
    Question { r#match: Some(Name::Exact.as_str()), ..Question::default() }
}

/// The groups of a file: what each line asks, as `cpf VALUE`, `nome VALUE` or its status, and its cells as OUT has them.
fn groups(input: &mut Input) -> Vec<Vec<(String, String)>> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    while input.group(&mut group, &LIMITS, usize::MAX, &pattern()).unwrap() {
        let line = |line: usize| {
            let asks = match group.question(line, &pattern()) {
                Some(Question { cpf: Some(cpf), r#match: None, .. }) => format!("cpf {cpf}"),
                Some(question) => format!("nome {}", question.nome.unwrap()),
                None => group.settled(line).unwrap().to_owned(),
            };
            (asks, String::from_utf8(group.cells(line).to_vec()).unwrap())
        };
        groups.push((0..group.len()).map(line).collect());
    }
    groups
}

#[track_caller]
fn check(text: &[u8], named: &[&str], expected: &[&str]) {
    let mut input = open(text, named).unwrap();
    let asks: Vec<String> = groups(&mut input).concat().into_iter().map(|(asks, _)| asks).collect();
    assert_eq!(asks, expected, "{}", String::from_utf8_lossy(text));
}

#[test]
fn lines_ask_by_cpf_first_and_by_name_else() {
    check(b"cpf\n1\n\n  \n2\n", &[], &["cpf 1", "invalid_cpf", "cpf 2"]);
    check(b"\xef\xbb\xbfNome ,x\r\nANA,1\r\n,2\r\n", &[], &["nome ANA", "invalid_name"]);
    check("x;NÓME;Cpf\na;ANA;1\na;ANA; \na;;\na\n".as_bytes(), &[], &["cpf 1", "nome ANA", "invalid_cpf", "bad_line"]);
    check(b"nome\tcpf\n\"A\tB\"\t\n", &[], &["nome A\tB"]);
    check(b"cpf|nome\r1|\r|ANA\r", &[], &["cpf 1", "nome ANA"]);
    check(b"cpf\n", &[], &[]);
}

#[test]
fn columns_can_be_named() {
    let text = b"Documento;Cliente;cpf;nome\n191;ANA;9;X\n;BIA;9;X\n";
    check(text, &[], &["cpf 9", "cpf 9"]);
    check(text, &["documento"], &["cpf 191", "invalid_cpf"]);
    check(text, &["CLIENTE"], &["nome ANA", "nome BIA"]);
    check(text, &["cliente", "Documento"], &["cpf 191", "nome BIA"]);
    check(text, &["nome=documento"], &["nome 191", "invalid_name"]);
    check(text, &["cpf=nome", "nome=Cliente"], &["cpf X", "cpf X"]);
    // By its first cells that are not blank.
    check(b"a;b\n;1\n;ANA\n;BIA\n", &["b"], &["nome 1", "nome ANA", "nome BIA"]);
}

#[test]
fn numbers_as_spreadsheets_write_them() {
    let text = b"cpf;x\n=\"00000000191\";1\n\"=\"\"00000000191\"\"\";1\n'191;1\n191;1\n1,23457E+10;1\n";
    let mut input = open(text, &[]).unwrap();
    let lines = groups(&mut input).concat();
    let expected = [
        ("cpf 00000000191", "\"=\"\"00000000191\"\"\";1;"),
        ("cpf 00000000191", "\"=\"\"00000000191\"\"\";1;"),
        ("cpf 191", "'191;1;"),
        ("cpf 191", "191;1;"),
        ("invalid_cpf", "1,23457E+10;1;"),
    ];
    assert_eq!(lines, expected.map(|(asks, cells)| (asks.to_owned(), cells.to_owned())));
    assert!(input.remark().unwrap().starts_with("1 CPFs are in scientific notation"));
}

#[test]
fn bad_lines_keep_what_can_be_kept() {
    let text = ["nome,x\n".as_bytes(), b"JOS\xc9,1\nANA,1,2\nANA,1,\n\"ANA,1\nBIA\nCAIO,1\n"].concat();
    let text = ["É,É\n".repeat(0).as_bytes(), &text, "JOÃO,É\nÁLVARO,É\n".as_bytes()].concat();
    let mut input = open(&text, &[]).unwrap();
    let lines = groups(&mut input).concat();
    let expected = [
        ("bad_line", "JOS\u{fffd},1,"),
        ("bad_line", "ANA,1,"),
        ("nome ANA", "ANA,1,"),
        ("bad_line", "\"ANA,1\",,"),
        // A blank cell at the end may be left out.
        ("nome BIA", "BIA,,"),
        ("nome CAIO", "CAIO,1,"),
        ("nome JOÃO", "JOÃO,É,"),
        ("nome ÁLVARO", "ÁLVARO,É,"),
    ];
    assert_eq!(lines, expected.map(|(asks, cells)| (asks.to_owned(), cells.to_owned())));
}

#[test]
fn windows_1252_becomes_utf_8() {
    let mut input = open(b"nome;cidade\r\nJOS\xc9;S\xe3o Paulo\r\n", &[]).unwrap();
    assert_eq!(groups(&mut input).concat(), [("nome JOSÉ".to_owned(), "JOSÉ;São Paulo;".to_owned())]);
    assert!(!input.has_bom());
}

#[test]
fn groups_keep_to_items_and_to_bytes() {
    let sizes = |text: &str| {
        let mut input = open(text.as_bytes(), &[]).unwrap();
        groups(&mut input).iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(sizes("cpf\n1\n2\n3\n4\n"), [3, 1]);
    let (long, overlong) = ("\"".repeat(40), "x".repeat(240));
    let doubled = long.replace('"', "\"\"");
    let text = format!("nome\n\"{doubled}\"\n\"{doubled}\"\n{overlong}\nA\n");
    assert_eq!(sizes(&text), [1, 3]);
    let mut input = open(text.as_bytes(), &[]).unwrap();
    assert_eq!(groups(&mut input)[1][1].0, "line_too_long");
    let wide = "x".repeat(GROUP_BYTES_MAX / 2);
    assert_eq!(sizes(&format!("cpf,x\n1,{wide}\n2,{wide}\n3,\n")), [2, 1]);
}

#[test]
fn lines_can_be_passed_over() {
    let mut input = open(b"cpf\n1\n\n\"2\n3\n4\n", &[]).unwrap();
    assert!(input.skip(2).unwrap());
    let asks: Vec<_> = groups(&mut input).concat().into_iter().map(|(asks, _)| asks).collect();
    assert_eq!(asks, ["cpf 3", "cpf 4"]);
    assert!(!input.skip(1).unwrap());
}

#[test]
fn headers_that_do_not_do() {
    for (text, named, advice) in [
        (b"name\n1\n".as_slice(), [].as_slice(), "neither"),
        (b"", &[], "empty"),
        (b"cpf,CPF\n1,2\n", &[], "twice"),
        (b"a,b\n1,2\n", &["c"], "no column \"c\""),
        (b"a,b\n1,2\n", &["a", "b"], "named for the same"),
        (b"cpf,\xff\n1,2\n\xc3\x89\n\xc3\x89\n", &[], "no text"),
        (b"CPF/CNPJ\n1\n", &[], "neither"),
    ] {
        let error = format!("{:#}", open(text, named).err().unwrap());
        assert!(error.contains(advice), "{error}");
    }
}
