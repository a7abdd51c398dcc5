//! What the log must not say: no CPF and no name, neither asked nor found, whatever goes wrong.

use rustix::process::Signal;

use crate::peer::code;
use crate::process::Server;
use crate::registry::{PADDING, Registry};

/// People that nothing else is called like.
const PEOPLE: &str = "CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);
    INSERT INTO cpf VALUES ('11144477735', 'ZULMIRA SEGREDO', 'F', '19111111'),
        ('52998224725', 'XERXES SIGILO', 'M', '19222222'), ('52998224725', 'XERXES SIGILO II', 'M', '19222222');";

/// What was asked, found or written anywhere in the questions below, as a log might spell it.
const SECRETS: [&str; 14] = [
    "zulmira",
    "segredo",
    "xerxes",
    "sigilo",
    "quirino",
    "11144477735",
    "111.444",
    "1114447",
    "52998224725",
    "529.982",
    "99988877766",
    "1911111",
    "1922222",
    "eavesdrop",
];

fn questions(prefix: &str) -> Vec<String> {
    let mut questions: Vec<String> = [
        r#"{"id":"eavesdrop","cpf":"111.444.777-35"}"#,
        r#"{"cpf":11144477735}"#,
        r#"{"nome":"Zulmira Segredo","match":"exact"}"#,
        r#"{"nome":"XERXES","limit":1}"#,
        r#"{"nome":"XERXES","limit":1000}"#,
        r#"{"cpf":"99988877766"}"#,
        r#"{"cpf":"111444777350000"}"#,
        r#"{"cpf":"1114447773Z"}"#,
        r#"{"nome":"QUIRINO","match":"eavesdrop"}"#,
        r#"{"nome":["QUIRINO"]}"#,
        r#"{"op":"eavesdrop"}"#,
        r#"{"nome":"QUIRINO","cursor":"eavesdrop"}"#,
        r#"{"nome":"QUIRINO","nome":"QUIRINO"}"#,
        r#"{"nome":"QUIRINO""#,
        r#"{"op":"batch","items":[{"cpf":"11144477735"},{"nome":"xerxes sigilo"},{"nome":"QUIRINO","op":"eavesdrop"}]}"#,
    ]
    .map(str::to_owned)
    .into();
    questions.push(format!(r#"{{"op":"{prefix}","x":"QUIRINO{}"}}"#, "11144477735".repeat(7000)));
    questions
}

#[test]
fn no_person_is_in_the_log() {
    for format in ["text", "json"] {
        let registry = Registry::of(&format!("{PEOPLE}{PADDING}"));
        let server = Server::start(&registry, &["--log-level", "debug", "--log-format", format]);
        let mut codes = Vec::new();
        let mut ask_all = || {
            let mut peer = server.peer();
            codes.extend(questions("eavesdrop").iter().map(|question| code(&peer.ask(question)).to_owned()));
            // The last one was too long.
            peer.assert_ended();
        };
        ask_all();
        // Every row changes behind the server's back: the other person's, and then gone.
        registry.write("UPDATE cpf SET cpf = '52998224725', nome = 'XERXES QUIRINO' WHERE rowid = 1");
        ask_all();
        registry.write("DELETE FROM cpf");
        ask_all();
        for expected in ["", "unavailable", "invalid_cpf", "bad_request", "bad_json", "line_too_long"] {
            assert!(codes.iter().any(|code| code == expected), "{expected} never came: {codes:?}");
        }
        let mut half = server.peer();
        half.send(r#"{"nome":"QUIRINO"#);
        let (ended, _) = server.stop(Signal::TERM);
        let log = ended.log.to_lowercase();
        for secret in SECRETS {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
        // It is a log all the same: it tells what was wrong, and who came.
        assert!(log.contains("unavailable") && log.contains("127.0.0.1:"), "{log}");
        if format == "json" {
            for line in log.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}
