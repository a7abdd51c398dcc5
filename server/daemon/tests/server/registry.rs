//! `Registry`: a database and its index in a folder of their own, gone with the last test that uses them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use balcao_datasets::{Plan, Recipe, write_registry};
use balcao_indexer::{BuildPlan, MEMORY_MIN, SearchPlan, Silent, build};
use balcao_registry::TableName;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Rows of the shared registry: enough that one letter has more than a page of the greatest length.
const ROWS: u64 = 12_000;

/// Three people whose replies can be written down.
pub(crate) const SMALL: &str = "CREATE TABLE cpf(cpf TEXT, nome TEXT, sexo TEXT, nasc TEXT);
    INSERT INTO cpf VALUES ('12345678909', 'MARIA DA SILVA', 'F', '19800101'),
        ('52998224725', 'JOSÉ DE SOUZA', 'M', '19751231'), ('00000000191', 'MARIANA LIMA', 'F', '20000229');";

/// More pages behind those of the rows: SQLite reads a file's last page through its own cache, where a change from outside shows late.
pub(crate) const PADDING: &str = "CREATE TABLE padding(x); INSERT INTO padding VALUES (zeroblob(20000));";

/// A registry and its index.
pub(crate) struct Registry {
    folder: TempDir,
}

impl Registry {
    /// The registry that most tests ask: seeded, clean, made once while anybody uses it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Registry>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let registry = Self { folder: tempfile::tempdir().unwrap() };
            let recipe = Recipe::new(ROWS, 7, 0.0).unwrap();
            write_registry(&Plan { recipe, out: registry.db().into() }, |_| {}).unwrap();
            registry.build();
            let registry = Arc::new(registry);
            *shared = Arc::downgrade(&registry);
            registry
        })
    }

    /// The registry that this SQL makes.
    pub(crate) fn of(sql: &str) -> Self {
        let registry = Self { folder: tempfile::tempdir().unwrap() };
        registry.write(sql);
        registry.build();
        registry
    }

    /// Changes the database behind the index's back.
    pub(crate) fn write(&self, sql: &str) {
        Connection::open(self.db()).unwrap().execute_batch(sql).unwrap();
    }

    /// Publishes a generation.
    pub(crate) fn build(&self) {
        self.build_from(Path::new(&self.db()));
    }

    /// Publishes a generation with a copy of the rows in the order of their names.
    pub(crate) fn build_clustered(&self) {
        self.build_with(Path::new(&self.db()), true);
    }

    /// Publishes a generation of the database at `db`.
    pub(crate) fn build_from(&self, db: &Path) {
        self.build_with(db, false);
    }

    fn build_with(&self, db: &Path, cluster: bool) {
        let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
        let (db, index) = (db.to_owned(), self.index().into());
        build(
            &BuildPlan { db, index, table, shards: None, memory: MEMORY_MIN, cluster, search: SearchPlan::default() },
            &Silent,
        )
        .unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn db(&self) -> String {
        self.path("basecpf.db")
    }

    pub(crate) fn index(&self) -> String {
        self.path("index")
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder().join(name);
        path.into_os_string().into_string().unwrap()
    }

    /// The rows whose name begins with `prefix`, in the order of an answer, as plain SQL finds them: clean names are their own keys.
    pub(crate) fn rows(&self, prefix: &str) -> Vec<Value> {
        let connection = Connection::open(self.db()).unwrap();
        let sql = "SELECT cpf, nome, sexo, nasc FROM cpf WHERE substr(nome, 1, length(?1)) = ?1 ORDER BY nome, rowid";
        let mut statement = connection.prepare(sql).unwrap();
        let text = |row: &rusqlite::Row<'_>, at| row.get::<_, String>(at);
        let row = |row: &rusqlite::Row<'_>| {
            Ok(json!({"cpf": text(row, 0)?, "nome": text(row, 1)?, "sexo": text(row, 2)?, "nasc": text(row, 3)?}))
        };
        statement.query_map([prefix], row).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// A letter that more than a thousand names begin with: a page of a thousand rows of them is a dear question.
    pub(crate) fn dear_letter(&self) -> String {
        let connection = Connection::open(self.db()).unwrap();
        let sql = "SELECT substr(nome, 1, 1), count(*) FROM cpf GROUP BY 1 ORDER BY 2 DESC LIMIT 1";
        let (letter, rows): (String, i64) =
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert!(rows > 1000, "the most frequent letter has {rows} rows");
        letter
    }
}

/// The members of a dear question, without braces and `id`.
pub(crate) fn dear(registry: &Registry) -> String {
    format!(r#""nome":"{}","limit":1000"#, registry.dear_letter())
}
