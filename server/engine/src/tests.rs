//! Tests of the engine: a registry in a folder, its index, and one `check` of a question line against the reply it must have.

mod batches;
mod cluster;
mod damage;
mod order;
mod pager;
mod pages;
mod paging;
mod searches;
mod stale;
mod tables;
mod values;

use std::path::PathBuf;

use balcao_indexer::{BuildPlan, MEMORY_MIN, SearchPlan, Silent, build};
use balcao_registry::TableName;
use balcao_wire::decode;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::{OpenError, Snapshot};

/// The table as registries have it.
const TABLE: &str = "CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);";

/// More pages behind those of the rows: SQLite reads a file's last page through its own cache, where a change from outside shows late.
const PADDING: &str = "CREATE TABLE padding(x); INSERT INTO padding VALUES (zeroblob(20000));";

/// A database, its index, and the snapshot of both.
struct Desk {
    folder: TempDir,
    table: TableName,
    snapshot: Snapshot,
}

impl Desk {
    /// The database that this SQL makes, asked for its table `cpf` with `cpf` and `nome`.
    fn of(sql: &str) -> Self {
        Self::with(sql, "cpf", "cpf", "nome")
    }

    fn with(sql: &str, table: &str, cpf_column: &str, name_column: &str) -> Self {
        Self::built(
            sql,
            TableName { table: table.into(), cpf_column: cpf_column.into(), name_column: name_column.into() },
            |_| {},
        )
    }

    /// Built with other wishes.
    fn built(sql: &str, table: TableName, wish: impl FnOnce(&mut BuildPlan)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("basecpf.db");
        Connection::open(&db).unwrap().execute_batch(sql).unwrap();
        let mut plan = plan(db.clone(), folder.path().join("index"), table);
        plan.shards = 3.try_into().ok();
        wish(&mut plan);
        build(&plan, &Silent).unwrap();
        let snapshot = Snapshot::open(&db, &plan.index).unwrap();
        Self { folder, table: plan.table, snapshot }
    }

    fn db(&self) -> PathBuf {
        self.folder.path().join("basecpf.db")
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    /// Changes the database behind the snapshot's back.
    fn write(&self, sql: &str) {
        Connection::open(self.db()).unwrap().execute_batch(sql).unwrap();
    }

    /// Builds another generation and serves it.
    fn rebuild(&mut self) {
        build(&plan(self.db(), self.index(), self.table.clone()), &Silent).unwrap();
        self.snapshot = self.reopen().unwrap();
    }

    fn reopen(&self) -> Result<Snapshot, OpenError> {
        Snapshot::open(&self.db(), &self.index())
    }

    /// The reply to a line.
    #[track_caller]
    fn ask(&self, line: &str) -> Value {
        ask(&self.snapshot, line)
    }

    /// Asks a line and compares the whole reply, members in their order. Messages are left out, and a cursor is the word `more`.
    #[track_caller]
    fn check(&self, line: &str, expected: &str) {
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(plain(self.ask(line)).to_string(), expected.to_string(), "{line}");
    }

    /// Asks a line and compares the values of the replied rows' first column, and the total.
    #[track_caller]
    fn check_rows(&self, line: &str, expected: &[&str], total: u64) {
        let reply = self.ask(line);
        let rows = reply["rows"].as_array().unwrap_or_else(|| panic!("{line}: {reply}"));
        let first = |row: &Value| row.as_object().unwrap().values().next().unwrap().to_string().replace('"', "");
        let found: Vec<String> = rows.iter().map(first).collect();
        assert_eq!(
            (found, &reply["total"]),
            (expected.iter().map(ToString::to_string).collect(), &total.into()),
            "{line}"
        );
    }
}

fn plan(db: PathBuf, index: PathBuf, table: TableName) -> BuildPlan {
    BuildPlan { db, index, table, shards: None, memory: MEMORY_MIN, cluster: false, search: SearchPlan::default() }
}

/// Whether this process runs nothing but `test`. Where it runs others beside, the test is run in a process of its own, and must pass there: a fault of a map
/// anywhere withdraws every snapshot that is open.
#[track_caller]
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "BALCAO_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut own = std::process::Command::new(std::env::current_exe().unwrap());
    let output = own.args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// The reply to a line, appended to what stood before.
#[track_caller]
fn ask(snapshot: &Snapshot, line: &str) -> Value {
    let mut out = b"what stood before".to_vec();
    let answer = snapshot.answer(&decode(line.as_bytes()), &mut out);
    let reply = String::from_utf8(out).unwrap();
    let reply = reply.strip_prefix("what stood before").unwrap();
    assert!(!reply.contains('\n'), "{reply}");
    let reply: Value = serde_json::from_str(reply).unwrap();
    assert_eq!(answer.err().map(balcao_wire::Code::as_str), reply["code"].as_str());
    reply
}

/// A reply without what no test should pin down.
fn plain(mut reply: Value) -> Value {
    if let Some(members) = reply.as_object_mut() {
        if let Some(message) = members.shift_remove("message") {
            assert!(message.as_str().is_some_and(|message| !message.is_empty()), "an error says why");
        }
        if let Some(next @ Value::String(_)) = members.get_mut("next") {
            *next = "more".into();
        }
        if let Some(Value::Array(results)) = members.get_mut("results") {
            results.iter_mut().for_each(|result| *result = plain(result.take()));
        }
    }
    reply
}

/// Eleven digits on a base, the check digits by the official rule.
fn cpf(base: u32) -> String {
    let mut digits: Vec<u32> = format!("{base:09}").bytes().map(|byte| u32::from(byte - b'0')).collect();
    for _ in 0..2 {
        let sum: u32 = digits.iter().rev().zip(2..).map(|(digit, weight)| digit * weight).sum();
        digits.push(sum * 10 % 11 % 10);
    }
    digits.iter().map(ToString::to_string).collect()
}
