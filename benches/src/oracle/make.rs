//! The whole run from nothing: a registry, its index, a server, the oracle; everything it makes is removed.
//!
//! The programs are driven by their command lines alone.

use std::path::Path;

use super::spoil::spoil;
use super::{Plan, Report};
use crate::processes::{self, Server};
use crate::scratch::Scratch;

/// Claims that the server may tell a connection of in a minute: the oracle has more than the 60 that it is allowed otherwise.
const VERIFIES_PER_MINUTE: &str = "100000";

/// The registry to make.
#[derive(Clone, Debug)]
pub struct Make {
    /// Its rows.
    pub rows: u64,
    /// The share of dirty ones, 0 to 1.
    pub dirty: f64,
    /// Draws its rows.
    pub seed: u64,
}

/// Makes the registry and spoils it further, builds its index with these `further` arguments, verifies it, starts a server and runs the oracle against it. `adjust` may
/// change the plan; `progress` is told each step.
///
/// # Errors
/// When any program fails, or the server does not stop as it should. Wrong answers are in the report.
pub fn run(
    make: &Make,
    further: &[&str],
    adjust: impl FnOnce(&mut Plan),
    progress: impl Fn(&str),
) -> anyhow::Result<Report> {
    let folder = Scratch::new_in(&std::env::temp_dir())?;
    let (db, index) = (folder.path().join("basecpf.db"), folder.path().join("index"));
    progress(&format!("making a registry of {} rows", make.rows));
    registry(make, &db)?;
    spoil(&db, make.seed)?;
    progress("building the index");
    let mut build = processes::command("indexer")?;
    build.arg("build").arg("--db").arg(&db).arg("--out").arg(&index).args(further);
    processes::output(build)?;
    progress("verifying the index");
    let mut verify = processes::command("indexer")?;
    verify.arg("verify").arg("--index").arg(&index).arg("--db").arg(&db);
    processes::output(verify)?;
    progress("starting the server");
    let flags = ["--verifies-per-minute", VERIFIES_PER_MINUTE].map(std::ffi::OsStr::new);
    let [of_db, of_index] = [("--db", &db), ("--index", &index)].map(|(flag, path)| [flag.as_ref(), path.as_os_str()]);
    let server = Server::start(&[of_db, of_index, flags].concat())?;
    let mut plan = Plan::new(&db, server.address);
    adjust(&mut plan);
    progress("asking");
    let report = super::run(&plan)?;
    progress("stopping the server");
    server.stop()?;
    Ok(report)
}

/// Makes the registry in `db`.
///
/// # Errors
/// When `datasets` fails.
pub fn registry(make: &Make, db: &Path) -> anyhow::Result<()> {
    let mut command = processes::command("datasets")?;
    command.arg("registry").arg("--out").arg(db);
    command.args(["--rows", &make.rows.to_string()]);
    command.args(["--seed", &make.seed.to_string()]);
    command.args(["--dirty", &make.dirty.to_string()]);
    processes::output(command).map(drop)
}
