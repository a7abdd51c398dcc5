//! The Python server: a thread for each connection over the standard library's sqlite3, as course work is usually written.
//!
//! Its source is `benches/compare/server.py`; it runs under Debian's Python, over an indexed copy of the registry.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use anyhow::Context as _;

use crate::processes::{self, Guard};

/// The whole server.
const SERVER: &str = include_str!("../../../compare/server.py");

const PROGRAMS: [&str; 2] = ["/usr/bin/python3", "/usr/local/bin/python3"];

/// A running Python server.
#[derive(Debug)]
pub(crate) struct Python {
    guard: Guard,
    /// Held open: what it prints must go somewhere.
    _stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Python {
    /// Starts one over the table `cpf` of `db`, which has an index on the column `cpf`.
    pub(crate) fn start(db: &Path) -> anyhow::Result<Self> {
        let mut command = program()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).arg("-c").arg(SERVER).arg(db);
        let mut guard = Guard::spawn(command)?;
        let mut stdout = BufReader::new(guard.stdout().context("the Python server has no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line).context("cannot read what the Python server prints")?;
        match line.strip_prefix("ready ").and_then(|rest| rest.trim_end().parse().ok()) {
            Some(address) => Ok(Self { guard, _stdout: stdout, address }),
            None => Err(guard.failure("it did not say that it is ready")),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.guard.pid()
    }
}

/// A command that starts Debian's Python.
pub(crate) fn program() -> anyhow::Result<Command> {
    Ok(Command::new(super::program(&PROGRAMS)?))
}

/// What it calls itself, and its SQLite: `Python 3.11.2, SQLite 3.40.1`.
pub(crate) fn version() -> anyhow::Result<String> {
    let mut command = program()?;
    command.arg("-c").arg(
        "import platform, sqlite3; print(f'Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}', end='')",
    );
    processes::output(command)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use serde_json::json;

    use super::*;
    use crate::processes::ask;

    #[test]
    fn it_answers_in_our_shape() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sql = "CREATE TABLE cpf(cpf TEXT, nome TEXT);
            INSERT INTO cpf VALUES ('00000000191', 'A \"B\"'), ('00000000272', CAST(X'41C3' AS TEXT)), ('00000000191', NULL);
            CREATE INDEX by_cpf ON cpf(cpf)";
        Connection::open(file.path()).unwrap().execute_batch(sql).unwrap();
        let python = Python::start(file.path()).unwrap();
        let reply = ask(python.address, r#"{"id":7,"cpf":"00000000191"}"#).unwrap();
        let rows = json!([{"cpf": "00000000191", "nome": "A \"B\""}, {"cpf": "00000000191", "nome": null}]);
        assert_eq!(reply, json!({"id": 7, "status": "ok", "rows": rows, "total": 2, "next": null}));
        let reply = ask(python.address, r#"{"id":8,"cpf":"00000000272"}"#).unwrap();
        assert_eq!(reply["rows"][0]["nome"], "A\u{fffd}");
        assert_eq!(ask(python.address, r#"{"id":9,"cpf":"1"}"#).unwrap()["rows"], json!([]));
        assert_eq!(ask(python.address, r#"{"id":9,"nome":"A"}"#).unwrap()["status"], "error");
    }
}
