//! CPF lookups beside databases: PostgreSQL, and a Python server over SQLite.
//!
//! Both hold the same rows with an index on the same column, and are asked by the same load generator.

use super::Report;
use super::loads;
use crate::compare::asking::Subject;
use crate::compare::goals::{Goal, Reached};
use crate::compare::ground::Ground;
use crate::compare::peers;
use crate::compare::peers::postgres::USER;
use crate::load::Protocol;
use crate::measure::markdown::grouped;

/// Connections to PostgreSQL, each of which is a process there: near its best on few cores, and below its usual limit of 100.
const CLIENTS: usize = 90;

/// The row of a CPF.
const POINT: &str = "SELECT * FROM cpf WHERE cpf = $1";

/// CPFs that `pgbench` asks for: each is a script of its own, prepared on every connection.
const PGBENCH_KEYS: usize = 8;

/// PostgreSQL's prepared point selects.
pub(crate) fn postgres(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let keys = ground.keys()?;
    let postgres = ground.postgres(USER, POINT, &keys)?;
    let server = ground.server(&ground.index()?, &[])?;
    let subjects = vec![ground.ours("ours", &server, &keys), postgres];
    let loads = loads::compare(ground, subjects, &loads::shape(ground.plan, CLIENTS))?;
    server.stop()?;
    let mut text = format!(
        "{} with [these settings](../benches/compare/postgresql.conf), a quarter of the memory as its own buffers (6 GiB at most), the table \
         vacuumed, analysed and read into them; `{POINT}`, prepared once on each connection, one text parameter. {CLIENTS} connections to \
         each, one request in flight. Ours with its defaults.\n\n{}",
        peers::postgres::version()?,
        loads.table()
    );
    if let Some(postgres) = ground.running_postgres() {
        let [table, by_cpf, by_name] = postgres.bytes;
        ground.say("asking PostgreSQL with pgbench");
        let keys = std::fs::read_to_string(&keys)?;
        let keys: Vec<&str> = keys.lines().take(PGBENCH_KEYS).collect();
        let rate = postgres.pgbench(ground.folder(), &keys, CLIENTS, ground.plan.seconds)?;
        text.push_str(&format!(
            "\nFor reference, once: `pgbench -M prepared -j 1 -c {CLIENTS}` over {} different CPFs, {} a second. Its table takes {} bytes, its indexes \
             on `cpf` and on `nome text_pattern_ops` {} and {}.\n",
            keys.len(),
            grouped(rate as u64),
            grouped(table),
            grouped(by_cpf),
            grouped(by_name),
        ));
    }
    Ok(Report {
        heading: "CPF lookups beside PostgreSQL".to_owned(),
        text,
        reached: vec![Reached::new(Goal::Postgres, loads.throughput(0, 1))],
        plots: vec![loads.throughput_plot("postgres", &format!("CPF lookups, {CLIENTS} connections"))?],
        errors: loads.errors(),
        ..Report::default()
    })
}

/// The Python server.
pub(crate) fn python(ground: &mut Ground<'_>) -> anyhow::Result<Report> {
    let keys = ground.keys()?;
    let python = ground.python()?;
    let server = ground.server(&ground.index()?, &[])?;
    let peer = Subject {
        name: "Python".to_owned(),
        address: python.address,
        pid: Some(python.pid()),
        protocol: Protocol::Balcao,
        keys: keys.clone(),
    };
    let shape = loads::shape(ground.plan, ground.plan.connections);
    let loads = loads::compare(ground, vec![ground.ours("ours", &server, &keys), peer], &shape)?;
    server.stop()?;
    let connections = grouped(shape.connections as u64);
    Ok(Report {
        heading: "CPF lookups beside Python threads over SQLite".to_owned(),
        text: format!(
            "[This server](../benches/compare/server.py), {}: a thread and a connection to SQLite for each of {connections} connections, an \
             index on `cpf`, the same lines as ours. One request in flight on each connection. Ours with its defaults.\n\n{}",
            peers::python::version()?,
            loads.table()
        ),
        reached: vec![Reached::new(Goal::Python, loads.throughput(0, 1))],
        plots: vec![loads.throughput_plot("python", &format!("CPF lookups, {connections} connections"))?],
        errors: loads.errors(),
        ..Report::default()
    })
}
