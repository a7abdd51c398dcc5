//! A house for tests: everything that serves, over a registry of one person, without a process of its own.

use std::sync::Arc;

use balcao_engine::Snapshot;
use balcao_indexer::{BuildPlan, MEMORY_MIN, SearchPlan, Silent, build};
use balcao_registry::TableName;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::limits::{IDLE, VERIFIES_PER_MINUTE};
use crate::serve::{House, Rules, start_house};

/// Opens the house. The folder holds its files.
pub(crate) fn open() -> (TempDir, Arc<House>) {
    let folder = tempfile::tempdir().unwrap();
    let (db, index) = (folder.path().join("basecpf.db"), folder.path().join("index"));
    let sql = "CREATE TABLE cpf(cpf, nome); INSERT INTO cpf VALUES ('12345678909', 'MARIA DA SILVA');";
    Connection::open(&db).unwrap().execute_batch(sql).unwrap();
    let table = TableName { table: "cpf".into(), cpf_column: "cpf".into(), name_column: "nome".into() };
    build(
        &BuildPlan {
            db: db.clone(),
            index: index.clone(),
            table,
            shards: None,
            memory: MEMORY_MIN,
            cluster: false,
            search: SearchPlan::default(),
        },
        &Silent,
    )
    .unwrap();
    let house = start_house(Snapshot::open(&db, &index).unwrap(), &rules(1)).unwrap();
    (folder, house)
}

/// Those of a small house.
pub(crate) fn rules(workers: usize) -> Rules {
    Rules { workers, connections: 10, idle: IDLE, verifies_per_minute: VERIFIES_PER_MINUTE }
}
