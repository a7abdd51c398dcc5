//! The client's side of the protocol: questions to write and replies to read, as plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits::{DEADLINE_MS_DEFAULT, QUESTION_WORDS_MAX};

/// A question, ready to be written as a line. What is `None` is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Question<'a> {
    /// Echoed in the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The operation; none for a lookup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<&'a str>,
    /// A CPF, as the user wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpf: Option<&'a str>,
    /// A name, as the user wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nome: Option<&'a str>,
    /// How the name is compared.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub r#match: Option<&'a str>,
    /// Whether the last word of the name may be a beginning: `prefix` or `whole`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<&'a str>,
    /// `pt` where spellings that are read alike count as equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spelling: Option<&'a str>,
    /// What the rows are filtered by: an object by the names of columns.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub r#where: Option<&'a Value>,
    /// A birth day to verify, as the user wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nasc: Option<&'a str>,
    /// Milliseconds that the answer is waited for, 1 to 60,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u32>,
    /// Rows of a page, 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Where the page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'a str>,
    /// The questions of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<&'a [Question<'a>]>,
}

/// A reply of any kind but `hello`'s; the members that its kind does not have are `None`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Reply {
    /// The request's `id`.
    pub id: Option<Value>,
    /// `ok` or `error`.
    pub status: String,
    /// The rows: columns in the table's order.
    pub rows: Option<Vec<Map<String, Value>>>,
    /// Rows of all pages.
    pub total: Option<u64>,
    /// In place of `total`: so many rows are known of.
    pub total_at_least: Option<u64>,
    /// For `fuzzy`: the sum of the distances of each row.
    pub distances: Option<Vec<u8>>,
    /// Whether the page ended because it had cost enough; there may be more rows behind it.
    #[serde(default)]
    pub bounded: bool,
    /// The cursor of the following page.
    pub next: Option<String>,
    /// `check_digits` where the CPF's do not hold.
    pub warning: Option<String>,
    /// The error's code.
    pub code: Option<String>,
    /// The error in words.
    pub message: Option<String>,
    /// Milliseconds after which to ask again.
    pub retry_after_ms: Option<u64>,
    /// The replies of a batch.
    pub results: Option<Vec<Reply>>,
    /// Of `verify`: whether there is a row with the CPF.
    pub cpf: Option<bool>,
    /// Of `verify`: how far the name agrees, `exact`, `words`, `fuzzy` or `no`.
    pub nome: Option<String>,
    /// Of `verify`: whether the birth day agrees.
    pub nasc: Option<bool>,
}

impl Reply {
    /// Whether the reply is no error.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// The answer to `hello`. Its `rows` is a count, so that it is read as a type of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Hello {
    /// Version of the protocol.
    pub protocol: u32,
    /// Name and version of the server.
    pub server: String,
    /// What is served.
    pub generation: String,
    /// Rows of the table when it was indexed.
    pub rows: u64,
    /// The table's columns, in their order.
    pub columns: Vec<String>,
    /// The values of `match` that are answered; empty where the server is of before they were told.
    #[serde(default)]
    pub matches: Vec<String>,
    /// What is filtered by, `sex` or `birth`, and the name of the column in `where`.
    #[serde(default)]
    pub filters: BTreeMap<String, String>,
    /// The limits that a client keeps to.
    pub limits: Limits,
}

/// The limits that `hello` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// Bytes of a request line before its `\n`.
    pub line_bytes: usize,
    /// Rows of a page.
    pub limit_max: usize,
    /// Items of a batch.
    pub batch_items: usize,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Requests of one connection that wait for an answer.
    pub in_flight: usize,
    /// Distinct words of a name that is asked for by `words` or `fuzzy`.
    #[serde(default = "question_words")]
    pub question_words: usize,
    /// Milliseconds after which a question without `deadline_ms` is given up.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u32,
}

/// What a server of before this limit was told keeps to.
fn question_words() -> usize {
    QUESTION_WORDS_MAX
}

fn deadline_ms() -> u32 {
    DEADLINE_MS_DEFAULT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::{Key, Last, Match, Spelling, Test};
    use crate::request::{Operation, decode};

    /// What the client writes is what the server reads.
    #[test]
    fn questions_are_understood() {
        let filters = serde_json::json!({"sexo": "F", "nasc": {"from": "1980-01-01"}});
        let question = Question {
            id: Some(1),
            nome: Some("ana"),
            r#match: Some("fuzzy"),
            last: Some("whole"),
            spelling: Some("pt"),
            r#where: Some(&filters),
            deadline_ms: Some(500),
            ..Question::default()
        };
        let request = decode(&serde_json::to_vec(&question).unwrap());
        assert_eq!(request.deadline_ms, Some(500));
        let Ok(Operation::Lookup(lookup)) = request.operation else { panic!("a lookup") };
        let Key::Name { r#match, name } = &lookup.key else { panic!("a name") };
        let expected = Match::Fuzzy { last: Last::Whole, spelling: Spelling::Portuguese };
        assert_eq!((*r#match, &**name), (expected, "ANA"));
        let columns: Vec<_> = lookup.filters.iter().map(|filter| &*filter.column).collect();
        assert_eq!(columns, ["nasc", "sexo"]);
        assert_eq!(lookup.filters[1].test, Test::Text("F".into()));
        let question = Question {
            op: Some("verify"),
            cpf: Some("191"),
            nome: Some("ana"),
            nasc: Some("1980-01-31"),
            ..Question::default()
        };
        let Ok(Operation::Verify(claim)) = decode(&serde_json::to_vec(&question).unwrap()).operation else {
            panic!("a claim")
        };
        assert!(claim.name.is_some() && claim.birth.is_some());
        assert_eq!(serde_json::to_string(&Question::default()).unwrap(), "{}");
    }

    #[test]
    fn replies_to_searches_and_claims() {
        let reply: Reply = serde_json::from_str(
            r#"{"id":1,"status":"ok","rows":[{}],"total_at_least":7,"next":"a","distances":[3],"bounded":true}"#,
        )
        .unwrap();
        assert_eq!((reply.total, reply.total_at_least, reply.bounded), (None, Some(7), true));
        assert_eq!(reply.distances, Some(vec![3]));
        let reply: Reply = serde_json::from_str(r#"{"status":"ok","cpf":true,"nome":"words","nasc":false}"#).unwrap();
        assert_eq!((reply.cpf, reply.nome.as_deref(), reply.nasc), (Some(true), Some("words"), Some(false)));
        assert!(!reply.bounded);
        // A row's own columns of these names are not the reply's.
        let reply: Reply =
            serde_json::from_str(r#"{"status":"ok","rows":[{"cpf":"1","nome":null,"nasc":2}],"total":1}"#).unwrap();
        assert_eq!((reply.cpf, reply.nome, reply.nasc), (None, None, None));
    }

    /// A server of before searches tells nothing of them, and keeps to no less than we do.
    #[test]
    fn greetings_of_before() {
        let hello: Hello = serde_json::from_str(
            r#"{"protocol":1,"server":"balcao/0.1.0","generation":"g","rows":1,"columns":["cpf"],
            "limits":{"line_bytes":65536,"limit_max":1000,"batch_items":1000,"batch_rows":10000,"in_flight":64}}"#,
        )
        .unwrap();
        assert!(hello.matches.is_empty() && hello.filters.is_empty());
        assert_eq!((hello.limits.question_words, hello.limits.deadline_ms), (16, 2000));
    }
}
